"""FITS tables and images -> what spectra are made of."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from kcinn.errors import SpectraError

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


def from_fits(content: bytes, checksum: bool) -> dict[str, Any]:
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
