"""Synthesise the spectra that the emulator of the model that comes with kcinn learns from beside those of the prior.

    python tools/build_emulator_grids.py -o FOLDER

Where the emulator of a grid of the prior alone errs most: cool stars, giants and dwarfs at the edges of the box, and
lithium more or less abundant than in plausible stars, which a fit meets on its way.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kcinn.region import Region
from kcinn.synthesis.named import engine_named
from kcinn.synthesis.synthesize import known_labels, synthesize

GRIDS = {  # name, number of spectra, part of a label's box, region, seed
    "cool": (10000, ("teff", 4000.0, 4700.0), Region(), 1),
    "lithium": (4000, None, Region(lithium=(-0.5, 7.6)), 2),
    "no-lithium": (3200, None, Region(lithium=(-4.0, -0.5)), 5),
    "giants": (3200, ("logg", 0.5, 1.5), Region(), 3),
    "dwarfs": (3200, ("logg", 4.5, 5.0), Region(), 4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    engine = engine_named("nlte")
    for name, (n, part, region, seed) in GRIDS.items():
        space = known_labels(engine)
        if part is not None:
            space = space.within(*part)
        synthesize(
            folder / f"{name}.h5",
            n=n,
            instrument="4most-hrs",
            engine=engine,
            label_space=space,
            region=region,
            seed=seed,
        )


if __name__ == "__main__":
    main()
