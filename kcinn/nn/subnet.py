"""Subnet: the small network inside a coupling or a conditional base."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kcinn.nn.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="kcinn")
class Subnet(keras.layers.Layer):
    """A multilayer perceptron whose first layer gets its context half from outside.

    The first layer of a network of ``(passive, context)`` is ``passive @ A + context @ B + b``. The second product is
    the same for all samples of one spectrum, so the flow computes it once, for all its subnets together, and hands it
    in as `conditioned`. The last layer starts at zero.

    Parameters
    ----------
    n_passive : int
        Size of the last axis of `passive`; with 0 the network depends on the context alone.
    n_out : int
        Size of the last axis of the output.
    width, hidden : int
        Units of a hidden layer, and number of hidden layers.
    activation : str
        Any Keras activation; ``"relu"`` exports to every format.

    Input shape
        passive ``(..., n_passive)``, conditioned ``(..., width)``; the leading axes broadcast.
    Output shape
        ``(..., n_out)``, float32 under every dtype policy.
    """

    def __init__(
        self, n_passive: int, n_out: int, *, width: int = 256, hidden: int = 2, activation: str = "relu", **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # the dense layers cast for themselves
        self.n_passive, self.n_out, self.width, self.hidden = n_passive, n_out, width, hidden
        self.activation = keras.activations.get(activation)
        policy = self.dtype_policy
        self.first = keras.layers.Dense(width, use_bias=False, dtype=policy) if n_passive else None
        self.middle = [keras.layers.Dense(width, activation=activation, dtype=policy) for _ in range(hidden - 1)]
        self.last = keras.layers.Dense(n_out, kernel_initializer="zeros", dtype=policy)

    def build(self, passive_shape: Shape, conditioned_shape: Shape | None = None) -> None:
        if self.first is not None:
            self.first.build((None, self.n_passive))
        for layer in [*self.middle, self.last]:
            layer.build((None, self.width))
        self.built = True

    def call(self, passive: Tensor, conditioned: Tensor) -> Tensor:
        values = ops.cast(conditioned, self.compute_dtype)
        if self.first is not None:
            values = values + self.first(passive)
        values = self.activation(values)
        for layer in self.middle:
            values = layer(values)
        return ops.cast(self.last(values), "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "n_passive": self.n_passive,
            "n_out": self.n_out,
            "width": self.width,
            "hidden": self.hidden,
            "activation": keras.activations.serialize(self.activation),
        }
