"""ConditionalFlow: a density of labels given a context, that can be evaluated and drawn from."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from kcinn.devices import mean_loss, replicas
from kcinn.errors import KcinnError
from kcinn.nn.base import ConditionalBase, NormalBase, StudentTBase
from kcinn.nn.compiled import Compiled
from kcinn.nn.couplings import AffineCoupling, SplineCoupling
from kcinn.nn.mixing import ActNorm, FixedPermutation, OrthogonalMixing
from kcinn.nn.quasi import shifted_sobol
from kcinn.nn.tensor import Shape, Tensor

ACTIVATIONS = ("relu", "leaky_relu", "elu", "silu", "gelu", "mish", "softplus", "tanh")
KINDS: dict[str, dict[str, Any]] = {
    "transform": {"affine": AffineCoupling, "spline": SplineCoupling},
    "mixing": {"permutation": FixedPermutation, "orthogonal": OrthogonalMixing},
    "base": {"normal": NormalBase, "student_t": StudentTBase, "conditional": ConditionalBase},
    "activation": dict.fromkeys(ACTIVATIONS),
}
POINTS_PER_CALL = 16384  # label vectors that one compiled call works on: large products, moderate memory


@keras.saving.register_keras_serializable(package="kcinn")
class ConditionalFlow(keras.Model):
    """A conditional invertible network: labels `theta`, given `context`, mapped to a simple base distribution.

    Train it with ``fit({"theta": theta, "context": context})``: the loss is the mean of ``-log p(theta | context)``.
    It starts as its base distribution, so both inputs should be near unit scale.

    Parameters
    ----------
    n_labels : int
        Size of the last axis of `theta`. With one label each step depends on the context alone.
    depth : int
        Number of two-sided couplings.
    width, hidden : int
        Units of a hidden layer of a subnet, and number of hidden layers.
    transform : {"affine", "spline"}
        Kind of coupling. Splines come closer to posteriors with several modes at about 1.5 times the cost.
    mixing : {"permutation", "orthogonal"}
        What stands after every coupling.
    actnorm : bool
        Whether a learned scale and shift stands before every coupling.
    base : {"normal", "student_t", "conditional"}
        The base distribution.
    activation : {"relu", "leaky_relu", "elu", "silu", "gelu", "mish", "softplus", "tanh"}
        Of the subnets; ``"relu"`` exports to every format.
    clamp : float
        Bound on the log-scale of one step.
    bins, bound : int, float
        Bins of a spline and where its linear tails begin; affine couplings have neither.
    seed : int
        Of the mixings. Weights are drawn from Keras' seed, ``keras.utils.set_random_seed``.

    Input shape
        ``{"theta": (n, n_labels), "context": (n, n_context)}``.
    Output shape
        ``log p(theta | context)``, ``(n,)``.

    Raises
    ------
    KcinnError
        If an argument is unknown or has a value that is not one of the above.
    """

    def __init__(
        self,
        n_labels: int = 2,
        *,
        depth: int = 8,
        width: int = 256,
        hidden: int = 2,
        transform: str = "affine",
        mixing: str = "permutation",
        actnorm: bool = False,
        base: str = "normal",
        activation: str = "relu",
        clamp: float = 2.0,
        bins: int = 8,
        bound: float = 5.0,
        seed: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        **unknown: Any,
    ) -> None:
        sizes = {"depth": depth, "width": width, "hidden": hidden, "n_labels": n_labels}
        kinds = {"transform": transform, "mixing": mixing, "base": base, "activation": activation}
        rest = {"actnorm": actnorm, "clamp": clamp, "bins": bins, "bound": bound, "seed": seed}
        config = {**sizes, **kinds, **rest}
        if unknown:
            valid = ", ".join([*config, "name", "dtype", "trainable"])
            received = ", ".join(unknown)
            raise KcinnError(f"Unknown argument of ConditionalFlow. Valid arguments: {valid}. Received: {received}")
        for argument, value in sizes.items():
            if value < 1:
                raise KcinnError(f"{argument} must be at least 1. Received: {argument}={value}")
        for argument, kind in kinds.items():
            if kind not in KINDS[argument]:
                valid = ", ".join(map(repr, KINDS[argument]))
                raise KcinnError(f"{argument} must be one of {valid}. Received: {argument}={kind!r}")
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        self._config, self.n_labels = config, n_labels

        subnet: dict[str, Any] = {"width": width, "hidden": hidden, "activation": activation, "clamp": clamp}
        subnet["dtype"] = self.dtype_policy
        spline = {"bins": bins, "bound": bound} if transform == "spline" else {}
        self.steps: list[Any] = []
        for k in range(depth):
            if actnorm:
                self.steps.append(ActNorm(n_labels))
            self.steps.append(KINDS["transform"][transform](n_labels, **subnet, **spline))
            self.steps.append(KINDS["mixing"][mixing](n_labels, seed=seed + k))
        self.base = KINDS["base"][base](n_labels, **(subnet if base == "conditional" else {}))
        self._n_conditioned = [step.n_conditioned for step in [*self.steps, self.base]]
        self.conditioner = keras.layers.Dense(sum(self._n_conditioned), dtype=self.dtype_policy)

    def build(self, input_shape: dict[str, Shape]) -> None:
        self.conditioner.build(tuple(input_shape["context"]))
        for step in [*self.steps, self.base]:
            step.build((None, self.n_labels))
        self.built = True

    def call(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.log_density(inputs["theta"], inputs["context"])

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        loss = -y_pred if sample_weight is None else -y_pred * sample_weight
        return mean_loss(loss) + sum(self.losses) / replicas()

    # ------------------------------------------------------------------ on tensors, for use inside a larger model

    def condition(self, context: Tensor) -> Tensor:
        """The context half of every first layer, in one product: ``(..., n_context)`` to ``(..., n_conditioned)``."""
        return self.conditioner(context)

    def to_latent(self, theta: Tensor, conditioned: Tensor) -> tuple[Tensor, Tensor]:
        """Map labels to latent space; return ``(z, log_det)``, shapes ``(..., n_labels)`` and ``(...)``."""
        log_det = 0.0
        for step, part in zip(self.steps, self._parts(conditioned), strict=False):
            theta, change = step(theta, part)
            log_det = log_det + change
        return theta, log_det

    def from_latent(self, z: Tensor, conditioned: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent space to labels; return ``(theta, log_det)`` with `log_det` of this direction."""
        log_det = 0.0
        for step, part in reversed(list(zip(self.steps, self._parts(conditioned), strict=False))):
            z, change = step.inverse(z, part)
            log_det = log_det + change
        return z, log_det

    def log_density(self, theta: Tensor, context: Tensor) -> Tensor:
        """``log p(theta | context)`` of tensors.

        Parameters
        ----------
        theta : tensor, shape (n, n_labels) or (n, n_samples, n_labels)
        context : tensor, shape (n, n_context)

        Returns
        -------
        tensor, shape (n,) or (n, n_samples)
        """
        conditioned = self._condition_for(theta, context)
        z, log_det = self.to_latent(ops.cast(theta, "float32"), conditioned)
        return self.base(z, self._parts(conditioned)[-1]) + log_det

    def transform(self, noise: Tensor, context: Tensor) -> Tensor:
        """Turn noise, shape ``(n, n_samples, n_labels)``, into samples of ``p(theta | context)``, same shape."""
        conditioned = self._condition_for(noise, context)
        z = self.base.from_noise(ops.cast(noise, "float32"), self._parts(conditioned)[-1])
        theta, _ = self.from_latent(z, conditioned)
        return theta

    def noise_of(self, theta: Tensor, context: Tensor) -> Tensor:
        """The noise that `transform` turns into labels `theta` ``(n, n_labels)``, same shape."""
        conditioned = self.condition(context)
        z, _ = self.to_latent(ops.cast(theta, "float32"), conditioned)
        return self.base.to_noise(z, self._parts(conditioned)[-1])

    def _condition_for(self, theta: Tensor, context: Tensor) -> Tensor:
        """Condition on `context` once per row, with an axis to broadcast over samples where `theta` has one."""
        conditioned = self.condition(context)
        return ops.expand_dims(conditioned, axis=-2) if len(theta.shape) > len(context.shape) else conditioned

    def _parts(self, conditioned: Tensor) -> list[Tensor]:
        """The part of `conditioned` that belongs to each step, and last the part of the base."""
        ends = np.cumsum(self._n_conditioned).tolist()
        return [conditioned[..., end - n : end] for end, n in zip(ends, self._n_conditioned, strict=True)]

    # ------------------------------------------------------------------ on NumPy arrays

    def calibrate(self, theta: ArrayLike, context: ArrayLike) -> None:
        """Scale the base so that its inner 68.3 percent hold as many of labels that were not trained on.

        A flow that has seen few stars makes posteriors a few per cent too narrow for others.

        Parameters
        ----------
        theta : array_like, shape (n, n_labels)
        context : array_like, shape (n, n_context)
        """
        theta, context = np.asarray(theta, dtype=np.float32), self._checked_context(context)
        self.base.calibrate(self._compiled_noise_of.in_chunks(_chunk(len(theta), POINTS_PER_CALL), theta, context))

    def log_prob(self, theta: ArrayLike, context: ArrayLike) -> NDArray[np.float32]:
        """``log p(theta | context)``, compiled.

        Parameters
        ----------
        theta : array_like, shape (n, n_labels) or (n, n_samples, n_labels)
        context : array_like, shape (n, n_context)

        Returns
        -------
        ndarray, shape (n,) or (n, n_samples)

        Raises
        ------
        KcinnError
            If the shapes do not fit or a value is not finite.
        """
        context = self._checked_context(context)
        theta = np.asarray(theta, dtype=np.float32)
        if theta.ndim not in (2, 3) or theta.shape[0] != len(context) or theta.shape[-1] != self.n_labels:
            raise KcinnError(
                f"theta must have the shape ({len(context)}, {self.n_labels}) or ({len(context)}, n_samples, "
                f"{self.n_labels}), a row for each of context. Received: {theta.shape}"
            )
        _check_finite("theta", theta)
        if theta.size == 0:
            return np.zeros(theta.shape[:-1], np.float32)
        n_samples = theta.shape[1] if theta.ndim == 3 else 1
        n_rows = _chunk(len(theta), POINTS_PER_CALL // n_samples)
        return self._compiled_log_density.in_chunks(n_rows, theta, context)

    def sample(self, context: ArrayLike, n_samples: int = 1000, seed: int = 0) -> NDArray[np.float32]:
        """Draw from ``p(theta | context)``, compiled.

        Parameters
        ----------
        context : array_like, shape (n, n_context)
        n_samples : int
            Draws for each row of `context`.
        seed : int
            The noise of row ``i`` is a function of ``(seed, i)`` alone, whatever other rows there are.

        Returns
        -------
        ndarray, shape (n, n_samples, n_labels)

        Raises
        ------
        KcinnError
            If the shapes do not fit, a value is not finite, or `n_samples` or `seed` is negative.
        """
        context = self._checked_context(context)
        if n_samples < 0:
            raise KcinnError(f"n_samples must not be negative. Received: n_samples={n_samples}")
        samples = np.empty((len(context), n_samples, self.n_labels), np.float32)
        n_at_once = _chunk(n_samples, POINTS_PER_CALL)
        n_rows = _chunk(len(context), POINTS_PER_CALL // n_at_once)
        for first in range(0, len(context) if n_samples else 0, n_rows):
            rows = slice(first, min(first + n_rows, len(context)))
            noise = self.draw_noise(range(rows.start, rows.stop), n_samples, seed)
            for start in range(0, n_samples, n_at_once):
                part = noise[:, start : start + n_at_once]
                padded = np.zeros((len(part), n_at_once, self.n_labels), np.float32)
                padded[:, : part.shape[1]] = part
                theta = self._compiled_transform.in_chunks(n_rows, padded, context[rows])
                samples[rows, start : start + n_at_once] = theta[:, : part.shape[1]]
        return samples

    def draw_noise(
        self, rows: Iterable[int], n_samples: int, seed: int = 0, *, quasi: bool = False
    ) -> NDArray[np.float32]:
        """Noise for `transform`, shape ``(n_rows, n_samples, n_labels)``, from Philox keyed by ``(seed, row)``.

        With `quasi`, one scrambled Sobol set for all rows, shifted at random for every row.
        """
        if n_samples < 1:
            raise KcinnError(f"n_samples must be at least 1. Received: {n_samples}")
        if not 0 <= seed < 2**64:
            raise KcinnError(f"seed must be between 0 and 2**64 - 1. Received: seed={seed}")
        keys = [np.array([seed, row], np.uint64) for row in rows]
        generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
        if quasi:
            noise = [self.base.spread(shifted_sobol(each, n_samples, self.n_labels)) for each in generators]
        else:
            noise = [self.base.draw(each, (n_samples,)) for each in generators]
        return np.stack(noise) if noise else np.zeros((0, n_samples, self.n_labels), np.float32)

    @cached_property
    def _compiled_log_density(self) -> Compiled:
        return Compiled(self.log_density, self)

    @cached_property
    def _compiled_noise_of(self) -> Compiled:
        return Compiled(self.noise_of, self)

    @cached_property
    def _compiled_transform(self) -> Compiled:
        return Compiled(self.transform, self)

    def _checked_context(self, context: ArrayLike) -> NDArray[np.float32]:
        """`context` as float32, after checks; builds the flow if it has not seen any."""
        context = np.asarray(context, dtype=np.float32)
        if context.ndim != 2:
            raise KcinnError(f"context must have the shape (n, n_context). Received: {context.shape}")
        _check_finite("context", context)
        if not self.built:
            self.build({"theta": (None, self.n_labels), "context": (None, context.shape[1])})
        expected = self.conditioner.kernel.shape[0]
        if context.shape[1] != expected:
            raise KcinnError(f"context must have the shape (n, {expected}). Received: {context.shape}")
        return context

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}


def _check_finite(name: str, values: NDArray[np.float32]) -> None:
    if not np.all(np.isfinite(values)):
        n_bad = np.count_nonzero(~np.isfinite(values))
        raise KcinnError(f"{name} must be finite. Received: {n_bad} values that are not")


def _chunk(n: int, largest: int) -> int:
    """The smallest power of two that holds `n`, at most `largest`: few shapes to compile for, little to pad."""
    return max(1, min(1 << max(0, n - 1).bit_length(), largest))
