"""Write ``ch.npz``: lines of CH in the A-X and B-X systems.

    python tools/build_ch.py CH_X-A_12.asc CH_X-B_12.asc [-o kcinn/synthesis/nlte/data/ch.npz]

The files are Kurucz's molecular lists (fixed columns: wavelength in nm, log gf, J, lower energy in cm-1), as shipped
for instance in lightweaver under Data/DefaultMolecules/CH.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
WINDOWS = ((3920.0, 4360.0), (5155.0, 5735.0), (6095.0, 6795.0))
WAVENUMBER = 1.239841984e-4  # eV per cm-1
FAINTEST = 4.0  # dex that a line may fall below the strongest, at 4500 K


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=DATA / "ch.npz")
    options = parser.parse_args()
    rows = []
    for path in options.files:
        for line in path.read_text().splitlines()[2:]:  # two lines of heading
            if line.strip():
                rows.append((10.0 * float(line[:10]), float(line[10:17]), abs(float(line[22:32])) * WAVENUMBER))
    wavelength, log_gf, energy = np.array(sorted(rows)).T
    inside = np.any([(wavelength > lower) & (wavelength < upper) for lower, upper in WINDOWS], axis=0)
    strength = log_gf - 5040.0 / 4500.0 * energy
    keep = inside & (strength > strength[inside].max() - FAINTEST)
    np.savez_compressed(
        options.output,
        wavelength=wavelength[keep],
        log_gf=log_gf[keep].astype(np.float32),
        energy=energy[keep].astype(np.float32),
    )
    print(f"{keep.sum()} lines of CH")


if __name__ == "__main__":
    main()
