"""Diagnostics: how near posteriors come to the truth, and whether their widths are honest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Recovery(NamedTuple):
    """Truth against posterior for a set of spectra, every field of shape ``(n_labels,)``.

    `bias` and `rms` of posterior median minus truth, `scatter` its robust standard deviation (1.4826 times the median
    absolute residual), `width` the median half width of the 68 percent interval, `coverage68` and `coverage95` the
    shares of truths inside the central 68.27 and 95.45 percent intervals.
    """

    bias: NDArray[np.float64]
    rms: NDArray[np.float64]
    scatter: NDArray[np.float64]
    width: NDArray[np.float64]
    coverage68: NDArray[np.float64]
    coverage95: NDArray[np.float64]


def recovery(samples: ArrayLike, truth: ArrayLike) -> Recovery:
    """Compare posterior samples ``(n_spectra, n_samples, n_labels)`` with true labels ``(n_spectra, n_labels)``."""
    samples, truth = np.asarray(samples), np.asarray(truth, dtype=np.float64)
    low, middle, high = np.quantile(samples, [0.16, 0.5, 0.84], axis=1)
    residual = middle - truth
    return Recovery(
        bias=residual.mean(axis=0),
        rms=np.sqrt(np.mean(residual**2, axis=0)),
        scatter=1.4826 * np.median(np.abs(residual), axis=0),
        width=np.median(0.5 * (high - low), axis=0),
        coverage68=coverage(samples, truth, [0.6827])[0],
        coverage95=coverage(samples, truth, [0.9545])[0],
    )


def rank(samples: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Share of the samples below the truth, ``(n_spectra, n_labels)``: uniform if the posterior is calibrated."""
    return np.mean(np.asarray(samples) < np.asarray(truth)[:, None, :], axis=1)


def coverage(samples: ArrayLike, truth: ArrayLike, level: ArrayLike) -> NDArray[np.float64]:
    """Share of truths inside the central interval of each `level`, shape ``(n_levels, n_labels)``."""
    distance = 2.0 * np.abs(rank(samples, truth) - 0.5)
    return np.mean(distance[None] <= np.asarray(level)[:, None, None], axis=1)
