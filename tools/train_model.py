"""Train the model that comes with kcinn, and write its card.

    kcinn synthesize --n 20000 --instrument 4most-hrs -o grid.h5
    python tools/train_model.py grid.h5 [--checkpoint FOLDER] [-o data/models]

A twentieth of the stars is kept from the training; the card's table is measured on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from model_card import MODELS, write

from kcinn.config import Config
from kcinn.grid import SyntheticGrid
from kcinn.training import fit

CONFIG = Config(emulator_share=0.8, emulator_steps=24000, draws=32768)
HELD_OUT = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=MODELS)
    options = parser.parse_args()
    training, test = SyntheticGrid.open(options.grid).split(1.0 - HELD_OUT, HELD_OUT, seed=1)
    model = fit(training, config=CONFIG, checkpoint=options.checkpoint, resume=options.checkpoint is not None)
    write(model, test, options.output, "on the stars of the early stopping")


if __name__ == "__main__":
    main()
