"""How well `normalise=True` finds the continuum: labels of raw held-out spectra against those of the same, normalised.

    python benchmarks/continuum.py model.keras grid.h5 --held-out SHARE [--seed 0] [-n 96]

Held-out stars are those of `kcinn check`. Every spectrum is multiplied by counts that change by a third over each arm,
a parabola and a sine that differ from star to star. Printed for every S/N, with the envelope alone and with the model's
refinement: rms of the continuum over the true one; mean and rms over the stars of the difference of the medians, in
posterior standard deviations, the worst label and the median label of them; and the rms of (median - truth) over the
posterior's width, median of the labels, beside that of the spectra that came normalised.
"""

from __future__ import annotations

import argparse

import numpy as np

import kcinn
from kcinn.check.stars import test_stars
from kcinn.instrument import Instrument
from kcinn.preparation import prepared
from kcinn.spectra import Spectra

SNR = (20.0, 100.0, 250.0)
N_SAMPLES = 512


def counts(instrument: Instrument, n: int, rng: np.random.Generator) -> np.ndarray:
    """What the continuum of each star is multiplied by, ``(n, n_pixels)``."""
    blaze = np.ones((n, instrument.n_pixels))
    for arm in instrument.arm_slices:
        x = np.linspace(-1.0, 1.0, arm.stop - arm.start)
        slope, bend, wave = (rng.uniform(a, b, (n, 1)) for a, b in ((-0.25, 0.25), (-0.35, -0.05), (-0.05, 0.05)))
        blaze[:, arm] = 3000.0 * (1.0 + slope * x + bend * x**2 + wave * np.sin(4.0 * x))
    return blaze


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("grid")
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-n", type=int, default=96)
    options = parser.parse_args()
    model, grid = kcinn.load(options.model), kcinn.SyntheticGrid.open(options.grid)
    stars = test_stars(model, grid, options.n, options.held_out, options.seed)
    rng, instrument, names = np.random.default_rng(options.seed), model.instrument, model.label_space.names
    clean = stars.grid.flux()
    truth = stars.grid.labels[:, [stars.grid.label_space.index(name) for name in names]]
    blaze = counts(instrument, len(clean), rng)
    change = np.mean([np.ptp(blaze[:, arm], axis=1) / blaze[:, arm].max(axis=1) for arm in instrument.arm_slices])
    print(f"{stars.provenance}\ncounts change by {change:.0%} over an arm, on average")

    for snr in SNR:
        error = np.broadcast_to(1.0 / (snr * np.sqrt(instrument.pixel_width)), clean.shape)
        flux = clean + error * rng.normal(size=clean.shape)
        given = Spectra(instrument.wavelength, flux, error=error, medium=instrument.medium)
        raw = Spectra(instrument.wavelength, flux * blaze, error=error * blaze, medium=instrument.medium)
        best = kcinn.predict(model, given, n_samples=N_SAMPLES)
        width = best.samples.std(axis=1)
        pull = np.sqrt(np.mean(((best.median - truth) / width) ** 2, axis=0))
        print(f"S/N {snr:g}: normalised spectra, rms pull {np.median(pull):.2f}")
        for kind, seen in (
            ("envelope", prepared(raw, instrument, normalise=True)),
            ("refined", model.normalised(raw)),
        ):
            posterior = kcinn.predict(model, seen, n_samples=N_SAMPLES)
            apart = (posterior.median - best.median) / width
            mean, rms = np.abs(apart.mean(axis=0)), np.sqrt(np.mean(apart**2, axis=0))
            pull = np.sqrt(np.mean(((posterior.median - truth) / posterior.samples.std(axis=1)) ** 2, axis=0))
            continuum = np.sqrt(np.mean((raw.flux / seen.flux / blaze - 1.0) ** 2))
            print(
                f"  {kind:9s} continuum {continuum:.2%}; labels apart: mean {mean.max():.2f} ({names[mean.argmax()]}), "
                f"median of labels {np.median(mean):.2f}; rms {rms.max():.2f} ({names[rms.argmax()]}), "
                f"{np.median(rms):.2f}; rms pull {np.median(pull):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
