"""Catalogue: a table with units, descriptions and UCDs on every column, in the formats that astronomers open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import KcinnError
from kcinn.labels import Label, LabelSpace
from kcinn.marginals import Summary

ENDINGS = {".fits": "fits", ".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".vot": "votable"}
MOST_COLUMNS = 999  # of a FITS table: the standard numbers them with three digits
UCD = {
    "teff": "phys.temperature.effective",
    "logg": "phys.gravity",
    "vmic": "phys.veloc.microTurb",
    "vsini": "phys.veloc.rotat",
    "vmac": "phys.veloc",
    "vbroad": "phys.veloc",
}
STATISTICS = (  # name of the column, what it is, UCD
    ("{}", "median of the posterior", "{};stat.median"),
    ("e_{}", "half of the 16 to 84 percent interval", "stat.error;{}"),
    ("{}_p16", "16th percentile", "{};stat.min"),
    ("{}_p50", "50th percentile", "{};stat.median"),
    ("{}_p84", "84th percentile", "{};stat.max"),
    ("{}_map", "mode of the marginal posterior", "{}"),
    ("{}_mean", "mean of the posterior", "{};stat.mean"),
)
COVARIANCE = "cov_{}_{}"  # name of the column


@dataclass(frozen=True)
class Column:
    """Name, unit, description, UCD and NumPy type of a column of a catalogue."""

    name: str
    unit: str = ""
    description: str = ""
    ucd: str = "meta"
    dtype: str = "f4"


ID = Column("id", "", "name of the spectrum", "meta.id;meta.main", "i8")
FLAG = Column("flag", "", "sum of bits, see FLAGn in the header; 0 is clean", "meta.code.qual", "i4")
DIAGNOSTICS = {
    "snr": Column("snr", "", "signal-to-noise ratio per angstrom, median over good pixels", "stat.snr"),
    "n_pixels": Column("n_pixels", "", "number of pixels used", "meta.number", "i4"),
    "chi_square": Column("chi_square", "", "reduced chi-square of the best fit", "stat.fit.chi2"),
    "velocity": Column("velocity", "km s-1", "residual velocity, shift of the best fit", "spect.dopplerVeloc"),
    "velocity_error": Column("velocity_error", "km s-1", "1 sigma of velocity", "stat.error;spect.dopplerVeloc"),
    "outlier": Column("outlier", "", "how unlike the spectra of the training; above 1 is flagged", "stat.value"),
}
REWEIGHTED = {  # of a posterior after `Posterior.reweight`
    "ess": Column("ess", "", "effective sample size after re-weighting", "stat.value"),
    "log_evidence": Column("log_evidence", "", "logarithm of the evidence of the re-weighting", "stat.likelihood"),
}


def label_columns(space: LabelSpace) -> list[Column]:
    """Columns of the statistics of every label: `x`, `e_x`, `x_p16`, `x_p50`, `x_p84`, `x_map`, `x_mean`."""
    columns = []
    for label in space:
        ucd = UCD.get(label.name, "phys.abund" if label.name.endswith(("_fe", "_h")) else "phys")
        for name, what, statistic in STATISTICS:
            unit = _unit_of_difference(label) if name.startswith("e_") else label.unit
            columns.append(Column(name.format(label.name), unit, f"{label.name}: {what}", statistic.format(ucd)))
    return columns


def covariance_columns(space: LabelSpace) -> list[Column]:
    """Columns `cov_x_y` of the lower triangle of the covariance matrix, row by row."""
    units = {label.name: _unit_of_difference(label) for label in space}
    return [
        Column(
            COVARIANCE.format(first, second),
            str(u.Unit(f"{units[first]} {units[second]}")),
            f"covariance of {first} and {second}",
            "stat.covariance",
        )
        for first, second in _pairs(space)
    ]


def _pairs(space: LabelSpace) -> list[tuple[str, str]]:
    """Names of the labels of the lower triangle of the covariance matrix, row by row."""
    return [(first, second) for i, first in enumerate(space.names) for second in space.names[: i + 1]]


def _unit_of_difference(label: Label) -> str:
    """The unit of a difference of two values: dex, not dex(cm s-2)."""
    return label.unit.split("(")[0]


def label_values(space: LabelSpace, summary: Summary) -> dict[str, NDArray[Any]]:
    """Values of `label_columns` and `covariance_columns`."""
    low, middle, high = (summary.quantiles[:, k] for k in range(3))
    mode = np.clip(summary.mode, space.lower, space.upper)
    statistics = (middle, 0.5 * (high - low), low, middle, high, mode, summary.mean)
    values: dict[str, NDArray[Any]] = {}
    for k, label in enumerate(space.names):
        values |= {name.format(label): x[:, k] for (name, *_), x in zip(STATISTICS, statistics, strict=True)}
    triangle = summary.covariance[:, *np.tril_indices(len(space))]
    return values | {COVARIANCE.format(*pair): x for pair, x in zip(_pairs(space), triangle.T, strict=True)}


def to_table(columns: Iterable[Column], values: Mapping[str, ArrayLike], meta: Mapping[str, Any]) -> QTable:
    """A table of `values`, with units, descriptions and UCDs."""
    table = QTable(meta=dict(meta))
    for column in columns:
        array = np.asarray(values[column.name])
        table[column.name] = array * u.Unit(column.unit) if column.unit else array
        table[column.name].info.description = column.description
        table[column.name].info.meta = {"ucd": column.ucd}
    return table


def write_table(table: QTable, path: str | os.PathLike[str]) -> None:
    """Write `table` in the format that the ending of `path` names; KcinnError if it names none."""
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise KcinnError(f"A catalogue is written to {', '.join(ENDINGS)}. Received: {path.name}")
    if path.suffix == ".ecsv":
        table.write(path, format=ENDINGS[path.suffix], overwrite=True)
    elif path.suffix == ".fits":
        to_hdu(table).writeto(path, overwrite=True)
    else:
        _plain(table).write(path, format=ENDINGS[path.suffix], overwrite=True)


def _plain(table: QTable) -> Table:
    """With dex as a name that is no unit of astropy: neither FITS nor VOTable knows logarithmic units."""
    plain = Table(meta=table.meta)
    for name in table.colnames:
        column, unit = table[name], getattr(table[name], "unit", None)
        plain[name] = np.asarray(getattr(column, "value", column))
        plain[name].info.description, plain[name].info.meta = column.info.description, column.info.meta
        if unit is not None and unit != u.dimensionless_unscaled:
            plain[name].unit = u.UnrecognizedUnit(str(unit)) if "dex" in str(unit) else unit
    return plain


def to_hdu(table: QTable) -> fits.BinTableHDU:
    """A FITS table with TUNITn, TCOMMn (description) and TUCDn; KcinnError if it has more columns than FITS numbers."""
    if len(table.colnames) > MOST_COLUMNS:
        raise KcinnError(
            f"A FITS table holds at most {MOST_COLUMNS} columns; this catalogue has {len(table.colnames)}. "
            "Write it in another format, as .vot."
        )
    plain, logarithmic = _plain(table), {}
    for name in plain.colnames:
        if isinstance(plain[name].unit, u.UnrecognizedUnit):
            logarithmic[name], plain[name].unit = str(plain[name].unit), None
        if plain[name].dtype.kind == "U":  # astropy takes ASCII only; survey runs, too, write names as UTF-8
            plain[name] = np.char.encode(plain[name], "utf-8")
    hdu = fits.table_to_hdu(plain)
    for number, name in enumerate(table.colnames, start=1):
        if name in logarithmic:
            hdu.header.insert(f"TFORM{number}", (f"TUNIT{number}", logarithmic[name]), after=True)
        hdu.header[f"TCOMM{number}"] = table[name].info.description
        hdu.header[f"TUCD{number}"] = table[name].info.meta["ucd"]
    return hdu
