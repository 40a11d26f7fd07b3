"""Couplings: the invertible steps that learn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kcinn.errors import KcinnError
from kcinn.nn.subnet import Subnet
from kcinn.nn.tensor import Shape, Tensor


def soft_clamp(values: Tensor, bound: float) -> Tensor:
    """Bound `values` smoothly to ``(-bound, bound)``, with slope one at zero."""
    return bound * ops.tanh(values / bound)


class Coupling(keras.layers.Layer):
    """Two-sided coupling: move one half of `theta` given the other half and the context, then the other way round.

    The Jacobian of each side is triangular, so its log-determinant is the sum of the log-slopes (Dinh et al. 2017,
    arXiv:1605.08803). A subclass says how many numbers per label its elementwise map takes (`n_parameters`) and what
    the map is (`move`, `move_back`); parameters that are all zero must give the identity.

    Parameters
    ----------
    n_labels : int
        Size of the last axis of `theta`. With one there is no other half and the map depends on the context alone.
    width, hidden, activation
        Of the two subnets, see `Subnet`.
    clamp : float
        Bound on the log-scale of one step. Keeps a far-off spectrum from overflowing ``exp``.

    Input shape
        theta ``(..., n_labels)``, conditioned ``(..., n_conditioned)``: the context half of the subnets' first layers.
    Output shape
        z ``(..., n_labels)``, log_det ``(...)``.

    Raises
    ------
    KcinnError
        If ``n_labels < 1``.
    """

    n_parameters: int

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
        super().__init__(autocast=False, **kwargs)  # bfloat16 would round the labels themselves
        if n_labels < 1:
            raise KcinnError(f"A coupling needs at least one label. Received: n_labels={n_labels}")
        self.n_labels, self.width, self.hidden, self.clamp = n_labels, width, hidden, clamp
        self.activation = activation
        self.n_first, self.n_second = n_labels // 2, n_labels - n_labels // 2
        options = {"width": width, "hidden": hidden, "activation": activation, "dtype": self.dtype_policy}
        self.second_subnet = Subnet(self.n_first, self.n_second * self.n_parameters, **options)
        self.first_subnet = Subnet(self.n_second, self.n_first * self.n_parameters, **options) if self.n_first else None

    @property
    def n_conditioned(self) -> int:
        """Size of the last axis of `conditioned`."""
        return self.width * (2 if self.n_first else 1)

    def build(self, theta_shape: Shape, conditioned_shape: Shape | None = None) -> None:
        self.second_subnet.build((None, self.n_first))
        if self.first_subnet is not None:
            self.first_subnet.build((None, self.n_second))
        self.built = True

    def call(self, theta: Tensor, conditioned: Tensor) -> tuple[Tensor, Tensor]:
        """Map labels towards latent space; return ``(z, log_det)``."""
        if self.first_subnet is None:
            z, log_slope = self.move(theta, self._map_parameters(self.second_subnet, theta[..., :0], conditioned))
            return z, ops.sum(log_slope, axis=-1)
        first, second = theta[..., : self.n_first], theta[..., self.n_first :]
        to_second, to_first = conditioned[..., : self.width], conditioned[..., self.width :]
        first, first_slope = self.move(first, self._map_parameters(self.first_subnet, second, to_first))
        second, second_slope = self.move(second, self._map_parameters(self.second_subnet, first, to_second))
        z = ops.concatenate([first, second], axis=-1)
        return z, ops.sum(first_slope, axis=-1) + ops.sum(second_slope, axis=-1)

    def inverse(self, z: Tensor, conditioned: Tensor) -> tuple[Tensor, Tensor]:
        """Map latent space towards labels; return ``(theta, log_det)`` with `log_det` of this direction."""
        if self.first_subnet is None:
            theta, log_slope = self.move_back(z, self._map_parameters(self.second_subnet, z[..., :0], conditioned))
            return theta, ops.sum(log_slope, axis=-1)
        first, second = z[..., : self.n_first], z[..., self.n_first :]
        to_second, to_first = conditioned[..., : self.width], conditioned[..., self.width :]
        second, second_slope = self.move_back(second, self._map_parameters(self.second_subnet, first, to_second))
        first, first_slope = self.move_back(first, self._map_parameters(self.first_subnet, second, to_first))
        theta = ops.concatenate([first, second], axis=-1)
        return theta, ops.sum(first_slope, axis=-1) + ops.sum(second_slope, axis=-1)

    def move(self, active: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Move `active`, ``(..., n)``, by `parameters`, ``(..., n, n_parameters)``; return it with its log-slopes."""
        raise NotImplementedError

    def move_back(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `move`; return it with the log-slope of the inverse."""
        raise NotImplementedError

    def _map_parameters(self, subnet: Subnet, passive: Tensor, conditioned: Tensor) -> Tensor:
        """The map's parameters, shape ``(..., n_active, n_parameters)``."""
        flat = subnet(passive, conditioned)
        return ops.reshape(flat, (*ops.shape(flat)[:-1], subnet.n_out // self.n_parameters, self.n_parameters))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "n_labels": self.n_labels,
            "width": self.width,
            "hidden": self.hidden,
            "activation": self.activation,
            "clamp": self.clamp,
        }


@keras.saving.register_keras_serializable(package="kcinn")
class AffineCoupling(Coupling):
    """Coupling whose map is a scale and a shift, ``b * exp(s) + t`` (RealNVP, Dinh et al. 2017, eq. 7).

    Parameters, shapes and errors as in `Coupling`.
    """

    n_parameters = 2

    def move(self, active: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = soft_clamp(parameters[..., 0], self.clamp)
        return active * ops.exp(log_scale) + parameters[..., 1], log_scale

    def move_back(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = soft_clamp(parameters[..., 0], self.clamp)
        return (moved - parameters[..., 1]) * ops.exp(-log_scale), -log_scale


@keras.saving.register_keras_serializable(package="kcinn")
class SplineCoupling(Coupling):
    """Coupling whose map is a monotone rational-quadratic spline with linear tails.

    After Durkan et al. 2019, arXiv:1906.04032. Inside ``[-bound, bound]`` each label passes through `bins` bins;
    outside the map is the identity. The logarithm of a knot's slope is bounded by `clamp`, those of a bin's width and
    height before normalisation by half of it: no bin can vanish, and float32 can undo the map.

    Parameters
    ----------
    n_labels, width, hidden, activation, clamp
        As in `Coupling`.
    bins : int
        Number of bins.
    bound : float
        Where the linear tails begin.

    Raises
    ------
    KcinnError
        If ``n_labels < 1``, ``bins < 2`` or ``bound <= 0``.
    """

    def __init__(self, n_labels: int, *, bins: int = 8, bound: float = 5.0, **kwargs: Any) -> None:
        if bins < 2 or bound <= 0:
            raise KcinnError(f"A spline needs bins >= 2 and bound > 0. Received: bins={bins}, bound={bound}")
        self.n_parameters = 3 * bins - 1
        super().__init__(n_labels, **kwargs)
        self.bins, self.bound = bins, bound

    def move(self, active: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        inside = ops.clip(active, -self.bound, self.bound)  # before the branch below: no NaN gradient from outside
        x0, width, y0, height, slope0, slope1 = self._bin(inside, parameters, inverse=False)
        slope = height / width
        t = (inside - x0) / width
        moved, log_slope = _rational_quadratic(t, y0, height, slope, slope0, slope1)
        outside = ops.abs(active) > self.bound
        return ops.where(outside, active, moved), ops.where(outside, 0.0, log_slope)

    def move_back(self, moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        inside = ops.clip(moved, -self.bound, self.bound)
        x0, width, y0, height, slope0, slope1 = self._bin(inside, parameters, inverse=True)
        slope = height / width
        # The root of Durkan et al. eq. 29 in the form that does not cancel.
        rise, bend = inside - y0, slope0 + slope1 - 2.0 * slope
        a, b, c = height * (slope - slope0) + rise * bend, height * slope0 - rise * bend, -slope * rise
        t = 2.0 * c / (-b - ops.sqrt(ops.maximum(b * b - 4.0 * a * c, 1e-12)))
        _, log_slope = _rational_quadratic(t, y0, height, slope, slope0, slope1)
        outside = ops.abs(moved) > self.bound
        return ops.where(outside, moved, x0 + t * width), ops.where(outside, 0.0, -log_slope)

    def _bin(self, values: Tensor, parameters: Tensor, *, inverse: bool) -> list[Tensor]:
        """Lower edge and size in x, lower edge and size in y, and the two knot slopes of the bin of each value."""
        sizes = soft_clamp(parameters[..., : 2 * self.bins], 0.5 * self.clamp)
        widths = 2.0 * self.bound * ops.softmax(sizes[..., : self.bins], axis=-1)
        heights = 2.0 * self.bound * ops.softmax(sizes[..., self.bins :], axis=-1)
        slopes = ops.exp(soft_clamp(parameters[..., 2 * self.bins :], self.clamp))
        edge = ops.ones_like(slopes[..., :1])  # the slope of the tails
        before = ops.convert_to_tensor(np.tri(self.bins, k=-1, dtype="float32").T)
        left, bottom = (ops.sum(sizes[..., None] * before, axis=-2) - self.bound for sizes in (widths, heights))
        knots = bottom if inverse else left
        index = ops.sum(ops.cast(values[..., None] >= knots[..., 1:], "int32"), axis=-1, keepdims=True)
        chosen = ops.cast(ops.equal(index, ops.arange(self.bins, dtype="int32")), "float32")
        lower, upper = ops.concatenate([edge, slopes], axis=-1), ops.concatenate([slopes, edge], axis=-1)
        return [ops.sum(chosen * item, axis=-1) for item in (left, widths, bottom, heights, lower, upper)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "bound": self.bound}


def _rational_quadratic(
    t: Tensor, y0: Tensor, height: Tensor, slope: Tensor, slope0: Tensor, slope1: Tensor
) -> tuple[Tensor, Tensor]:
    """Durkan et al. 2019, eqs. 4 and 5: the spline and the logarithm of its slope at the fraction `t` of a bin."""
    mixed = t * (1.0 - t)
    denominator = slope + (slope0 + slope1 - 2.0 * slope) * mixed
    value = y0 + height * (slope * t * t + slope0 * mixed) / denominator
    gain = slope1 * t * t + 2.0 * slope * mixed + slope0 * (1.0 - t) ** 2
    return value, 2.0 * ops.log(slope) + ops.log(gain) - 2.0 * ops.log(denominator)
