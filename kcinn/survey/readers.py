"""Readers: files of spectra -> Spectra, from HDF5, FITS tables and images, and text."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from kcinn.errors import SpectraError
from kcinn.spectra import Spectra

MAX_BYTES = 2**29  # of one FITS or text file, unpacked: far above any single spectrum
BINARY_BYTES = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1a")  # control characters that no text has
PICKLE_MAGIC = b"\x80"
HDF5_MAGIC, GZIP_MAGIC, FITS_MAGIC = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b", b"SIMPLE  ="
WAVELENGTH_NAMES = tuple(
    name + medium
    for medium in ("", "_AIR", "_VAC", "_VACUUM")
    for name in ("WAVE", "WAVELENGTH", "LAMBDA", "LAM", "WL", "WVL", "WAVEOBS")
)
LOG_NAMES = ("LOGLAM", "LOGLAMBDA", "LOG_LAMBDA")  # log10 of angstrom
FLUX_NAMES = ("NORM_FLUX", "FLUX_NORM", "FLUX_NORMALISED", "FLUX_NORMALIZED", "FLUX", "FLUX_REDUCED", "INTENSITY")
ERROR_NAMES = ("ERR_FLUX", "FLUX_ERR", "ERR", "ERROR", "FLUX_ERROR", "E_FLUX", "SIGMA", "UNCERTAINTY", "UNC", "ERRS")
IVAR_NAMES = ("FLUX_IVAR", "IVAR")
QUALITY_NAMES = ("QUAL", "QUALITY", "MASK", "FLAG")


def read(path: str | Path, *, medium: str | None = None, snr: float | None = None, checksum: bool = True) -> Spectra:
    """Read spectra from a file, whatever its kind.

    - HDF5 of the format "kcinn-spectra/1"
    - FITS binary tables: one row of vectors (ESO phase 3, 4MOST), one row per spectrum on a common grid, or one row per
      pixel; columns by their usual names, wavelength unit from TUNIT
    - FITS images with one spectrum and a linear or logarithmic (DC-FLAG) wavelength scale; an extension named SIGMA,
      ERR or IVAR gives the error
    - text with the columns wavelength, flux, error, mask, of which the last one or two may be missing; ``#`` begins a
      comment

    FITS and text may be packed with gzip. Pixels whose flux is exactly zero and has no error are taken as missing; two
    neighbours of the very same wavelength, the seam of merged orders, become one.

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
    SpectraError
        If the file is missing, empty, truncated, damaged, of unknown kind or without a usable spectrum, or the medium
        is not known. The message names path and reason.
    """
    path = Path(path)
    try:
        content = _content(path)
        if content is None:
            spectra = Spectra.read(path, medium=medium)
        else:
            found = (
                _from_fits(content, checksum) if content.startswith(FITS_MAGIC) else _from_text(content, snr is None)
            )
            found["medium"] = medium or found.get("medium")
            if found["medium"] is None:
                raise SpectraError("the file does not say whether wavelengths are in air or vacuum; pass medium=")
            stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
            n_spectra = len(np.atleast_2d(found["flux"]))
            name = found.pop("name", stem)
            names = [name] if n_spectra == 1 else [f"{stem}-{row}" for row in range(n_spectra)]
            found = _without_seams(_without_zeros(found))
            spectra = Spectra(found.pop("wavelength"), found.pop("flux"), **found, ids=names)
    except SpectraError as error:
        message = str(error)
        raise SpectraError(message if message.startswith(str(path)) else f"{path}: {message}") from None
    return spectra if snr is None else _with_snr(spectra, snr)


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


def _from_text(content: bytes, use_error: bool) -> dict[str, Any]:
    """Two to four columns of numbers, separated by white space or commas; the third is left out on request."""
    if content[:1] == PICKLE_MAGIC or not BINARY_BYTES.isdisjoint(content[:4096]):
        raise SpectraError(
            "neither HDF5, FITS nor text (pickles and numpy archives are not read); write HDF5, FITS or text"
        )
    lines = [line.split("#", 1)[0].replace(",", " ") for line in content.decode("latin-1").splitlines()]
    lines = [line for line in lines if line.strip()]
    if lines and not any(_is_number(word) for word in lines[0].split()):
        lines = lines[1:]  # names of the columns
    if not lines:
        raise SpectraError("no numbers in the file")
    try:
        table = np.loadtxt(lines, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise SpectraError(f"not a table of numbers: {error}") from None
    if not 2 <= table.shape[1] <= 4:
        raise SpectraError(f"{table.shape[1]} columns; expected wavelength, flux and perhaps error, mask")
    spectrum: dict[str, Any] = {"wavelength": table[:, 0], "flux": table[:, 1]}
    if table.shape[1] > 2 and use_error:
        spectrum["error"] = table[:, 2]
        finite = np.isfinite(table[:, 1:3]).all(axis=1)
        if finite.any() and np.median(table[finite, 2]) > 3.0 * np.median(np.abs(table[finite, 1])):
            raise SpectraError(
                "the third column is larger than the flux, so it is not the error; pass snr= to set the error"
            )
    if table.shape[1] > 3:
        spectrum["mask"] = table[:, 3] != 0
    return spectrum


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


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


def _from_fits(content: bytes, checksum: bool) -> dict[str, Any]:
    """The first table with wavelength and flux, or else the first image with a wavelength scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", AstropyUserWarning)  # bad checksum, truncated data
        warnings.simplefilter("ignore", VerifyWarning)  # odd cards, common and harmless
        try:
            with fits.open(io.BytesIO(content), checksum=checksum, disable_image_compression=True) as hdus:
                for hdu in hdus:
                    if hdu.size > len(content):
                        raise SpectraError(f"HDU {hdu.name!r} claims {hdu.size} bytes, the file has {len(content)}")
                for hdu in hdus:
                    if isinstance(hdu, fits.BinTableHDU) and _column(hdu, FLUX_NAMES) is not None:
                        return _from_table(hdu) | _name(hdus)
                for hdu in hdus:
                    if hdu.is_image and hdu.header.get("NAXIS", 0) > 0 and "CRVAL1" in hdu.header:
                        return _from_image(hdu, hdus) | _name(hdus)
        except SpectraError:
            raise
        except Exception as error:  # astropy meets damage with almost any exception
            hint = " (checksum=False reads it all the same)" if "verification failed" in str(error) else ""
            raise SpectraError(f"damaged FITS file: {type(error).__name__}: {str(error).strip()}{hint}") from None
    raise SpectraError(
        f"no table with a flux column ({', '.join(FLUX_NAMES)}) and no image with CRVAL1; nothing to read as a spectrum"
    )


def _name(hdus: fits.HDUList) -> dict[str, Any]:
    for hdu in hdus:
        for key in ("OBJ_UID", "TRG_UID"):
            if key in hdu.header:
                return {"name": str(hdu.header[key])}
    return {}


def _column(hdu: fits.BinTableHDU, names: tuple[str, ...]) -> int | None:
    """Number of the first column that bears one of `names`, in their order."""
    present = [name.upper() for name in hdu.columns.names]
    return next((present.index(name) for name in names if name in present), None)


def _from_table(hdu: fits.BinTableHDU) -> dict[str, Any]:
    def values(number: int) -> NDArray[Any]:
        array = np.asarray(hdu.data.field(number))
        return array[0] if array.ndim == 2 and len(array) == 1 else array

    number, log_number = _column(hdu, WAVELENGTH_NAMES), _column(hdu, LOG_NAMES)
    if number is not None:
        wavelength = values(number).astype(np.float64) * _angstroms(hdu.columns[number].unit)
    elif log_number is not None:
        number, wavelength = log_number, 10.0 ** values(log_number).astype(np.float64)
    else:
        raise SpectraError(f"no wavelength column; columns are {', '.join(hdu.columns.names)}")
    if wavelength.ndim == 2:
        if not np.all(wavelength == wavelength[0]):
            raise SpectraError("the rows have different wavelength grids; read them one by one and resample")
        wavelength = wavelength[0]

    flux_number, error_number = _column(hdu, FLUX_NAMES), _column(hdu, ERROR_NAMES)
    ivar_number, quality_number = _column(hdu, IVAR_NAMES), _column(hdu, QUALITY_NAMES)
    assert flux_number is not None
    spectrum: dict[str, Any] = {"wavelength": wavelength, "flux": values(flux_number)}
    if error_number is not None:
        spectrum["error"] = values(error_number)
    elif ivar_number is not None:
        spectrum["error"] = _error_from_ivar(values(ivar_number))
    if quality_number is not None:
        spectrum["mask"] = values(quality_number) != 0
    spectrum["medium"] = _table_medium(hdu, number)
    return spectrum


def _from_image(hdu: fits.PrimaryHDU | fits.ImageHDU, hdus: fits.HDUList) -> dict[str, Any]:
    header, data = hdu.header, np.asarray(hdu.data, dtype=np.float64)
    if data.size != data.shape[-1]:
        raise SpectraError(f"the image has shape {data.shape}; expected one spectrum, extract it first")
    step = header.get("CDELT1", header.get("CD1_1"))
    if not step:
        raise SpectraError("the image has CRVAL1 but neither CDELT1 nor CD1_1")
    kind = str(header.get("CTYPE1", "")).strip().upper()
    if kind.endswith("-LOG"):
        raise SpectraError(f"CTYPE1 {kind!r} is not supported; write a table of wavelength and flux")
    pixel = np.arange(1, data.size + 1) - header.get("CRPIX1", 1.0)
    wavelength = header["CRVAL1"] + pixel * step
    if header.get("DC-FLAG", 0) == 1:
        wavelength = 10.0**wavelength
    spectrum: dict[str, Any] = {"wavelength": wavelength * _angstroms(header.get("CUNIT1")), "flux": data.ravel()}
    for other in hdus:
        if other is not hdu and other.is_image and other.header.get("NAXIS", 0) and other.data.size == data.size:
            if other.name.upper() in ERROR_NAMES:
                spectrum["error"] = np.asarray(other.data, dtype=np.float64).ravel()
            elif other.name.upper() in IVAR_NAMES:
                spectrum["error"] = _error_from_ivar(np.asarray(other.data, dtype=np.float64).ravel())
    spectrum["medium"] = "air" if kind == "AWAV" else _stated_medium(header)
    return spectrum


def _error_from_ivar(inverse_variance: NDArray[Any]) -> NDArray[np.float64]:
    good = inverse_variance > 0
    return np.where(good, 1.0 / np.sqrt(np.where(good, inverse_variance, 1.0)), np.inf)


def _angstroms(unit: str | None) -> float:
    """Angstroms in a header's wavelength unit; angstrom if it is missing."""
    if not unit or not str(unit).strip():
        return 1.0
    text = str(unit).strip().lower()
    text = {"angstroms": "angstrom", "a": "angstrom", "nanometers": "nm", "nanometer": "nm"}.get(text, text)
    try:
        return float(units.Unit(text).to(units.AA))
    except (ValueError, TypeError, units.UnitConversionError):
        raise SpectraError(f"unknown unit of wavelength: {unit!r}") from None


def _table_medium(hdu: fits.BinTableHDU, number: int) -> str | None:
    """Medium from the wavelength column's UCD (ESO: ``em.wl;obs.atmos`` is air, ``em.wl`` vacuum) or name."""
    ucd = str(hdu.header.get(f"TUCD{number + 1}", "")).strip().lower()
    if ucd.startswith("em.wl"):
        return "air" if "obs.atmos" in ucd else "vacuum"
    name = hdu.columns.names[number].upper()
    if name.endswith("_AIR"):
        return "air"
    return "vacuum" if name.endswith(("_VAC", "_VACUUM")) else _stated_medium(hdu.header)


def _stated_medium(header: fits.Header) -> str | None:
    """Medium from the keyword AIRORVAC or VACUUM. CTYPE1 = WAVE is too often written for air to count as vacuum."""
    stated = str(header.get("AIRORVAC", "")).strip().lower()
    if stated in ("air", "vac", "vacuum"):
        return "air" if stated == "air" else "vacuum"
    if "VACUUM" in header:
        return "vacuum" if header["VACUUM"] in (True, 1) else "air"
    return None
