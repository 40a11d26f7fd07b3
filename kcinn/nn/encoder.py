"""Encoder: what a spectrum says about the labels, in a form that a flow can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import KcinnError
from kcinn.nn.emulator import Emulator
from kcinn.nn.pixels import arm_edges
from kcinn.nn.tensor import Shape, Tensor


class Encoding(NamedTuple):
    """What an encoder returns for a batch of spectra.

    Targets stand in the encoder's `order`, from the least to the best known, so that the scale of those which are well
    known is that of their marginals and does not lean on the others, whose posteriors are far from Gaussian.
    `location` ``(n, n_targets)`` and `factor` ``(n, n_targets, n_targets)``, lower triangular, are the frame in which
    the flow works: it models ``factor^T (phi - location)``; `inverse` is that of `factor`. `context` ``(n, n_context)``
    is what it is conditioned on. `chi_square` ``(n,)`` is the reduced chi-square of the best fit, `velocity` ``(n,)``
    in km/s the shift of that fit, `velocity_error` ``(n,)`` its standard deviation with all else marginalised; both are
    0 of an encoder without a fit. `snr` ``(n,)`` is the signal-to-noise ratio per pixel, root of the mean inverse
    variance of pixels that are used.
    """

    context: Tensor
    location: Tensor
    factor: Tensor
    inverse: Tensor
    chi_square: Tensor
    velocity: Tensor
    velocity_error: Tensor
    snr: Tensor


class Encoder(keras.layers.Layer):
    """What all encoders share: the pixel grid, the emulator, and which of its labels the flow models.

    `order` numbers the targets as the frame takes them; by default the last target is the first.
    """

    def __init__(
        self,
        emulator: Emulator,
        wavelength: ArrayLike,
        arm_pixels: list[int],
        targets: list[int],
        *,
        order: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.emulator = emulator
        self.wavelength = np.asarray(wavelength, dtype=np.float64)
        self.arm_pixels, self.targets = tuple(arm_pixels), tuple(targets)
        self.order = tuple(range(len(targets)))[::-1] if order is None else tuple(order)
        if sorted(self.order) != list(range(len(targets))):
            raise KcinnError(f"order must hold each of 0 to {len(targets) - 1} once. Received: {self.order}")
        self.edges = arm_edges(self.arm_pixels)

    def build(self, flux_shape: Shape | None = None, inverse_variance_shape: Shape | None = None) -> None:
        self.built = True

    @property
    def place(self) -> NDArray[np.int64]:
        """Where in the frame each target stands, the inverse of `order`."""
        return np.argsort(self.order)

    @property
    def n_context(self) -> int:
        """Length of the context."""
        raise NotImplementedError

    @staticmethod
    def snr(inverse_variance: Tensor) -> Tensor:
        """Signal-to-noise ratio per pixel ``(n,)``, root of the mean inverse variance of pixels that are used."""
        n_used = ops.sum(ops.cast(inverse_variance > 0, "float32"), axis=-1)
        return ops.sqrt(ops.sum(inverse_variance, axis=-1) / ops.maximum(n_used, 1.0))

    def best_fit(self, encoding: Encoding) -> Tensor | None:
        """All labels of the best fit ``(n, n_labels)`` in the emulator's order, or None if the encoder makes no fit."""
        return None
