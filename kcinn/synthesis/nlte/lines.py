"""Atomic and molecular lines: their opacity at every depth, added up on a wavelength grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from kcinn.errors import KcinnError
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

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

WINDOWS = ((3920.0, 4358.0), (5157.0, 5733.0), (6097.0, 6793.0))  # where the list has lines, air angstrom
LOG_GF = ("listed", "solar")
MARGIN = 30.0  # angstrom beyond a window from which the wings of strong lines are followed into it
# widths per helium atom and hydrogen molecule in units of that per hydrogen atom: polarisability^0.4, reduced mass^-0.3
HELIUM_BROADENING, H2_BROADENING = 0.413, 0.85
_SPEED = SPEED_OF_LIGHT / ANGSTROM  # angstrom/s
_DAMPING = 1.0 / (4.0 * math.sqrt(math.pi))
_FARTHEST = 150.0  # angstrom, to which a line is followed at most
_VOLT_ANGSTROM = PLANCK * SPEED_OF_LIGHT / (ELECTRON_VOLT * ANGSTROM)  # energy of a photon times its wavelength


@dataclass(frozen=True)
class LineOpacity:
    """Lines in one atmosphere, sorted by wavelength; arrays of shape (n_lines, n_depth) unless said.

    `peak` is the opacity of an undamped line centre in cm-1 (LTE), `damping` Voigt's a, `doppler` the Doppler width
    in Hz, `reach` (n_lines,) the distance in angstrom to which the line is followed; `absorbed` and `excess` scale
    opacity and emission beyond it for departures from LTE, with a row for each line where `departure` (n_lines,) is
    not negative.
    """

    wavelength: Floats
    peak: Floats
    damping: Floats
    doppler: Floats
    reach: Floats
    departure: Integers
    absorbed: Floats
    excess: Floats


def elements() -> tuple[str, ...]:
    """Symbols of the elements with lines in the list, by atomic number; carbon also shows as CH."""
    return tuple(SYMBOLS[z] for z in np.unique(np.append(load("lines")["atomic_number"], [6, 7, 8])))


def line_list(log_gf: str = "listed") -> dict[str, NDArray[Any]]:
    """The atomic lines, columns of ``lines.npz``, with oscillator strengths "listed" or "solar" (see the engine).

    Raises
    ------
    KcinnError
        If `log_gf` is neither.
    """
    if log_gf not in LOG_GF:
        raise KcinnError(f"log_gf must be one of {', '.join(LOG_GF)}. Received: {log_gf!r}")
    table = load("lines")
    if log_gf == "listed":
        return table
    return {**table, "log_gf": table["log_gf"] + load("solar_log_gf")["change"]}


def stimulated(wavelength: Floats, temperature: Floats) -> Floats:
    """``exp(-h nu / k T)``, shape (n_lines, n_depth)."""
    return np.exp((-PLANCK * _SPEED / BOLTZMANN) / (wavelength[:, None] * temperature))


def doppler_width(wavelength: Floats, mass: Floats | float, temperature: Floats, vmic: float) -> Floats:
    """Thermal and microturbulent Doppler width in Hz, shape (n_lines, n_depth); `mass` in u, `vmic` in km/s."""
    thermal = 2.0 * BOLTZMANN * temperature / (np.reshape(mass, (-1, 1)) * ATOMIC_MASS)
    return np.sqrt(thermal + (vmic * KILOMETRE) ** 2) / (wavelength[:, None] * ANGSTROM)


def atomic_lines(
    table: Mapping[str, NDArray[Any]],
    atmosphere: Atmosphere,
    vmic: float,
    window: tuple[float, float],
    opacity: Floats,
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
    line["absorber"] = line["atomic_number"]
    per_state = ion_fractions(plasma.saha, plasma.electrons) / plasma.partition
    per_state *= plasma.abundances[:, None, None] * plasma.hydrogen
    for number, bound in zip((6, 8), carbon_and_oxygen_in_co(plasma), strict=True):
        per_state[number] *= 1.0 - bound
    return opacity_of_lines(
        line, per_state, masses(), atmosphere, vmic, opacity, departures, faintest=faintest, wing=wing
    )


def opacity_of_lines(
    line: dict[str, NDArray[Any]],
    per_state: Floats,
    mass: Floats,
    atmosphere: Atmosphere,
    vmic: float,
    opacity: Floats,
    departures: Mapping[str, Departures],
    *,
    faintest: float,
    wing: float,
) -> LineOpacity:
    """The lines that are not fainter than `faintest`, with what the kernel needs to know of them.

    `line` has the columns of ``lines.npz`` and `absorber`, the index into `per_state` (n_absorbers, n_ions, n_depth),
    particles over their partition function in cm-3, and `mass` (n_absorbers,) in u.
    """
    plasma, seen = atmosphere.plasma, _seen(atmosphere.log_tau)
    # speed of the absorbers over c: the Doppler width in units of the line's frequency
    speed = doppler_width(np.full(len(mass), _SPEED), np.maximum(mass, 1.0), plasma.temperature, vmic)
    inverse_kt = -ELECTRON_VOLT / (BOLTZMANN * plasma.temperature)

    # a look at a few depths discards most lines before the full calculation
    probe = np.flatnonzero(seen)[::4]
    strength = LINE_STRENGTH * 10.0 ** line["log_gf"].astype(np.float64)
    keep = _noticeable(
        line["wavelength"], line["absorber"], line["ion"], line["energy"], strength,
        per_state[:, :, probe], speed[:, probe], inverse_kt[probe], opacity[probe], faintest,
    )  # fmt: skip
    line, strength = {key: column[keep] for key, column in line.items()}, strength[keep]

    helium = plasma.abundances[2] * plasma.hydrogen
    perturbers = plasma.h_neutral + HELIUM_BROADENING * helium + H2_BROADENING * plasma.h2
    peak, damping, doppler = np.empty((3, len(strength), len(perturbers)))
    _parameters(
        line["wavelength"], line["absorber"], line["ion"], line["energy"], strength,
        line["van_der_waals"], line["van_der_waals_exponent"], line["stark"], line["radiative"],
        per_state, speed, inverse_kt, np.log(plasma.temperature / 1e4), perturbers, plasma.electrons,
        peak, damping, doppler,
    )  # fmt: skip
    departure, absorbed, excess = _departure_factors(line, plasma.temperature, departures)
    reach = line_reach(line["wavelength"], peak, damping, doppler, opacity, atmosphere.log_tau, wing)
    return LineOpacity(line["wavelength"], peak, damping, doppler, reach, departure, absorbed, excess)


def _seen(log_tau: Floats) -> NDArray[np.bool_]:
    """The depths at which lines leave their mark on the spectrum."""
    return (log_tau > -4.0) & (log_tau < 0.6)


@numba.njit(cache=True, fastmath=True)
def _noticeable(
    wavelength: Floats,
    number: Integers,
    ion: Integers,
    energy: Floats,
    strength: Floats,
    per_state: Floats,
    speed: Floats,
    inverse_kt: Floats,
    opacity: Floats,
    faintest: float,
) -> NDArray[np.bool_]:
    """Whether the centre of each line exceeds `faintest` times the continuous opacity anywhere, (n_lines,)."""
    result = np.zeros(len(wavelength), dtype=np.bool_)
    for k in range(len(wavelength)):
        frequency = _SPEED / wavelength[k]
        z, stage = number[k], ion[k] - 1
        for d in range(len(opacity)):
            peak = (
                strength[k] * per_state[z, stage, d] * math.exp(energy[k] * inverse_kt[d]) / (speed[z, d] * frequency)
            )
            if peak > math.sqrt(math.pi) * faintest * opacity[d]:
                result[k] = True
                break
    return result


@numba.njit(cache=True, fastmath=True)
def _parameters(
    wavelength: Floats, number: Integers, ion: Integers, energy: Floats, strength: Floats,
    van_der_waals: Floats, exponent: Floats, stark: Floats, radiative: Floats,
    per_state: Floats, speed: Floats, inverse_kt: Floats, log_t4: Floats, perturbers: Floats, electrons: Floats,
    peak: Floats, damping: Floats, doppler: Floats,
) -> None:  # fmt: skip
    """Fill `peak`, `damping` and `doppler` of `LineOpacity`, (n_lines, n_depth)."""
    for k in range(len(wavelength)):
        frequency = _SPEED / wavelength[k]
        photon = _VOLT_ANGSTROM / wavelength[k]
        z, stage = number[k], ion[k] - 1
        for d in range(len(perturbers)):
            doppler[k, d] = speed[z, d] * frequency
            inverse = 1.0 / (math.sqrt(math.pi) * doppler[k, d])
            absorbers = per_state[z, stage, d] * math.exp(energy[k] * inverse_kt[d])
            stimulated = 1.0 - math.exp(photon * inverse_kt[d])
            collisions = van_der_waals[k] * math.exp(exponent[k] * log_t4[d]) * perturbers[d]
            peak[k, d] = strength[k] * absorbers * stimulated * inverse
            damping[k, d] = (collisions + stark[k] * electrons[d] + radiative[k]) * inverse * _DAMPING


def _departure_factors(
    line: dict[str, NDArray[Any]], temperature: Floats, departures: Mapping[str, Departures]
) -> tuple[Integers, Floats, Floats]:
    """Which lines depart from LTE, and their `departure_factors`."""
    departure = np.full(len(line["wavelength"]), -1)
    lower: list[Floats] = []
    upper: list[Floats] = []
    for symbol, coefficients in departures.items():
        for i in np.flatnonzero(line["atomic_number"] == SYMBOLS.index(symbol)):
            ion, energy = int(line["ion"][i]), float(line["energy"][i])
            if coefficients.has(ion):
                departure[i] = len(lower)
                lower.append(coefficients.at(ion, energy))
                upper.append(coefficients.at(ion, energy + _VOLT_ANGSTROM / float(line["wavelength"][i])))
    if not lower:
        return departure, np.empty((0, len(temperature))), np.empty((0, len(temperature)))
    x = np.empty((len(lower), len(temperature)))
    x[departure[departure >= 0]] = stimulated(line["wavelength"][departure >= 0], temperature)
    return departure, *departure_factors(np.array(lower), np.array(upper), x)


def departure_factors(lower: Floats, upper: Floats, stimulated: Floats) -> tuple[Floats, Floats]:
    """What departures b of a line's levels do: opacity over that in LTE, and emission beyond opacity."""
    absorbed = (lower - upper * stimulated) / (1.0 - stimulated)
    return absorbed, upper - absorbed


def line_reach(
    wavelength: Floats, peak: Floats, damping: Floats, doppler: Floats, opacity: Floats, log_tau: Floats, wing: float
) -> Floats:
    """Distance in angstrom at which the line falls below `wing` times the continuous opacity at every depth."""
    return _reach(wavelength, peak, damping, doppler, 1.0 / opacity, np.flatnonzero(_seen(log_tau)), wing)


@numba.njit(cache=True, fastmath=True)
def _reach(
    wavelength: Floats,
    peak: Floats,
    damping: Floats,
    doppler: Floats,
    inverse_opacity: Floats,
    depths: Integers,
    wing: float,
) -> Floats:
    reach = np.empty(len(wavelength))
    for k in range(len(wavelength)):
        centre, lorentz, width = 0.0, 0.0, 0.0
        for d in depths:
            ratio = peak[k, d] * inverse_opacity[d]
            centre = max(centre, ratio)
            lorentz = max(lorentz, ratio * damping[k, d] * doppler[k, d] ** 2)
            width = max(width, doppler[k, d])
        gauss = width * math.sqrt(math.log(max(centre / wing, 1.0 + 1e-9)))
        hertz = max(math.sqrt(lorentz / (math.sqrt(math.pi) * wing)), gauss)
        reach[k] = min(hertz * wavelength[k] ** 2 / _SPEED, _FARTHEST)
    return reach


def add_lines(wavelength: Floats, lines: LineOpacity, opacity: Floats, excess: Floats) -> None:
    """Add the lines to `opacity` and to `excess`, both (n_wavelength, n_depth), in place.

    `excess` is emissivity over the Planck function minus opacity: zero in LTE.
    """
    _accumulate(
        wavelength, lines.wavelength, lines.peak, lines.damping, 1.0 / lines.doppler, lines.reach,
        lines.departure, lines.absorbed, lines.excess, opacity, excess,
    )  # fmt: skip


@numba.njit(cache=True, fastmath=True)
def _accumulate(
    grid: Floats,
    centre: Floats,
    peak: Floats,
    damping: Floats,
    inverse: Floats,
    reach: Floats,
    departure: Integers,
    absorbed: Floats,
    emitted: Floats,
    opacity: Floats,
    excess: Floats,
) -> None:
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
