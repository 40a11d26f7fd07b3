"""Wavelength scales: refractive index of air, Doppler shifts, pixels, and resampling that carries variance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from astropy.constants import c
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter
from scipy.sparse import csr_array
from scipy.special import ndtr

from kcinn.errors import SpectraError
from kcinn.quantity import VELOCITY, WAVELENGTH, values

SPEED_OF_LIGHT = c.to_value("km/s")
GAP_FACTOR = 3.0  # a step this many times the local step is a gap, not a wide pixel
GAUSSIAN_REACH = 6.0  # standard deviations at which a Gaussian is cut
AUTOCORRELATION_REACH = 6.0  # the same for the autocorrelation of a Gaussian line, which is wider by a root of two
FILL_FLUX = 1.0  # flux of a masked output pixel: the continuum


def _refractive_index(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """Refractive index of dry air at vacuum wavelengths, Morton (2000), ApJS 130, 403, eq. 8."""
    sigma2 = (1e4 / wavelength) ** 2
    return 1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - sigma2) + 1.5998e-4 / (38.9 - sigma2)


def _checked(wavelength: ArrayLike, name: str) -> NDArray[np.float64]:
    wavelength = np.asarray(values(wavelength, WAVELENGTH, name), dtype=np.float64)
    if not np.all((wavelength >= 2000.0) & (wavelength <= 25000.0)):
        raise SpectraError(
            f"{name} holds from 2000 to 25000 angstrom; is the wavelength in nm? "
            f"Received: {wavelength.min():g} to {wavelength.max():g}"
        )
    return wavelength


def vacuum_to_air(wavelength: ArrayLike) -> NDArray[np.float64]:
    """Convert vacuum wavelengths to air (15 C, 101325 Pa, dry).

    Parameters
    ----------
    wavelength : array_like, shape (...), angstrom
        Vacuum wavelengths, 2000 to 25000 angstrom.

    Returns
    -------
    ndarray, shape (...), angstrom
        Air wavelengths. At 6563 angstrom the two differ by 1.8 angstrom, or 83 km/s.

    Raises
    ------
    SpectraError
        If a wavelength lies outside the range of the formula.

    References
    ----------
    Morton (2000), ApJS 130, 403, eq. 8.
    """
    wavelength = _checked(wavelength, "vacuum_to_air")
    return wavelength / _refractive_index(wavelength)


def air_to_vacuum(wavelength: ArrayLike) -> NDArray[np.float64]:
    """Convert air wavelengths to vacuum: the inverse of `vacuum_to_air`, to rounding error.

    Parameters
    ----------
    wavelength : array_like, shape (...), angstrom
        Air wavelengths, 2000 to 25000 angstrom.

    Returns
    -------
    ndarray, shape (...), angstrom

    Raises
    ------
    SpectraError
        If a wavelength lies outside the range of the formula.
    """
    wavelength = _checked(wavelength, "air_to_vacuum")
    vacuum = wavelength
    for _ in range(5):  # each turn gains four digits or more: the index hardly changes with wavelength
        vacuum = wavelength * _refractive_index(vacuum)
    return vacuum


def doppler_shift(wavelength: ArrayLike, velocity: ArrayLike) -> NDArray[np.float64]:
    """Shift rest wavelengths to those seen from a source receding at `velocity` (km/s, relativistic)."""
    beta = np.asarray(values(velocity, VELOCITY, "velocity"), dtype=np.float64) / SPEED_OF_LIGHT
    rest = np.asarray(values(wavelength, WAVELENGTH, "wavelength"), dtype=np.float64)
    return rest * np.sqrt((1.0 + beta) / (1.0 - beta))


def pixel_edges(wavelength: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper edge of every pixel of an ascending grid.

    Neighbours meet half-way between their centres. Where the step is more than three times the median of its
    neighbourhood (11 steps) the grid has a gap: the pixels beside it are symmetric about their centres.

    Parameters
    ----------
    wavelength : array_like, shape (n_pixels,), angstrom
        Pixel centres, strictly ascending, at least two.

    Returns
    -------
    lower, upper : ndarray, shape (n_pixels,), angstrom

    Raises
    ------
    SpectraError
        If there are fewer than two pixels or they do not ascend.
    """
    wavelength = np.asarray(wavelength, dtype=np.float64)
    if wavelength.ndim != 1 or len(wavelength) < 2 or not np.all(np.diff(wavelength) > 0):
        raise SpectraError(f"Wavelengths must be 1-D, two or more, ascending. Received shape: {wavelength.shape}")
    step = np.diff(wavelength)
    local = median_filter(step, size=11, mode="reflect")
    gap = step > GAP_FACTOR * local
    below, above = 0.5 * np.r_[step[0], step], 0.5 * np.r_[step, step[-1]]
    gap_below, gap_above, alone = np.r_[gap[0], gap], np.r_[gap, gap[-1]], 0.5 * np.r_[local, local[-1]]
    lower = wavelength - np.where(gap_below, np.where(gap_above, alone, above), below)
    upper = wavelength + np.where(gap_above, np.where(gap_below, alone, below), above)
    upper[:-1] = np.where(gap, upper[:-1], lower[1:])  # neighbours share the very same number
    return lower, upper


def segments(wavelength: ArrayLike) -> list[slice]:
    """The stretches of an ascending grid between its gaps (see `pixel_edges`)."""
    lower, upper = pixel_edges(wavelength)
    starts = np.flatnonzero(upper[:-1] < lower[1:]) + 1
    return [slice(int(a), int(b)) for a, b in pairwise([0, *starts, len(lower)])]


def _overlaps(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column numbers of a sparse matrix whose row i fills the columns ``first[i] .. last[i] - 1``."""
    count = last - first
    row = np.repeat(np.arange(len(count)), count)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + first[row]


def smoothing_matrix(wavelength: ArrayLike, new_wavelength: ArrayLike, sigma: ArrayLike) -> csr_array:
    """Weights that convolve flux densities with a Gaussian and average them over new pixels.

    Each weight is the exact integral, over an old pixel, of the Gaussian convolved with the new pixel's box. A row adds
    up to the part of that profile which the old grid covers.

    Parameters
    ----------
    wavelength, new_wavelength : array_like, shapes (n_pixels,) and (n_new,), angstrom
    sigma : array_like, shape (n_new,), angstrom
        Standard deviation of the Gaussian at each new pixel, positive.

    Returns
    -------
    scipy.sparse.csr_array, shape (n_new, n_pixels)

    Raises
    ------
    SpectraError
        If a grid is not strictly ascending or a sigma is not positive.
    """
    sigma = np.asarray(sigma, dtype=np.float64)
    lower, upper = pixel_edges(wavelength)
    new_lower, new_upper = pixel_edges(new_wavelength)
    if sigma.shape != new_lower.shape or not np.all(sigma > 0):
        raise SpectraError(f"sigma must be positive, shape {new_lower.shape}. Received shape: {sigma.shape}")
    first = np.searchsorted(upper, new_lower - GAUSSIAN_REACH * sigma, side="right")
    last = np.searchsorted(lower, new_upper + GAUSSIAN_REACH * sigma, side="left")
    row, column = _overlaps(first, last)

    def integral(x: NDArray[np.float64], edge: NDArray[np.float64]) -> NDArray[np.float64]:
        t = (x[column] - edge[row]) / sigma[row]  # integral of the normal distribution function, in units of sigma
        return t * ndtr(t) + np.exp(-0.5 * t**2) / np.sqrt(2.0 * np.pi)

    weight = (
        integral(upper, new_lower)
        - integral(lower, new_lower)
        - integral(upper, new_upper)
        + integral(lower, new_upper)
    )
    weight *= sigma[row] / (new_upper - new_lower)[row]
    return csr_array((weight, (row, column)), shape=(len(new_lower), len(lower)))


def resampling_matrix(wavelength: ArrayLike, new_wavelength: ArrayLike) -> csr_array:
    """Weights that carry flux densities from one pixel grid to another.

    A new pixel as wide as an old one or wider gets the mean over its width: weights are overlaps divided by its width,
    so the integral of the flux is conserved. A narrower one gets the flux interpolated linearly at its centre, never
    across a gap. A row adds up to the part of the pixel that the old grid covers.

    Parameters
    ----------
    wavelength, new_wavelength : array_like, shapes (n_pixels,) and (n_new,), angstrom
        Strictly ascending; jumps larger than three local steps are gaps.

    Returns
    -------
    scipy.sparse.csr_array, shape (n_new, n_pixels)

    Raises
    ------
    SpectraError
        If a grid is not strictly ascending.
    """
    old, new = np.asarray(wavelength, dtype=np.float64), np.asarray(new_wavelength, dtype=np.float64)
    lower, upper = pixel_edges(old)
    new_lower, new_upper = pixel_edges(new)
    first, last = np.searchsorted(upper, new_lower, side="right"), np.searchsorted(lower, new_upper, side="left")

    holder = np.clip(np.searchsorted(upper, new, side="right"), 0, len(old) - 1)  # the old pixel that holds the centre
    inside = (new >= lower[holder]) & (new <= upper[holder])
    narrow = inside & (new_upper - new_lower < (1 - 1e-9) * (upper - lower)[holder])
    row, column = _overlaps(first, np.where(narrow, first, last))
    overlap = np.minimum(upper[column], new_upper[row]) - np.maximum(lower[column], new_lower[row])
    weight = np.maximum(overlap, 0.0) / (new_upper - new_lower)[row]

    point = np.flatnonzero(narrow)
    left = np.clip(np.searchsorted(old, new[point], side="right") - 1, 0, len(old) - 2)
    share = np.clip((new[point] - old[left]) / (old[left + 1] - old[left]), 0.0, 1.0)
    gap = upper[left] < lower[left + 1]  # beside a gap the flux of the pixel that holds the centre stands alone
    share = np.where(gap, (holder[point] > left).astype(np.float64), share)
    return csr_array(
        (np.r_[weight, 1.0 - share, share], (np.r_[row, point, point], np.r_[column, left, left + 1])),
        shape=(len(new), len(old)),
    )


def _covariance(matrix: csr_array, wavelength: ArrayLike, line: ArrayLike) -> csr_array:
    """Weights that carry variances of old pixels to the variance that a fitted line sees at every new one.

    The depth of a line of profile g, fitted to pixels of covariance C as if they were independent, has the variance
    ``g^T C g / (g^T g)^2``. Where C and pixels change little across a line that is the mean over its pixels i of
    ``sum_k C_ik r_ik``, over ``g^T g``, with the autocorrelation r of the profile.
    """
    line, wavelength = (np.asarray(values, dtype=np.float64) for values in (line, wavelength))
    if line.shape != wavelength.shape or not np.all(line > 0):
        raise SpectraError(f"line must be positive, shape {wavelength.shape}. Received shape: {line.shape}")
    reach = AUTOCORRELATION_REACH * line
    row, column = _overlaps(
        np.searchsorted(wavelength, wavelength - reach), np.searchsorted(wavelength, wavelength + reach, side="right")
    )
    likeness = np.exp(-(((wavelength[row] - wavelength[column]) / line[row]) ** 2) / 4.0)
    return matrix.multiply(csr_array((likeness, (row, column)), shape=(len(line), len(line))) @ matrix)


def resample(
    wavelength: ArrayLike,
    flux: ArrayLike,
    new_wavelength: ArrayLike,
    *,
    error: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    line: ArrayLike | None = None,
    max_bad: float = 0.1,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.bool_]]:
    """Resample flux densities onto another pixel grid, conserving flux and carrying variance.

    Weights are those of `resampling_matrix`, or of `smoothing_matrix` if `sigma` is given. Errors of input pixels are
    taken as independent. Output pixels that share an input pixel are correlated, strongly so where the output is finer
    than the input or smoothed, yet whoever uses them takes their errors as independent. The variance of each output
    pixel is therefore the sum of its covariances with all output pixels, not its own variance alone: more than the
    pixel scatters, but right for what is measured on many of them, and the S/N per angstrom stays that of the input.

    Parameters
    ----------
    wavelength : array_like, shape (n_pixels,), angstrom
        Strictly ascending; jumps larger than three local steps are gaps, treated as missing.
    flux : array_like, shape (n_spectra, n_pixels) or (n_pixels,)
    new_wavelength : array_like, shape (n_new,), angstrom
    error, mask : array_like, shape of flux, optional
        One standard deviation per pixel; True for bad pixels. Non-finite flux and non-finite or non-positive error
        count as bad too.
    sigma : array_like, shape (n_new,), angstrom, optional
        Standard deviation of a Gaussian to convolve with, as when spectra of higher resolving power are compared.
    line : array_like, shape (n_new,), angstrom, optional
        Standard deviation of Gaussian lines in the output, whose fitted depths the errors are to be right for. By
        default they are right for sums over stretches much wider than the correlation, and for lines as narrow as the
        smoothing, across which the noise averages out in part, too large.
    max_bad : float, optional
        An output pixel of which a larger share is bad, missing or outside the input is masked.

    Returns
    -------
    flux, error, mask : ndarray, shape (n_spectra, n_new) or (n_new,)
        Error is None if none was given. Masked pixels have flux 1 and error infinity.

    Raises
    ------
    SpectraError
        If shapes differ or a grid is not strictly ascending.
    """
    if sigma is None:
        matrix = resampling_matrix(wavelength, new_wavelength)
    else:
        matrix = smoothing_matrix(wavelength, new_wavelength, sigma)
    flux = np.asarray(flux, dtype=np.float64)
    errors = None if error is None else np.asarray(error, dtype=np.float64)
    bad = ~np.isfinite(flux)
    if flux.ndim not in (1, 2) or flux.shape[-1] != matrix.shape[1]:
        raise SpectraError(f"flux has shape {flux.shape}, but there are {matrix.shape[1]} wavelengths")
    for name, array in (("error", errors), ("mask", mask)):
        if array is not None and np.shape(array) != flux.shape:
            raise SpectraError(f"{name} has shape {np.shape(array)}, flux has {flux.shape}")
    if mask is not None:
        bad |= np.asarray(mask, dtype=bool)
    if errors is not None:
        bad |= ~(np.isfinite(errors) & (errors > 0))

    weight = (matrix @ (~bad).T.astype(np.float64)).T
    new_mask = weight < 1.0 - max_bad - 1e-9
    weight = np.where(new_mask, 1.0, weight)
    new_flux = np.where(new_mask, FILL_FLUX, (matrix @ np.where(bad, 0.0, flux).T).T / weight)
    if errors is None:
        return new_flux, None, new_mask
    covariance = matrix.multiply(matrix.sum(axis=0)) if line is None else _covariance(matrix, new_wavelength, line)
    variance = (covariance @ np.where(bad, 0.0, errors).T ** 2).T / weight**2
    return new_flux, np.where(new_mask, np.inf, np.sqrt(variance)), new_mask
