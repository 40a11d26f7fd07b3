"""Summaries of posterior samples: moments, quantiles, and the mode of every marginal."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

QUANTILES = (0.16, 0.5, 0.84)
REACH = 4.0  # half width of the histogram behind a mode, in half widths of the 16 to 84 percent interval
BINS = 80
POINTS = 1024  # at which its density is evaluated
LEAST = 1e-8  # of a kernel's maximum: less is lost in the last digit of a density


class Summary(NamedTuple):
    """What is told of samples ``(n, n_samples, n_labels)``.

    `quantiles` ``(n, 3, n_labels)`` at 16, 50 and 84 percent, `mode` and `mean` ``(n, n_labels)``, `covariance`
    ``(n, n_labels, n_labels)``.
    """

    quantiles: NDArray[np.floating]
    mode: NDArray[np.floating]
    mean: NDArray[np.floating]
    covariance: NDArray[np.floating]


@lru_cache(maxsize=8)
def smoothing(n_samples: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Edges of the bins of a histogram, points, and the matrix ``(BINS, POINTS)`` from counts to the density at them.

    Edges and points are distances from the median in units of the scatter. A Gaussian kernel with the bandwidth of
    Silverman's rule, ``0.9 scatter n_samples^-1/5``.
    """
    edges = np.linspace(-REACH, REACH, BINS + 1)
    distance, points = distances()
    kernel = np.exp(-0.5 * (distance / (0.9 * n_samples**-0.2)) ** 2)
    return edges.astype(np.float32), points, kernel.astype(np.float32)


def distances() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distances of the points of `smoothing` from the centres of the bins, ``(BINS, POINTS)``, and the points."""
    edges, points = np.linspace(-REACH, REACH, BINS + 1), np.linspace(-REACH, REACH, POINTS)
    distance = points - 0.5 * (edges[1:] + edges[:-1])[:, None]
    return distance.astype(np.float32), points.astype(np.float32)


def summarise(samples: NDArray[np.float32]) -> Summary:
    """Summaries of samples ``(n, n_samples, n_labels)``; `kcinn.nn.summarise` makes the same ones inside a network."""
    n_samples = samples.shape[1]
    ordered = np.sort(np.ascontiguousarray(samples.transpose(0, 2, 1)), axis=-1)
    position = np.array(QUANTILES) * (n_samples - 1)
    rank = position.astype(np.int64)
    lower, upper = ordered[:, :, rank], ordered[:, :, np.minimum(rank + 1, n_samples - 1)]
    quantiles = (lower + (position - rank) * (upper - lower)).transpose(0, 2, 1)
    mean = samples.mean(axis=1, dtype=np.float64)
    covariance = _covariance(np.ascontiguousarray(samples), mean.astype(samples.dtype))
    return Summary(quantiles, _mode(ordered, quantiles), mean, covariance)


def _mode(ordered: NDArray[np.float32], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maximum of the smoothed histogram of sorted samples ``(n, n_labels, n_samples)``."""
    edges, points, kernel = smoothing(ordered.shape[-1])
    low, middle, high = (quantiles[:, k] for k in range(3))
    scatter = np.maximum(0.5 * (high - low), 1e-6 * np.abs(middle) + 1e-12)
    limits = (middle[..., None] + scatter[..., None] * edges).astype(np.float32)
    near = kernel > LEAST
    first, last = near.argmax(axis=1), POINTS - near[:, ::-1].argmax(axis=1)
    return middle + scatter * points[_densest(ordered, limits, kernel, first, last)]


# Loops of numba, on one core, since a survey's other threads have the cores: many small products in NumPy would wait
# for threads that never get one.


@njit(nogil=True, cache=True)
def _covariance(samples: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float64]:
    """Covariance ``(n, n_labels, n_labels)`` of samples ``(n, n_samples, n_labels)`` around a rounded mean."""
    n, n_samples, n_labels = samples.shape
    covariance = np.empty((n, n_labels, n_labels), dtype=np.float64)
    centred = np.empty((n_labels, n_samples), dtype=np.float32)
    for row in range(n):
        for i in range(n_labels):
            for k in range(n_samples):
                centred[i, k] = samples[row, k, i] - mean[row, i]
            for j in range(i + 1):
                covariance[row, i, j] = covariance[row, j, i] = _product(centred[i], centred[j]) / max(n_samples - 1, 1)
    return covariance


@njit(nogil=True, cache=True, fastmath=True)
def _product(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    total = 0.0
    for k in range(len(a)):
        total += float(a[k]) * float(b[k])
    return total


@njit(nogil=True, cache=True)
def _densest(
    ordered: NDArray[np.float32],
    limits: NDArray[np.float32],
    kernel: NDArray[np.float32],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Index of the point where the smoothed histogram is highest, ``(n, n_labels)``.

    Of the kernel of each bin only the points from `first` to `last` count.
    """
    n, n_labels, n_limits = limits.shape
    densest = np.empty((n, n_labels), dtype=np.int64)
    density = np.empty(kernel.shape[1], dtype=np.float32)
    for row in range(n):
        for label in range(n_labels):
            below = np.searchsorted(ordered[row, label], limits[row, label])
            density[:] = 0.0
            for k in range(n_limits - 1):
                count = np.float32(below[k + 1] - below[k])
                if count:
                    density[first[k] : last[k]] += count * kernel[k, first[k] : last[k]]
            densest[row, label] = np.argmax(density)
    return densest
