"""Equation of state: electrons, hydrogen in its forms and density from temperature and gas pressure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from kcinn.synthesis.nlte.constants import ATOMIC_MASS, BOLTZMANN, ELECTRON_VOLT, PLANCK, SAHA
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, masses, partition_functions, saha_products

# Elements that give electrons or weight; the rest is below 1e-4 of either.
DONORS = np.array(
    [
        ATOMIC_NUMBER[symbol]
        for symbol in ["He", "C", "N", "O", "Na", "Mg", "Al", "Si", "S", "K", "Ca", "Ti", "Cr", "Fe", "Ni"]
    ]
)
# log10 of n(A) n(B) / n(AB) times kT, dyn cm-2, in powers of 5040/T; Tsuji (1973), A&A 23, 411
_CO_DISSOCIATION = (13.8206, -11.795, 0.17217, -0.022888, 0.0011349)
_N2_DISSOCIATION = (13.590, -10.585, 0.22067, -0.029997, 0.0014993)
# dissociation energies in eV, Huber & Herzberg (1979), Constants of Diatomic Molecules
DISSOCIATION = {"CH": 3.465, "OH": 4.392}
H_MINUS_BINDING = 0.754209  # eV, Lykke, Murray & Lineberger (1991)


@dataclass(frozen=True)
class Plasma:
    """Matter at every depth; arrays of shape (n_depth,), number densities in cm-3.

    `h_neutral` counts hydrogen atoms, `hydrogen` all hydrogen nuclei; `abundances`, shape (93,), are relative to
    `hydrogen`; `partition` and `saha`, shapes (93, 3, n_depth) and (93, 2, n_depth), belong to `temperature`.
    """

    temperature: NDArray[np.float64]
    electrons: NDArray[np.float64]
    hydrogen: NDArray[np.float64]
    h_neutral: NDArray[np.float64]
    protons: NDArray[np.float64]
    h_minus: NDArray[np.float64]
    h2: NDArray[np.float64]
    density: NDArray[np.float64]  # g cm-3
    abundances: NDArray[np.float64]
    partition: NDArray[np.float64]
    saha: NDArray[np.float64]


class EquationOfState:
    """Ionisation and H2 equilibrium at fixed temperatures and composition, for any pressure.

    Parameters
    ----------
    temperature : ndarray, shape (n_depth,), K
    abundances : ndarray, shape (93,)
        Atoms per hydrogen nucleus, index = atomic number.

    Notes
    -----
    Charge balance over H, H-, and `DONORS` in three stages; H2 from the dissociation constant of Tsuji (1973) as
    fitted by Gray (2005). Other molecules bind too few particles above 4000 K to matter for the pressure.
    """

    def __init__(self, temperature: NDArray[np.float64], abundances: NDArray[np.float64]) -> None:
        self.temperature, self.abundances = temperature, abundances
        self.partition = partition_functions(temperature)
        self.saha = saha_products(temperature, self.partition)
        kt = BOLTZMANN * temperature
        theta = 5040.0 / temperature
        self._h_minus = np.exp(H_MINUS_BINDING * ELECTRON_VOLT / kt) / (
            2.0 * SAHA * temperature**1.5
        )  # n(H-)/(n(H) ne)
        self._h2 = kt / 10.0 ** (12.5335 - 4.9252 * theta + 0.0562 * theta**2 - 0.0033 * theta**3)  # n(H2)/n(H)^2

    def solve(self, gas_pressure: NDArray[np.float64], electrons: NDArray[np.float64] | None = None) -> Plasma:
        """Particle densities at `gas_pressure` (n_depth,), dyn cm-2; `electrons` is an optional first guess, cm-3."""
        particles = gas_pressure / (BOLTZMANN * self.temperature)
        guess = 1e-4 * particles if electrons is None else electrons
        number = self.abundances[DONORS]
        electrons, h_neutral = _charge_balance(
            particles, guess, self.saha[1, 0], self._h_minus, self._h2, self.saha[DONORS], number
        )
        protons = h_neutral * self.saha[1, 0] / electrons
        h_minus, h2 = h_neutral * electrons * self._h_minus, h_neutral**2 * self._h2
        hydrogen = h_neutral + protons + h_minus + 2.0 * h2
        density = hydrogen * (self.abundances @ masses()) * ATOMIC_MASS
        return Plasma(
            self.temperature, electrons, hydrogen, h_neutral, protons, h_minus, h2, density,
            self.abundances, self.partition, self.saha,
        )  # fmt: skip


def carbon_and_oxygen_in_co(plasma: Plasma) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractions of carbon and of oxygen that are bound in CO, each (n_depth,): half of all carbon at 4000 K."""
    carbon = plasma.abundances[6] * plasma.hydrogen
    oxygen = plasma.abundances[8] * plasma.hydrogen
    dissociation = _dissociation(plasma.temperature, _CO_DISSOCIATION)
    # the smaller root of x^2 - total x + carbon oxygen = 0, written so that no digits cancel
    total = carbon + oxygen + dissociation
    bound = 2.0 * carbon * oxygen / (total + np.sqrt(total**2 - 4.0 * carbon * oxygen))
    return bound / carbon, bound / oxygen


def nitrogen_in_n2(plasma: Plasma) -> NDArray[np.float64]:
    """Fraction of nitrogen that is bound in N2, (n_depth,): half of it at 3900 K in a dwarf."""
    # free^2 2 / dissociation + free = all
    ratio = 8.0 * plasma.abundances[7] * plasma.hydrogen / _dissociation(plasma.temperature, _N2_DISSOCIATION)
    return 1.0 - 2.0 / (1.0 + np.sqrt(1.0 + ratio))


def _dissociation(temperature: NDArray[np.float64], coefficients: tuple[float, ...]) -> NDArray[np.float64]:
    """n(A) n(B) / n(AB), cm-3."""
    return 10.0 ** np.polynomial.polynomial.polyval(5040.0 / temperature, coefficients) / (BOLTZMANN * temperature)


def atoms_per_state(plasma: Plasma, number: int) -> NDArray[np.float64]:
    """Free neutral atoms of an element over their partition function, cm-3, shape (n_depth,)."""
    once = plasma.saha[number, 0] / plasma.electrons
    atoms = (
        plasma.abundances[number] * plasma.hydrogen / (1.0 + once * (1.0 + plasma.saha[number, 1] / plasma.electrons))
    )
    if number == ATOMIC_NUMBER["H"]:
        atoms = plasma.h_neutral
    elif number in (6, 8):
        atoms = atoms * (1.0 - carbon_and_oxygen_in_co(plasma)[0 if number == 6 else 1])
    elif number == 7:
        atoms = atoms * (1.0 - nitrogen_in_n2(plasma))
    return atoms / plasma.partition[number, 0]


def molecules_per_state(plasma: Plasma, first: int, second: int, dissociation: float) -> NDArray[np.float64]:
    """Diatomic molecules over their partition function, cm-3, shape (n_depth,).

    From the atomic numbers of the constituents and the dissociation energy (eV): the equilibrium with the atoms, in
    which the internal partition function cancels. Atoms are not depleted, which holds for the rarer molecules.
    """
    kt = BOLTZMANN * plasma.temperature
    mass = masses()[first] * masses()[second] / (masses()[first] + masses()[second]) * ATOMIC_MASS
    thermal = (PLANCK**2 / (2.0 * math.pi * mass * kt)) ** 1.5
    pairs = atoms_per_state(plasma, first) * atoms_per_state(plasma, second)
    return pairs * thermal * np.exp(dissociation * ELECTRON_VOLT / kt)


@numba.njit(cache=True)
def _charge_balance(
    particles: NDArray[np.float64],
    guess: NDArray[np.float64],
    saha_h: NDArray[np.float64],
    h_minus: NDArray[np.float64],
    h2: NDArray[np.float64],
    saha: NDArray[np.float64],
    number: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Electron and neutral hydrogen density by fixed-point iteration, damped in the logarithm."""
    electrons, h_neutral = guess.copy(), np.empty_like(guess)
    others = number.sum()
    for d in range(len(particles)):
        ne = min(electrons[d], 0.499 * particles[d])  # the guess may belong to a higher pressure
        h1 = 0.0
        for _ in range(200):
            ionised = saha_h[d] / ne
            # particles without electrons: n(H) (1 + ionised) + n(H2) + nuclei of hydrogen * others
            linear = (1.0 + ionised + h_minus[d] * ne) * (1.0 + others)
            square = (1.0 + 2.0 * others) * h2[d]
            heavy = particles[d] - ne
            h1 = 2.0 * heavy / (linear + np.sqrt(linear * linear + 4.0 * square * heavy))
            nuclei = h1 * (1.0 + ionised + h_minus[d] * ne) + 2.0 * h2[d] * h1 * h1
            charge = h1 * ionised
            for k in range(len(number)):
                once = saha[k, 0, d] / ne
                twice = once * saha[k, 1, d] / ne
                charge += number[k] * nuclei * (once + 2.0 * twice) / (1.0 + once + twice)
            # positive charge = ne + n(H-); the root of ne^2 (1 + n(H-)/ne) = charge * ne converges from anywhere
            new = min(np.sqrt(charge * ne / (1.0 + h1 * h_minus[d])), 0.499 * particles[d])
            if abs(new / ne - 1.0) < 1e-8:
                ne = new
                break
            ne = new
        electrons[d], h_neutral[d] = ne, h1
    return electrons, h_neutral
