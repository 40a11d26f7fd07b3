"""Readers: files of spectra -> Spectra, from HDF5, FITS tables and images, and text."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kcinn.errors import SpectraError, SpectrumReadError
from kcinn.plugins import READERS, load_plugins
from kcinn.spectra import Spectra
from kcinn.survey.fits_reader import from_fits
from kcinn.survey.text_reader import from_text

MAX_BYTES = 2**29  # of one FITS or text file, unpacked: far above any single spectrum
BLOCK = 2880  # bytes; what a reader sees of a file before it takes it on
HDF5_MAGIC, GZIP_MAGIC, FITS_MAGIC = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b", b"SIMPLE  ="


@dataclass(frozen=True)
class Reader:
    """A kind of file: its name, whether a file with these first bytes is of it, and how to read one.

    Parameters
    ----------
    name, recognises, read
        As for `register_reader`.
    """

    name: str
    recognises: Callable[[Path, bytes], bool]
    read: Callable[[Path], Spectra]


_registered: list[Reader] = []


def register_reader(name: str, recognises: Callable[[Path, bytes], bool], read: Callable[[Path], Spectra]) -> None:
    """Let `kcinn.read` and `kcinn pack` read one more kind of file; it is asked before those registered earlier.

    Parameters
    ----------
    name : str
        A reader of the same name is replaced.
    recognises : callable
        Takes the path and the first 2880 bytes; returns whether it can read the file.
    read : callable
        Takes the path, returns `Spectra`. What it raises becomes a `SpectrumReadError`.
    """
    _registered[:] = [Reader(name, recognises, read), *(reader for reader in _registered if reader.name != name)]


def registered() -> list[Reader]:
    """The readers added by `register_reader`."""
    return list(_registered)


@cache
def installed() -> list[Reader]:
    """The readers that other packages bring: a `Reader` as an entry point of the group ``kcinn.readers``."""
    return load_plugins(READERS)


def read(path: str | Path, *, medium: str | None = None, snr: float | None = None, checksum: bool = True) -> Spectra:
    """Read spectra from a file, whatever its kind.

    - HDF5 of the format "kcinn-spectra/1"
    - 4MOST files of many spectra (SPECTAB, FIBMETATAB): those of the science fibres
    - FITS binary tables: one row of vectors (ESO phase 3, 4MOST), one row per spectrum on a common grid, or one row per
      pixel; columns by their usual names, wavelength unit from TUNIT
    - FITS images with one spectrum and a linear or logarithmic (DC-FLAG) wavelength scale; an extension named SIGMA,
      ERR, ERRS or IVAR gives the error, one named QUAL or MASK bad pixels; of GALAH's images the normalised one
    - text with the columns wavelength, flux, error, mask, of which the last one or two may be missing; ``#`` begins a
      comment
    - whatever `kcinn.register_reader` or an installed package (entry points ``kcinn.readers``) adds

    FITS and text may be packed with gzip. Pixels whose flux is exactly zero and has no error are taken as missing; two
    neighbours of the very same wavelength, the seam of merged orders, become one; descending wavelengths are reversed.
    Errors none of which is a number, a column that was left empty, are taken as none.

    Parameters
    ----------
    path : str or Path
    medium : {"air", "vacuum"}, optional
        What the wavelengths are measured in; goes before what the file says. Needed if the file does not say it.
    snr : float, optional
        Signal-to-noise ratio per angstrom: sets the error of every pixel, in place of the file's own errors.
    checksum : bool, optional
        Refuse FITS data that differ from their checksum. Some programs edit a file and leave the old checksum.

    Returns
    -------
    Spectra
        A single spectrum bears OBJ_UID or TRG_UID of the header, or else the name of the file.

    Raises
    ------
    SpectrumReadError
        If the file is missing, empty, truncated, damaged, of unknown kind or without a usable spectrum, or the medium
        is not known. It has the attributes `path` and `reason`.
    """
    return read_with_frame(path, medium=medium, snr=snr, checksum=checksum)[0]


def read_with_frame(
    path: str | Path, *, medium: str | None = None, snr: float | None = None, checksum: bool = True
) -> tuple[Spectra, str]:
    """As `read`, with SPECSYS of the header: the frame in which velocities are zero, or nothing if it is not stated."""
    path = Path(path)
    try:
        spectra, frame = _read(path, medium, snr, checksum)
        return (spectra if snr is None else _with_snr(spectra, snr)), frame
    except (SpectraError, OSError) as error:
        raise SpectrumReadError(path, str(error).removeprefix(f"{path}: ")) from None


def _read(path: Path, medium: str | None, snr: float | None, checksum: bool) -> tuple[Spectra, str]:
    for reader in [*_registered, *installed()]:
        if reader.recognises(path, _start(path)):
            try:
                return reader.read(path), ""
            except Exception as error:  # somebody else's code
                raise SpectraError(f"{reader.name}: {type(error).__name__}: {error}") from error
    content = _content(path)
    if content is None:
        return Spectra.read(path, medium=medium), ""
    found = from_fits(content, checksum) if content.startswith(FITS_MAGIC) else from_text(content, snr is None)
    found["medium"] = medium or found.get("medium")
    if found["medium"] is None:
        raise SpectraError("the file does not say whether wavelengths are in air or vacuum; pass medium=")
    frame, names = found.pop("frame", ""), found.pop("names", None)
    if names is None:
        stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        name, n_spectra = found.pop("name", stem), len(np.atleast_2d(found["flux"]))
        names = [name] if n_spectra == 1 else [f"{stem}-{row}" for row in range(n_spectra)]
    found = _without_seams(_without_zeros(_ascending(_without_empty_errors(found, replaced=snr is not None))))
    return Spectra(found.pop("wavelength"), found.pop("flux"), **found, ids=names), frame


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BLOCK)


def _with_snr(spectra: Spectra, snr: float) -> Spectra:
    """The spectra with one error per spectrum and angstrom, so that ``spectra.snr`` is `snr`."""
    if not 0 < snr < np.inf:
        raise SpectraError(f"snr must be a positive number. Received: {snr}")
    left_out = spectra.mask & ~spectra.mask.all(axis=1, keepdims=True)  # a spectrum without good pixels stays masked
    level = np.nanmedian(np.where(left_out, np.nan, spectra.flux), axis=1, keepdims=True)
    error = level / (snr * np.sqrt(spectra.pixel_width))
    return Spectra(
        spectra.wavelength, spectra.flux, error=error, mask=spectra.mask, ids=spectra.ids, medium=spectra.medium
    )


def _content(path: Path) -> bytes | None:
    """The unpacked bytes of a FITS or text file; None for HDF5, which is read in place."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1) if (start := file.peek(8)[:8]) != HDF5_MAGIC else None
    except OSError as error:
        raise SpectraError("is a directory, not a file" if path.is_dir() else str(error.strerror)) from None
    if content is None:
        return None
    if not start:
        raise SpectraError("the file is empty")
    if content.startswith(GZIP_MAGIC):
        content = _unpacked(content)
    if len(content) > MAX_BYTES:
        raise SpectraError(f"more than {MAX_BYTES >> 20} MiB; split it, or write HDF5 with Spectra.write")
    return content


def _unpacked(packed: bytes) -> bytes:
    """Gzip members unpacked, stopping beyond `MAX_BYTES` so that a small file cannot fill the memory."""
    parts, total = [], 0
    while packed.startswith(GZIP_MAGIC) and total <= MAX_BYTES:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(packed, MAX_BYTES + 1 - total))
        except zlib.error as error:
            raise SpectraError(f"damaged gzip file: {error}") from None
        total += len(parts[-1])
        if not unpacker.eof and total <= MAX_BYTES:
            raise SpectraError("truncated gzip file")
        packed = unpacker.unused_data
    return b"".join(parts)


def _without_empty_errors(spectrum: dict[str, Any], *, replaced: bool) -> dict[str, Any]:
    """Leave out errors none of which is a number: products of ESO have such a column.

    Errors that are `replaced` only tell bad pixels; none of which is good, they tell nothing.
    """
    if "error" not in spectrum:
        return spectrum
    error = np.asarray(spectrum["error"])
    if np.any(np.isfinite(error) & (error > 0) if replaced else ~np.isnan(error)):
        return spectrum
    return {key: value for key, value in spectrum.items() if key != "error"}


def _ascending(spectrum: dict[str, Any]) -> dict[str, Any]:
    if not np.all(np.diff(spectrum["wavelength"]) < 0):
        return spectrum
    pixels = ("wavelength", "flux", "error", "mask")
    return {key: np.asarray(value)[..., ::-1] if key in pixels else value for key, value in spectrum.items()}


def _without_zeros(spectrum: dict[str, Any]) -> dict[str, Any]:
    """Mask flux of exactly zero where nothing else tells that a pixel was not observed."""
    if "error" in spectrum or "mask" in spectrum:
        return spectrum
    return spectrum | {"mask": np.asarray(spectrum["flux"]) == 0.0}


def _without_seams(spectrum: dict[str, Any]) -> dict[str, Any]:
    """Average neighbours of the very same wavelength in a single spectrum."""
    step = np.diff(spectrum["wavelength"])
    if np.ndim(spectrum["flux"]) != 1 or np.all(step != 0) or len(step) + 1 != len(spectrum["flux"]):
        return spectrum
    starts = np.flatnonzero(np.r_[True, step != 0])
    count = np.diff(np.r_[starts, len(step) + 1])
    flux = np.add.reduceat(spectrum["flux"], starts) / count
    merged = spectrum | {"wavelength": spectrum["wavelength"][starts], "flux": flux}
    if "error" in spectrum:
        merged["error"] = np.sqrt(np.add.reduceat(np.square(spectrum["error"]), starts)) / count
    if "mask" in spectrum:
        merged["mask"] = np.logical_or.reduceat(spectrum["mask"], starts)
    return merged
