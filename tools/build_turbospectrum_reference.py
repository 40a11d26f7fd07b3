"""Write ``tests/data/turbospectrum.npz``: pieces of Turbospectrum spectra against which the embedded engine is tested.

    python tools/build_turbospectrum_reference.py FILE.npz [-o tests/data/turbospectrum.npz]

FILE.npz is the input of ``benchmarks/engine_turbospectrum.py``: LTE spectra on ATLAS9 models. Keeps a few stars and
windows, smoothed to R = 20000 and sampled every 0.05 angstrom.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

STARS = (1, 3, 6, 8, 9)
WINDOWS = {"green": ((5250.0, 5270.0), (5520.0, 5540.0)), "red": ((6155.0, 6175.0), (6490.0, 6510.0), (6700.0, 6720.0))}
RESOLVING_POWER = 20000.0
LOG_STEP = 5e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("tests/data/turbospectrum.npz"))
    options = parser.parse_args()
    with np.load(options.file, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    finer = 1.0 / np.sqrt(1.0 / RESOLVING_POWER**2 - 1.0 / float(data["resolving_power"]) ** 2)
    sigma = 1.0 / finer / np.sqrt(8.0 * np.log(2.0)) / LOG_STEP
    wavelength, flux = [], []
    for arm, windows in WINDOWS.items():
        log_wave = np.log(data[f"wave_{arm}"])
        even = np.arange(log_wave[0], log_wave[-1], LOG_STEP)
        smooth = [
            gaussian_filter1d(np.interp(even, log_wave, data[f"flux_{arm}"][star].astype(float)), sigma)
            for star in STARS
        ]
        for lower, upper in windows:
            wavelength.append(np.arange(lower, upper, 0.05))
            flux.append([np.interp(np.log(wavelength[-1]), even, row) for row in smooth])
    np.savez_compressed(
        options.output,
        label_names=data["label_names"],
        labels=data["labels"][list(STARS)],
        resolving_power=RESOLVING_POWER,
        windows=np.array([window for windows in WINDOWS.values() for window in windows]),
        wavelength=np.concatenate(wavelength),
        flux=np.concatenate(flux, axis=1).astype(np.float32),
    )


if __name__ == "__main__":
    main()
