"""Iron line by line in observed stars at their reference labels: where the strength of a line goes wrong, and why.

    python benchmarks/iron_lines.py labels.csv FOLDER [--lte]

Every line of Fe I and Fe II that stands alone gives the change of log gf by which its equivalent width would be the
observed one. In the Sun (stars whose name begins so) the changes are errors of the list and of the synthesis; they are
printed by lower energy and by width. In other stars the Sun's are subtracted, line by line, which leaves what depends
on the star: a slope with lower energy is a wrong temperature or departure from excitation equilibrium, Fe II minus Fe I
a wrong gravity or ionisation. The slope is fitted together with the microturbulence.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from stars import add_arguments, observed

from kcinn.broaden import degrade
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.nlte.departures import available
from kcinn.synthesis.nlte.lines import line_list
from kcinn.synthesis.nlte.unreliable import UNRELIABLE_WINDOWS

WINDOWS = ((5165.0, 5725.0), (6105.0, 6270.0), (6325.0, 6520.0), (6606.0, 6785.0))  # no telluric oxygen, no H alpha
STEP, HALF = 0.03, 0.35  # angstrom, of the synthesis and about a line
CHANGE, VMIC_CHANGE, ABSENT = 0.1, 0.2, -9.0  # dex, km/s, dex
SHALLOWEST, BLEND = 0.02, 0.15  # depth of a line; depth of other lines beside it, in units of its own
ALONE = 0.9  # dex by which lines of the same ion nearby are weaker
ALPHA = ("o", "mg", "si", "ca", "ti")
ENERGIES, WIDTHS = (0.0, 2.5, 3.5, 4.2, 4.5, 5.0, 6.0), (0.0, 10.0, 20.0, 40.0, 80.0, 400.0)  # eV, mA


def lines(spectra: Spectra, reference: np.ndarray, instrument: Instrument, engine: NLTEEngine) -> dict:
    """(ion, wavelength) of every line: lower energy, width (mA), change of log gf, and its derivative with vmic."""
    teff, logg, fe_h = reference
    enhanced = {f"{x}_fe": min(0.4, max(0.0, -0.4 * fe_h)) for x in ALPHA}
    labels = {"teff": teff, "logg": logg, "fe_h": fe_h, "vmic": 1.0 if logg > 3.5 else 1.6, **enhanced}
    whole = np.concatenate([np.arange(a.wavelength[0] - 20, a.wavelength[-1] + 20, STEP) for a in instrument.arms])
    table, wavelength = line_list(), instrument.wavelength

    def flux(ion: int = 1, change: float = 0.0, **changed) -> np.ndarray:
        iron = (table["atomic_number"] == 26) & (table["ion"] == ion)
        engine.lines = {**table, "log_gf": np.where(iron, table["log_gf"] + change, table["log_gf"])}
        grid, values = engine.spectrum({**labels, **changed}, windows=WINDOWS, step=STEP)
        return degrade(whole, np.interp(whole, grid, values), instrument, vsini=2.0, vmac=3.0)

    model, other_vmic = flux(), flux(vmic=labels["vmic"] + VMIC_CHANGE)
    inside = np.any([(wavelength > lower) & (wavelength < upper) for lower, upper in WINDOWS], axis=0)
    inside &= ~spectra.mask[0]
    for lower, upper, _ in UNRELIABLE_WINDOWS:
        inside &= ~((wavelength > lower) & (wavelength < upper))
    misfit = np.full(len(wavelength), np.nan)
    for centre in wavelength[inside]:  # the continuum: the local median ratio where the model has little absorption
        near = inside & (np.abs(wavelength - centre) < 8.0)
        clear = near & (model > np.percentile(model[near], 60.0))
        here = wavelength == centre
        misfit[here] = spectra.flux[0][here] / np.median(spectra.flux[0][clear] / model[clear]) - model[here]
    found = {}
    for ion in (1, 2):
        response = (flux(ion, CHANGE) - flux(ion, -CHANGE)) / (2.0 * CHANGE)
        without = flux(ion, ABSENT)
        iron = np.flatnonzero((table["atomic_number"] == 26) & (table["ion"] == ion))
        strength = table["log_gf"][iron] - 5040.0 / teff * table["energy"][iron]
        for i, own in zip(iron, strength, strict=True):
            centre = table["wavelength"][i]
            line = np.abs(wavelength - centre) < HALF
            depth = np.max((without - model)[line], initial=0.0)
            rivals = strength[np.abs(table["wavelength"][iron] - centre) < HALF] > own - ALONE
            if rivals.sum() > 1 or depth < SHALLOWEST or np.isnan(misfit[line]).any():
                continue
            if np.max(1.0 - without[line]) > 0.02 + BLEND * depth:
                continue
            total, pixel = response[line].sum(), np.gradient(wavelength)[line]
            found[ion, float(centre)] = (
                float(table["energy"][i]), 1e3 * float(np.sum((without - model)[line] * pixel)),
                misfit[line].sum() / total, (other_vmic - model)[line].sum() / total / VMIC_CHANGE,
            )  # fmt: skip
    return found


def robust_line(values: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of `columns` and their standard errors."""
    weight = np.ones(len(values))
    for _ in range(30):
        normal = (columns.T * weight) @ columns
        fit = np.linalg.solve(normal, (columns.T * weight) @ values)
        left = values - columns @ fit
        scatter = 1.4826 * np.median(np.abs(left)) + 0.005
        weight = 1.0 / (1.0 + (left / scatter) ** 2)
    return fit, scatter * np.sqrt(np.diag(np.linalg.inv(normal)))


def describe(values: np.ndarray) -> str:
    """Median and robust scatter."""
    median = np.median(values)
    if len(values) < 3:
        return f"{median:+.3f} (lines: {len(values)})"
    return f"{median:+.3f}, scatter {1.4826 * np.median(np.abs(values - median)):.3f} ({len(values)} lines)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--lte", action="store_true", help="no departures from LTE")
    options = parser.parse_args()
    instrument = Instrument.load("4most-hrs-green-red")
    engine = NLTEEngine(() if options.lte else available())
    found = {}
    for star, spectra, reference in observed(options, instrument):
        if star.startswith("Sun"):
            reference = np.array([5772.0, 4.44, 0.0])  # the Sun is the zero point of [Fe/H]
        found[star] = lines(spectra, reference, instrument, engine)
    suns = [lines for star, lines in found.items() if star.startswith("Sun")]
    solar = {key: np.mean([sun[key] for sun in suns if key in sun], axis=0) for sun in suns for key in sun}
    rows = np.array([row for (ion, _), row in solar.items() if ion == 1])
    print("Sun, change of log gf that the lines ask for\nFe I", describe(rows[:, 2]))
    for k, name, edges in ((0, "eV", ENERGIES), (1, "mA", WIDTHS)):
        for lower, upper in itertools.pairwise(edges):
            print(f"  {lower:g}-{upper:g} {name}:", describe(rows[(rows[:, k] >= lower) & (rows[:, k] < upper), 2]))
    print("Fe II", describe(np.array([row[2] for (ion, _), row in solar.items() if ion == 2])))
    for star, own in found.items():
        if not star.startswith("Sun"):
            shared = [key for key in own if key in solar]
            rows = np.array([own[key] for key in shared])
            change = rows[:, 2] - np.array([solar[key][2] for key in shared])
            neutral = np.array([ion == 1 for ion, _ in shared])
            columns = np.stack([np.ones(neutral.sum()), rows[neutral, 0] - 3.5, rows[neutral, 3]], axis=1)
            fit, error = robust_line(change[neutral], columns)
            print(f"{star}: Fe I {describe(change[neutral])}; slope {fit[1]:+.3f} +- {error[1]:.3f} dex/eV", end="")
            print("; Fe II", describe(change[~neutral]) if np.any(~neutral) else "none", flush=True)


if __name__ == "__main__":
    main()
