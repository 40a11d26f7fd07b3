"""Over-ionisation of Fe I: a parametric departure coefficient, anchored on published statistical equilibrium.

Small model atoms of iron miss the many levels through which Fe I is ionised. What large ones find is simple, though:
the levels below about 5 eV are held together by collisions and share one departure coefficient, set by the balance of
photoionisation, recombination and collisions; the highest levels are in balance with Fe II, whose departures are
small. In the atom of 607 levels cited below, at log tau5000 = -1, the lower levels of the lines of 5157-5733 and
6097-6793 angstrom share it to 0.007 in ln b, whatever their energy. Upper levels from 5.3 to 6.8 eV lie above it by
0.05 at [Fe/H] -2 and 0.01 at 0; they fall below it at log tau5000 < -2, where photons of strong lines escape: this is
left out here. Per low-lying atom, with ``R`` the rate of photoionisation, ``R*`` that of
recombination per atom in equilibrium and ``C`` that of collisional ionisation and its inverse,

    b = (R* + C) / (R + C).

R and R* follow from the mean intensity below the ultraviolet line haze. C is the one free function, ``STRENGTH n_H (T
/ 4000 K)^POWER exp(-IONISATION / kT)``. Its two constants are anchored on corrections, NLTE minus LTE, of +0.10 dex
for lines of Fe I in a giant (4500 K, log g 2.5, [Fe/H] -2; what b = 0.79 at log tau5000 = -1 amounts to, atom of 607
levels of Bergemann et al. 2012, MNRAS 427, 27, in the test output that Turbospectrum ships) and in a turn-off star
(6350 K, 4.1, -2.1; in the middle of what published atoms give for HD 84937: +0.03, Korn, Shi & Gehren 2003, A&A 407,
691, S_H = 3, to +0.21, Mashonkina et al. 2011, A&A 528, A87, no collisions with hydrogen).
"""

from __future__ import annotations

import numpy as np
from haze import Haze
from numpy.typing import NDArray

from kcinn.synthesis.nlte.atmosphere import Atmosphere
from kcinn.synthesis.nlte.constants import ANGSTROM, BOLTZMANN, ELECTRON_VOLT, PLANCK, SPEED_OF_LIGHT
from kcinn.synthesis.nlte.opacity import continuum, planck
from kcinn.synthesis.nlte.transfer import mean_intensity, tau_weights

WAVELENGTH = np.arange(1700.0, 6000.0, 20.0)
IONISATION = 7.9024  # eV
STRENGTH = 2e-17  # rate of collisions per hydrogen atom, in the units in which cross-sections are one at threshold
POWER = 6.0
# levels of the table: ion, energy above its ground state in eV, and whether it shares the departure of the low ones
LEVELS = ((1, 0.0, True), (1, 6.0, True), (1, 7.6, False), (2, 0.0, False))


def over_ionisation(table: dict[str, NDArray], atmosphere: Atmosphere, haze: Haze) -> NDArray[np.float64]:
    """Departure coefficients of `LEVELS`, shape (n_levels, n_depth); `table` is the line list, for its levels."""
    plasma = atmosphere.plasma
    kt = BOLTZMANN * plasma.temperature
    absorption, scattering = continuum(WAVELENGTH, plasma)
    source = planck(WAVELENGTH, plasma.temperature)
    weight = tau_weights(atmosphere.log_tau, atmosphere.opacity_5000)
    mean = mean_intensity(absorption + haze.opacity("Fe", WAVELENGTH), scattering, source, atmosphere.log_tau, weight)
    frequency = SPEED_OF_LIGHT / (WAVELENGTH * ANGSTROM)
    spontaneous = 2.0 * PLANCK * frequency**3 / SPEED_OF_LIGHT**2
    recombining = (spontaneous[:, None] + mean) * np.exp(-PLANCK * frequency[:, None] / kt)
    iron = (table["atomic_number"] == 26) & (table["ion"] == 1)
    energies = np.unique(np.round(table["energy"][iron].astype(float), 2))
    ionised, recombined = np.zeros((2, len(kt)))
    for energy in energies[energies < IONISATION - 0.4]:
        threshold = (IONISATION - energy) * ELECTRON_VOLT / PLANCK
        section = np.where(frequency > threshold, (threshold / frequency) ** 3, 0.0)
        per_intensity = section / frequency * np.abs(np.gradient(frequency))
        population = np.exp(-energy * ELECTRON_VOLT / kt)
        ionised += population * (per_intensity @ mean)
        recombined += population * (per_intensity @ recombining)
    collisions = STRENGTH * plasma.h_neutral * (plasma.temperature / 4000.0) ** POWER
    collisions = collisions * np.exp(-IONISATION * ELECTRON_VOLT / kt)
    low = (recombined + collisions) / (ionised + collisions)
    return np.array([low if shared else np.ones_like(low) for *_, shared in LEVELS])
