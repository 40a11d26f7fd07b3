"""Balmer lines of hydrogen: Stark profiles with Doppler motion, and self-broadening."""

from __future__ import annotations

import math
from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from kcinn.synthesis.nlte.atmosphere import Atmosphere
from kcinn.synthesis.nlte.constants import (
    ANGSTROM,
    ATOMIC_MASS,
    BOLTZMANN,
    ELECTRON_VOLT,
    KILOMETRE,
    LINE_STRENGTH,
    PLANCK,
    RYDBERG_HYDROGEN,
    SPEED_OF_LIGHT,
)
from kcinn.synthesis.nlte.departures import Departures
from kcinn.synthesis.nlte.equation_of_state import Plasma
from kcinn.synthesis.nlte.lines import departure_factors, stimulated
from kcinn.synthesis.nlte.tables import load

# upper level: air wavelength (A), absorption oscillator strength (Wiese & Fuhr 2009, J. Phys. Chem. Ref. Data 38, 565)
LINES = {
    3: (6562.79, 0.6407),
    4: (4861.35, 0.1193),
    5: (4340.46, 0.04467),
    6: (4101.73, 0.02209),
    7: (3970.07, 0.01270),
    8: (3889.05, 0.008036),
    9: (3835.38, 0.005429),
}
# upper level: cross-section (a.u.) and exponent of velocity, Barklem, Piskunov & O'Mara (2000), A&A 363, 1091;
# lines above H gamma take its values
SELF_BROADENING = {3: (1180.0, 0.677), 4: (2320.0, 0.455), 5: (4208.0, 0.380)}
# upper level: radiative width in s-1, mean over the fine-structure components weighted by gf (Wiese & Fuhr 2009); in
# giants it makes the near wings
RADIATIVE = {3: 6.04e8, 4: 5.30e8}
LOWER_ENERGY = 10.1988  # eV
REACH = 220.0  # angstrom
_STEP, _CORE_POINTS, _CORE_USED = 0.02, 1025, 200  # convolution grid: spacing (A), length, and the part that is used
# distances from the centre (A): the convolution grid, then even steps of the logarithm to the end of the wings
NODES = np.concatenate([np.arange(_CORE_POINTS) * _STEP, np.geomspace(_CORE_USED * _STEP, REACH, 120)])
_ASYMPTOTIC_SLOPE = -2.5  # of the Stark profile beyond the table
_BOHR_AREA = 2.8002852e-17  # cm2
_HOLTSMARK = 1.25e-9  # statvolt/cm cm2: normal field strength per n_e^(2/3)


def add_balmer(
    wavelength: NDArray[np.float64],
    atmosphere: Atmosphere,
    vmic: float,
    departures: Departures | None,
    opacity: NDArray[np.float64],
    excess: NDArray[np.float64],
) -> None:
    """Add every Balmer line within `REACH` to `opacity` and `excess` (n_wavelength, n_depth), cm-1, in place.

    `excess` is emissivity over the Planck function minus opacity; without `departures` the lines are in LTE.
    """
    for upper, (centre, _) in LINES.items():
        first, last = np.searchsorted(wavelength, [centre - REACH, centre + REACH])
        if last > first:
            nodes, profile = line_opacity(upper, atmosphere.plasma, vmic)
            near = slice(first, last)
            if departures is None:
                _interpolate(wavelength[near], centre, nodes, profile, opacity[near])
                continue
            absorbed, emitted = departure_factors(
                departures.at(1, LOWER_ENERGY),
                departures.at(1, RYDBERG_HYDROGEN * (1.0 - 1.0 / upper**2)),
                stimulated(np.array([centre]), atmosphere.plasma.temperature)[0],
            )
            _interpolate(wavelength[near], centre, nodes, profile * absorbed, opacity[near])
            _interpolate(wavelength[near], centre, nodes, profile * emitted, excess[near])


def line_opacity(upper: int, plasma: Plasma, vmic: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Opacity of one line at distances from its centre: nodes (n_nodes,) in angstrom, opacity (n_nodes, n_depth)."""
    centre, oscillator = LINES[upper]
    kt = BOLTZMANN * plasma.temperature
    excited = 8.0 / plasma.partition[1, 0] * plasma.h_neutral * np.exp(-LOWER_ENERGY * ELECTRON_VOLT / kt)
    frequency = SPEED_OF_LIGHT / (centre * ANGSTROM)
    strength = LINE_STRENGTH * oscillator * excited * -np.expm1(-PLANCK * frequency / kt)  # cm-1 Hz
    hertz = frequency / centre  # Hz per angstrom
    width = _self_broadening(upper, plasma) + RADIATIVE.get(upper, RADIATIVE[4])
    lorentz = width[:, None] / (4.0 * math.pi) / hertz  # half width, A
    turbulence = vmic * KILOMETRE / SPEED_OF_LIGHT * centre
    profile = _stark_and_thermal(upper, plasma)

    # core: convolved with turbulence, self-broadening and radiative damping in Fourier space
    half = profile[:, :_CORE_POINTS]
    k = np.fft.rfftfreq(2 * _CORE_POINTS - 2, _STEP)
    broadening = np.exp(-((math.pi * k * turbulence) ** 2) - 2.0 * math.pi * k * lorentz)
    even = np.concatenate([half, half[:, -2:0:-1]], axis=1)
    core = np.fft.irfft(np.fft.rfft(even, axis=1) * broadening, n=even.shape[1], axis=1)[:, :_CORE_USED]
    # wings: the two profiles add
    distance = NODES[_CORE_POINTS:]
    wings = profile[:, _CORE_POINTS:] + lorentz / (math.pi * distance**2)
    nodes = np.concatenate([NODES[:_CORE_USED], distance])
    return nodes, np.concatenate([core, wings], axis=1).T * (strength / hertz)


def _self_broadening(upper: int, plasma: Plasma) -> NDArray[np.float64]:
    """Full width in rad/s from collisions with hydrogen atoms."""
    sigma, alpha = SELF_BROADENING.get(upper, SELF_BROADENING[5])
    speed = np.sqrt(8.0 * BOLTZMANN * plasma.temperature / (math.pi * 0.504 * ATOMIC_MASS))
    shape = (4.0 / math.pi) ** (alpha / 2.0) * math.gamma(2.0 - alpha / 2.0)
    return 2.0 * shape * speed * sigma * _BOHR_AREA * (speed / 1e6) ** -alpha * plasma.h_neutral


@cache
def _log_profiles(upper: int) -> NDArray[np.float64]:
    """ln of the table's profile per angstrom at `NODES`, shape (n_temperature, n_density, n_nodes).

    The table is given in alpha = distance / field; at fixed distance the thermal core does not depend on density, so
    that interpolation in density and 1/T keeps its shape.
    """
    table = load("balmer")
    log_alpha, log_s = table[f"log_alpha_{upper}"], table[f"log_profile_{upper}"].astype(np.float64)
    log_field = np.log10(_HOLTSMARK) + 2.0 / 3.0 * table[f"log_density_{upper}"]
    result = np.empty((*log_s.shape[:2], len(NODES)))
    for j, field in enumerate(log_field):
        position = np.log10(np.maximum(NODES, 1e-9)) - field
        spline = CubicSpline(log_alpha, log_s[:, j], axis=1)
        inside = spline(np.clip(position, log_alpha[0], log_alpha[-1]))
        result[:, j] = inside + _ASYMPTOTIC_SLOPE * np.maximum(position - log_alpha[-1], 0.0) - field
    return math.log(10.0) * result


def _stark_and_thermal(upper: int, plasma: Plasma) -> NDArray[np.float64]:
    """Stark profile with thermal Doppler broadening, per angstrom, shape (n_depth, n_nodes)."""
    table, log_profile = load("balmer"), _log_profiles(upper)
    inverse_t = 10.0 ** -table[f"log_temperature_{upper}"]
    log_density = table[f"log_density_{upper}"]
    i = np.clip(np.searchsorted(-inverse_t, -1.0 / plasma.temperature) - 1, 0, len(inverse_t) - 2)
    u = np.clip((1.0 / plasma.temperature - inverse_t[i]) / (inverse_t[i + 1] - inverse_t[i]), 0.0, 1.0)[:, None]
    # below the lowest density of the table the wings are too faint to matter
    position = (np.log10(plasma.electrons) - log_density[0]) / (log_density[1] - log_density[0])
    position = np.clip(position, 0.0, len(log_density) - 1.001)
    j = position.astype(int)
    v = (position - j)[:, None]
    mixed = (1 - u) * ((1 - v) * log_profile[i, j] + v * log_profile[i, j + 1])
    mixed += u * ((1 - v) * log_profile[i + 1, j] + v * log_profile[i + 1, j + 1])
    return np.exp(mixed)


@numba.njit(cache=True, fastmath=True)
def _interpolate(
    wavelength: NDArray[np.float64],
    centre: float,
    nodes: NDArray[np.float64],
    profile: NDArray[np.float64],
    opacity: NDArray[np.float64],
) -> None:
    for j in range(len(wavelength)):
        distance = abs(wavelength[j] - centre)
        i = min(max(np.searchsorted(nodes, distance) - 1, 0), len(nodes) - 2)
        weight = (distance - nodes[i]) / (nodes[i + 1] - nodes[i])
        for d in range(opacity.shape[1]):
            opacity[j, d] += (1.0 - weight) * profile[i, d] + weight * profile[i + 1, d]
