"""Write ``atoms.npz``: partition functions, ionisation energies and atomic weights.

    python tools/build_atoms.py FACTS.npz [-o kcinn/synthesis/nlte/data/atoms.npz]

FACTS.npz holds `T` (n_t,), `U` (93, 3, n_t), `chi` (93, 3) in eV and `m` (93,) in u, index = atomic number: Kurucz
partition functions, NIST ionisation energies, IUPAC standard atomic weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("facts", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=DATA / "atoms.npz")
    options = parser.parse_args()
    with np.load(options.facts, allow_pickle=False) as facts:
        np.savez_compressed(
            options.output,
            temperature=facts["T"],
            log_partition=np.log(np.maximum(facts["U"], 1e-3)).astype(np.float32),
            ionisation_energy=facts["chi"].astype(np.float64),
            mass=facts["m"].astype(np.float64),
        )


if __name__ == "__main__":
    main()
