"""Measure the CPU time of one spectrum of the embedded engine: green and red 4MOST windows in steps of 0.03 angstrom.

python benchmarks/engine_speed.py [--spectra 40] [--nlte Li Mg Ca]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from kcinn.synthesis.nlte import NLTEEngine

WINDOWS = [(5160.0, 5730.0), (6100.0, 6790.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=40)
    parser.add_argument("--nlte", nargs="*", default=["Li", "Mg", "Ca"])
    options = parser.parse_args()
    engine = NLTEEngine(nlte=options.nlte)
    rng = np.random.default_rng(0)
    seconds = []
    for k in range(options.spectra + 1):
        teff = rng.uniform(4000.0, 7000.0)
        logg = rng.uniform(0.5 + max(0.0, teff - 4500.0) / 2500.0 * 3.2, 5.0)
        labels = {"teff": teff, "logg": logg, "fe_h": rng.uniform(-3.0, 0.5), "vmic": rng.uniform(0.5, 2.5)}
        start = time.process_time()
        engine.spectrum(labels, windows=WINDOWS, step=0.03)
        if k > 0:  # the first one compiles
            seconds.append(time.process_time() - start)
    quantiles = np.quantile(seconds, [0.5, 0.9])
    print(
        f"{options.spectra} spectra, NLTE {options.nlte}: median {quantiles[0]:.3f} s, 90 % {quantiles[1]:.3f} s of CPU"
    )


if __name__ == "__main__":
    main()
