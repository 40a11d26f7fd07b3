"""Base distributions: what the flow maps the labels to.

The density comes from TensorFlow Probability where it runs, else from the same formula in ``keras.ops``.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri, stdtrit

from kcinn.nn.couplings import soft_clamp
from kcinn.nn.subnet import Subnet
from kcinn.nn.tensor import Shape, Tensor

ONE_SIGMA = ndtr(1.0) - ndtr(-1.0)  # share of a normal within one standard deviation


@cache
def tfp_distributions() -> Any | None:
    """``tfp.distributions`` for the active backend, or None where there is none: on torch, and on a JAX too new."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow_probability as tfp

        return tfp.distributions
    if keras.backend.backend() == "jax":
        try:
            from tensorflow_probability.substrates import jax as tfp

            return tfp.distributions
        except (ImportError, AttributeError):  # AttributeError: it reaches for names that current JAX no longer has
            return None
    return None


class Base(keras.layers.Layer):
    """A density over latent space, its noise, and the map from noise to latent space.

    Noise is drawn by NumPy and enters a compiled sampler as a tensor: Keras draws differ between backends for one seed.
    A weight that is not trained, `scale`, multiplies it; it is one until `calibrate`.

    Parameters
    ----------
    n_labels : int
        Size of the last axis of `z`.

    Input shape
        z ``(..., n_labels)``, conditioned ``(..., n_conditioned)``; the leading axes broadcast.
    Output shape
        The log-density, ``(...)``.
    """

    n_conditioned = 0

    def __init__(self, n_labels: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.n_labels = n_labels
        self.scale = self.add_weight(
            shape=(n_labels,), name="scale", initializer="ones", trainable=False, dtype="float32"
        )

    def build(self, z_shape: Shape, conditioned_shape: Shape | None = None) -> None:
        self.built = True

    def call(self, z: Tensor, conditioned: Tensor | None = None) -> Tensor:
        """The log-density at `z`."""
        tfd = tfp_distributions()
        if tfd is None:
            return self.log_density(z, conditioned)
        return self.distribution(tfd, conditioned).log_prob(z)

    def distribution(self, tfd: Any, conditioned: Tensor | None = None) -> Any:
        """The distribution as an object of `tfd`, the module ``tfp.distributions``."""
        raise NotImplementedError

    def log_density(self, z: Tensor, conditioned: Tensor | None = None) -> Tensor:
        """The log-density at `z` in ``keras.ops`` alone."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Noise of shape ``(*shape, n_labels)`` for `from_noise`."""
        return rng.standard_normal((*shape, self.n_labels), dtype=np.float32)

    def spread(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Points inside the unit cube ``(n_samples, n_labels)`` as noise; its mean is 0 and its covariance 1."""
        noise = ndtri(points)
        noise -= noise.mean(axis=0)
        if len(noise) > self.n_labels:
            factor = np.linalg.cholesky(noise.T @ noise / len(noise))
            noise = solve_triangular(factor, noise.T, lower=True).T
        return noise.astype(np.float32)

    def from_noise(self, noise: Tensor, conditioned: Tensor | None = None) -> Tensor:
        """Turn noise into draws from this distribution, shape ``(..., n_labels)``."""
        return noise * self.scale

    def to_noise(self, z: Tensor, conditioned: Tensor | None = None) -> Tensor:
        """The noise that `from_noise` turns into `z`, shape ``(..., n_labels)``."""
        return z / self.scale

    def _log_normal(self, noise: Tensor) -> Tensor:
        """The log-density in latent space where noise that is normal becomes this."""
        normalisation = 0.5 * self.n_labels * math.log(2.0 * math.pi) + ops.sum(ops.log(self.scale))
        return -0.5 * ops.sum(ops.square(noise), axis=-1) - normalisation

    def quantile(self, probability: float) -> float:
        """Of the noise of one label."""
        return float(ndtri(probability))

    def calibrate(self, noise: NDArray[np.float32]) -> None:
        """Change `scale` so that the inner 68.3 percent of `noise` ``(n, n_labels)`` come to lie where they should."""
        factor = np.quantile(np.abs(noise), ONE_SIGMA, axis=0) / self.quantile(ndtr(1.0))
        self.scale.assign((ops.convert_to_numpy(self.scale) * factor).astype(np.float32))

    def load_own_variables(self, store: Any) -> None:
        if len(store):  # files of earlier versions have no scale: it was one
            super().load_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_labels": self.n_labels}


@keras.saving.register_keras_serializable(package="kcinn")
class NormalBase(Base):
    """Independent standard normals."""

    def distribution(self, tfd: Any, conditioned: Tensor | None = None) -> Any:
        return tfd.MultivariateNormalDiag(np.zeros(self.n_labels, "float32"), ops.convert_to_tensor(self.scale))

    def log_density(self, z: Tensor, conditioned: Tensor | None = None) -> Tensor:
        return self._log_normal(self.to_noise(z))


@keras.saving.register_keras_serializable(package="kcinn")
class StudentTBase(Base):
    """Independent Student t distributions: outliers in training pull less on the flow.

    Parameters
    ----------
    n_labels : int
        Size of the last axis of `z`.
    degrees_of_freedom : float
        The smaller, the heavier the tails.
    """

    def __init__(self, n_labels: int, *, degrees_of_freedom: float = 15.0, **kwargs: Any) -> None:
        super().__init__(n_labels, **kwargs)
        self.degrees_of_freedom = degrees_of_freedom

    def distribution(self, tfd: Any, conditioned: Tensor | None = None) -> Any:
        location, scale = np.zeros(self.n_labels, "float32"), ops.convert_to_tensor(self.scale)
        return tfd.Independent(tfd.StudentT(np.float32(self.degrees_of_freedom), location, scale), 1)

    def log_density(self, z: Tensor, conditioned: Tensor | None = None) -> Tensor:
        nu = self.degrees_of_freedom
        peak = math.lgamma(0.5 * (nu + 1.0)) - math.lgamma(0.5 * nu) - 0.5 * math.log(nu * math.pi)
        tails = ops.sum(ops.log1p(ops.square(self.to_noise(z)) / nu), axis=-1)
        return self.n_labels * peak - 0.5 * (nu + 1.0) * tails - ops.sum(ops.log(self.scale))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return rng.standard_t(self.degrees_of_freedom, (*shape, self.n_labels)).astype(np.float32)

    def quantile(self, probability: float) -> float:
        """Of the noise of one label."""
        return float(stdtrit(self.degrees_of_freedom, probability))

    def spread(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Points inside the unit cube ``(n_samples, n_labels)`` as noise."""
        return stdtrit(self.degrees_of_freedom, points).astype(np.float32)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "degrees_of_freedom": self.degrees_of_freedom}


@keras.saving.register_keras_serializable(package="kcinn")
class ConditionalBase(Base):
    """A normal whose location and scale triangle are predicted from the context.

    The scale triangle is ``exp(s) * U`` row by row, with ``U`` unit lower triangular; `s` and the entries of ``U`` are
    bounded by `clamp`, so that a far-off spectrum cannot overflow. It starts as the standard normal.

    Parameters
    ----------
    n_labels : int
        Size of the last axis of `z`.
    width, hidden, activation
        Of the subnet, see `Subnet`.
    clamp : float
        Bound on the log-scales and on the entries of ``U``.
    """

    def __init__(
        self,
        n_labels: int,
        *,
        width: int = 256,
        hidden: int = 2,
        activation: str = "relu",
        clamp: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(n_labels, **kwargs)
        self.width, self.hidden, self.activation, self.clamp = width, hidden, activation, clamp
        options = {"width": width, "hidden": hidden, "activation": activation, "dtype": self.dtype_policy}
        self.subnet = Subnet(0, n_labels * (n_labels + 1), **options)

    @property
    def n_conditioned(self) -> int:  # type: ignore[override]
        """Size of the last axis of `conditioned`."""
        return self.width

    def build(self, z_shape: Shape, conditioned_shape: Shape | None = None) -> None:
        self.subnet.build((None, 0))
        self.built = True

    def distribution(self, tfd: Any, conditioned: Tensor | None = None) -> Any:
        location, log_scale, triangle = self._location_and_scale(conditioned)
        return tfd.MultivariateNormalTriL(location, ops.exp(log_scale)[..., None] * triangle * self.scale)

    def log_density(self, z: Tensor, conditioned: Tensor | None = None) -> Tensor:
        location, log_scale, triangle = self._location_and_scale(conditioned)
        return self._log_normal(self._whiten(z, location, log_scale, triangle)) - ops.sum(log_scale, axis=-1)

    def from_noise(self, noise: Tensor, conditioned: Tensor | None = None) -> Tensor:
        location, log_scale, triangle = self._location_and_scale(conditioned)
        scaled = (noise * self.scale)[..., None, :]
        return location + ops.exp(log_scale) * ops.sum(triangle * scaled, axis=-1)

    def to_noise(self, z: Tensor, conditioned: Tensor | None = None) -> Tensor:
        return self._whiten(z, *self._location_and_scale(conditioned))

    def _whiten(self, z: Tensor, location: Tensor, log_scale: Tensor, triangle: Tensor) -> Tensor:
        scaled = (z - location) * ops.exp(-log_scale)
        white: list[Tensor] = []  # forward substitution, unrolled: the solvers do not broadcast over samples
        for row in range(self.n_labels):
            white.append(scaled[..., row] - sum(triangle[..., row, k] * white[k] for k in range(row)))
        return ops.stack(white, axis=-1) / self.scale

    def _location_and_scale(self, conditioned: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Location ``(..., n)``, log-scale of each row ``(..., n)``, unit triangle ``(..., n, n)``."""
        n = self.n_labels
        flat = self.subnet(conditioned[..., :0], conditioned)
        square = soft_clamp(ops.reshape(flat[..., n:], (*ops.shape(flat)[:-1], n, n)), self.clamp)
        identity = ops.convert_to_tensor(np.eye(n, dtype="float32"))
        below = ops.convert_to_tensor(np.tri(n, k=-1, dtype="float32"))
        return flat[..., :n], ops.sum(square * identity, axis=-1), square * below + identity

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "width": self.width,
            "hidden": self.hidden,
            "activation": self.activation,
            "clamp": self.clamp,
        }
