"""ConvEncoder: a one-dimensional convolutional network on the pixels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import ArrayLike

from kcinn.nn.emulator import Emulator
from kcinn.nn.learned_encoder import LearnedEncoder
from kcinn.nn.tensor import Shape, Tensor

STRIDES = (8, 4, 4)
KERNELS = (16, 8, 8)  # pixels: the first layer sees the profile of a line


@keras.saving.register_keras_serializable(package="kcinn")
class ConvEncoder(LearnedEncoder):
    """Three strided convolutions over the pixels and a dense layer, trained with the flow.

    Two channels: the pixels, scaled by what noise leaves of them, and where they are good.

    Parameters
    ----------
    emulator, wavelength, arm_pixels, targets
        As for `FisherEncoder`.
    channels : int
        Of the first convolution; every further one has twice as many.
    width : int
        Size of the dense layer.
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
        channels: int = 16,
        width: int = 512,
        n_features: int = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(emulator, wavelength, arm_pixels, targets, n_features=n_features, **kwargs)
        self.channels, self.width = channels, width
        self.convolutions = [
            keras.layers.Conv1D(channels * 2**k, kernel, strides=stride, padding="same", activation="relu")
            for k, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True))
        ]
        self.layers = [keras.layers.Dense(width, activation="relu"), keras.layers.Dense(n_features)]

    def build(self, flux_shape: Shape | None = None, inverse_variance_shape: Shape | None = None) -> None:
        shape = (None, self.emulator.n_pixels, 2)
        for layer in self.convolutions:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.n_flat = shape[1] * shape[2]
        self.layers[0].build((None, self.n_flat + self.n_conditions))
        self.layers[1].build((None, self.width))
        self.built = True

    def features(
        self, deviation: Tensor, components: Tensor, good: Tensor, variance: Tensor, conditions: Tensor
    ) -> Tensor:
        spread = ops.sum(ops.square(self.emulator.basis * self.emulator.scale[:, None]), axis=0)
        pixels = deviation / ops.sqrt(spread + variance / ops.convert_to_tensor(self.pixel_width))
        hidden = ops.stack([pixels, good], axis=-1)
        for layer in self.convolutions:
            hidden = layer(hidden)
        hidden = ops.concatenate([ops.reshape(hidden, (-1, self.n_flat)), conditions], axis=-1)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "width": self.width}
