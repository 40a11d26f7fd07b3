"""Observed stars with reference labels, on an instrument's pixels; see `kcinn check --observed` for the table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kcinn.check.observed_star import read_stars, read_table
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra

REFERENCE = ("teff", "logg", "fe_h")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the stars are, on the command line."""
    parser.add_argument(
        "labels", type=Path, help="table: file, star, medium, resolving_power, normalise, teff, logg, ..."
    )
    parser.add_argument("folder", type=Path)


def observed(options: argparse.Namespace, instrument: Instrument) -> Iterator[tuple[str, Spectra, np.ndarray]]:
    """Name, spectrum and reference (`REFERENCE`) of every star; errors are estimated from the scatter of the pixels."""
    table = read_table(options.labels)
    for star in read_stars(instrument, options.folder, table, estimate_errors=True, checksum=False):
        yield star.name, star.spectrum, np.array([star.reference.get(name, np.nan) for name in REFERENCE])
