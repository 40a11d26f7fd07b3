"""TiO: half a million weak lines, summed beforehand into cross-sections."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from kcinn.synthesis.nlte.constants import BOLTZMANN, PLANCK, SPEED_OF_LIGHT
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER
from kcinn.synthesis.nlte.equation_of_state import Plasma, atoms_per_state, molecules_per_state
from kcinn.synthesis.nlte.tables import load

DISSOCIATION = 6.87  # eV, Plez (1998), A&A 337, 495
UNIT = 1e-18  # cm2, of the table
_ROTATION, _VIBRATION, _EXCITED = 0.535, 1000.0, 3444.0  # cm-1, of X 3Delta, and energy of a 1Delta
_NOTICEABLE = 1e-3  # of the continuous opacity


def add_titanium_oxide(
    wavelength: NDArray[np.float64], plasma: Plasma, continuous: NDArray[np.float64], opacity: NDArray[np.float64]
) -> None:
    """Add the absorption by TiO to `opacity` (n_wavelength, n_depth), cm-1, in place.

    Nothing is added where it is nowhere noticeable beside the `continuous` opacity (n_depth,). Lines have the thermal
    width and 1.5 km/s of turbulence.
    """
    grid, nodes, sections = _table()
    particles = _per_state(plasma)
    if np.max(particles / continuous) * sections.max() < _NOTICEABLE:
        return
    first, last = np.searchsorted(grid, [wavelength[0], wavelength[-1]])
    stretch = slice(max(first - 1, 0), last + 1)
    # linear in 5040 K / T: a product of matrices, of cross-sections at the nodes and particles shared between them
    inverse, position = 1.0 / nodes, np.clip(1.0 / plasma.temperature, 1.0 / nodes[-1], 1.0 / nodes[0])
    shares = np.array([np.interp(-position, -inverse, row) for row in np.eye(len(nodes))])
    absorption = sections[stretch] @ (shares * particles)
    here = grid[stretch]
    i = np.clip(np.searchsorted(here, wavelength) - 1, 0, len(here) - 2)
    weight = np.clip((wavelength - here[i]) / (here[i + 1] - here[i]), 0.0, 1.0)[:, None]
    opacity += (1.0 - weight) * absorption[i] + weight * absorption[i + 1]


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Wavelengths (A), temperatures (K) and cross-sections (n_wavelength, n_temperature), cm2."""
    table = load("titanium_oxide")
    return table["wavelength"], table["temperature"], UNIT * np.exp(table["log_cross_section"].astype(np.float64))


def _per_state(plasma: Plasma) -> NDArray[np.float64]:
    """Molecules over their partition function, cm-3, titanium depleted by them."""
    titanium, oxygen = ATOMIC_NUMBER["Ti"], ATOMIC_NUMBER["O"]
    undepleted = molecules_per_state(plasma, titanium, oxygen, DISSOCIATION)
    kt = BOLTZMANN * plasma.temperature / (PLANCK * SPEED_OF_LIGHT)  # cm-1
    partition = kt / _ROTATION / -np.expm1(-_VIBRATION / kt) * (6.0 + 2.0 * np.exp(-_EXCITED / kt))
    atoms = atoms_per_state(plasma, titanium) * plasma.partition[titanium, 0]
    return undepleted / (1.0 + undepleted * partition / atoms)
