"""Abundance corrections, NLTE minus LTE, of single lines of the embedded engine, beside published ones.

    python benchmarks/nlte_corrections.py

A correction is the change of abundance by which LTE gives the equivalent width that NLTE gives.
"""

from __future__ import annotations

import numpy as np

from kcinn.synthesis.nlte.atmosphere import model
from kcinn.synthesis.nlte.departures import departures
from kcinn.synthesis.nlte.elements import abundances
from kcinn.synthesis.nlte.lines import line_list
from kcinn.synthesis.nlte.nlte_engine import fluxes

HALF = 0.6  # angstrom about a line
STEP = 0.01
OFFSETS = np.linspace(-0.6, 0.6, 7)  # dex
ALPHA = ("O", "Mg", "Si", "S", "Ca", "Ti")
SUN, TURN_OFF, SUBGIANT = (5777, 4.44, 0.0, 1.0), (6350, 4.1, -2.1, 1.5), (5750, 3.7, -2.5, 1.5)
GIANT, POOR_GIANT, TIP = (4500, 2.5, 0.0, 1.5), (4500, 2.5, -2.0, 1.8), (4600, 1.5, -2.6, 2.0)
IRON = (5216.27, 5225.53, 5302.30, 5383.37, 5393.17, 5586.76, 6137.69, 6230.72, 6393.60, 6494.98)
# element, wavelengths, star (Teff, log g, [Fe/H], vmic), [X/Fe] or for lithium A(Li), published value and source
LINES = (
    ("Li", (6707.8,), SUN, 1.05, "+0.05, Lind et al. (2009)"),
    ("Li", (6707.8,), (6250, 4.0, -2.0, 1.5), 2.2, "-0.05, Lind et al. (2009)"),
    ("Li", (6707.8,), (4500, 2.0, 0.0, 1.5), 1.0, "+0.2, Lind et al. (2009)"),
    ("Na", (6154.23,), SUN, 0.0, "-0.05, Lind et al. (2011)"),
    ("Na", (5682.63,), SUN, 0.0, "-0.11, Lind et al. (2011)"),
    ("Na", (5682.63,), GIANT, 0.0, "-0.15, Lind et al. (2011)"),
    ("Mg", (5711.09,), SUN, 0.0, "0.00, Bergemann et al. (2017)"),
    ("Ca", (6439.08,), SUN, 0.0, "-0.07, Mashonkina et al. (2007)"),
    ("Ca", (6162.17,), SUN, 0.0, "-0.03, Mashonkina et al. (2007)"),
    ("Ba", (6496.90,), SUN, 0.0, "-0.10, Mashonkina & Gehren (2000)"),
    ("Fe", IRON, SUN, 0.0, "+0.01, Mashonkina et al. (2011)"),
    ("Fe", IRON, TURN_OFF, 0.0, "+0.10 (anchor), +0.03 to +0.21"),
    ("Fe", IRON, SUBGIANT, 0.0, "+0.1, Bergemann et al. (2012)"),
    ("Fe", IRON, GIANT, 0.0, "+0.03, atom of 607 levels"),
    ("Fe", IRON, POOR_GIANT, 0.0, "+0.10, atom of 607 levels"),
    ("Fe", IRON, TIP, 0.0, "+0.1, Mashonkina et al. (2011)"),
)


def width(symbol: str, line: float, star, x_fe: float, coefficients) -> float:
    """Equivalent width in mA that the element adds to the spectrum about a line."""
    teff, logg, fe_h, vmic = star
    window = (line - HALF, line + HALF)
    wavelength = np.arange(*window, STEP)
    alpha = dict.fromkeys(ALPHA, 0.4 * float(np.clip(-fe_h, 0.0, 1.0)))
    normalised = []
    for amount, departing in ((x_fe, coefficients), (-6.0, {})):
        composition = abundances(fe_h, {**alpha, symbol: amount})
        flux, continuum = fluxes(
            model(teff, logg, fe_h, composition), vmic, departing, line_list(), (), window, wavelength
        )
        normalised.append(flux / continuum)
    return 1e3 * STEP * float(np.sum(normalised[1] - normalised[0]))


def correction(symbol: str, line: float, star, x_fe: float, coefficients=None) -> tuple[float, float, float]:
    """LTE width, NLTE width (mA) and the correction in dex."""
    teff, logg, fe_h, _ = star
    if coefficients is None:
        log_tau = model(teff, logg, fe_h, abundances(fe_h, {})).log_tau
        coefficients = departures(symbol, log_tau, teff=teff, logg=logg, fe_h=fe_h, x_h=fe_h + x_fe)
    nlte = width(symbol, line, star, x_fe, {symbol: coefficients})
    lte = np.array([width(symbol, line, star, x_fe + offset, {}) for offset in OFFSETS])
    return lte[len(OFFSETS) // 2], nlte, -float(np.interp(nlte, lte, OFFSETS))


def main() -> None:
    print("element, Teff, log g, [Fe/H]: mean width in LTE and NLTE (mA), correction (dex); published")
    for symbol, lines, star, amount, published in LINES:
        alpha = 0.4 * float(np.clip(-star[2], 0.0, 1.0)) if symbol in ALPHA else 0.0
        x_fe = amount - 1.05 - star[2] if symbol == "Li" else amount + alpha
        lte, nlte, dex = np.mean([correction(symbol, line, star, x_fe) for line in lines], axis=0)
        where = f"{lines[0]:.1f}" if len(lines) == 1 else f"{len(lines)} lines"
        print(
            f"{symbol:2s} {where:8s} {star[0]} {star[1]:.2f} {star[2]:+.1f}: "
            f"{lte:6.1f} {nlte:6.1f} {dex:+.3f}; {published}",
            flush=True,
        )


if __name__ == "__main__":
    main()
