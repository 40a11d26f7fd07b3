"""Coverage of a model's intervals where pixels or whole arms are missing.

    python benchmarks/masked.py model.keras grid.h5 --held-out SHARE [--seed 0] [--snr 100] [-n 1000]

Held-out stars are those of `kcinn check`. Printed are the shares of truths in the 68 and 95 % intervals: the mean, the
smallest and the largest over the labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import kcinn
from kcinn.check.stars import test_stars
from kcinn.diagnostics import recovery
from kcinn.model.mock import mock_spectra
from kcinn.spectra import Spectra


def masks(model: kcinn.CINN, n: int) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """What is missing, and the pixels in question."""
    shape = (n, model.instrument.n_pixels)
    yield "nothing", np.zeros(shape, dtype=bool)
    yield "half of the pixels", np.random.default_rng(0).random(shape) < 0.5
    for arm, pixels in zip(model.instrument.arms, model.instrument.arm_slices, strict=True):
        mask = np.zeros(shape, dtype=bool)
        mask[:, pixels] = True
        yield f"arm {arm.name}", mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("grid")
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snr", type=float, default=100.0)
    parser.add_argument("-n", type=int, default=1000)
    options = parser.parse_args()
    model, grid = kcinn.load(options.model), kcinn.SyntheticGrid.open(options.grid)
    stars = test_stars(model, grid, options.n, options.held_out, options.seed)
    seen = mock_spectra(stars.grid, model.observation.at(options.snr), seed=options.seed)
    print(f"{len(stars)} stars, S/N {options.snr:g} per angstrom; {stars.provenance}")
    columns = [f"{level} % {what}" for level in (68, 95) for what in ("mean", "least", "most")]
    print(f"{'missing':20s}" + "".join(f"{column:>12s}" for column in columns))
    for name, mask in masks(model, len(seen)):
        spectra = Spectra(
            seen.wavelength, seen.flux, error=seen.error, mask=seen.mask | mask, ids=seen.ids, medium=seen.medium
        )
        result = recovery(kcinn.predict(model, spectra, n_samples=1000, gap=False).samples, stars.truth)
        shares = [f(share) for share in (result.coverage68, result.coverage95) for f in (np.mean, np.min, np.max)]
        print(f"{name:20s}" + "".join(f"{share:12.1%}" for share in shares))


if __name__ == "__main__":
    main()
