"""Radiative transfer in a plane-parallel atmosphere: emergent flux, and mean intensity under coherent scattering."""

from __future__ import annotations

import math
from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

N_ANGLES = 3
_nodes, _weights = np.polynomial.legendre.leggauss(N_ANGLES)
MU = (_nodes + 1.0) / 2.0  # cosines of the rays, Gauss-Legendre on (0, 1)
MU_WEIGHTS = _weights / 2.0
_OPAQUE = 18.0  # optical depth beyond which nothing reaches the surface
_THICK = 3000.0  # optical depth of a single step that counts as infinite


def tau_weights(log_tau: Floats, reference_opacity: Floats) -> Floats:
    """d tau / d log tau5000 per unit opacity, shape (n_depth,): tau5000 ln 10 / opacity at 5000 angstrom."""
    return 10.0**log_tau * math.log(10.0) / reference_opacity


@numba.njit(cache=True, inline="always")
def _linear_weights(t: float) -> tuple[float, float, float]:
    """Transmission over optical depth `t`, and the weights of the near and far source function, linear between."""
    if t < 1e-3:
        return 1.0 - t + 0.5 * t * t, 0.5 * t - t * t / 6.0, 0.5 * t - t * t / 3.0
    transmitted = math.exp(-t)
    mean = (1.0 - transmitted) / t
    return transmitted, 1.0 - mean, mean - transmitted


@numba.njit(cache=True, fastmath=True)
def _surface_flux(
    source: Floats, opacity: Floats, log_tau: Floats, weight: Floats, mu: Floats, mu_weights: Floats, work: Floats
) -> float:
    """Flux at one wavelength from `source` and `opacity` (n_depth,); `work` (3, n_depth) is overwritten.

    The inner loop carries nothing from depth to depth, so that the compiler can use vector instructions: hence the
    exponential as a power of a polynomial, good to 1e-8 of itself for optical depths up to 1.
    """
    step, transmitted, emitted = work
    before = opacity[0] * weight[0]
    tau = 0.0
    last = 0
    while last < len(log_tau) - 1 and tau < _OPAQUE:
        last += 1
        after = opacity[last] * weight[last]
        step[last] = 0.5 * (before + after) * (log_tau[last] - log_tau[last - 1])
        before = after
        tau += step[last]
    slope = (source[last] - source[last - 1]) / step[last]
    total = 0.0
    for m in range(len(mu)):
        inverse_mu = 1.0 / mu[m]
        for d in range(1, last + 1):
            t = min(step[d] * inverse_mu, _THICK)
            x = 0.0625 * t
            power = 1.0 + x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0)))))
            power *= power
            power *= power
            power *= power
            power *= power  # exp(t)
            inverse = 1.0 / (power * t)
            mean = (power - 1.0) * inverse
            transmitted[d] = t * inverse
            emitted[d] = (1.0 - mean) * source[d - 1] + (mean - transmitted[d]) * source[d]
        reached, intensity = 1.0, 0.0
        for d in range(1, last + 1):
            intensity += reached * emitted[d]
            reached *= transmitted[d]
        intensity += reached * (source[last] + slope * mu[m])
        total += mu_weights[m] * mu[m] * intensity
    return 2.0 * math.pi * total


@numba.njit(cache=True, fastmath=True)
def emergent_flux(
    source: Floats, opacity: Floats, log_tau: Floats, weight: Floats, mu: Floats, mu_weights: Floats, flux: Floats
) -> None:
    """Flux (2 pi int I mu dmu) at the surface for every wavelength, written to `flux` (n_wavelength,).

    `source` and `opacity`, shape (n_wavelength, n_depth); `weight` from `tau_weights`. The source function is linear
    in optical depth between depths and beyond the last one.
    """
    work = np.empty((3, len(log_tau)))
    for j in range(len(flux)):
        flux[j] = _surface_flux(source[j], opacity[j], log_tau, weight, mu, mu_weights, work)


@numba.njit(cache=True, fastmath=True)
def _eddington(
    emitted: Floats, scattering: Floats, opacity: Floats, spacing: Floats, weight: Floats, work: Floats, mean: Floats
) -> None:
    """Mean intensity in Eddington's approximation at one wavelength, written to `mean`; all (n_depth,).

    ``d2J/dtau2 = 3 (J - S)`` with ``S = (emitted + scattering J) / opacity``, nothing falling in from outside and
    J = S at the last depth, as a tridiagonal system solved inwards and back. `spacing` (n_depth - 1,) is half the
    distance of the depths in log tau; `work` (n_depth,) is overwritten.
    """
    last = len(mean) - 1
    step_above, upper, elimination, right = 0.0, 0.0, 0.0, 0.0
    boundary = math.sqrt(3.0)
    slope = opacity[0] * weight[0]
    for d in range(last):
        slope_below = opacity[d + 1] * weight[d + 1]
        step = (slope + slope_below) * spacing[d]  # optical depth to the next
        slope = slope_below
        lower = 1.0 / step
        # three times half the optical depth between the neighbours, over opacity
        thickness = 1.5 * (step_above + step) / opacity[d]
        diagonal = upper + lower + thickness * (opacity[d] - scattering[d]) + boundary
        inverse = 1.0 / (diagonal - upper * elimination)
        right = (thickness * emitted[d] + upper * right) * inverse
        elimination = lower * inverse
        work[d], mean[d] = elimination, right
        step_above, upper, boundary = step, lower, 0.0
    mean[last] = emitted[last] / (opacity[last] - scattering[last])
    for d in range(last - 1, -1, -1):
        mean[d] += work[d] * mean[d + 1]


@numba.njit(cache=True, fastmath=True)
def line_flux(
    wavelength: Floats, nodes: Floats, absorption: Floats, scattering: Floats, planck: Floats, continuum_mean: Floats,
    line_opacity: Floats, excess: Floats, log_tau: Floats, weight: Floats, mu: Floats, mu_weights: Floats, flux: Floats,
) -> None:  # fmt: skip
    """Flux with lines, written to `flux` (n_wavelength,).

    Continuous `absorption` and `scattering`, `planck` and the mean intensity without lines `continuum_mean`, shape
    (n_nodes, n_depth), are linear between the wavelengths `nodes`; lines add `line_opacity` and emit
    ``(line_opacity + excess) * planck``, shape (n_wavelength, n_depth). What is scattered inside a line is the
    radiation there: that of Eddington's approximation, times the factor by which it is off in the continuum.
    """
    n_nodes, n_depth = len(nodes), len(log_tau)
    spacing = 0.5 * np.diff(log_tau)
    work, mean = np.empty((2, n_depth))
    correction = np.empty((n_nodes, n_depth))
    for i in range(n_nodes):
        _eddington(absorption[i] * planck[i], scattering[i], absorption[i] + scattering[i], spacing, weight, work, mean)
        correction[i] = continuum_mean[i] / mean
    emitted, scattered = np.empty((2, n_depth))
    source, total = np.empty((2, n_depth))
    rays = np.empty((3, n_depth))
    for j in range(len(wavelength)):
        i = min(max(np.searchsorted(nodes, wavelength[j]) - 1, 0), n_nodes - 2)
        u = (wavelength[j] - nodes[i]) / (nodes[i + 1] - nodes[i])
        for d in range(n_depth):
            absorbed = (1.0 - u) * absorption[i, d] + u * absorption[i + 1, d] + line_opacity[j, d]
            scattered[d] = (1.0 - u) * scattering[i, d] + u * scattering[i + 1, d]
            thermal = (1.0 - u) * planck[i, d] + u * planck[i + 1, d]
            emitted[d] = (absorbed + excess[j, d]) * thermal
            total[d] = absorbed + scattered[d]
        _eddington(emitted, scattered, total, spacing, weight, work, mean)
        for d in range(n_depth):
            factor = (1.0 - u) * correction[i, d] + u * correction[i + 1, d]
            source[d] = (emitted[d] + scattered[d] * factor * mean[d]) / total[d]
        flux[j] = _surface_flux(source, total, log_tau, weight, mu, mu_weights, rays)


@numba.njit(cache=True, fastmath=True)
def _lambda_matrix(step: Floats, surface_tau: Floats, mu: Floats, mu_weights: Floats) -> Floats:
    """Matrix that turns the source function into the mean intensity, shape (n_depth, n_depth)."""
    n = len(step)
    matrix = np.zeros((n, n))
    row = np.empty(n)
    for m in range(len(mu)):
        half = 0.5 * mu_weights[m]
        # outward rays, from a linear source function below the last depth
        row[:] = 0.0
        row[n - 1] = 1.0 + mu[m] / step[n - 1]
        row[n - 2] = -mu[m] / step[n - 1]
        matrix[n - 1] += half * row
        for d in range(n - 1, 0, -1):
            transmitted, near, far = _linear_weights(step[d] / mu[m])
            row *= transmitted
            row[d - 1] += near
            row[d] += far
            matrix[d - 1] += half * row
        # inward rays, through a uniform layer above the first depth
        row[:] = 0.0
        row[0] = 1.0 - math.exp(-surface_tau / mu[m])
        matrix[0] += half * row
        for d in range(1, n):
            transmitted, near, far = _linear_weights(step[d] / mu[m])
            row *= transmitted
            row[d] += near
            row[d - 1] += far
            matrix[d] += half * row
    return matrix


def mean_intensity(
    absorption: Floats,
    scattering: Floats,
    planck: Floats,
    log_tau: Floats,
    weight: Floats,
) -> Floats:
    """Mean intensity of the continuum with coherent isotropic scattering, shape (n_wavelength, n_depth).

    Solves ``S = (1 - a) B + a Lambda[S]``, with a = scattering / (absorption + scattering), as one linear system per
    wavelength. All arguments but the last two have shape (n_wavelength, n_depth).
    """
    opacity = absorption + scattering
    albedo = scattering / opacity
    depth_slope = opacity * weight
    step = np.zeros_like(opacity)
    step[:, 1:] = 0.5 * (depth_slope[:, 1:] + depth_slope[:, :-1]) * np.diff(log_tau)
    surface = depth_slope[:, 0] / math.log(10.0)
    matrix = np.stack([_lambda_matrix(step[k], surface[k], MU, MU_WEIGHTS) for k in range(len(step))])
    system = np.eye(len(log_tau)) - albedo[:, :, None] * matrix
    source = np.linalg.solve(system, ((1.0 - albedo) * planck)[:, :, None])
    return (matrix @ source)[:, :, 0]
