"""Calibrate a model anew on synthetic stars of another seed, and write it and its card.

    kcinn synthesize --n 6000 --seed 7 --instrument 4most-hrs -o fresh.h5
    python tools/calibrate_model.py 4most-hrs fresh.h5 [-o data/models]

Half of the stars calibrate; the card's table is measured on the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from model_card import MODELS, write

import kcinn
from kcinn.grid import SyntheticGrid
from kcinn.model.calibration import calibrate
from kcinn.model.ordinary import Ordinary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("grid", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=MODELS)
    options = parser.parse_args()
    model = kcinn.load(options.model)
    grid = SyntheticGrid.open(options.grid).on(model.instrument)
    stars, test = grid.split(0.5, 0.5, seed=1)
    calibrate(model, Ordinary.observed(model, stars))
    write(model, test, options.output, f"on {len(np.unique(stars.star))} stars with `tools/calibrate_model.py`")


if __name__ == "__main__":
    main()
