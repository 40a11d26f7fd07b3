"""Lines of CH, with carbon depleted by CO."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kcinn.synthesis.nlte.atmosphere import Atmosphere
from kcinn.synthesis.nlte.constants import BOLTZMANN, ELECTRON_VOLT, LINE_STRENGTH
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, masses
from kcinn.synthesis.nlte.equation_of_state import DISSOCIATION, molecules_per_state
from kcinn.synthesis.nlte.lines import MARGIN, LineOpacity, doppler_width, line_reach, stimulated
from kcinn.synthesis.nlte.tables import load

_RADIATIVE = 1e7  # s-1
_VAN_DER_WAALS = 3e-8  # rad/s cm3


def ch_lines(
    atmosphere: Atmosphere,
    vmic: float,
    window: tuple[float, float],
    opacity: NDArray[np.float64],
    *,
    faintest: float,
    wing: float,
) -> LineOpacity:
    """Lines of CH that matter in `window`, in LTE; arguments as for `lines.atomic_lines`."""
    table, plasma = load("ch"), atmosphere.plasma
    lower, upper = np.searchsorted(table["wavelength"], [window[0] - MARGIN, window[1] + MARGIN])
    wavelength, log_gf, energy = (table[key][lower:upper] for key in ("wavelength", "log_gf", "energy"))
    hydrogen, carbon = ATOMIC_NUMBER["H"], ATOMIC_NUMBER["C"]
    per_state = molecules_per_state(plasma, carbon, hydrogen, DISSOCIATION["CH"])
    kt = BOLTZMANN * plasma.temperature
    oscillator = LINE_STRENGTH * 10.0 ** log_gf.astype(np.float64)
    doppler = doppler_width(wavelength, masses()[hydrogen] + masses()[carbon], plasma.temperature, vmic)
    strength = oscillator[:, None] * per_state * np.exp(-energy[:, None] * ELECTRON_VOLT / kt)
    peak = strength * (1.0 - stimulated(wavelength, plasma.temperature)) / (math.sqrt(math.pi) * doppler)
    seen = (atmosphere.log_tau > -4.0) & (atmosphere.log_tau < 0.6)
    keep = np.max(peak[:, seen] / opacity[seen], axis=1) > faintest
    wavelength, peak, doppler = wavelength[keep], peak[keep], doppler[keep]
    damping = (_RADIATIVE + _VAN_DER_WAALS * plasma.h_neutral) / (4.0 * math.pi * doppler)
    reach = line_reach(wavelength, peak, damping, doppler, opacity, atmosphere.log_tau, wing)
    none = np.empty((0, len(atmosphere.log_tau)))
    return LineOpacity(wavelength, peak, damping, doppler, reach, np.full(len(wavelength), -1), none, none)
