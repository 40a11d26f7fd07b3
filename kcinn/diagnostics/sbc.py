"""Simulation-based calibration: the rank of the truth among posterior samples must be uniform."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from kcinn.diagnostics.calibration import rank


class SBC(NamedTuple):
    """Ranks of the truth, ``(n_spectra, n_labels)`` between 0 and 1, and the test of their uniformity, ``(n_labels,)``.

    `statistic` and `p_value` of Kolmogorov and Smirnov's test per label; `corrected` is the p-value times the number of
    labels (Bonferroni), so that one label in many does not fail by chance.
    """

    rank: NDArray[np.float64]
    statistic: NDArray[np.float64]
    p_value: NDArray[np.float64]
    corrected: NDArray[np.float64]


def sbc(samples: ArrayLike, truth: ArrayLike, *, seed: int = 0) -> SBC:
    """Simulation-based calibration of posterior samples.

    Holds for truths drawn from the prior of the training; spectra must be independent. Ranks are spread uniformly over
    the gap between two samples, so that under calibration they are exactly uniform.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
        Of the posteriors.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.
    seed : int
        Of the spread between two samples.

    Returns
    -------
    SBC
        Ranks, and the test of their uniformity.

    References
    ----------
    Talts et al. (2018), arXiv:1804.06788.
    """
    samples = np.asarray(samples)
    spread = np.random.default_rng(seed).random(np.shape(truth))
    ranks = (rank(samples, truth) * samples.shape[1] + spread) / (samples.shape[1] + 1.0)
    tests = [stats.kstest(column, "uniform") for column in ranks.T]
    p_value = np.array([test.pvalue for test in tests])
    corrected = np.minimum(1.0, p_value * len(p_value))
    return SBC(ranks, np.array([test.statistic for test in tests]), p_value, corrected)
