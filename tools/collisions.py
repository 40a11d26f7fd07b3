"""Inelastic collisions with hydrogen atoms, for model atoms of lightweaver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightweaver.collisional_rates import CollisionalRates

from kcinn.synthesis.nlte.constants import BOLTZMANN, ELECTRON_VOLT, SAHA
from kcinn.synthesis.nlte.equation_of_state import H_MINUS_BINDING

COLLISIONS = Path(__file__).parent / "hydrogen_collisions"
# term of every level of the atom, counted as in the tables of hydrogen collisions; the last is the ion
TERMS = {
    "Li": (0, 1, 1, 2, 3, 3, 4, 4, 5),
    "Na": (0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    "Mg": (0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    "Ca": (0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12, 13),
}
# Factor on Drawin's formula where there are no quantum mechanical rates, fitted to stars: Al from Gehren et al. (2004),
# A&A 413, 1045; Ba from Mashonkina, Gehren & Bikmaev (1999), A&A 343, 519
DRAWIN = {"Al": 0.002, "Ba": 0.01}
BOHR_RADIUS = 5.29177e-11  # m
RYDBERG = 13.5984  # eV
ELECTRON_OVER_PROTON = 5.4462e-4
SMALLEST_GAP = 0.02  # eV
IONISATION_STRENGTH = 0.3  # effective oscillator strength of ionisation in Drawin's formula


class HydrogenCollision(CollisionalRates):
    """Collision with hydrogen, from level `j` down to `i`; up by detailed balance.

    `coefficient` (cm3/s) is that of the downward process; `partner` is H, or H- where the upper level is the ion.
    """

    def __init__(self, j: int, i: int, coefficient: float, partner: str) -> None:
        super().__init__(j, i)
        self.coefficient, self.partner = coefficient, partner

    def __repr__(self) -> str:
        return f"HydrogenCollision({self.j}, {self.i}, {self.coefficient}, {self.partner!r})"

    def setup(self, atom) -> None:
        self.atom, self.iLevel, self.jLevel = atom, atom.levels[self.i], atom.levels[self.j]

    def compute_rates(self, atmos, eq_pops, rates) -> None:
        hydrogen = eq_pops["H"][0, :]
        if self.partner == "H-":
            binding = H_MINUS_BINDING * ELECTRON_VOLT / (BOLTZMANN * atmos.temperature)
            hydrogen = hydrogen * atmos.ne * 1e-6 * np.exp(binding) / (2.0 * SAHA * atmos.temperature**1.5)
        down = self.coefficient * 1e-6 * hydrogen
        equilibrium = eq_pops.atomicPops[self.atom.element].nStar
        rates[self.i, self.j, :] += down
        rates[self.j, self.i, :] += down * equilibrium[self.j] / equilibrium[self.i]


def hydrogen_collisions(symbol: str, atom) -> list[HydrogenCollision]:
    """Collisions between all levels of `atom`: rates of terms shared among their levels by statistical weight."""
    coefficients = np.loadtxt(COLLISIONS / f"{symbol}.txt")
    terms = TERMS[symbol]
    ionic = coefficients.shape[1] - 1
    weight = {t: sum(level.g for level, u in zip(atom.levels, terms, strict=True) if u == t) for t in set(terms)}
    result = []
    for i, final in enumerate(terms):
        for j, initial in enumerate(terms):
            if initial > final and coefficients[final, initial] > 0.0:
                share = atom.levels[i].g / weight[final]
                partner = "H-" if initial == ionic else "H"
                result.append(HydrogenCollision(j, i, share * coefficients[final, initial], partner))
                result[-1].setup(atom)
    return result


class DrawinCollision(CollisionalRates):
    """Excitation or ionisation from level `i` to `j` by hydrogen atoms after Drawin (1968), Z. Phys. 211, 404.

    In the form of Steenbock & Holweger (1984), A&A 130, 319; `strength` is the oscillator strength times the factor
    that is fitted to stars.
    """

    def __init__(self, j: int, i: int, strength: float) -> None:
        super().__init__(j, i)
        self.strength = strength

    def __repr__(self) -> str:
        return f"DrawinCollision({self.j}, {self.i}, {self.strength})"

    def setup(self, atom) -> None:
        self.atom, self.iLevel, self.jLevel = atom, atom.levels[self.i], atom.levels[self.j]

    def compute_rates(self, atmos, eq_pops, rates) -> None:
        mass = self.atom.element.mass
        gap = max(self.jLevel.E_eV - self.iLevel.E_eV, SMALLEST_GAP)
        kt = BOLTZMANN * atmos.temperature
        x = gap * ELECTRON_VOLT / kt
        reduced = mass * 1.008 / (mass + 1.008) * 1.6605e-27
        speed = np.sqrt(2.0 * kt * 1e-7 / (np.pi * reduced))
        size = 16.0 * np.pi * BOHR_RADIUS**2 * (RYDBERG / gap) ** 2 * self.strength
        up = size * speed * mass / 1.008 * ELECTRON_OVER_PROTON * np.exp(-x) * (1.0 + 2.0 / x) * eq_pops["H"][0, :]
        equilibrium = eq_pops.atomicPops[self.atom.element].nStar
        rates[self.j, self.i, :] += up
        rates[self.i, self.j, :] += up * equilibrium[self.i] / equilibrium[self.j]


def drawin_collisions(symbol: str, atom) -> list[DrawinCollision]:
    """Collisions along every line and bound-free continuum of `atom`."""
    factor = DRAWIN[symbol]
    result = [DrawinCollision(line.j, line.i, factor * line.f) for line in atom.lines]
    result += [DrawinCollision(edge.j, edge.i, factor * IONISATION_STRENGTH) for edge in atom.continua]
    for collision in result:
        collision.setup(atom)
    return result
