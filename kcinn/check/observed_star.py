"""Star: an observed star with reference labels, read from a table and the files that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy import units
from astropy.table import Table

from kcinn.errors import KcinnError, SpectraError
from kcinn.instrument import Instrument
from kcinn.label_array import numbers
from kcinn.labels import UNITS
from kcinn.preparation import prepared
from kcinn.spectra import Spectra
from kcinn.survey.readers import read
from kcinn.survey.star import join

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "none")
HOW_TO_READ = ("file", "star", "medium", "resolving_power", "normalise")  # all other numbers are labels


class Star(NamedTuple):
    """An observed star: name, spectrum on an instrument's pixels, and its reference labels by name.

    `normalise`: the spectrum is divided by its envelope, and a model is to refine that.
    """

    name: str
    spectrum: Spectra
    reference: dict[str, float]
    normalise: bool = False


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table of observed spectra and reference labels, in any format that astropy knows by its ending."""
    path = Path(path)
    if not path.is_file():
        raise KcinnError(f"{path}: no such table")
    try:
        table = Table.read(path, format="ascii.csv") if path.suffix == ".csv" else Table.read(path)
    except Exception as error:  # astropy meets damage with almost any exception
        raise KcinnError(f"{path}: not a readable table ({error})") from None
    if "file" not in table.colnames or not len(table):
        raise KcinnError(
            f"{path}: expected a row per spectrum with the column `file`, and reference labels. "
            f"Received: {len(table)} rows of {', '.join(table.colnames)}"
        )
    return table


def read_stars(
    instrument: Instrument, folder: Path, table: Table, *, estimate_errors: bool = False, checksum: bool = True
) -> Iterator[Star]:
    """Every star of a table, on the instrument's pixels; files of one star (arms, exposures) are put together.

    Where several files have a good pixel, it is their mean, weighted by inverse variance.

    Parameters
    ----------
    instrument : Instrument
    folder : Path
        Where the files are.
    table : Table
        A row per file. Columns: `file`; optional `star` (files of the same star are put together; by default the file's
        name), `medium` ("air" or "vacuum", if the file does not say), `resolving_power` (if higher than the
        instrument's), `normalise` (1: divide by the continuum first); all others are reference labels by
        the model's names, `teff`, `logg`, `fe_h`, ... Empty or NaN: not known.
    estimate_errors : bool
        Estimate errors from the scatter of the pixels even where the file gives some.
    checksum : bool
        Refuse files that differ from their checksum.

    Raises
    ------
    KcinnError
        If a cell of a column is not what it should be.
    SpectraError
        If a file cannot be read, holds several spectra, or does not cover the instrument.
    """
    names = [_value(row, "star") or Path(str(row["file"])).name for row in table]
    for name in dict.fromkeys(names):
        rows = [row for row, of in zip(table, names, strict=True) if of == name]
        parts = []
        for row in rows:
            spectra = read(folder / str(row["file"]), medium=_value(row, "medium"), checksum=checksum)
            if len(spectra) > 1:
                raise SpectraError(f"{row['file']} holds {len(spectra)} spectra; the table needs a file for each")
            if estimate_errors:
                spectra = spectra.with_estimated_error()
            power, normalise = _number(row, "resolving_power"), _truth(row, "normalise")
            parts.append(prepared(spectra, instrument, resolving_power=power, normalise=normalise))
            parts[-1].ids = np.array([str(name)])
        reference = {
            key: value
            for row in rows
            for key in table.colnames
            if key not in HOW_TO_READ and (value := _number(row, key)) is not None
        }
        yield Star(str(name), join(parts), reference, any(_truth(row, "normalise") for row in rows))


def _value(row: Any, name: str) -> Any:
    """A cell of the table; None if the column is not there or the cell is empty."""
    if name not in row.colnames or row[name] is np.ma.masked:
        return None
    value = row[name]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return str(value) or None if isinstance(value, str) else value


def _number(row: Any, name: str) -> float | None:
    """A cell as a number in the label's unit; None if it is empty or none."""
    value = _value(row, name)
    if not isinstance(value, int | float | np.number | units.Quantity):
        return None
    unit = row.columns[name].unit
    if unit is not None and not isinstance(value, units.Quantity):
        value = units.Quantity(value, unit)
    return float(numbers(value, UNITS.get(name, "dex"), name))


def _truth(row: Any, name: str) -> bool:
    value = str(_value(row, name)).strip().lower()
    if value not in (*YES, *NO):
        raise KcinnError(f"{name} must be one of {', '.join((*YES, *NO[:-1]))}, or empty. Received: {value}")
    return value in YES
