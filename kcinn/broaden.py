"""Broadening: rotation, macroturbulence and line-spread function, and a spectrum as an instrument records it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_array
from scipy.special import erf, j1, spherical_jn

from kcinn.errors import SpectraError
from kcinn.instrument import Arm, Instrument
from kcinn.spectra import Spectra
from kcinn.wavelength import SPEED_OF_LIGHT, pixel_edges, segments

BROADENING = ("vsini", "vmac")  # labels that broadening, not synthesis, brings about
FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))  # full width at half maximum of a Gaussian, in standard deviations
LSF_REACH = 5.0  # standard deviations beyond which the line-spread function is nothing
MACRO_REACH = 3.0  # the same for macroturbulence, in units of vmac


class Kernel(NamedTuple):
    """A broadening kernel of unit area, as a function of velocity and as its Fourier transform.

    ``profile(velocity)``: density per km/s at `velocity` in km/s.
    ``transform(frequency)``: integral of ``profile(v) cos(frequency v)``, `frequency` in radian per km/s; real, as
    every kernel here is symmetric. It exists for zero width too, where the profile is a delta function.
    """

    profile: Callable[[ArrayLike], NDArray[np.float64]]
    transform: Callable[[ArrayLike], NDArray[np.float64]]


def rotation(vsini: float, limb_darkening: float = 0.6) -> Kernel:
    """Rotation of a rigid sphere with linear limb darkening.

    Parameters
    ----------
    vsini : float, km/s
    limb_darkening : float, optional
        Linear coefficient, 0 (none) to 1.

    References
    ----------
    Gray (2005), The Observation and Analysis of Stellar Photospheres, eq. 18.14; the transform follows from the
    integrals of sqrt(1 - x^2) and (1 - x^2) times cos(u x), which are Bessel functions.
    """
    norm = 1.0 - limb_darkening / 3.0

    def profile(velocity: ArrayLike) -> NDArray[np.float64]:
        inside = np.clip(1.0 - (np.asarray(velocity, dtype=np.float64) / vsini) ** 2, 0.0, None)
        disk = 2.0 * (1.0 - limb_darkening) * np.sqrt(inside) + 0.5 * np.pi * limb_darkening * inside
        return disk / (np.pi * vsini * norm)

    def transform(frequency: ArrayLike) -> NDArray[np.float64]:
        u = np.maximum(np.abs(np.asarray(frequency, dtype=np.float64)) * vsini, 1e-8)
        return 2.0 * ((1.0 - limb_darkening) * j1(u) + limb_darkening * spherical_jn(1, u)) / (u * norm)

    return Kernel(profile, transform)


def macroturbulence(vmac: float) -> Kernel:
    """Radial-tangential macroturbulence, equal in both directions, over a disk without limb darkening.

    Parameters
    ----------
    vmac : float, km/s
        Most probable velocity zeta of the radial and of the tangential stream.

    References
    ----------
    Gray (2005), chapter 17. The disk average of Gaussians of width ``zeta cos(theta)`` has a closed form.
    """

    def profile(velocity: ArrayLike) -> NDArray[np.float64]:
        x = np.abs(np.asarray(velocity, dtype=np.float64)) / vmac
        return 2.0 / (np.sqrt(np.pi) * vmac) * (np.exp(-(x**2)) + np.sqrt(np.pi) * x * (erf(x) - 1.0))

    def transform(frequency: ArrayLike) -> NDArray[np.float64]:
        q = np.maximum((0.5 * vmac * np.asarray(frequency, dtype=np.float64)) ** 2, 1e-12)
        return -np.expm1(-q) / q

    return Kernel(profile, transform)


def gaussian_lsf(resolving_power: float) -> Kernel:
    """Gaussian line-spread function with ``FWHM = c / resolving_power`` in velocity."""
    sigma = SPEED_OF_LIGHT / (FWHM * resolving_power)

    def profile(velocity: ArrayLike) -> NDArray[np.float64]:
        return np.exp(-0.5 * (np.asarray(velocity, dtype=np.float64) / sigma) ** 2) / (np.sqrt(2.0 * np.pi) * sigma)

    def transform(frequency: ArrayLike) -> NDArray[np.float64]:
        return np.exp(-0.5 * (np.asarray(frequency, dtype=np.float64) * sigma) ** 2)

    return Kernel(profile, transform)


def degrade(
    wavelength: ArrayLike,
    flux: ArrayLike,
    instrument: Instrument,
    *,
    vsini: ArrayLike = 0.0,
    vmac: ArrayLike = 0.0,
    rv: ArrayLike = 0.0,
    limb_darkening: float = 0.6,
    input_resolving_power: float = np.inf,
) -> NDArray[np.float64]:
    """Broaden a synthetic spectrum and integrate it over the pixels of an instrument.

    Rotation, macroturbulence, line-spread function and Doppler shift act as one kernel, applied in Fourier space on a
    grid uniform in the logarithm of the wavelength; where the resolving power varies along an arm, three widths are
    computed and interpolated. Each pixel holds the mean flux density over its width.

    Parameters
    ----------
    wavelength : array_like, shape (n,), angstrom
        Ascending, in the medium of the instrument. It may consist of windows, one around each arm, that reach beyond
        the arm far enough for the broadening (see `Instrument.windows`).
    flux : array_like, shape (n,)
    instrument : Instrument
    vsini, vmac, rv : float or array_like, shape (n_draws,), km/s
        Rotation, macroturbulence and radial velocity; arrays share the set-up among draws and are broadcast together.
    limb_darkening : float, optional
        Of the rotation profile.
    input_resolving_power : float, optional
        Resolving power that the spectrum has already.

    Returns
    -------
    ndarray, shape (n_pixels,), or (n_draws, n_pixels) if a velocity is an array

    Raises
    ------
    SpectraError
        If the spectrum is not finite and ascending, does not reach beyond an arm far enough, or is of lower resolving
        power than the instrument; or if vsini or vmac is negative.
    """
    wavelength, flux = np.asarray(wavelength, dtype=np.float64), np.asarray(flux, dtype=np.float64)
    if wavelength.ndim != 1 or wavelength.shape != flux.shape or not np.all(np.isfinite(flux)):
        raise SpectraError(
            f"degrade needs 1-D wavelength and finite flux of one shape. Received: {wavelength.shape}, {flux.shape}, "
            f"{np.count_nonzero(~np.isfinite(flux))} non-finite"
        )
    draws = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (vsini, vmac, rv)))
    velocities = np.stack([np.atleast_1d(v) for v in draws], axis=-1)
    if velocities.ndim != 2 or not np.all(np.isfinite(velocities)) or np.any(velocities[:, :2] < 0):
        raise SpectraError("vsini, vmac and rv must be finite numbers or 1-D arrays, vsini and vmac not negative")
    stretches = segments(wavelength)
    arms = [
        _degrade_arm(wavelength, flux, stretches, arm, velocities, limb_darkening, input_resolving_power)
        for arm in instrument.arms
    ]
    result = np.concatenate(arms, axis=1)
    return result if draws[0].ndim else result[0]


def match(
    spectra: Spectra, instrument: Instrument, *, resolving_power: float, velocity: ArrayLike | None = None
) -> Spectra:
    """Bring observed spectra of higher resolving power to an instrument's resolving power, medium and pixels.

    Smoothing correlates the noise of neighbouring pixels, which a model takes as independent. Errors are enlarged so
    that the depth of a line as narrow as the line-spread function is as uncertain as they say; see
    `kcinn.wavelength.resample`.

    Parameters
    ----------
    spectra : Spectra
        Gaps and masked pixels become masked pixels.
    instrument : Instrument
    resolving_power : float
        Of the spectra, above that of the instrument.
    velocity : array_like, shape (n_spectra,), km/s, optional
        Radial velocities to remove.

    Raises
    ------
    SpectraError
        If the resolving power is not above the instrument's or no pixel falls on its arms.
    """
    wavelength = instrument.wavelength
    variance = np.concatenate([_variance(arm, arm.wavelength, resolving_power) for arm in instrument.arms])
    if np.any(variance <= 0):
        raise SpectraError(
            "The resolving power equals the instrument's, so that nothing is to be smoothed; leave resolving_power out"
        )
    sigma = wavelength * np.sqrt(variance) / SPEED_OF_LIGHT
    line = _narrowest_line(instrument)
    return spectra.in_medium(instrument.medium).resampled(wavelength, velocity=velocity, sigma=sigma, line=line)


def on_instrument(
    spectra: Spectra,
    instrument: Instrument,
    resolving_power: float | None = None,
    *,
    velocity: ArrayLike | None = None,
) -> Spectra:
    """Spectra in the instrument's medium, at its resolving power and on its pixels; what is not covered is masked.

    Parameters
    ----------
    spectra : Spectra
    instrument : Instrument
    resolving_power : float, optional
        Of the spectra, if it is higher than the instrument's.
    velocity : array_like, shape (n_spectra,), km/s, optional
        Radial velocities to remove.

    Raises
    ------
    SpectraError
        If `resolving_power` is lower than the instrument's or no good pixel is left.
    """
    spectra = spectra.in_medium(instrument.medium)
    if resolving_power is not None:
        return match(spectra, instrument, resolving_power=resolving_power, velocity=velocity)
    if velocity is None and np.array_equal(spectra.wavelength, instrument.wavelength):
        return spectra
    return spectra.resampled(instrument.wavelength, velocity=velocity, line=_narrowest_line(instrument))


def _narrowest_line(instrument: Instrument) -> NDArray[np.float64]:
    """Standard deviation of the line-spread function at every pixel, angstrom."""
    return instrument.wavelength / (FWHM * instrument.resolving_power(instrument.wavelength))


def _degrade_arm(
    wavelength: NDArray[np.float64],
    flux: NDArray[np.float64],
    stretches: list[slice],
    arm: Arm,
    velocities: NDArray[np.float64],
    limb_darkening: float,
    input_resolving_power: float,
) -> NDArray[np.float64]:
    """One arm of `degrade`, shape ``(n_draws, n_pixels)``."""
    variance = _lsf_variances(arm, input_resolving_power)
    reach = float(np.max(velocities @ [1.0, MACRO_REACH, 0.0] + np.abs(velocities[:, 2])))
    reach = (
        np.ceil((reach + LSF_REACH * np.sqrt(variance.max())) / 10.0) * 10.0
    )  # few distinct grids: the matrix is kept
    lower, upper = arm.edges[0] * (1 - reach / SPEED_OF_LIGHT), arm.edges[1] * (1 + reach / SPEED_OF_LIGHT)
    part = next((s for s in stretches if wavelength[s][0] <= lower and wavelength[s][-1] >= upper), None)
    if part is None:
        covered = ", ".join(f"{wavelength[s][0]:.2f}-{wavelength[s][-1]:.2f}" for s in stretches)
        raise SpectraError(
            f"Arm {arm.name!r} with {reach:.0f} km/s of broadening and shift on both sides needs "
            f"{lower:.2f}-{upper:.2f} angstrom without a gap; the spectrum covers {covered}. Synthesise a wider window"
        )
    wavelength, flux = wavelength[part], flux[part]

    step = _velocity_step(arm, float(np.median(np.diff(wavelength) / wavelength[1:])))
    n = next_fast_len(int(np.ceil(np.log(upper / lower) * SPEED_OF_LIGHT / step)) + 1, real=True)
    step = np.log(upper / lower) * SPEED_OF_LIGHT / (n - 1)
    grid = np.exp(np.linspace(np.log(lower), np.log(upper), n))
    grid[0], grid[-1] = lower, upper
    spectrum = rfft(CubicSpline(wavelength, flux)(grid))
    frequency = 2.0 * np.pi * np.fft.rfftfreq(n, d=step)
    lsf = np.exp(-0.5 * variance[:, None] * frequency**2)
    integrate, share = _pixel_integration(arm, lower, upper, n), _node_share(arm, variance, input_resolving_power)

    result = np.empty((len(velocities), arm.n_pixels))
    for row, (vsini, vmac, rv) in zip(result, velocities, strict=True):
        transform = spectrum * rotation(vsini, limb_darkening).transform(frequency)
        transform = transform * macroturbulence(vmac).transform(frequency)
        if rv:
            shift = SPEED_OF_LIGHT * np.arctanh(rv / SPEED_OF_LIGHT)  # c times ln of the relativistic Doppler factor
            transform = transform * np.exp(-1j * frequency * shift)
        broadened = irfft(transform * lsf, n=n, axis=-1)
        row[:] = np.sum((integrate @ broadened.T) * share, axis=1)
    return result


def _variance(arm: Arm, wavelength: ArrayLike, input_resolving_power: float) -> NDArray[np.float64]:
    """Variance in (km/s)^2 of the line-spread function that is still to be applied at `wavelength`."""
    resolving_power = arm.resolving_power_at(wavelength)
    if np.any(resolving_power > input_resolving_power):
        raise SpectraError(
            f"The spectrum's resolving power {input_resolving_power:g} is below that of arm {arm.name!r}, "
            f"{np.max(resolving_power):g}; leave resolving_power out if the spectra are the instrument's own, or use "
            "spectra of higher resolving power"
        )
    return (SPEED_OF_LIGHT / FWHM) ** 2 * (1.0 / resolving_power**2 - 1.0 / input_resolving_power**2)


def _lsf_variances(arm: Arm, input_resolving_power: float) -> NDArray[np.float64]:
    """The variances between which the arm's line-spread function is interpolated: one if it is constant, else three."""
    ends = _variance(arm, [arm.knots[0], arm.knots[-1]], input_resolving_power)
    return ends[:1] if ends[0] == ends[1] else np.array([ends[0], ends.mean(), ends[1]])


def _node_share(arm: Arm, nodes: NDArray[np.float64], input_resolving_power: float) -> NDArray[np.float64]:
    """Lagrange weights that interpolate every pixel between the variances, shape ``(n_pixels, n_nodes)``."""
    variance = _variance(arm, arm.wavelength, input_resolving_power)
    share = np.ones((arm.n_pixels, len(nodes)))
    for k, node in enumerate(nodes):
        for other in np.delete(nodes, k):
            share[:, k] *= (variance - other) / (node - other)
    return share


def _velocity_step(arm: Arm, relative_step: float) -> float:
    """Step in km/s of the oversampled grid: finer than the pixels, the line-spread function and the input."""
    pixel = np.min(np.diff(arm.wavelength) / arm.wavelength[1:])
    return SPEED_OF_LIGHT * min(pixel / 4.0, relative_step, 0.2 / (FWHM * max(arm.resolving_power)))


@lru_cache(maxsize=32)
def _pixel_integration(arm: Arm, lower: float, upper: float, n: int) -> csr_array:
    """Matrix ``(n_pixels, n)`` that averages samples on the logarithmic grid over each pixel.

    Three-point Gauss-Legendre quadrature over the pixel, with cubic interpolation between the samples.
    """
    left, right = pixel_edges(arm.wavelength)
    nodes, weights = np.polynomial.legendre.leggauss(3)
    points = 0.5 * (left + right)[:, None] + 0.5 * (right - left)[:, None] * nodes
    position = np.log(points / lower) / np.log(upper / lower) * (n - 1)
    base = np.clip(np.floor(position).astype(np.int64) - 1, 0, n - 4)
    t = position - base  # 1 <= t < 2: the point lies between the second and the third of its four neighbours
    cubic = np.stack(
        [
            -(t - 1) * (t - 2) * (t - 3) / 6,
            t * (t - 2) * (t - 3) / 2,
            -t * (t - 1) * (t - 3) / 2,
            t * (t - 1) * (t - 2) / 6,
        ],
        axis=-1,
    )
    values = cubic * (0.5 * weights)[:, None]
    columns = base[..., None] + np.arange(4)
    row_starts = np.arange(arm.n_pixels + 1) * columns[0].size
    return csr_array((values.ravel(), columns.ravel(), row_starts), shape=(arm.n_pixels, n))
