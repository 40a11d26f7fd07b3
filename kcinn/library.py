"""Library: spectra and labels as other programs wrote them: TSFitPy folders, npz of The Payne's kind, plain HDF5."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import GridError

PARAMETERS = "spectra_parameters.csv"  # of a TSFitPy folder
HEADER_LINES = 200  # of a .spec file, at most
WAVELENGTH_KEYS = ("wavelength", "wvl", "wave", "wavelengths", "lambda")
FLUX_KEYS = ("flux", "flxn", "spectra", "smod_norm_guess", "training_spectra")
LABEL_KEYS = ("labels", "training_labels")
NAME_KEYS = ("label_names", "labels_names", "names")
VALIDATION = {"training_spectra": "validation_spectra", "training_labels": "validation_labels"}
KCINN_FORMAT = "kcinn-grid/"
ALIASES = {
    "feh": "fe_h", "m_h": "fe_h", "vturb": "vmic", "vmicro": "vmic", "rotation": "vsini", "vrot": "vsini",
    "vmacro": "vmac", "broad": "vbroad",
}  # fmt: skip
KILOKELVIN_BELOW = 100.0  # a teff below this is in units of 1000 K

# a file with a spectrum, or wavelength and flux
Source = Path | tuple[NDArray[np.float64], NDArray[np.floating]]


@dataclass
class Library:
    """What the files of a grid hold, nothing degraded or left out yet.

    Attributes
    ----------
    names : list of str
        Of the spectra, for messages.
    sources : sequence of Source
        Where each spectrum is.
    labels : dict of str to ndarray, shape (n_spectra,)
        In kcinn's names and units.
    medium, resolving_power : optional
        If the files say.
    metadata : dict
        What else they say.
    """

    names: list[str]
    sources: Sequence[Source]
    labels: dict[str, NDArray[np.float64]]
    medium: str | None = None
    resolving_power: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns: dict[str, NDArray[np.float64]] = {}
        for name, given in self.labels.items():
            column, label = np.asarray(given, dtype=np.float64), label_name(name)
            if label in columns and not np.array_equal(columns[label], column, equal_nan=True):
                same = ", ".join(other for other in self.labels if label_name(other) == label)
                raise GridError(f"The columns {same} all mean {label}, and differ. Leave all but one of them out.")
            columns[label] = column
        self.labels = {name: column for name, column in columns.items() if np.any(np.isfinite(column))}
        if "teff" in self.labels and np.nanmax(self.labels["teff"]) < KILOKELVIN_BELOW:
            self.labels["teff"] = 1000.0 * self.labels["teff"]

    @classmethod
    def open(
        cls, path: Path, *, wavelength: ArrayLike | None = None, label_names: Sequence[str] | None = None
    ) -> Library:
        """Read a folder or file, see `kcinn.read_grid`.

        Raises
        ------
        GridError
            If it is of no known kind or incomplete.
        """
        return _from_folder(path) if path.is_dir() else _from_arrays(path, wavelength, label_names)


def label_name(name: str) -> str:
    """A label in kcinn's spelling: ``feh`` -> ``fe_h``, ``[Mg/Fe]``, ``Mg_Fe`` -> ``mg_fe``, ``A(Li)`` -> ``a_li``."""
    plain = re.sub(r"[/(]", "_", re.sub(r"[\[\])\s]", "", name)).lower()
    return ALIASES.get(plain, plain)


def _from_folder(path: Path) -> Library:
    """A folder of TSFitPy: a table of parameters, and a text file per spectrum."""
    try:
        with (path / PARAMETERS).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise GridError(f"{path}: not a grid of TSFitPy, {PARAMETERS} cannot be read ({error.strerror})") from None
    if not rows or "specname" not in rows[0]:
        raise GridError(f"{path / PARAMETERS}: expected a column specname and a row per spectrum. Received: {rows[:1]}")
    names = [f"{row['specname'].removesuffix('.spec')}.spec" for row in rows]
    labels = {name: np.array([_number(row[name]) for row in rows]) for name in rows[0] if name and name != "specname"}
    written = (path / name for name in names if (path / name).is_file())
    header = _header(next(written, None))
    power = re.search(r"#\s*resolution:\s*([\d.]+)", header)
    metadata = {"engine": "Turbospectrum, by TSFitPy", "nlte_species": re.findall(r"#\s*\[(\w+)/\w+\].* NLTE", header)}
    # a resolution of 0 says that nothing was broadened
    resolving_power = float(power[1]) or None if power else None
    return Library(names, [path / name for name in names], labels, "air", resolving_power, metadata)


def _header(path: Path | None) -> str:
    """The comments at the beginning of a file."""
    if path is None:
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(line for line in islice(file, HEADER_LINES) if line.startswith("#"))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return np.nan


def _from_arrays(path: Path, wavelength: ArrayLike | None, label_names: Sequence[str] | None) -> Library:
    """Named arrays of an npz or HDF5 file; spectra and labels in rows or in columns."""
    arrays = _arrays(path)
    flux_key, label_key, wavelength_key, name_key = (
        next((key for key in keys if key in arrays), None)
        for keys in (FLUX_KEYS, LABEL_KEYS, WAVELENGTH_KEYS, NAME_KEYS)
    )
    held = f"The file has: {', '.join(arrays)}"
    if flux_key is None:
        raise GridError(f"{path}: no spectra under any of the names {', '.join(FLUX_KEYS)}. {held}")
    if wavelength is None and wavelength_key is None:
        raise GridError(f"{path}: no wavelengths; pass wavelength=. {held}")
    grid = np.asarray(arrays[wavelength_key or ""] if wavelength is None else wavelength, dtype=np.float64)
    flux = _matrix(path, arrays, flux_key, len(grid))
    if np.all(np.diff(grid) < 0):
        grid, flux = grid[::-1], flux[:, ::-1]
    if not np.all(np.diff(grid) > 0):
        raise GridError(f"{path}: wavelengths must be numbers that ascend strictly")
    if label_key is None:  # a column per label
        columns = {key: array for key, array in arrays.items() if array.shape == flux.shape[:1] and _numeric(array)}
        columns = {key: array for key, array in columns.items() if key != wavelength_key}
    else:
        names = list(arrays[name_key]) if label_names is None and name_key is not None else label_names
        if names is None:
            raise GridError(f"{path}: labels without names; pass label_names=. {held}")
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
        if len(set(names)) < len(names):
            raise GridError(f"{path}: a label name occurs twice: {', '.join(names)}")
        columns = dict(zip(names, _matrix(path, arrays, label_key, len(names)).T, strict=True))
    lengths = {len(column) for column in columns.values()}
    if lengths != {len(flux)}:
        raise GridError(f"{path}: {len(flux)} spectra, but labels for {sorted(lengths)}. {held}")
    medium, power = (_constant(path, arrays, key) for key in ("medium", "resolving_power"))
    medium = medium.decode() if isinstance(medium, bytes) else medium
    return Library([f"row {k}" for k in range(len(flux))], [(grid, row) for row in flux], columns, medium, power)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file by the last part of their names; attributes of HDF5 count as arrays."""
    found: dict[str, NDArray[Any]] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found.update({key: np.asarray(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[name.rsplit("/", 1)[-1]] = np.asarray(item[()])

    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        with h5py.File(path, "r") as file:
            if str(file.attrs.get("format")).startswith(KCINN_FORMAT):
                raise GridError(f"{path} is a grid of kcinn already; open it with SyntheticGrid.open")
            collect("", file)
            file.visititems(collect)
    except GridError:
        raise
    except (OSError, ValueError) as error:
        kinds = "a folder of TSFitPy, an npz file without pickled objects, or HDF5"
        raise GridError(f"{path}: expected {kinds}. Received: {error}") from None
    return found


def _matrix(path: Path, arrays: dict[str, NDArray[Any]], key: str, n_columns: int) -> NDArray[Any]:
    """An array as rows of `n_columns`, with its validation part, if there is one, below it."""
    parts = []
    for array in (arrays[key], arrays.get(VALIDATION.get(key, ""))):
        if array is None:
            continue
        if array.ndim != 2 or n_columns not in array.shape or not _numeric(array):
            raise GridError(
                f"{path}: expected {key} of {n_columns} numbers each, in rows or in columns. Received: an array of "
                f"shape {array.shape}"
            )
        parts.append(array if array.shape[1] == n_columns else array.T)
    return np.concatenate(parts)


def _constant(path: Path, arrays: dict[str, NDArray[Any]], key: str) -> Any:
    """What a file says once, or of every spectrum alike; None if it does not."""
    found = set(np.ravel(arrays[key]).tolist()) if key in arrays else {None}
    if len(found) > 1:
        raise GridError(f"{path}: {key} must be the same for all spectra. Received: {len(found)} values")
    return found.pop()


def _numeric(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "fiu"
