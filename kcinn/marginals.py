"""Summaries of posterior samples: moments, quantiles, and the mode of every marginal."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.16, 0.5, 0.84)
REACH = 4.0  # half width of the histogram behind a mode, in half widths of the 16 to 84 percent interval
BINS = 80
POINTS = 1024  # at which its density is evaluated


class Summary(NamedTuple):
    """Of samples ``(n, n_samples, n_labels)``: `quantiles` ``(n, 3, n_labels)`` at 16, 50 and 84 percent, `mode` and
    `mean` ``(n, n_labels)``, `covariance` ``(n, n_labels, n_labels)``."""

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
    centred = samples - mean[:, None]
    covariance = centred.transpose(0, 2, 1) @ centred / max(n_samples - 1, 1)
    return Summary(quantiles, _mode(ordered, quantiles), mean, covariance)


def _mode(ordered: NDArray[np.float32], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maximum of the smoothed histogram of sorted samples ``(n, n_labels, n_samples)``."""
    edges, points, kernel = smoothing(ordered.shape[-1])
    low, middle, high = (quantiles[:, k] for k in range(3))
    scatter = np.maximum(0.5 * (high - low), 1e-6 * np.abs(middle) + 1e-12)
    limits = (middle[..., None] + scatter[..., None] * edges).astype(np.float32)
    below = np.empty(limits.shape, dtype=np.float32)
    for index in np.ndindex(middle.shape):
        below[index] = np.searchsorted(ordered[index], limits[index])
    return middle + scatter * points[np.argmax(np.diff(below, axis=-1) @ kernel, axis=-1)]
