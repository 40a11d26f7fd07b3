"""Outlier: how unlike the spectra of the training a spectrum is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FALSE_ALARMS = 0.01  # share of ordinary spectra that may be called outliers
MARGIN = 0.5  # of that, at which thresholds are set: they are learned from a finite number of spectra
NOISE = 3.3  # standard deviations of the reduced chi-square that noise alone may reach
NOISE_PEAK = 5.2  # and of the largest misfit in a window
LARGEST_MATRIX = 64  # numbers in a context up to which their correlations are kept
RIDGE = 1e-6


@dataclass(frozen=True)
class Outlier:
    """Three signs that a spectrum is unlike those of the training, each over its threshold.

    - Its reduced chi-square exceeds ``1 + 3.3 sqrt(2 / n_pixels) + chi_square * snr^2``: what noise allows, and
      what the emulator's error adds.
    - Its largest misfit in a window of a few pixels exceeds ``5.2 + peak * snr``.
    - Its context is further than `distance` from the mean of the training's, in Mahalanobis' measure.

    Parameters
    ----------
    mean : array_like, shape (n_context,)
    whitening : array_like, shape (n_context, n_context) or (n_context,)
        Turns a context minus the mean into independent numbers of unit variance.
    distance, chi_square, peak : float
        Thresholds, learned such that about 1 percent of ordinary spectra exceed any.
    """

    mean: NDArray[np.float64]
    whitening: NDArray[np.float64]
    distance: float
    chi_square: float
    peak: float

    def __call__(
        self, context: ArrayLike, chi_square: ArrayLike, peak: ArrayLike, snr: ArrayLike, n_pixels: ArrayLike
    ) -> NDArray[np.float64]:
        """The score of spectra, ``(n,)``: the largest of the three signs; above 1 is an outlier.

        Parameters
        ----------
        context : array_like, shape (n, n_context)
            Standardised.
        chi_square, peak : array_like, shape (n,)
            Reduced chi-square of the best fit, and the largest misfit in a window (`kcinn.nn.resimulation`).
        snr : array_like, shape (n,)
            Signal-to-noise ratio per pixel, root of the mean inverse variance.
        n_pixels : array_like, shape (n,)
            Number of pixels that are used.
        """
        snr = np.asarray(snr, dtype=np.float64)
        noise = NOISE * np.sqrt(2.0 / np.maximum(n_pixels, 1))
        signs = (
            _distance(np.asarray(context, dtype=np.float64) - self.mean, self.whitening) / self.distance,
            (np.asarray(chi_square) - 1.0) / (noise + self.chi_square * snr**2),
            np.asarray(peak) / (NOISE_PEAK + self.peak * snr),
        )
        return np.max(signs, axis=0)

    @classmethod
    def learn(
        cls, context: ArrayLike, chi_square: ArrayLike, peak: ArrayLike, snr: ArrayLike, n_pixels: ArrayLike
    ) -> Outlier:
        """Learn the thresholds from ordinary spectra that the training has not seen; arguments as in a call."""
        context, snr = np.asarray(context, dtype=np.float64), np.asarray(snr, dtype=np.float64)
        mean = context.mean(axis=0)
        if context.shape[1] <= LARGEST_MATRIX:
            covariance = np.cov(context.T) + RIDGE * np.eye(context.shape[1])
            whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
        else:
            whitening = 1.0 / (context.std(axis=0) + RIDGE)
        level = 1.0 - MARGIN * FALSE_ALARMS / 3.0
        noise = NOISE * np.sqrt(2.0 / np.maximum(n_pixels, 1))
        excess = (np.asarray(chi_square) - 1.0 - noise) / snr**2
        excess_peak = (np.asarray(peak) - NOISE_PEAK) / snr
        return cls(
            mean,
            whitening,
            float(np.quantile(_distance(context - mean, whitening), level)),
            float(max(np.quantile(excess, level), 0.0)),
            float(max(np.quantile(excess_peak, level), 0.0)),
        )

    def get_config(self) -> dict[str, Any]:
        """As plain data, for files."""
        thresholds = {key: getattr(self, key) for key in ("distance", "chi_square", "peak")}
        return {"mean": self.mean.tolist(), "whitening": self.whitening.tolist(), **thresholds}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Outlier:
        """Rebuild from `get_config`."""
        return cls(**{**config, "mean": np.array(config["mean"]), "whitening": np.array(config["whitening"])})


def _distance(deviation: NDArray[np.float64], whitening: NDArray[np.float64]) -> NDArray[np.float64]:
    white = deviation @ whitening if whitening.ndim == 2 else deviation * whitening
    return np.sqrt(np.mean(white**2, axis=1))
