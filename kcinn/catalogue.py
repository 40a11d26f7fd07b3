"""Catalogue: a table with units, descriptions and UCDs on every column, in the formats that astronomers open."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table

from kcinn.errors import KcinnError

ENDINGS = {".fits": "fits", ".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".vot": "votable"}
UCD = {
    "id": "meta.id;meta.main",
    "teff": "phys.temperature.effective",
    "logg": "phys.gravity",
    "vmic": "phys.veloc.microTurb",
    "vsini": "phys.veloc.rotat",
    "vmac": "phys.veloc",
    "velocity": "phys.veloc",
    "snr": "stat.snr",
    "chi_square": "stat.fit.chi2",
    "n_pixels": "meta.number",
    "flag": "meta.code.qual",
}


def describe(table: QTable, name: str, description: str, *, label: str = "", statistic: str = "") -> None:
    """Give a column its description, and the UCD of `label` (the column's own name by default) with a statistic."""
    label = label or name
    word = UCD.get(label, "phys.abund" if label.endswith(("_fe", "_h")) else "meta")
    table[name].info.description = description
    table[name].info.meta = {"ucd": f"{word};{statistic}" if statistic else word}


def write_table(table: QTable, path: str | os.PathLike[str]) -> None:
    """Write `table` in the format that the ending of `path` names; KcinnError if it names none."""
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise KcinnError(f"A catalogue is written to {', '.join(ENDINGS)}. Received: {path.name}")
    if path.suffix == ".ecsv":
        table.write(path, format=ENDINGS[path.suffix], overwrite=True)
    elif path.suffix == ".fits":
        _to_hdu(table).writeto(path, overwrite=True)
    else:
        _plain(table).write(path, format=ENDINGS[path.suffix], overwrite=True)


def _is_logarithmic(unit: u.UnitBase | None) -> bool:
    return unit is not None and "dex" in str(unit)


def _plain(table: QTable) -> Table:
    """Without logarithmic units, which neither FITS nor VOTable knows; the descriptions keep them."""
    plain = Table(meta=table.meta)
    for name in table.colnames:
        column, unit = table[name], getattr(table[name], "unit", None)
        plain[name] = np.asarray(getattr(column, "value", column))
        plain[name].info.description, plain[name].info.meta = column.info.description, column.info.meta
        if unit is not None and not _is_logarithmic(unit) and unit != u.dimensionless_unscaled:
            plain[name].unit = unit
    return plain


def _to_hdu(table: QTable) -> fits.BinTableHDU:
    hdu = fits.table_to_hdu(_plain(table))
    for number, name in enumerate(table.colnames, start=1):
        unit = getattr(table[name], "unit", None)
        if _is_logarithmic(unit):
            hdu.header[f"TUNIT{number}"] = str(unit)
        hdu.header[f"TCOMM{number}"] = table[name].info.description
        hdu.header[f"TUCD{number}"] = table[name].info.meta["ucd"]
    return hdu
