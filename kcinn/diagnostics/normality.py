"""Normality of a flow's latent: the truth, sent through the flow, must follow the base distribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class Normality(NamedTuple):
    """Of the latent variables of the truths: mean, standard deviation, p-values ``(n_latent,)``, largest correlation.

    `corrected` is the p-value of Kolmogorov and Smirnov's test times the number of variables (Bonferroni).
    """

    mean: NDArray[np.float64]
    standard_deviation: NDArray[np.float64]
    corrected: NDArray[np.float64]
    correlation: float


def normality(latent: ArrayLike) -> Normality:
    """Compare the latent variables of true labels with independent standard normals.

    Parameters
    ----------
    latent : array_like, shape (n_spectra, n_latent)
        Such as `CINN.latent` gives, of one member.

    Returns
    -------
    Normality
        Moments, tests and the largest correlation.
    """
    latent = np.asarray(latent, dtype=np.float64)
    p_value = np.array([stats.kstest(column, "norm").pvalue for column in latent.T])
    off_diagonal = np.corrcoef(latent.T) - np.eye(latent.shape[1]) if latent.shape[1] > 1 else np.zeros((1, 1))
    return Normality(
        latent.mean(axis=0),
        latent.std(axis=0),
        np.minimum(1.0, p_value * len(p_value)),
        float(np.max(np.abs(off_diagonal))),
    )
