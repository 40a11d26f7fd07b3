"""Write ``lines.npz``: the atomic lines of the embedded engine, broadening resolved into numbers.

    python tools/build_lines.py FACTS.npz [--atomic 8000] [-o kcinn/synthesis/nlte/data/lines.npz]

FACTS.npz holds `lines` (n, 8): air wavelength (A), atomic number, ion stage (1 = neutral), lower energy (eV), log gf,
van der Waals code, gamma_rad (s-1; 1 or less: unknown), isotope mass number (0: all isotopes); and `rank` (n,), the
largest line-to-continuum opacity of each line among a few model stars. The van der Waals code is that of the Gaia-ESO
list: above 20 it is ``sigma.alpha`` of Anstee, Barklem & O'Mara; negative, log10 of the width per hydrogen atom at
10^4 K; between 0 and 20, a factor on Unsold's approximation.

The strongest lines of the list are kept, and every component of lines with isotopic or hyperfine structure. Isotope
fractions are folded into log gf.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.special import gamma as gamma_function

from kcinn.synthesis.nlte.constants import ATOMIC_MASS, BOLTZMANN
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, SOLAR, ionisation_energies, masses

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
BOHR_AREA = 2.8002852e-17  # cm2
REFERENCE = 1e4  # K, temperature at which widths are tabulated
UNSOLD_EXPONENT = 0.3
# Isotope fractions of the solar system, Meija et al. (2016), Pure Appl. Chem. 88, 293; lithium 7.59/92.41 %.
ISOTOPES = {
    3: {6: 0.0759, 7: 0.9241},
    29: {63: 0.6915, 65: 0.3085},
    56: {134: 0.0242, 135: 0.0659, 136: 0.0785, 137: 0.1123, 138: 0.7170},
    57: {139: 0.9991},
    59: {141: 1.0},
    60: {142: 0.2715, 143: 0.1217, 144: 0.2380, 145: 0.0829, 146: 0.1719, 148: 0.0576, 150: 0.0564},
    63: {151: 0.4781, 153: 0.5219},
}


def van_der_waals(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width (FWHM, rad/s) per hydrogen atom at 10^4 K and its exponent of temperature, each (n,)."""
    wavelength, number, ion, energy, _, code = lines.T[:6]
    number, ion = number.astype(int), ion.astype(int)
    sigma, alpha = np.floor(code), code - np.floor(code)
    reduced = 1.0 / (1.0 / masses()[1] + 1.0 / masses()[number]) * ATOMIC_MASS
    speed = np.sqrt(8.0 * BOLTZMANN * REFERENCE / (np.pi * reduced))
    # Anstee & O'Mara (1995), MNRAS 276, 859, with sigma given at 10^6 cm/s
    abo = (
        2.0 * (4.0 / np.pi) ** (alpha / 2.0) * gamma_function(2.0 - alpha / 2.0)
        * speed * sigma * BOHR_AREA * (speed / 1e6) ** -alpha
    )  # fmt: skip
    below = np.maximum(ionisation_energies()[number, np.minimum(ion, 3) - 1] - energy, 0.3)
    above = np.maximum(below - 12398.42 / wavelength, 0.3)
    # Unsold (1955) with hydrogenic radii, in the form of Gray (2005), eq. 11.29-11.30
    c6 = np.maximum(0.3e-30 * ion**2 * (1.0 / above**2 - 1.0 / below**2), 1e-36)
    unsold = (
        10.0 ** (20.0 + 0.4 * np.log10(c6)) * REFERENCE**UNSOLD_EXPONENT * BOLTZMANN * np.where(code > 0, code, 2.5)
    )
    width = np.where(code > 20, abo, np.where(code < 0, 10.0 ** np.minimum(code, 0.0), unsold))
    return width, np.where(code > 20, (1.0 - alpha) / 2.0, UNSOLD_EXPONENT)


def stark(lines: np.ndarray) -> np.ndarray:
    """Rough quadratic Stark width per electron, rad/s cm3, after Cowley (1971), Observatory 91, 139."""
    wavelength, number, ion, energy = lines.T[:4]
    above = (
        ionisation_energies()[number.astype(int), np.minimum(ion.astype(int), 3) - 1] - energy - 12398.42 / wavelength
    )
    effective2 = 13.598 * ion**2 / np.maximum(above, 0.4)
    return 1e-8 * effective2**2.5 / ion**2


def columns(lines: np.ndarray, fraction: np.ndarray | float = 1.0) -> dict[str, np.ndarray]:
    """The columns of the table for `lines` (n, 8), log gf scaled by the isotope `fraction`."""
    wavelength, number, ion, energy, log_gf, _, radiative, _ = lines.T
    width, exponent = van_der_waals(lines)
    return {
        "wavelength": wavelength,
        "atomic_number": number.astype(np.uint8),
        "ion": ion.astype(np.uint8),
        "energy": energy.astype(np.float32),
        "log_gf": (log_gf + np.log10(fraction)).astype(np.float32),
        "van_der_waals": width.astype(np.float32),
        "van_der_waals_exponent": exponent.astype(np.float32),
        "stark": stark(lines).astype(np.float32),
        # classical damping where the list gives no radiative width
        "radiative": np.where(radiative > 1.0, radiative, 2.223e15 / wavelength**2).astype(np.float32),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("facts", type=Path)
    parser.add_argument("--atomic", type=int, default=8000, help="number of lines kept by rank")
    parser.add_argument("-o", "--output", type=Path, default=DATA / "lines.npz")
    options = parser.parse_args()
    with np.load(options.facts, allow_pickle=False) as facts:
        lines, rank = facts["lines"], facts["rank"]
    known = np.isin(lines[:, 1], [ATOMIC_NUMBER[symbol] for symbol in SOLAR]) & (lines[:, 2] <= 3)
    lines, rank = lines[known], rank[known]
    threshold = np.sort(rank)[-options.atomic]
    isotope = lines[:, 7].astype(int)
    keep = (rank >= threshold) | (isotope > 0)  # a component is weak where its line as a whole is strong
    lines, isotope = lines[keep], isotope[keep]
    fraction = np.ones(len(lines))
    for i in np.flatnonzero(isotope > 0):
        fraction[i] = ISOTOPES[int(lines[i, 1])][isotope[i]]
    np.savez_compressed(options.output, isotope=isotope.astype(np.uint16), **columns(lines, fraction))
    print(f"{len(lines)} lines, {np.sum(isotope > 0)} of them isotopic, rank >= {threshold:.3g}")


if __name__ == "__main__":
    main()
