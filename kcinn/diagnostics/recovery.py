"""Recovery: posterior against truth, label by label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.diagnostics.calibration import coverage


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
    """Compare posterior samples with true labels.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
        Of the posteriors.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.

    Returns
    -------
    Recovery
        Residuals, widths and coverage per label.
    """
    samples, truth = np.asarray(samples), np.asarray(truth, dtype=np.float64)
    low, middle, high = np.quantile(samples, [0.16, 0.5, 0.84], axis=1)
    residual = middle - truth
    inside68, inside95 = coverage(samples, truth, [0.6827, 0.9545])
    return Recovery(
        bias=residual.mean(axis=0),
        rms=np.sqrt(np.mean(residual**2, axis=0)),
        scatter=1.4826 * np.median(np.abs(residual), axis=0),
        width=np.median(0.5 * (high - low), axis=0),
        coverage68=inside68,
        coverage95=inside95,
    )
