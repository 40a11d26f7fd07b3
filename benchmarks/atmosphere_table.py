"""Another table of temperatures for the embedded engine, in comparisons."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kcinn.synthesis.nlte import atmosphere


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Where the table is, on the command line."""
    parser.add_argument("--atmosphere", type=Path, help="table of tools/build_atmosphere.py, instead of the own one")


def use(path: Path | None) -> None:
    """Let the engine of this process take its temperatures from a table; None leaves its own."""
    if path is None:
        return
    with np.load(path, allow_pickle=False) as file:
        table = {key: file[key] for key in file.files}
    load = atmosphere.load
    atmosphere.load = lambda name: table if name == "atmosphere" else load(name)
