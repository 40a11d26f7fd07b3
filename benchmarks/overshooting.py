"""What it costs that nobody knows how far convection overshoots: errors of labels with it free, and with it known.

    python benchmarks/overshooting.py model.keras grid.h5 --held-out SHARE [--seed 0] [--snr 50 250] [-n 1000]

Held-out stars are those of `kcinn check`. Known means that posterior samples are weighted with a normal about the true
value, 0.05 wide. Printed is the rms of the posterior median minus the truth.
"""

from __future__ import annotations

import argparse

import numpy as np

import kcinn
from kcinn.check.stars import test_stars
from kcinn.model.mock import mock_spectra
from kcinn.reweighting import effective_size, resample

KNOWN = 0.05
SHOWN = ("teff", "logg", "fe_h", "vmic", "mg_fe", "ca_fe", "ti_fe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("grid")
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snr", type=float, nargs="+", default=[50.0, 250.0])
    parser.add_argument("-n", type=int, default=1000)
    options = parser.parse_args()
    model, grid = kcinn.load(options.model), kcinn.SyntheticGrid.open(options.grid)
    stars = test_stars(model, grid, options.n, options.held_out, options.seed)
    space = model.label_space
    truth = stars.truth[:, space.index("overshooting")]
    print(f"{len(stars)} stars; {stars.provenance}")
    for snr in options.snr:
        spectra = mock_spectra(stars.grid, model.observation.at(snr), seed=options.seed)
        free = kcinn.predict(model, spectra, n_samples=4096, gap=False, verbose=1)
        log_weight = -0.5 * ((free.label("overshooting") - truth[:, None]) / KNOWN) ** 2
        drawn, size = resample(log_weight), effective_size(log_weight, free.samples)
        known = np.take_along_axis(free.samples, drawn.place[:, :, None], axis=1)
        print(f"S/N {snr:g}, effective samples {np.median(size):.0f} in the median")
        for name in SHOWN:
            k = space.index(name)
            errors = (np.median(samples[:, :, k], axis=1) - stars.truth[:, k] for samples in (free.samples, known))
            print(f"  {name:6s} free {{:9.4g}}  known {{:9.4g}}".format(*(np.sqrt(np.mean(x**2)) for x in errors)))


if __name__ == "__main__":
    main()
