"""The model of the tutorials: trained once, in about a minute, and kept beside the notebooks."""

from pathlib import Path

import kcinn
from kcinn.shipped import COMPACT_GRID, shipped

FILE = Path(__file__).with_name("quick-model.keras")
CONFIG = kcinn.Config(emulator_steps=1000, draws=6144)
HELD_OUT = 0.02


def stars() -> tuple[kcinn.SyntheticGrid, kcinn.SyntheticGrid]:
    """The stars of the compact grid that the quick model learns from, and those that it never sees."""
    grid = kcinn.SyntheticGrid.open(shipped(COMPACT_GRID))
    training, test = grid.split(0.3, HELD_OUT, seed=1)
    return training, test


def quick_model() -> kcinn.CINN:
    """The model in `FILE`, which is made first if it is not there."""
    if not FILE.exists():
        kcinn.fit(stars()[0], config=CONFIG, epochs=15, verbose=0).save(FILE)
    return kcinn.load(FILE)
