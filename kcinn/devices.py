"""Devices: what the active backend computes on, and how many of them share a training step."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kcinn.errors import ModelError


def on_accelerator() -> bool:
    """Whether the active backend computes on something other than the CPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return len(tf.config.list_logical_devices()) > len(tf.config.list_logical_devices("CPU"))


def replicas() -> int:
    """Copies of a model among which a strategy of `tf.distribute` shares every training step.

    A `keras.distribution` of JAX shares the arrays of one copy, so that nobody needs to know.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def check_tensorflow(what: str) -> None:
    """Raise ModelError, which names `what` is wanted, unless Keras computes with TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"{what} needs the TensorFlow backend; any model file loads there. Set KERAS_BACKEND=tensorflow. "
            f"Received: {keras.backend.backend()}"
        )


def mean_loss(losses: Any) -> Any:
    """Mean over the rows of a training step; of each replica its share, since a strategy adds up gradients."""
    return ops.mean(losses) / replicas()
