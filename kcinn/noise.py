"""Noise of one spectrum: independent from pixel to pixel, and on top what nuisances move together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve


class Noise:
    """Gaussian noise with covariance ``C = diag(1 / inverse_variance) + nuisances^T nuisances``.

    Marginalising a linear nuisance of standard normal prior, such as a coefficient of the continuum, adds the outer
    product of its derivative to the covariance. ``C`` is inverted by the identity of Sherman, Morrison and Woodbury.

    Parameters
    ----------
    inverse_variance : array_like, shape (n_pixels,)
        Zero marks a pixel that is not used.
    nuisances : array_like, shape (n_nuisances, n_pixels)
        Derivative of the spectrum with respect to every nuisance, times the standard deviation of its prior.
    """

    def __init__(self, inverse_variance: ArrayLike, nuisances: ArrayLike) -> None:
        self.inverse_variance = np.asarray(inverse_variance, dtype=np.float64)
        self._weighted = np.asarray(nuisances, dtype=np.float64) * self.inverse_variance
        curvature = np.eye(len(self._weighted)) + self._weighted @ np.asarray(nuisances, dtype=np.float64).T
        self._factor = cho_factor(curvature, lower=True)

    def precision_times(self, rows: ArrayLike) -> NDArray[np.float64]:
        """``rows C^-1``, shape ``(n, n_pixels)``."""
        rows = np.asarray(rows, dtype=np.float64)
        return rows * self.inverse_variance - cho_solve(self._factor, self._weighted @ rows.T).T @ self._weighted

    @property
    def n_pixels(self) -> int:
        """Number of pixels that are used."""
        return int(np.count_nonzero(self.inverse_variance))

    @property
    def log_determinant(self) -> float:
        """Of ``C``, on the pixels that are used."""
        used = self.inverse_variance[self.inverse_variance > 0]
        return float(2.0 * np.sum(np.log(np.diag(self._factor[0]))) - np.sum(np.log(used)))
