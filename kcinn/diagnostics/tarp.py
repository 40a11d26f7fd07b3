"""TARP: coverage of the joint posterior, tested with random points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from kcinn.labels import LabelSpace

STREAM = 7247  # keeps the reference points apart from truths that were drawn with the same seed


class TARP(NamedTuple):
    """Expected coverage: at each `level` ``(n_levels,)`` the share of truths `inside`, and the p-value of the test."""

    level: NDArray[np.float64]
    inside: NDArray[np.float64]
    p_value: float


def tarp(samples: ArrayLike, truth: ArrayLike, space: LabelSpace, *, seed: int = 0) -> TARP:
    """Tests of accuracy with random points, of posterior samples.

    For every spectrum a reference point is drawn uniformly in the prior box. The share of the samples that are nearer
    to it than the truth is uniform if the joint posterior is right, not only its marginals. Distances are in units of
    the box's edges. The test is Kolmogorov and Smirnov's.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
        Of the posteriors.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.
    space : LabelSpace
        Whose box is the prior.
    seed : int
        Of the reference points.

    Returns
    -------
    TARP
        Expected coverage of the joint posterior, and the p-value of its test.

    References
    ----------
    Lemos et al. (2023), arXiv:2302.03026.
    """
    width = space.upper - space.lower
    points = (np.asarray(samples, dtype=np.float64) - space.lower) / width
    target = (np.asarray(truth, dtype=np.float64) - space.lower) / width
    rng = np.random.default_rng([seed, STREAM])
    reference = rng.random(target.shape)
    nearer = np.sum(
        np.linalg.norm(points - reference[:, None, :], axis=2) < np.linalg.norm(target - reference, axis=1)[:, None],
        axis=1,
    )
    share = (nearer + rng.random(len(target))) / (points.shape[1] + 1.0)
    level = np.linspace(0.0, 1.0, 101)
    inside = np.mean(share[None] <= level[:, None], axis=1)
    return TARP(level, inside, float(stats.kstest(share, "uniform").pvalue))
