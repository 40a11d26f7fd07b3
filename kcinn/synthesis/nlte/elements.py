"""Elements: symbols, solar abundances, and the atomic data behind ionisation equilibrium."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kcinn.synthesis.nlte.constants import BOLTZMANN, ELECTRON_VOLT, SAHA
from kcinn.synthesis.nlte.tables import load

SYMBOLS = (  # index = atomic number
    "",
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce",
    "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir",
    "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U",
)  # fmt: skip
ATOMIC_NUMBER = {symbol: number for number, symbol in enumerate(SYMBOLS) if symbol}
N_STAGES = 3  # neutral, singly and doubly ionised

SOLAR_SOURCE = "Asplund, Amarsi & Grevesse (2021), A&A 653, A141; Li: Asplund et al. (2009), ARA&A 47, 481"
# A(X) = log10 N(X)/N(H) + 12: photosphere, or meteorites where the photosphere gives none (same table of the paper).
# Lithium is the zero point of [Li/H], not a measure of the Sun's birth composition.
SOLAR = {
    "H": 12.00, "He": 10.914, "Li": 1.05, "Be": 1.38, "B": 2.70, "C": 8.46, "N": 7.83, "O": 8.69, "F": 4.40,
    "Ne": 8.06, "Na": 6.22, "Mg": 7.55, "Al": 6.43, "Si": 7.51, "P": 5.41, "S": 7.12, "Cl": 5.31, "Ar": 6.38,
    "K": 5.07, "Ca": 6.30, "Sc": 3.14, "Ti": 4.97, "V": 3.90, "Cr": 5.62, "Mn": 5.42, "Fe": 7.46, "Co": 4.94,
    "Ni": 6.20, "Cu": 4.18, "Zn": 4.56, "Ga": 3.02, "Ge": 3.62, "As": 2.30, "Se": 3.34, "Br": 2.54, "Kr": 3.12,
    "Rb": 2.32, "Sr": 2.83, "Y": 2.21, "Zr": 2.59, "Nb": 1.47, "Mo": 1.88, "Ru": 1.75, "Rh": 0.78, "Pd": 1.57,
    "Ag": 0.96, "Cd": 1.71, "In": 0.80, "Sn": 2.02, "Sb": 1.01, "Te": 2.18, "I": 1.55, "Xe": 2.22, "Cs": 1.08,
    "Ba": 2.27, "La": 1.11, "Ce": 1.58, "Pr": 0.75, "Nd": 1.42, "Sm": 0.95, "Eu": 0.52, "Gd": 1.08, "Tb": 0.31,
    "Dy": 1.10, "Ho": 0.48, "Er": 0.93, "Tm": 0.11, "Yb": 0.85, "Lu": 0.10, "Hf": 0.85, "Ta": -0.15, "W": 0.79,
    "Re": 0.26, "Os": 1.35, "Ir": 1.32, "Pt": 1.61, "Au": 0.91, "Hg": 1.17, "Tl": 0.92, "Pb": 1.95, "Bi": 0.65,
    "Th": 0.03, "U": -0.54,
}  # fmt: skip


def abundances(fe_h: float, x_fe: Mapping[str, float]) -> NDArray[np.float64]:
    """Number of atoms per hydrogen atom, shape (93,), index = atomic number.

    Every element heavier than helium follows `fe_h`; ``x_fe["Mg"]`` is [Mg/Fe] in dex. Elements that the Sun does
    not show have abundance zero.
    """
    relative = np.zeros(len(SYMBOLS))
    for symbol, solar in SOLAR.items():
        number = ATOMIC_NUMBER[symbol]
        relative[number] = 10.0 ** (solar - 12.0 + (fe_h + x_fe.get(symbol, 0.0) if number > 2 else 0.0))
    return relative


def masses() -> NDArray[np.float64]:
    """Standard atomic weights, shape (93,), u."""
    return load("atoms")["mass"]


def ionisation_energies() -> NDArray[np.float64]:
    """Ionisation energies of the neutral, singly and doubly ionised atom, shape (93, 3), eV."""
    return load("atoms")["ionisation_energy"]


def partition_functions(temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Partition functions, shape (93, 3, n_depth), interpolated in T of the Kurucz tables."""
    atoms = load("atoms")
    nodes, log_partition = atoms["temperature"], atoms["log_partition"]
    i = np.clip(np.searchsorted(nodes, temperature) - 1, 0, len(nodes) - 2)
    weight = np.clip((temperature - nodes[i]) / (nodes[i + 1] - nodes[i]), 0.0, 1.0)
    return np.exp(log_partition[..., i] * (1.0 - weight) + log_partition[..., i + 1] * weight)


def saha_products(temperature: NDArray[np.float64], partition: NDArray[np.float64]) -> NDArray[np.float64]:
    """``n_e n(stage + 1) / n(stage)`` in thermal equilibrium, shape (93, 2, n_depth), cm-3."""
    energy = ionisation_energies()[:, :2, None] * ELECTRON_VOLT / (BOLTZMANN * temperature)
    product = SAHA * temperature**1.5 * partition[:, 1:] / partition[:, :-1] * np.exp(-energy)
    product[1, 1] = 0.0  # no second ionisation of hydrogen
    return product


def ion_fractions(saha: NDArray[np.float64], electron_density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fraction of every element in each of its three stages, shape (93, 3, n_depth)."""
    once = saha[:, 0] / electron_density
    twice = once * saha[:, 1] / electron_density
    return np.stack([np.ones_like(once), once, twice], axis=1) / (1.0 + once + twice)[:, None]
