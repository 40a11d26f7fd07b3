"""Measure the CPU time of one spectrum of the embedded engine: green and red 4MOST windows in steps of 0.03 angstrom.

    python benchmarks/engine_speed.py [--spectra 40] [--nlte Li Mg Ca] [--turbospectrum ts.toml]

With the configuration of a Turbospectrum, that one computes the same stars as well, both in LTE: prints how many times
longer it takes, and the rms difference of the spectra at R = 20000.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from engine_turbospectrum import EDGE, RESOLVING_POWER, WINDOWS, smooth

from kcinn.synthesis.engine import Engine
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.turbospectrum import Turbospectrum

STEP = 0.03  # angstrom


def draw_star(rng: np.random.Generator) -> dict[str, float]:
    teff = rng.uniform(4000.0, 7000.0)
    logg = rng.uniform(0.5 + max(0.0, teff - 4500.0) / 2500.0 * 3.2, 5.0)
    return {"teff": teff, "logg": logg, "fe_h": rng.uniform(-3.0, 0.5), "vmic": rng.uniform(0.5, 2.5)}


def cpu_seconds() -> float:
    """Of this process and the programs that it has run."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(engine: Engine, stars: list[dict[str, float]]) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """CPU seconds of every star but the first, which compiles and reads tables; spectra of all."""
    seconds, spectra = [], []
    for star in stars:
        start = cpu_seconds()
        spectra.append(engine.spectrum(star, windows=WINDOWS.values(), step=STEP))
        seconds.append(cpu_seconds() - start)
    quantiles = np.quantile(seconds[1:], [0.5, 0.9])
    print(f"{engine.name}: {len(stars) - 1} spectra, median {quantiles[0]:.3f} s, 90 % {quantiles[1]:.3f} s of CPU")
    return np.array(seconds[1:]), spectra


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=40)
    parser.add_argument("--nlte", nargs="*", default=["Li", "Mg", "Ca"])
    parser.add_argument("--turbospectrum", type=Path, metavar="TOML", help="compare with this Turbospectrum, in LTE")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    stars = [draw_star(rng) for _ in range(options.spectra + 1)]
    seconds, spectra = measure(NLTEEngine(nlte=() if options.turbospectrum else options.nlte), stars)
    if options.turbospectrum is None:
        return
    theirs, references = measure(Turbospectrum.load(options.turbospectrum), stars)
    print(f"ratio of the medians {np.median(theirs) / np.median(seconds):.0f}")
    for arm, (lower, upper) in WINDOWS.items():
        rms = []
        for (wavelength, flux), (_, reference) in zip(spectra, references, strict=True):
            inside = (wavelength >= lower) & (wavelength <= upper)
            _, difference = smooth(wavelength[inside], (flux - reference)[inside], RESOLVING_POWER)
            rms.append(np.sqrt(np.mean(difference[EDGE:-EDGE] ** 2)))
        print(f"{arm}: median rms difference {np.median(rms):.4f}, 90 % {np.quantile(rms, 0.9):.4f}")


if __name__ == "__main__":
    main()
