"""Information: how well the labels could be known at best, and which pixels tell them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.noise import Noise


def bound(jacobian: ArrayLike, noise: Noise, prior: ArrayLike) -> NDArray[np.float64]:
    """The Cramer-Rao bound: smallest standard deviation that labels can have, all others marginalised.

    Parameters
    ----------
    jacobian : array_like, shape (n_labels, n_pixels)
        Derivative of the spectrum with respect to the labels.
    noise : Noise
        With the nuisances that are to be marginalised.
    prior : array_like, shape (n_labels,)
        Standard deviation of the prior, that of a uniform one being its width over ``sqrt(12)``.

    Returns
    -------
    ndarray, shape (n_labels,)
        In the units of the labels.

    References
    ----------
    Van Trees (1968), Detection, Estimation and Modulation Theory, part I, section 2.4: bound with a prior.
    """
    return np.sqrt(np.diag(_covariance(np.asarray(jacobian, dtype=np.float64), noise, prior)))


def saliency(jacobian: ArrayLike, noise: Noise, prior: ArrayLike) -> NDArray[np.float64]:
    """Share of the information on a label that each pixel holds.

    What counts is the part of a label's derivative that no combination of the other labels and nuisances can imitate:
    its square over the variance of the pixel, summed over pixels, is the inverse square of the label's bound. A line
    that tells temperature and abundance alike has little of either.

    Parameters
    ----------
    jacobian, noise, prior
        As `bound`.

    Returns
    -------
    ndarray, shape (n_labels, n_pixels)
        Every row sums to 1.
    """
    jacobian = np.asarray(jacobian, dtype=np.float64)
    estimator = _covariance(jacobian, noise, prior) @ noise.precision_times(jacobian)
    used = noise.inverse_variance > 0
    information = np.zeros_like(estimator)
    information[:, used] = estimator[:, used] ** 2 / noise.inverse_variance[used]
    return information / np.maximum(information.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def _covariance(jacobian: NDArray[np.float64], noise: Noise, prior: ArrayLike) -> NDArray[np.float64]:
    scale = np.asarray(prior, dtype=np.float64)
    scaled = jacobian * scale[:, None]
    fisher = noise.precision_times(scaled) @ scaled.T
    return scale[:, None] * np.linalg.inv(0.5 * (fisher + fisher.T) + np.eye(len(scale))) * scale
