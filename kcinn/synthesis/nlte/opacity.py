"""Continuous opacity: absorption by H- and H, scattering by electrons, H and H2."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.synthesis.nlte.constants import (
    ANGSTROM,
    BOLTZMANN,
    ELECTRON_VOLT,
    PLANCK,
    RYDBERG_HYDROGEN,
    SPEED_OF_LIGHT,
    THOMSON,
)
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER
from kcinn.synthesis.nlte.equation_of_state import DISSOCIATION, Plasma, atoms_per_state, molecules_per_state
from kcinn.synthesis.nlte.tables import load

# John (1988), A&A 193, 189: bound-free coefficients (eq. 5) and free-free tables 3a (> 0.3645 um) and 3b (below).
_BOUND_FREE = (152.519, 49.534, -118.858, 92.536, -34.194, 4.982)
_THRESHOLD = 1.6419  # um
_FREE_FREE_RED = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [2483.3460, 285.8270, -2054.2910, 2827.7760, -1341.5370, 208.9520],
        [-3449.8890, -1158.3820, 8746.5230, -11485.6320, 5303.6090, -812.9390],
        [2200.0400, 2427.7190, -13651.1050, 16755.5240, -7510.4940, 1132.7380],
        [-696.2710, -1841.4000, 8624.9700, -10051.5300, 4400.0670, -655.0200],
        [88.2830, 444.5170, -1863.8640, 2095.2880, -901.7880, 132.9850],
    ]
)
_FREE_FREE_BLUE = np.array(
    [
        [518.1021, -734.8666, 1021.1775, -479.0721, 93.1373, -6.4285],
        [473.2636, 1443.4137, -1977.3395, 922.3575, -178.9275, 12.3600],
        [-482.2089, -737.1616, 1096.8827, -521.1341, 101.7963, -7.0571],
        [115.5291, 169.6374, -245.6490, 114.2430, -21.9972, 1.5097],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)
_LEVELS = 8  # hydrogen levels whose edges are treated one by one
_EDGE = 0.0911753  # um, Lyman limit
_KRAMERS = 7.906e-18  # cm2, threshold cross-section of level n is n times this
_GAUNT_FREE_FREE = 1.2
_FREE_FREE = 3.6923e8  # cm5 K1/2 s-3, Kramers' constant


def planck(wavelength: ArrayLike, temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Planck function per unit frequency, erg s-1 cm-2 Hz-1 sr-1, shape (n_wavelength, n_depth)."""
    frequency = SPEED_OF_LIGHT / (np.asarray(wavelength)[:, None] * ANGSTROM)
    x = PLANCK * frequency / (BOLTZMANN * temperature)
    return 2.0 * PLANCK * frequency**3 / SPEED_OF_LIGHT**2 / np.expm1(x)


def continuum(wavelength: ArrayLike, plasma: Plasma) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True absorption and scattering at `wavelength` (n_wavelength,), angstrom, 1823 to 16000.

    Returns
    -------
    absorption, scattering : ndarray, shape (n_wavelength, n_depth), cm-1
        Absorption is corrected for stimulated emission. H- from John (1988), hydrogen with Kramers cross-sections,
        metals, CH and OH from ``photoionisation.npz``, Rayleigh scattering by H after Dalgarno and by H2 after
        Dalgarno & Williams (1962), Thomson scattering.
    """
    micron = np.atleast_1d(np.asarray(wavelength, dtype=np.float64))[:, None] * 1e-4
    kt = BOLTZMANN * plasma.temperature
    frequency = SPEED_OF_LIGHT / (micron * 1e-4)
    stimulated = -np.expm1(-PLANCK * frequency / kt)
    absorption = (
        _h_minus_bound_free(micron) * plasma.h_minus * stimulated
        + _h_minus_free_free(micron, plasma.temperature) * (plasma.electrons * kt) * plasma.h_neutral
        + _hydrogen_bound_free(micron, kt) * plasma.h_neutral * stimulated
        + _metals(micron[:, 0] * 1e4, plasma) * stimulated
        + _FREE_FREE * _GAUNT_FREE_FREE / (frequency**3 * np.sqrt(plasma.temperature))
        * plasma.electrons * plasma.protons * stimulated
    )  # fmt: skip
    angstrom2 = (micron * 1e4) ** 2
    by_h = 5.799e-13 / angstrom2**2 * (1.0 + 2.452e6 / angstrom2 + 4.801e12 / angstrom2**2)
    by_h2 = 8.14e-13 / angstrom2**2 * (1.0 + 1.572e6 / angstrom2 + 1.981e12 / angstrom2**2)
    scattering = by_h * plasma.h_neutral + by_h2 * plasma.h2 + THOMSON * plasma.electrons
    return absorption, scattering


def _h_minus_bound_free(micron: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.sqrt(np.maximum(1.0 / micron - 1.0 / _THRESHOLD, 0.0))
    return 1e-18 * micron**3 * x**3 * np.polynomial.polynomial.polyval(x, _BOUND_FREE)


def _h_minus_free_free(micron: NDArray[np.float64], temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per hydrogen atom and unit electron pressure, stimulated emission included, cm4 dyn-1."""
    powers = np.concatenate([micron**2, micron**0, micron**-1, micron**-2, micron**-3, micron**-4], axis=1)
    theta = (5040.0 / temperature) ** ((np.arange(6)[:, None] + 2.0) / 2.0)
    terms = np.where(micron > 0.3645, powers @ _FREE_FREE_RED.T, powers @ _FREE_FREE_BLUE.T)
    return 1e-29 * terms @ theta


def _hydrogen_bound_free(micron: NDArray[np.float64], kt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per hydrogen atom, before stimulated emission; levels beyond `_LEVELS` merge into a continuum."""
    ryd = RYDBERG_HYDROGEN * ELECTRON_VOLT
    n = np.arange(1, _LEVELS + 1)
    edges = (micron <= _EDGE * n**2) * _KRAMERS * n**3 * (micron / (_EDGE * n**2)) ** 3
    occupied = np.exp(-ryd * (1.0 - 1.0 / n[:, None] ** 2) / kt)
    high = np.exp(-ryd * (1.0 - 1.0 / (_LEVELS + 1) ** 2) / kt) - np.exp(-ryd / kt)
    return edges @ occupied + 2.0 * _KRAMERS / (2.0 * ryd / kt) * (micron / _EDGE) ** 3 * high


def _metals(wavelength: NDArray[np.float64], plasma: Plasma) -> NDArray[np.float64]:
    """Bound-free absorption of metals and dissociation of molecules, before stimulated emission, cm-1."""
    table = load("photoionisation")
    nodes = table["temperature"]
    i = np.clip(np.searchsorted(nodes, plasma.temperature) - 1, 0, len(nodes) - 2)
    weight = np.clip((plasma.temperature - nodes[i]) / (nodes[i + 1] - nodes[i]), 0.0, 1.0)
    j = np.clip(np.searchsorted(table["wavelength"], wavelength) - 1, 0, len(table["wavelength"]) - 2)
    share = (wavelength - table["wavelength"][j]) / (table["wavelength"][j + 1] - table["wavelength"][j])
    share = np.clip(share, 0.0, 1.0)[:, None]
    absorption = np.zeros((len(wavelength), len(plasma.temperature)))
    for name, logarithm in zip(table["absorber"], table["log_cross_section"], strict=True):
        if name in DISSOCIATION:
            first, second = (ATOMIC_NUMBER[symbol] for symbol in name)
            absorbers = molecules_per_state(plasma, first, second, DISSOCIATION[name])
        else:
            absorbers = atoms_per_state(plasma, ATOMIC_NUMBER[name])
        at_wavelength = (1.0 - share) * logarithm[j] + share * logarithm[j + 1]  # (n_wavelength, n_temperature)
        section = (1.0 - weight) * at_wavelength[:, i] + weight * at_wavelength[:, i + 1]
        absorption += np.exp(section) * absorbers
    return absorption
