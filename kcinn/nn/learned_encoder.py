"""LearnedEncoder: what encoders that are trained together with the flow share."""

from __future__ import annotations

from typing import Any

from keras import ops
from numpy.typing import ArrayLike

from kcinn.nn.emulator import Emulator
from kcinn.nn.encoder import Encoder, Encoding
from kcinn.nn.pixels import arm_indicator, pixel_width
from kcinn.nn.tensor import Tensor

FILLINGS = 8  # times that missing pixels are filled before a spectrum is compared with its components


class LearnedEncoder(Encoder):
    """A network from spectrum to context; the flow models the labels themselves, without a frame.

    Missing pixels are filled with the mean spectrum. Networks see the spectrum scaled by what noise leaves of it, and
    with it log S/N and the share of good pixels per arm.
    """

    def __init__(
        self,
        emulator: Emulator,
        wavelength: ArrayLike,
        arm_pixels: list[int],
        targets: list[int],
        *,
        n_features: int = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(emulator, wavelength, arm_pixels, targets, **kwargs)
        self.n_features = n_features
        self.pixel_width = pixel_width(self.wavelength, self.edges)
        self.arms = arm_indicator(self.edges)
        self.n_conditions = 1 + len(self.edges)

    @property
    def n_context(self) -> int:
        return self.n_features

    def features(
        self, deviation: Tensor, components: Tensor, good: Tensor, variance: Tensor, conditions: Tensor
    ) -> Tensor:
        """The context ``(n, n_features)``.

        Parameters
        ----------
        deviation, good : tensors, shape (n, n_pixels)
            Flux less the mean spectrum, zero where a pixel is missing; one where it is not.
        components : tensor, shape (n, n_components)
            Projection of the deviation on the emulator's basis.
        variance : tensor, shape (n, 1)
            Mean variance of the noise, per angstrom.
        conditions : tensor, shape (n, n_conditions)
            What the network is to know of noise and gaps.
        """
        raise NotImplementedError

    def call(self, flux: Tensor, inverse_variance: Tensor) -> Encoding:
        good = ops.cast(inverse_variance > 0, "float32")
        width, arms = ops.convert_to_tensor(self.pixel_width), ops.convert_to_tensor(self.arms)
        n_good = ops.maximum(ops.sum(good, axis=-1, keepdims=True), 1.0)
        variance = ops.sum(good * width / ops.maximum(inverse_variance, 1e-12), axis=-1, keepdims=True) / n_good
        deviation = good * (flux - self.emulator.mean)
        components = self._project(deviation)
        share = ops.matmul(good, ops.transpose(arms)) / ops.sum(arms, axis=-1)
        conditions = ops.concatenate([0.5 * ops.log(variance + 1e-12) + 4.5, share], axis=-1)
        features = self.features(deviation, components, good, variance, conditions)
        n_targets = len(self.targets)
        location = ops.zeros_like(features[:, :n_targets])
        identity = ops.eye(n_targets) + ops.zeros_like(features[:, :1, None])
        chi_square = ops.sum(self._misfit(flux, inverse_variance, good, components), axis=-1) / n_good[:, 0]
        nothing = ops.zeros_like(chi_square)
        snr = self.snr(inverse_variance)
        return Encoding(ops.relu(features), location, identity, identity, chi_square, nothing, nothing, snr)

    def _project(self, deviation: Tensor) -> Tensor:
        """Components ``(n, n_components)`` of deviations from the mean spectrum ``(n, n_pixels)``."""
        return ops.matmul(deviation * ops.convert_to_tensor(self.pixel_width), ops.transpose(self.emulator.basis))

    def _misfit(self, flux: Tensor, inverse_variance: Tensor, good: Tensor, components: Tensor) -> Tensor:
        """Squared residuals over the variance, ``(n, n_pixels)``, of the components that fit the good pixels best.

        In a projection missing pixels count as the mean spectrum; so they are filled with what the components say of
        them, again and again.
        """
        for _ in range(FILLINGS):
            components = components + self._project(good * (flux - self.emulator.flux(components)))
        return inverse_variance * ops.square(flux - self.emulator.flux(components))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_features": self.n_features}
