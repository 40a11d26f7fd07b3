"""Train the model that comes with kcinn, and write its card.

    kcinn synthesize --n 40000 --instrument 4most-hrs -o grid.h5
    kcinn synthesize --n 20000 --instrument 4most-hrs --seed 1 -o flow.h5
    python tools/build_emulator_grids.py -o further
    python tools/train_model.py grid.h5 --emulator-grid further/*.h5 --flow-grid flow.h5 [--checkpoint FOLDER] [-o OUT]

Two shares of the stars are kept from the training: one calibrates the model, the card's table is measured on the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from model_card import MODELS, write

from kcinn.config import Config
from kcinn.grid import SyntheticGrid
from kcinn.model.calibration import calibrate
from kcinn.model.ordinary import Ordinary
from kcinn.training import fit

CONFIG = Config(emulator_share=0.8, emulator_steps=64000, draws=131072)
HELD_OUT = 0.075  # each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path)
    parser.add_argument("--emulator-grid", type=Path, nargs="*", default=[])
    parser.add_argument("--flow-grid", type=Path, nargs="*", default=[])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=MODELS)
    options = parser.parse_args()
    shares = 1.0 - 2.0 * HELD_OUT, HELD_OUT, HELD_OUT
    training, calibrating, test = SyntheticGrid.open(options.grid).split(*shares, seed=1)
    model = fit(
        training,
        emulator_grids=[SyntheticGrid.open(path) for path in options.emulator_grid],
        flow_grids=[SyntheticGrid.open(path) for path in options.flow_grid],
        config=CONFIG,
        checkpoint=options.checkpoint,
        resume=options.checkpoint is not None,
    )
    stars = calibrating.on(model.instrument)
    calibrate(model, Ordinary.observed(model, stars))
    write(model, test, options.output, len(set(stars.star.tolist())))


if __name__ == "__main__":
    main()
