"""Physical constants in cgs units and electron volts, as plain floats for the numerical kernels."""

from __future__ import annotations

import math

from astropy import constants

SPEED_OF_LIGHT = constants.c.cgs.value  # cm/s
PLANCK = constants.h.cgs.value  # erg s
BOLTZMANN = constants.k_B.cgs.value  # erg/K
ELECTRON_MASS = constants.m_e.cgs.value  # g
ATOMIC_MASS = constants.u.cgs.value  # g
ELECTRON_CHARGE = constants.e.gauss.value  # esu
STEFAN_BOLTZMANN = constants.sigma_sb.cgs.value  # erg/s/cm2/K4
THOMSON = constants.sigma_T.cgs.value  # cm2
ELECTRON_VOLT = 1.602176634e-12  # erg, exact in the SI of 2019
RYDBERG_HYDROGEN = 13.598434  # eV, ionisation energy of hydrogen

# pi e^2 / (m_e c): opacity of a line, cm2 Hz per absorber and unit oscillator strength
LINE_STRENGTH = math.pi * ELECTRON_CHARGE**2 / (ELECTRON_MASS * SPEED_OF_LIGHT)
# 2 (2 pi m_e k / h^2)^(3/2): the constant of the Saha equation, cm-3 K-3/2
SAHA = 2.0 * (2.0 * math.pi * ELECTRON_MASS * BOLTZMANN / PLANCK**2) ** 1.5
ANGSTROM = 1e-8  # cm
KILOMETRE = 1e5  # cm
