"""Calibration: do central intervals of a level hold the truth as often as they say?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVELS = np.arange(0.01, 1.0, 0.01)


class Calibration(NamedTuple):
    """Coverage at every level, and the two numbers by which the cINN literature sums it up.

    `level` ``(n_levels,)``; `inside` ``(n_levels, n_labels)`` the shares of truths in the central interval of that
    level; `error` ``(n_labels,)``, there called e_cal, the median over the levels of ``|inside - level|``; `width68`
    ``(n_labels,)``, there called u68, the median full width of the central 68 percent interval.
    """

    level: NDArray[np.float64]
    inside: NDArray[np.float64]
    error: NDArray[np.float64]
    width68: NDArray[np.float64]


def calibration(samples: ArrayLike, truth: ArrayLike) -> Calibration:
    """Calibration of posterior samples, one label at a time.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
        Of the posteriors.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.

    Returns
    -------
    Calibration
        Coverage at the levels 0.01 to 0.99, and what sums it up per label.

    References
    ----------
    Ardizzone et al. (2019), arXiv:1808.04730; Ksoll et al. (2020), MNRAS 499, 5447.
    """
    inside = coverage(samples, truth, LEVELS)
    low, high = np.quantile(np.asarray(samples), [0.16, 0.84], axis=1)
    error = np.median(np.abs(inside - LEVELS[:, None]), axis=0)
    return Calibration(LEVELS, inside, error, np.median(high - low, axis=0))


def rank(samples: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Share of the samples below the truth: uniform if the posterior is calibrated.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
        Of the posteriors.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.

    Returns
    -------
    ndarray, shape (n_spectra, n_labels)
        Between 0 and 1.
    """
    return np.mean(np.asarray(samples) < np.asarray(truth)[:, None, :], axis=1)


def coverage(samples: ArrayLike, truth: ArrayLike, level: ArrayLike) -> NDArray[np.float64]:
    """Share of truths inside the central interval of each level.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
        Of the posteriors.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.
    level : array_like, shape (n_levels,)
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (n_levels, n_labels)
        Equal to the levels, but for chance, if the posterior is calibrated.
    """
    distance = 2.0 * np.abs(rank(samples, truth) - 0.5)
    return np.mean(distance[None] <= np.asarray(level)[:, None, None], axis=1)
