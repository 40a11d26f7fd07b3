"""Config: architecture and training settings."""

from __future__ import annotations

from dataclasses import dataclass

from kcinn.errors import KcinnError
from kcinn.model.network import ENCODERS


@dataclass(frozen=True)
class Config:
    """Architecture and training settings; the defaults suit a grid of ten to twenty thousand spectra.

    Parameters
    ----------
    encoder : {"fisher", "dense", "conv"}
    components : int
        Principal components of a grid that is stored plain.
    emulator_width, emulator_depth, emulator_element_width, emulator_steps, emulator_batch : int
    emulator_share : float
        Share of the training stars that the emulator sees; the flow learns from the others.
    draws : int
        Training spectra that are drawn for the flow.
    jitter : float
        Half width, in prior standard deviations, of the step from a star's labels to new ones.
    members : int
        Flows whose densities are averaged; behind the Fisher encoder they are trained apart.
    depth, width, hidden : int
        Of every flow.
    transform : {"affine", "spline"}
    base : {"normal", "student_t", "conditional"}
    learning_rate, weight_decay : float
        Of AdamW. A grid leaves a few thousand stars to the flow behind a Fisher encoder, and a strong decay pays.
    patience : int
        Epochs without progress on held-out stars before training stops.
    """

    encoder: str = "fisher"
    components: int = 256
    emulator_width: int = 192
    emulator_depth: int = 3
    emulator_element_width: int = 64
    emulator_steps: int = 8000
    emulator_batch: int = 256
    emulator_share: float = 0.72
    draws: int = 16384
    jitter: float = 0.3
    members: int = 1
    depth: int = 4
    width: int = 96
    hidden: int = 1
    transform: str = "affine"
    base: str = "normal"
    learning_rate: float = 1e-2
    weight_decay: float = 1.0
    patience: int = 8

    @classmethod
    def preset(cls, encoder: str = "fisher") -> Config:
        """Settings that suit an encoder: behind a learned one the flow models the whole posterior, so it is larger.

        Parameters
        ----------
        encoder : {"fisher", "dense", "conv"}

        Returns
        -------
        Config
        """
        if encoder in ("dense", "conv"):
            return cls(
                encoder=encoder, depth=8, width=256, hidden=2, base="conditional", learning_rate=1e-3, weight_decay=1e-4
            )
        return cls(encoder=encoder)

    @classmethod
    def paper(cls) -> Config:
        """The published kind of architecture (Ksoll et al. 2026, arXiv:2602.18340), for comparison.

        A dense encoder 3 x 512 with 256 features, and eight affine blocks whose subnets have three layers of 512.

        Returns
        -------
        Config
        """
        return cls(encoder="dense", depth=8, width=512, hidden=3, base="normal", learning_rate=1e-3, weight_decay=1e-4)

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise KcinnError(f"encoder must be one of {', '.join(ENCODERS)}. Received: {self.encoder!r}")
        if not 0 < self.emulator_share < 1:
            raise KcinnError(f"emulator_share must lie between 0 and 1. Received: {self.emulator_share}")
        for name in ("emulator_steps", "draws", "members", "depth", "width", "hidden", "patience", "components"):
            if getattr(self, name) < 1:
                raise KcinnError(f"{name} must be at least 1. Received: {name}={getattr(self, name)}")
