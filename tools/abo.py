"""Collisional broadening by hydrogen atoms after Anstee, Barklem and O'Mara (ABO): cross-sections from their tables.

The tables are read from the file ``Anstee-1802-2014.dat`` that Turbospectrum ships. It holds, one after the other,
cross-sections (a.u., at 10^4 m/s) and velocity exponents of transitions of neutral atoms against the effective
principal quantum numbers of their levels: s-p (Anstee & O'Mara 1995, MNRAS 276, 859), p-d (Barklem & O'Mara 1997,
MNRAS 290, 102) and d-f (Barklem, O'Mara & Ross 1998, MNRAS 296, 1057); then single lines: mostly of neutral atoms
(Barklem, Piskunov & O'Mara 2000, A&AS 142, 467), and Fe II (Barklem & Aspelund-Johansson 2005, A&A 435, 373).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from kcinn.synthesis.nlte.constants import RYDBERG_HYDROGEN

# pairs of orbitals: first effective quantum number of the rows and of the columns; steps are 0.1
TRANSITIONS = {"sp": (1.0, 1.3), "pd": (1.3, 2.3), "df": (2.3, 3.3)}
SAME_WAVELENGTH, SAME_ENERGY = 0.05, 0.02  # angstrom, eV
WAVENUMBER = 1.239841984e-4  # eV per cm-1


class CrossSections:
    """The tables, and the lines that were computed one by one."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(errors="replace").splitlines()
        first_line = next(i for i, line in enumerate(text) if line.startswith("*pec") or line.startswith(" Input"))
        blocks: list[list[list[float]]] = [[]]
        for line in text[:first_line]:
            if line.startswith("*"):
                if blocks[-1]:
                    blocks.append([])
            else:
                blocks[-1].append([float(x) for x in line.split()])
        self._tables = {}
        for k, (pair, (row, column)) in enumerate(TRANSITIONS.items()):
            values = np.stack([np.array(blocks[2 * k]), np.array(blocks[2 * k + 1])], axis=-1)
            axes = (row + 0.1 * np.arange(values.shape[0]), column + 0.1 * np.arange(values.shape[1]))
            self._tables[pair] = RegularGridInterpolator(axes, values, bounds_error=False)
        self._lines = np.array([row for row in map(_single_line, text[first_line:]) if row])
        self._lines = self._lines[np.argsort(self._lines[:, 2], kind="stable")]

    def line(self, number: int, ion: int, wavelength: float, energy: float) -> tuple[float, float] | None:
        """Cross-section and exponent of a line that was computed on its own; None if it was not."""
        first, last = np.searchsorted(self._lines[:, 2], [wavelength - SAME_WAVELENGTH, wavelength + SAME_WAVELENGTH])
        for row in self._lines[first:last]:
            if row[0] == number and row[1] == ion and abs(row[3] - energy) < SAME_ENERGY:
                return row[4], row[5]
        return None

    def transition(self, orbitals: str, below: float, above: float) -> tuple[float, float] | None:
        """Cross-section and exponent of a neutral atom's transition; None if the tables do not reach it.

        `orbitals` are those of the lower and upper level, `below` and `above` the energies in eV that separate the
        lower and the upper level from the ionisation limit. Broadening is the larger level's doing: where the lower
        level is smaller than the table goes, as the 3d levels of iron are, its first value stands for it.
        """
        pair = "".join(sorted(orbitals, key="spdf".find))
        if pair not in self._tables or min(below, above) <= 0.0:
            return None
        n_star = {orbital: np.sqrt(RYDBERG_HYDROGEN / x) for orbital, x in zip(orbitals, (below, above), strict=True)}
        lower, upper = orbitals
        smallest = dict(zip(pair, TRANSITIONS[pair], strict=True))[lower]
        if n_star[lower] < smallest < n_star[upper]:
            n_star[lower] = smallest
        sigma, alpha = self._tables[pair]([n_star[orbital] for orbital in pair])[0]
        return None if np.isnan(sigma) else (float(sigma), float(alpha))


def _single_line(text: str) -> tuple[float, ...] | None:
    """Atomic number, ion, wavelength (A), lower energy (eV), cross-section, exponent; None if `text` is a comment."""
    try:
        energy = float(text[17:28]) * WAVENUMBER
        return int(text[:2]), int(text[5:7]), float(text[7:17]), energy, float(text[87:95]), float(text[95:103])
    except ValueError:
        return None
