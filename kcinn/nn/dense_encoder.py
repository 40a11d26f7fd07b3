"""DenseEncoder: a dense network on noise-scaled principal components."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import ArrayLike

from kcinn.nn.emulator import Emulator
from kcinn.nn.encoder import Encoder, Encoding
from kcinn.nn.pixels import arm_indicator, pixel_width


@keras.saving.register_keras_serializable(package="kcinn")
class DenseEncoder(Encoder):
    """The published kind of encoder: a dense network on the spectrum's principal components, trained with the flow.

    Missing pixels are filled with the mean spectrum. Components are scaled by what noise leaves of them,
    ``sqrt(variance over the labels + noise variance)``, and come with log S/N and the share of good pixels per arm.

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
    ):
        super().__init__(emulator, wavelength, arm_pixels, targets, **kwargs)
        self.width, self.depth, self.n_features = width, depth, n_features
        self.pixel_width = pixel_width(self.wavelength, self.edges)
        self.arms = arm_indicator(self.edges)
        self.layers = [keras.layers.Dense(width, activation="relu") for _ in range(depth)] + [
            keras.layers.Dense(n_features)
        ]

    def build(self, flux_shape=None, inverse_variance_shape=None):
        n_inputs = self.emulator.n_components + 1 + len(self.edges)
        for layer in self.layers:
            layer.build((None, n_inputs))
            n_inputs = layer.units
        self.built = True

    @property
    def n_context(self) -> int:
        return self.n_features

    def call(self, flux, inverse_variance):
        good = ops.cast(inverse_variance > 0, "float32")
        width, arms = ops.convert_to_tensor(self.pixel_width), ops.convert_to_tensor(self.arms)
        n_good = ops.maximum(ops.sum(good, axis=-1, keepdims=True), 1.0)
        variance = (
            ops.sum(good / (ops.maximum(inverse_variance, 1e-12) * (1.0 / width)), axis=-1, keepdims=True) / n_good
        )
        deviation = good * (flux - self.emulator.mean)
        components = ops.matmul(deviation * width, ops.transpose(self.emulator.basis))
        features = components / ops.sqrt(ops.square(self.emulator.scale) + variance)
        share = ops.matmul(good, ops.transpose(arms)) / ops.sum(arms, axis=-1)
        features = ops.concatenate([features, 0.5 * ops.log(variance + 1e-12) + 4.5, share], axis=-1)
        for layer in self.layers:
            features = layer(features)
        n_targets = len(self.targets)
        location = ops.zeros_like(features[:, :n_targets])
        factor = ops.eye(n_targets) + ops.zeros_like(features[:, :1, None])
        chi_square = (
            ops.sum(inverse_variance * ops.square(flux - self.emulator.flux(components)), axis=-1) / n_good[:, 0]
        )
        return Encoding(ops.relu(features), location, factor, chi_square, ops.zeros_like(chi_square))

    def get_config(self):
        return {**super().get_config(), **{key: getattr(self, key) for key in ("width", "depth", "n_features")}}
