"""Detection: whether a label is measured, or only limited from above."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DETECTED = 1.0 / 3.0  # of the peak: a Gaussian that the prior cuts two standard deviations below its peak
LARGEST_ERROR = 0.25  # dex: of a weak line, whose strength goes with the abundance, measured at 2.3 sigma
LIMIT = 0.95


class Detection(NamedTuple):
    """Whether a label is `detected` in every spectrum, and its 95 percent `upper_limit`, ``(n_spectra,)`` each."""

    detected: NDArray[np.bool_]
    upper_limit: NDArray[np.float64]


def detect(samples: ArrayLike, *, in_dex: bool) -> Detection:
    """Whether a label is detected, from samples ``(n_spectra, n_samples)``, see `Posterior.detection`."""
    samples = np.sort(np.asarray(samples, dtype=np.float64), axis=1)
    n = samples.shape[1]
    first, last = int(0.01 * n), int(0.1 * n)
    tail = (last - first) / np.maximum(samples[:, last] - samples[:, first], 1e-12)
    quarter = max(2, n // 4)
    peak = quarter / np.min(np.maximum(samples[:, quarter:] - samples[:, :-quarter], 1e-12), axis=1)
    detected = tail < DETECTED * peak
    if in_dex:
        lower, median = np.quantile(samples, [0.16, 0.5], axis=1)
        detected &= median - lower < LARGEST_ERROR
    return Detection(detected, np.quantile(samples, LIMIT, axis=1))
