"""Mixings: invertible steps between couplings that let every label meet every other."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kcinn.nn.tensor import Shape, Tensor


class Mixing(keras.layers.Layer):
    """A step that does not look at the context.

    Input shape
        theta ``(..., n_labels)``.
    Output shape
        z ``(..., n_labels)``, log_det ``(...)`` or a scalar.
    """

    n_conditioned = 0

    def __init__(self, n_labels: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.n_labels = n_labels

    def call(self, theta: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map labels towards latent space; return ``(z, log_det)``."""
        raise NotImplementedError

    def inverse(self, z: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent space towards labels; return ``(theta, log_det)`` with `log_det` of this direction."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_labels": self.n_labels}


@keras.saving.register_keras_serializable(package="kcinn")
class FixedPermutation(Mixing):
    """Reorder the labels by a permutation drawn once from `seed`.

    Drawn from the raw Philox stream, which NumPy keeps the same in all its versions, so a file needs only the seed.
    """

    def __init__(self, n_labels: int, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(n_labels, **kwargs)
        self.seed = seed
        order = np.argsort(np.random.Philox(key=seed).random_raw(n_labels))
        self.order = [int(k) for k in order]
        self.order_back = [int(k) for k in np.argsort(order)]

    def build(self, theta_shape: Shape, conditioned_shape: Shape | None = None) -> None:
        self.built = True

    def call(self, theta: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # Static slices: a gather along the last axis does not survive the export from torch to ONNX.
        return ops.stack([theta[..., k] for k in self.order], axis=-1), ops.zeros(())

    def inverse(self, z: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ops.stack([z[..., k] for k in self.order_back], axis=-1), ops.zeros(())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="kcinn")
class OrthogonalMixing(Mixing):
    """Rotate the labels by an orthogonal matrix drawn once from `seed` and kept with the weights."""

    def __init__(self, n_labels: int, *, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(n_labels, **kwargs)
        self.seed = seed

    def build(self, theta_shape: Shape, conditioned_shape: Shape | None = None) -> None:
        rng = np.random.default_rng(self.seed)
        rotation, _ = np.linalg.qr(rng.normal(size=(self.n_labels, self.n_labels)))
        self.rotation = self.add_weight(
            name="rotation",
            shape=(self.n_labels, self.n_labels),
            dtype="float32",
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(rotation, dtype),
            trainable=False,
        )
        self.built = True

    # A matrix product runs in TensorFloat-32 on a GPU, which is too coarse to undo; products and sums do not.
    def call(self, theta: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ops.sum(theta[..., None, :] * self.rotation, axis=-1), ops.zeros(())

    def inverse(self, z: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return ops.sum(z[..., :, None] * self.rotation, axis=-2), ops.zeros(())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="kcinn")
class ActNorm(Mixing):
    """Scale and shift each label by numbers that are learned (Kingma & Dhariwal 2018, arXiv:1807.03039, section 3.1).

    It starts as the identity rather than from a first batch: the labels are expected near unit scale.
    """

    def build(self, theta_shape: Shape, conditioned_shape: Shape | None = None) -> None:
        options = {"shape": (self.n_labels,), "dtype": "float32", "initializer": "zeros"}
        self.log_scale = self.add_weight(name="log_scale", **options)
        self.shift = self.add_weight(name="shift", **options)
        self.built = True

    def call(self, theta: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (theta + self.shift) * ops.exp(self.log_scale), ops.sum(self.log_scale)

    def inverse(self, z: Tensor, conditioned: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * ops.exp(-self.log_scale) - self.shift, -ops.sum(self.log_scale)
