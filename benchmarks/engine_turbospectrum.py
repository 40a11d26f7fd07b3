"""Compare the embedded engine in LTE with Turbospectrum, star by star, at R = 20000.

    python benchmarks/engine_turbospectrum.py FILE.npz [--without-overshooting] [--stars N] [--plot PNG]

Turbospectrum in ATLAS9 models as they are is to be compared with overshooting.
Atoms only: the line list of Turbospectrum has no molecules. FILE.npz holds `labels` (n, n_labels), `label_names`,
`resolving_power`, and `wave_<arm>`, `flux_<arm>` of the arms green and red. Prints for every star and arm rms, mean and
largest difference with its wavelength, then the medians;
``--plot`` draws them over the label space.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter1d

from kcinn.synthesis.nlte import NLTEEngine

WINDOWS = {"green": (5160.0, 5730.0), "red": (6100.0, 6790.0)}
RESOLVING_POWER = 20000.0
LOG_STEP = 5e-6  # of ln wavelength
EDGE = 400  # points of the smoothed spectrum left out at either end


def smooth(wavelength: np.ndarray, flux: np.ndarray, resolving_power: float) -> tuple[np.ndarray, np.ndarray]:
    """ln wavelength in even steps, and flux convolved with a Gaussian of the given resolving power."""
    log_wavelength = np.arange(np.log(wavelength[0]), np.log(wavelength[-1]), LOG_STEP)
    sigma = 1.0 / resolving_power / np.sqrt(8.0 * np.log(2.0)) / LOG_STEP
    return log_wavelength, gaussian_filter1d(np.interp(log_wavelength, np.log(wavelength), flux), sigma)


def differences(data: dict[str, np.ndarray], star: int, engine: NLTEEngine) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per arm: wavelength and engine minus Turbospectrum."""
    labels = {str(name): float(x) for name, x in zip(data["label_names"], data["labels"][star], strict=True)}
    wavelength, flux = engine.spectrum(labels, windows=WINDOWS.values(), step=0.03)
    finer = 1.0 / np.sqrt(1.0 / RESOLVING_POWER**2 - 1.0 / float(data["resolving_power"]) ** 2)
    result = {}
    for arm, (lower, upper) in WINDOWS.items():
        inside = (wavelength >= lower) & (wavelength <= upper)
        ours = smooth(wavelength[inside], flux[inside], RESOLVING_POWER)
        log_wavelength, theirs = smooth(data[f"wave_{arm}"], data[f"flux_{arm}"][star].astype(float), finer)
        log_wavelength, theirs = log_wavelength[EDGE:-EDGE], theirs[EDGE:-EDGE]
        result[arm] = np.exp(log_wavelength), np.interp(log_wavelength, *ours) - theirs
    return result


def draw(labels: np.ndarray, rms: dict[str, list[float]], path: Path) -> None:
    """Rms difference of every star against Teff, [Fe/H] as colour."""
    figure, axes = plt.subplots(1, len(rms), figsize=(10, 3.6), sharey=True, layout="constrained")
    for axis, (arm, values) in zip(axes, rms.items(), strict=True):
        points = axis.scatter(labels[:, 0], values, c=labels[:, 2], s=8 + 6 * labels[:, 1], cmap="viridis", alpha=0.9)
        axis.axhline(np.median(values), color="0.5", lw=0.8, ls="--")
        axis.set(xlabel=r"$T_{\rm eff}$ [K]", title="{}: {:g}-{:g} angstrom".format(arm, *WINDOWS[arm]), yscale="log")
    axes[0].set_ylabel("rms flux difference, R = 20000")
    figure.colorbar(points, ax=axes, label="[Fe/H]")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--stars", type=int, help="only the first N")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--without-overshooting", action="store_true", help="atmospheres without overshooting")
    options = parser.parse_args()
    with np.load(options.file, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    engine = NLTEEngine(molecules=(), overshooting=float(not options.without_overshooting))
    rms: dict[str, list[float]] = {arm: [] for arm in WINDOWS}
    seconds = []
    print(" Teff logg [Fe/H]" + "".join(f"  {arm:>6}: rms    mean    max     at" for arm in WINDOWS))
    for star in range(len(data["labels"]))[: options.stars]:
        start = time.process_time()
        result = differences(data, star, engine)
        seconds.append(time.process_time() - start)
        text = "{:5.0f} {:.2f} {:+.2f}".format(*data["labels"][star][:3])
        for arm, (wavelength, difference) in result.items():
            rms[arm].append(float(np.sqrt(np.mean(difference**2))))
            worst = np.argmax(np.abs(difference))
            text += (
                f"   {rms[arm][-1]:.4f} {difference.mean():+.4f} {abs(difference[worst]):.3f} {wavelength[worst]:.1f}"
            )
        print(text, flush=True)
    for arm, values in rms.items():
        print(f"{arm}: median rms {np.median(values):.4f}, 90 % {np.quantile(values, 0.9):.4f}, {len(values)} stars")
    if options.plot:
        draw(data["labels"][: options.stars], rms, options.plot)
    print(f"CPU per star with comparison: median {np.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
