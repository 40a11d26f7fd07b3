"""Atomic and molecular lines: their opacity at every depth, added up on a wavelength grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from kcinn.synthesis.nlte.atmosphere import Atmosphere
from kcinn.synthesis.nlte.constants import (
    ANGSTROM,
    ATOMIC_MASS,
    BOLTZMANN,
    ELECTRON_VOLT,
    KILOMETRE,
    LINE_STRENGTH,
    PLANCK,
    SPEED_OF_LIGHT,
)
from kcinn.synthesis.nlte.departures import Departures
from kcinn.synthesis.nlte.elements import SYMBOLS, ion_fractions, masses
from kcinn.synthesis.nlte.equation_of_state import carbon_and_oxygen_in_co
from kcinn.synthesis.nlte.tables import load
from kcinn.synthesis.nlte.voigt import FAR, far_wing, voigt

WINDOWS = ((3920.0, 4358.0), (5157.0, 5733.0), (6097.0, 6793.0))  # where the list has lines, air angstrom
MARGIN = 30.0  # angstrom beyond a window from which the wings of strong lines are followed into it
# widths per helium atom and hydrogen molecule in units of that per hydrogen atom: polarisability^0.4, reduced mass^-0.3
HELIUM_BROADENING, H2_BROADENING = 0.413, 0.85
_SPEED = SPEED_OF_LIGHT / ANGSTROM  # angstrom/s


@dataclass(frozen=True)
class LineOpacity:
    """Lines in one atmosphere, sorted by wavelength; arrays of shape (n_lines, n_depth) unless said.

    `peak` is the opacity of an undamped line centre in cm-1 (LTE), `damping` Voigt's a, `doppler` the Doppler width
    in Hz, `reach` (n_lines,) the distance in angstrom to which the line is followed; `absorbed` and `excess` scale
    opacity and emission beyond it for departures from LTE, with a row for each line where `departure` (n_lines,) is
    not negative.
    """

    wavelength: NDArray[np.float64]
    peak: NDArray[np.float64]
    damping: NDArray[np.float64]
    doppler: NDArray[np.float64]
    reach: NDArray[np.float64]
    departure: NDArray[np.int64]
    absorbed: NDArray[np.float64]
    excess: NDArray[np.float64]


def elements() -> tuple[str, ...]:
    """Symbols of the elements with lines in the list, by atomic number; carbon also shows as CH."""
    return tuple(SYMBOLS[z] for z in np.unique(np.append(load("lines")["atomic_number"], [6, 7, 8])))


def stimulated(wavelength: NDArray[np.float64], temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """``exp(-h nu / k T)``, shape (n_lines, n_depth)."""
    return np.exp((-PLANCK * _SPEED / BOLTZMANN) / (wavelength[:, None] * temperature))


def doppler_width(
    wavelength: NDArray[np.float64], mass: NDArray[np.float64] | float, temperature: NDArray[np.float64], vmic: float
) -> NDArray[np.float64]:
    """Thermal and microturbulent Doppler width in Hz, shape (n_lines, n_depth); `mass` in u, `vmic` in km/s."""
    thermal = 2.0 * BOLTZMANN * temperature / (np.reshape(mass, (-1, 1)) * ATOMIC_MASS)
    return np.sqrt(thermal + (vmic * KILOMETRE) ** 2) / (wavelength[:, None] * ANGSTROM)


def atomic_lines(
    table: Mapping[str, NDArray],
    atmosphere: Atmosphere,
    vmic: float,
    window: tuple[float, float],
    opacity: NDArray[np.float64],
    departures: Mapping[str, Departures],
    *,
    faintest: float,
    wing: float,
) -> LineOpacity:
    """Atomic lines that matter in `window`.

    Parameters
    ----------
    table : mapping of str to ndarray, each of shape (n_lines,)
        The line list, sorted by wavelength, with the columns of ``lines.npz``.
    atmosphere : Atmosphere
    vmic : float, km/s
    window : (lower, upper), angstrom
    opacity : ndarray, shape (n_depth,), cm-1
        Continuous opacity in the middle of the window.
    departures : mapping of element symbol to Departures
        Elements that are not named are in LTE.
    faintest : float
        Lines whose centre nowhere exceeds this fraction of the continuous opacity are left out.
    wing : float
        A line is followed until its opacity falls below this fraction of the continuous one.
    """
    plasma = atmosphere.plasma
    lower, upper = np.searchsorted(table["wavelength"], [window[0] - MARGIN, window[1] + MARGIN])
    line = {key: column[lower:upper] for key, column in table.items()}
    species = line["atomic_number"].astype(np.int64) * 3 + line["ion"] - 1
    per_state = ion_fractions(plasma.saha, plasma.electrons) / plasma.partition
    per_state *= plasma.abundances[:, None, None] * plasma.hydrogen
    for number, bound in zip((6, 8), carbon_and_oxygen_in_co(plasma), strict=True):
        per_state[number] *= 1.0 - bound
    per_state = per_state.reshape(-1, len(plasma.hydrogen))

    def strengths(depths: slice | NDArray[np.int64], keep: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Frequency-integrated LTE opacity, cm-1 Hz, without stimulated emission."""
        energy = line["energy"][keep, None] * (-ELECTRON_VOLT / BOLTZMANN)
        oscillator = LINE_STRENGTH * 10.0 ** line["log_gf"][keep].astype(np.float64)
        return oscillator[:, None] * per_state[species[keep]][:, depths] * np.exp(energy / plasma.temperature[depths])

    # a look at a few depths discards most lines before the full calculation
    probe = np.flatnonzero((atmosphere.log_tau > -4.0) & (atmosphere.log_tau < 0.6))[::4]
    width = doppler_width(line["wavelength"], masses()[line["atomic_number"]], plasma.temperature[probe], vmic)
    ratio = strengths(probe, slice(None)) / (math.sqrt(math.pi) * width * opacity[probe])
    keep = np.flatnonzero(ratio.max(axis=1) > faintest)
    line = {key: column[keep] for key, column in line.items()}
    species = species[keep]

    wavelength = line["wavelength"]
    boltzmann = stimulated(wavelength, plasma.temperature)
    doppler = doppler_width(wavelength, masses()[line["atomic_number"]], plasma.temperature, vmic)
    peak = strengths(slice(None), slice(None)) * (1.0 - boltzmann) / (math.sqrt(math.pi) * doppler)
    helium = plasma.abundances[2] * plasma.hydrogen
    perturbers = plasma.h_neutral + HELIUM_BROADENING * helium + H2_BROADENING * plasma.h2
    log_t4 = np.log(plasma.temperature / 1e4)
    gamma = (
        line["van_der_waals"][:, None] * np.exp(line["van_der_waals_exponent"][:, None] * log_t4) * perturbers
        + line["stark"][:, None] * plasma.electrons
        + line["radiative"][:, None]
    )
    damping = gamma / (4.0 * math.pi * doppler)
    departure, absorbed, excess = _departure_factors(line, boltzmann, departures)
    reach = line_reach(wavelength, peak, damping, doppler, opacity, atmosphere.log_tau, wing)
    return LineOpacity(wavelength, peak, damping, doppler, reach, departure, absorbed, excess)


def _departure_factors(line, boltzmann, departures):
    """Which lines depart from LTE, and their factors ``(b_l - b_u x) / (1 - x)`` and ``b_u`` minus that."""
    departure = np.full(len(line["wavelength"]), -1)
    lower, upper = [], []
    for symbol, coefficients in departures.items():
        for i in np.flatnonzero(line["atomic_number"] == SYMBOLS.index(symbol)):
            ion, energy = int(line["ion"][i]), float(line["energy"][i])
            if coefficients.has(ion):
                departure[i] = len(lower)
                lower.append(coefficients.at(ion, energy))
                upper.append(coefficients.at(ion, energy + 12398.42 / float(line["wavelength"][i])))
    if not lower:
        return departure, np.empty((0, boltzmann.shape[1])), np.empty((0, boltzmann.shape[1]))
    x = np.empty((len(lower), boltzmann.shape[1]))
    x[departure[departure >= 0]] = boltzmann[departure >= 0]
    absorbed = (np.array(lower) - np.array(upper) * x) / (1.0 - x)
    return departure, absorbed, np.array(upper) - absorbed


def line_reach(wavelength, peak, damping, doppler, opacity, log_tau, wing):
    """Distance in angstrom at which the line falls below `wing` times the continuous opacity at every depth."""
    seen = (log_tau > -4.0) & (log_tau < 0.6)
    ratio = peak[:, seen] / opacity[seen]
    angstrom = wavelength**2 / _SPEED
    lorentz = np.sqrt(np.max(ratio * damping[:, seen] * doppler[:, seen] ** 2, axis=1) / (math.sqrt(math.pi) * wing))
    gauss = doppler.max(axis=1) * np.sqrt(np.log(np.maximum(ratio.max(axis=1) / wing, 1.0 + 1e-9)))
    return np.minimum(np.maximum(lorentz, gauss) * angstrom, 150.0)


def add_lines(
    wavelength: NDArray[np.float64], lines: LineOpacity, opacity: NDArray[np.float64], excess: NDArray[np.float64]
) -> None:
    """Add the lines to `opacity` and to `excess`, both (n_wavelength, n_depth), in place.

    `excess` is emissivity over the Planck function minus opacity: zero in LTE.
    """
    _accumulate(
        wavelength, lines.wavelength, lines.peak, lines.damping, 1.0 / lines.doppler, lines.reach,
        lines.departure, lines.absorbed, lines.excess, opacity, excess,
    )  # fmt: skip


@numba.njit(cache=True, fastmath=True)
def _accumulate(grid, centre, peak, damping, inverse, reach, departure, absorbed, emitted, opacity, excess):
    n_depth = peak.shape[1]
    profile = np.empty(n_depth)
    for k in range(len(centre)):
        first = np.searchsorted(grid, centre[k] - reach[k])
        last = np.searchsorted(grid, centre[k] + reach[k])
        narrow = inverse[k].min()
        for j in range(first, last):
            shift = abs(_SPEED / grid[j] - _SPEED / centre[k])
            if shift * narrow > FAR:
                for d in range(n_depth):
                    v = shift * inverse[k, d]
                    profile[d] = peak[k, d] * far_wing(damping[k, d], v * v)
            else:
                for d in range(n_depth):
                    profile[d] = peak[k, d] * voigt(damping[k, d], shift * inverse[k, d])
            row = departure[k]
            if row < 0:
                for d in range(n_depth):
                    opacity[j, d] += profile[d]
            else:
                for d in range(n_depth):
                    opacity[j, d] += profile[d] * absorbed[row, d]
                    excess[j, d] += profile[d] * emitted[row, d]
