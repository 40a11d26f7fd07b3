"""Observed stars with reference labels, on an instrument's pixels."""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import kcinn
from kcinn.continuum import normalised
from kcinn.inference import on_instrument
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra

REFERENCE = ("teff", "logg", "fe_h")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the stars are, on the command line."""
    parser.add_argument("labels", type=Path, help="CSV: file, star, gbs21_teff or lit_teff, ..logg, gbs21_feh")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--power", nargs="*", default=[], help="NAME=R; 80000 for the others")
    parser.add_argument("--normalise", nargs="*", default=[], help="NAME, part of a file's name")


def observed(options: argparse.Namespace, instrument: Instrument) -> Iterator[tuple[str, Spectra, np.ndarray]]:
    """Name, spectrum and reference (`REFERENCE`) of every star; files of one star (arms) are put together.

    Errors in the files are not used: they are estimated from the scatter of the pixels.
    """
    files, reference = defaultdict(list), {}
    with open(options.labels, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            star = f"{row['star']} ({row['file'].split('/')[-1].split('_')[0]})"
            files[star].append(options.folder / row["file"])
            teff, logg = (row[f"gbs21_{name}"] or row[f"lit_{name}"] for name in ("teff", "logg"))
            reference[star] = np.array([float(value) for value in (teff, logg, row["gbs21_feh"])])
    for star, paths in files.items():
        parts = []
        for path in paths:
            spectra = kcinn.read(path, medium="air", checksum=False)
            spectra = Spectra(spectra.wavelength, spectra.flux, mask=spectra.mask, medium="air").with_estimated_error()
            if any(name in path.name for name in options.normalise):
                spectra = normalised(spectra)
            power = next((x.split("=")[1] for x in options.power if x.split("=")[0] in path.name), "80000")
            parts.append(on_instrument(spectra, instrument, float(power)))
        yield star, _put_together(parts), reference[star]


def _put_together(parts: list[Spectra]) -> Spectra:
    """One spectrum from parts on the same pixels; where several have a good pixel, the first counts."""
    flux, error, mask = (np.array(x) for x in (parts[0].flux, parts[0].error, parts[0].mask))
    for part in parts[1:]:
        new = mask & ~part.mask
        flux[new], error[new], mask[new] = part.flux[new], part.error[new], False
    return Spectra(parts[0].wavelength, flux, error=error, mask=mask, medium=parts[0].medium)
