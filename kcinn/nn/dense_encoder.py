"""DenseEncoder: a dense network on noise-scaled principal components."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import ArrayLike

from kcinn.nn.emulator import Emulator
from kcinn.nn.learned_encoder import LearnedEncoder
from kcinn.nn.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="kcinn")
class DenseEncoder(LearnedEncoder):
    """The published kind of encoder: a dense network on the spectrum's principal components, trained with the flow.

    Components are scaled by what noise leaves of them, ``sqrt(variance over the labels + noise variance)``.

    Parameters
    ----------
    emulator, wavelength, arm_pixels, targets
        As for `FisherEncoder`.
    width, depth : int
        Size and number of hidden layers.
    n_features : int
        Length of the context.
    """

    def __init__(
        self,
        emulator: Emulator,
        wavelength: ArrayLike,
        arm_pixels: list[int],
        targets: list[int],
        *,
        width: int = 512,
        depth: int = 3,
        n_features: int = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(emulator, wavelength, arm_pixels, targets, n_features=n_features, **kwargs)
        self.width, self.depth = width, depth
        self.layers = [keras.layers.Dense(width, activation="relu") for _ in range(depth)] + [
            keras.layers.Dense(n_features)
        ]

    def build(self, flux_shape: Shape | None = None, inverse_variance_shape: Shape | None = None) -> None:
        n_inputs = self.emulator.n_components + self.n_conditions
        for layer in self.layers:
            layer.build((None, n_inputs))
            n_inputs = layer.units
        self.built = True

    def features(
        self, deviation: Tensor, components: Tensor, good: Tensor, variance: Tensor, conditions: Tensor
    ) -> Tensor:
        hidden = components / ops.sqrt(ops.square(self.emulator.scale) + variance)
        hidden = ops.concatenate([hidden, conditions], axis=-1)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "depth": self.depth}
