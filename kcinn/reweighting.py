"""Reweighting: importance weights that turn samples under one prior or likelihood into samples under another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import KcinnError, LabelError
from kcinn.labels import LabelSpace

LogPrior = Callable[[Mapping[str, NDArray[np.float64]]], ArrayLike]

LINES = 64  # samples through which a prior is followed along each label
POINTS = 401  # on each of these lines
OUTSIDE = 0.01  # largest share of a prior's mass outside the box
FLAT = 1e-9  # a prior whose logarithm changes less along a label leaves it uniform


class Resampled(NamedTuple):
    """Samples drawn anew by their weights.

    `place` ``(n_spectra, n_samples)`` tells which old sample each new one is, `log_mean` ``(n_spectra,)`` is the
    logarithm of the mean weight.
    """

    place: NDArray[np.int64]
    log_mean: NDArray[np.float64]


def resample(log_weight: ArrayLike, *, seed: int = 0) -> Resampled:
    """Draw as many samples as there are, in proportion to their weights ``(n_spectra, n_samples)``.

    Systematic resampling: a sample of weight ``w`` (of sum 1) comes ``n w`` times, rounded up or down at random. Where
    all weights vanish, the samples stay as they are and `log_mean` is minus infinity.
    """
    log_weight = np.asarray(log_weight, dtype=np.float64)
    if np.any(np.isnan(log_weight) | np.isposinf(log_weight)):
        raise KcinnError("The new prior or likelihood is not a number, or infinite, for some samples.")
    n_spectra, n = log_weight.shape
    highest = log_weight.max(axis=1, keepdims=True)
    empty = np.isneginf(highest[:, 0])
    relative = np.where(empty[:, None], 1.0, np.exp(log_weight - np.where(np.isneginf(highest), 0.0, highest)))
    weight = relative / relative.sum(axis=1, keepdims=True)
    start = np.random.default_rng(seed).random((n_spectra, 1))
    places = (start + np.arange(n)) / n
    edges = np.cumsum(weight, axis=1)
    index = np.stack([np.searchsorted(row / row[-1], at, side="right") for row, at in zip(edges, places, strict=True)])
    index[empty] = np.arange(n)
    with np.errstate(divide="ignore"):
        log_mean = np.where(empty, -np.inf, highest[:, 0] + np.log(relative.mean(axis=1)))
    return Resampled(np.minimum(index, n - 1), log_mean)


def effective_size(log_weight: ArrayLike, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Effective sample size ``1 / sum(weights^2)`` of weights ``(n_spectra, n_samples)``; 0 where all vanish.

    Equal neighbours, a sample that `resample` drew several times, count as one that has the weights of all.
    """
    log_weight = np.asarray(log_weight, dtype=np.float64)
    highest = log_weight.max(axis=1, keepdims=True)
    weight = np.exp(log_weight - np.where(np.isneginf(highest), 0.0, highest))
    new = np.ones(weight.shape, dtype=bool)
    new[:, 1:] = np.any(samples[:, 1:] != samples[:, :-1], axis=2)
    together = np.bincount(np.cumsum(new) - 1, weight.ravel())
    squares = np.bincount(np.nonzero(new)[0], together**2)
    return np.divide(weight.sum(axis=1) ** 2, squares, out=np.zeros(len(weight)), where=squares > 0)


def evaluate_prior(log_prior: LogPrior, samples: NDArray[np.float32], space: LabelSpace) -> NDArray[np.float64]:
    """A prior at the samples ``(n_spectra, n_samples, n_labels)``, after a check that it ends within the box.

    Outside the box there are no samples that could be given weight. Along lines through some of the samples, one label
    varies to beyond both edges of its box. A prior that is constant along the lines, or constant where it is not zero,
    only cuts the uniform prior of that label.

    Raises
    ------
    LabelError
        If more than 1 percent of the prior's mass along some label lies outside the box.
    KcinnError
        If the prior does not return one number per sample.
    """
    values = np.asarray(samples, dtype=np.float64)
    flat = values.reshape(-1, len(space))
    flat = flat[np.isfinite(flat).all(axis=1)]
    if not len(flat):
        return np.full(values.shape[:-1], -np.inf)
    rows = flat[np.linspace(0, len(flat) - 1, min(LINES, len(flat))).astype(int)]
    for k, label in enumerate(space):
        width = label.upper - label.lower
        line = np.linspace(label.lower - width, label.upper + width, POINTS)
        points = np.repeat(rows[:, None, :], POINTS, axis=1)
        points[:, :, k] = line
        density = _call(log_prior, points, space)
        highest = density.max(axis=1)
        lowest = np.where(np.isfinite(density), density, np.inf).min(axis=1)
        if np.all(highest - lowest < FLAT):
            continue
        mass = np.exp(density - np.where(np.isfinite(highest), highest, 0.0)[:, None])
        outside = (line < label.lower) | (line > label.upper)
        share = mass[:, outside].sum() / max(mass.sum(), np.finfo(float).tiny)
        if share > OUTSIDE:
            raise LabelError(
                f"The prior has {share:.0%} of its mass in {label.name} outside {label.lower:g} to {label.upper:g} "
                f"{label.unit}, the box of the training, where the model has no samples. Make it -inf there if it is "
                "meant to end at the edge, or train a model with a larger box."
            )
    return _call(log_prior, values, space)


def _call(log_prior: LogPrior, values: NDArray[np.float64], space: LabelSpace) -> NDArray[np.float64]:
    result = np.asarray(log_prior({name: values[..., k] for k, name in enumerate(space.names)}), dtype=np.float64)
    if result.shape not in ((), values.shape[:-1]):
        raise KcinnError(f"log_prior must return one number per sample, {values.shape[:-1]}. Received: {result.shape}")
    return np.broadcast_to(result, values.shape[:-1])
