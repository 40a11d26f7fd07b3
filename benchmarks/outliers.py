"""How often the outlier flag is raised: on ordinary held-out spectra, and on spectra that are none of the training's.

    python benchmarks/outliers.py model.keras grid.h5 --held-out SHARE [--seed 0] [-n 200]

Held-out stars are those of `kcinn check`. Kinds of spectra: the hottest stars of the grid with weak metal lines and
stronger Balmer wings, as at 8000 K; a continuum and noise only; a velocity of 100 km/s left in; an emission line of
half the continuum, two resolution elements wide, anywhere; H alpha in emission; the arms in each other's place.
"""

from __future__ import annotations

import argparse

import numpy as np

import kcinn
from kcinn.check.stars import test_stars
from kcinn.flag import Flag
from kcinn.model.mock import mock_spectra
from kcinn.spectra import Spectra
from kcinn.wavelength import SPEED_OF_LIGHT

SNR = (25.0, 50.0, 100.0, 250.0, 1000.0)
H_ALPHA = 6562.8  # angstrom, air


def kinds(model: kcinn.CINN, ordinary: np.ndarray, hottest: np.ndarray, rng: np.random.Generator) -> dict:
    """Noiseless spectra of every kind."""
    wavelength = model.instrument.wavelength
    hot = 1.0 - 0.35 * (1.0 - hottest)
    balmer = np.abs(wavelength - H_ALPHA) < 60.0
    hot[:, balmer] = np.clip(1.0 - 1.5 * (1.0 - hottest[:, balmer]), 0.05, 1.2)
    moved = wavelength * (1.0 + 100.0 / SPEED_OF_LIGHT)
    line = ordinary.copy()
    for row, centre in zip(line, rng.choice(wavelength[model.usable > 0], len(line)), strict=True):
        row += 0.5 * np.exp(-0.5 * ((wavelength - centre) / 0.25) ** 2)
    first, second = model.instrument.arm_slices[0], model.instrument.arm_slices[-1]
    swapped = np.ones_like(ordinary)
    for here, there in ((first, second), (second, first)):
        n = min(here.stop - here.start, there.stop - there.start)
        swapped[:, here.start : here.start + n] = ordinary[:, there.start : there.start + n]
    return {
        "8000 K": hot,
        "noise only": np.ones_like(ordinary),
        "100 km/s": np.array([np.interp(wavelength, moved, row) for row in ordinary]),
        "emission line": line,
        "H alpha emission": ordinary + 1.5 * np.exp(-0.5 * ((wavelength - H_ALPHA) / 1.0) ** 2),
        "arms swapped": swapped,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("grid")
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-n", type=int, default=200)
    options = parser.parse_args()
    model, grid = kcinn.load(options.model), kcinn.SyntheticGrid.open(options.grid)
    if model.outlier is None:
        raise SystemExit(f"{options.model} was trained before outliers were learned")
    rng = np.random.default_rng(options.seed)
    stars = test_stars(model, grid, options.n, options.held_out, options.seed)

    def flagged(spectra: Spectra) -> str:
        posterior = kcinn.predict(model, spectra, n_samples=64, gap=False)
        return f"{np.mean(posterior.flag & Flag.OUTLIER > 0):6.1%}"

    alarms = [mock_spectra(stars.grid, model.observation, seed=options.seed + k) for k in range(5)]
    print(f"{stars.provenance}\nordinary, as in training, five times each: {flagged(Spectra.concatenate(alarms))}")
    temperature = grid.labels[:, grid.label_space.index("teff")]
    hottest = grid.flux(np.argsort(temperature)[-len(stars) :])
    spectra = kinds(model, stars.grid.flux(), hottest, rng)
    print(f"{'S/N per angstrom':18s}" + "".join(f"{snr:8g}" for snr in SNR))
    ordinary = [flagged(mock_spectra(stars.grid, model.observation.at(snr), seed=options.seed + 9)) for snr in SNR]
    print(f"{'ordinary':18s}" + "".join(f"{share:>8s}" for share in ordinary))
    for name, flux in spectra.items():
        shares = []
        for snr in SNR:
            error = np.broadcast_to(1.0 / (snr * np.sqrt(model.instrument.pixel_width)), flux.shape)
            noisy = flux + error * rng.normal(size=flux.shape)
            medium = model.instrument.medium
            shares.append(flagged(Spectra(model.instrument.wavelength, noisy, error=error, medium=medium)))
        print(f"{name:18s}" + "".join(f"{share:>8s}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
