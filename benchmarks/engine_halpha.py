"""Teff from the wings of H alpha in observed stars, other labels at their reference: what the line alone says.

    python benchmarks/engine_halpha.py labels.csv FOLDER [--without-overshooting]

Pixels 2.5 to 40 angstrom from the centre where other lines take less than `CLEAN`; a straight continuum is fitted with
Teff.
"""

from __future__ import annotations

import argparse
from unittest import mock

import numpy as np
from stars import add_arguments, observed

from kcinn.broaden import degrade
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra
from kcinn.synthesis.nlte import NLTEEngine, nlte_engine
from kcinn.synthesis.nlte.departures import available

CENTRE, NEAR, FAR = 6562.8, 2.5, 40.0  # angstrom
CLEAN = 0.015  # of the flux
STEP, DIFFERENCE = 0.05, 150.0  # angstrom; K, of the derivative
ALPHA = ("o", "mg", "si", "ca", "ti")


def temperature_error(
    spectra: Spectra, reference: np.ndarray, instrument: Instrument, engine: NLTEEngine
) -> tuple[float, float]:
    """Teff from H alpha minus the reference, K, and scatter of the pixels."""
    teff, logg, fe_h = reference
    enhanced = {f"{x}_fe": min(0.4, max(0.0, -0.4 * fe_h)) for x in ALPHA}
    whole = np.concatenate([np.arange(a.wavelength[0] - 20, a.wavelength[-1] + 20, STEP) for a in instrument.arms])

    def flux(teff):
        labels = {"teff": teff, "logg": logg, "fe_h": fe_h, "vmic": 1.3, **enhanced}
        grid, values = engine.spectrum(labels, windows=[(CENTRE - FAR - 8, CENTRE + FAR + 8)], step=STEP)
        return degrade(whole, np.interp(whole, grid, values), instrument, vsini=3.0, vmac=2.0)

    with mock.patch.multiple(nlte_engine, add_lines=lambda *_: None, add_titanium_oxide=lambda *_: None):
        alone = flux(teff)
    model = flux(teff)
    slope = (flux(teff + DIFFERENCE) - flux(teff - DIFFERENCE)) / (2.0 * DIFFERENCE)
    distance = instrument.wavelength - CENTRE
    used = (np.abs(distance) > NEAR) & (np.abs(distance) < FAR) & (model > (1.0 - CLEAN) * alone) & ~spectra.mask[0]
    columns = np.array([slope, model, model * distance / FAR])[:, used]
    weight = np.ones(used.sum())
    for _ in range(15):  # robust: lines that the list lacks
        fit = np.linalg.solve((columns * weight) @ columns.T, (columns * weight) @ spectra.flux[0][used])
        left = spectra.flux[0][used] - fit @ columns
        scatter = 1.4826 * np.median(np.abs(left))
        weight = 1.0 / (1.0 + (left / (2.0 * scatter)) ** 2)
    return fit[0] / fit[1], scatter / fit[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--without-overshooting", action="store_true", help="atmospheres without overshooting")
    options = parser.parse_args()
    instrument = Instrument.load("4most-hrs-green-red")
    engine = NLTEEngine(available(), overshooting=float(not options.without_overshooting))
    errors = []
    for star, spectra, reference in observed(options, instrument):
        error, scatter = temperature_error(spectra, reference, instrument, engine)
        errors.append(error)
        print(f"{star:24s} {reference[0]:5.0f} K  from H alpha {error:+5.0f} K, scatter {scatter:.4f}", flush=True)
    print(f"mean {np.mean(errors):+.0f} K, standard deviation {np.std(errors):.0f} K")


if __name__ == "__main__":
    main()
