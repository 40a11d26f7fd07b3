"""Radiative transfer in a plane-parallel atmosphere: emergent flux, and mean intensity under coherent scattering."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

N_ANGLES = 3
_nodes, _weights = np.polynomial.legendre.leggauss(N_ANGLES)
MU = (_nodes + 1.0) / 2.0  # cosines of the rays, Gauss-Legendre on (0, 1)
MU_WEIGHTS = _weights / 2.0
_OPAQUE = 18.0  # optical depth along a ray beyond which nothing reaches the surface


def tau_weights(log_tau: NDArray[np.float64], reference_opacity: NDArray[np.float64]) -> NDArray[np.float64]:
    """d tau / d log tau5000 per unit opacity, shape (n_depth,): tau5000 ln 10 / opacity at 5000 angstrom."""
    return 10.0**log_tau * math.log(10.0) / reference_opacity


@numba.njit(cache=True, inline="always")
def _linear_weights(t):
    """Transmission over optical depth `t`, and the weights of the near and far source function, linear between."""
    if t < 1e-3:
        return 1.0 - t + 0.5 * t * t, 0.5 * t - t * t / 6.0, 0.5 * t - t * t / 3.0
    transmitted = math.exp(-t)
    mean = (1.0 - transmitted) / t
    return transmitted, 1.0 - mean, mean - transmitted


@numba.njit(cache=True, fastmath=True)
def emergent_flux(source, opacity, log_tau, weight, mu, mu_weights, flux):
    """Flux (2 pi int I mu dmu) at the surface for every wavelength, written to `flux` (n_wavelength,).

    `source` and `opacity`, shape (n_wavelength, n_depth); `weight` from `tau_weights`. The source function is linear
    in optical depth between depths and beyond the last one.
    """
    n_depth = len(log_tau)
    n_mu = len(mu)
    for j in range(len(flux)):
        total = 0.0
        reached = np.ones(n_mu)
        before = opacity[j, 0] * weight[0]
        tau = 0.0
        last = n_depth
        for d in range(1, n_depth):
            after = opacity[j, d] * weight[d]
            step = 0.5 * (before + after) * (log_tau[d] - log_tau[d - 1])
            before = after
            for m in range(n_mu):
                if reached[m] > 0.0:
                    transmitted, near, far = _linear_weights(step / mu[m])
                    total += mu_weights[m] * mu[m] * reached[m] * (near * source[j, d - 1] + far * source[j, d])
                    reached[m] *= transmitted
            tau += step
            if tau > _OPAQUE:
                last = d
                break
        if last == n_depth:
            slope = (source[j, n_depth - 1] - source[j, n_depth - 2]) / step
            for m in range(n_mu):
                total += mu_weights[m] * mu[m] * reached[m] * (source[j, n_depth - 1] + slope * mu[m])
        flux[j] = 2.0 * math.pi * total


@numba.njit(cache=True, fastmath=True)
def line_flux(
    wavelength, nodes, opacity, emissivity, planck, line_opacity, excess, log_tau, weight, mu, mu_weights, flux
):
    """Flux with lines, written to `flux` (n_wavelength,).

    Continuous `opacity`, `emissivity` and `planck`, shape (n_nodes, n_depth), are linear between the wavelengths
    `nodes`; lines add `line_opacity` and emit ``(line_opacity + excess) * planck``, shape (n_wavelength, n_depth).
    """
    n_depth = len(log_tau)
    source, total = np.empty((1, n_depth)), np.empty((1, n_depth))
    for j in range(len(wavelength)):
        i = min(max(np.searchsorted(nodes, wavelength[j]) - 1, 0), len(nodes) - 2)
        u = (wavelength[j] - nodes[i]) / (nodes[i + 1] - nodes[i])
        for d in range(n_depth):
            thermal = (1.0 - u) * planck[i, d] + u * planck[i + 1, d]
            emitted = (1.0 - u) * emissivity[i, d] + u * emissivity[i + 1, d]
            emitted += (line_opacity[j, d] + excess[j, d]) * thermal
            total[0, d] = (1.0 - u) * opacity[i, d] + u * opacity[i + 1, d] + line_opacity[j, d]
            source[0, d] = emitted / total[0, d]
        emergent_flux(source, total, log_tau, weight, mu, mu_weights, flux[j : j + 1])


@numba.njit(cache=True, fastmath=True)
def _lambda_matrix(step, surface_tau, mu, mu_weights):
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
    absorption: NDArray[np.float64],
    scattering: NDArray[np.float64],
    planck: NDArray[np.float64],
    log_tau: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
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
