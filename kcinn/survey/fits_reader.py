"""FITS tables and images -> what spectra are made of."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from kcinn.errors import SpectraError
from kcinn.survey.fits_columns import (
    FLUX_NAMES,
    LOG_NAMES,
    QUALITY_NAMES,
    UNCERTAINTY_NAMES,
    WAVELENGTH_NAMES,
    angstroms,
    column,
    error_named,
    stated_medium,
    table_error,
)
from kcinn.survey.fourmost import from_spectab, is_multi_spectrum

NORMALISED = "normalised_spectrum"  # GALAH names its images so, and those of the errors of the two fluxes
SIGMA_OF = {NORMALISED: "NORMALISED_SIGMA", "input_spectrum": "INPUT_SIGMA"}


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
                found = _first(hdus)
                return {**found, "medium": found["medium"] or stated_medium(hdus[0].header)}
        except SpectraError:
            raise
        except Exception as error:  # astropy meets damage with almost any exception
            failed = "verification failed" in str(error)
            hint = " (checksum=False, or --no-checksum, reads it all the same)" if failed else ""
            raise SpectraError(f"damaged FITS file: {type(error).__name__}: {str(error).strip()}{hint}") from None


def _first(hdus: fits.HDUList) -> dict[str, Any]:
    """4MOST's many spectra, or the first table, or else the first image."""
    if is_multi_spectrum(hdus):
        return from_spectab(hdus)
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU) and column(hdu, FLUX_NAMES) is not None:
            return _from_table(hdu) | _name(hdus) | _frame(hdus)
    images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) > 0]
    images.sort(key=lambda hdu: hdu.name.lower() != NORMALISED)
    for hdu in images:
        if "CRVAL1" in hdu.header:
            return _from_image(hdu, hdus) | _name(hdus) | _frame(hdus)
    raise SpectraError(
        f"no table with a flux column ({', '.join(FLUX_NAMES)}) and no image with CRVAL1; nothing to read as a spectrum"
    )


def _name(hdus: fits.HDUList) -> dict[str, Any]:
    for hdu in hdus:
        for key in ("OBJ_UID", "TRG_UID"):
            if key in hdu.header:
                return {"name": str(hdu.header[key])}
    return {}


def _frame(hdus: fits.HDUList) -> dict[str, Any]:
    """In which frame velocities are zero, such as BARYCENT, if the header says."""
    found = [str(hdu.header["SPECSYS"]).strip().upper() for hdu in hdus if "SPECSYS" in hdu.header]
    return {"frame": found[0]} if found else {}


def _from_table(hdu: fits.BinTableHDU) -> dict[str, Any]:
    def values(number: int) -> NDArray[Any]:
        array = np.asarray(hdu.data.field(number))
        if array.dtype.kind == "O":  # of variable length
            if len(array) > 1:
                raise SpectraError(f"{hdu.columns.names[number]} has rows of variable length; write them one by one")
            array = np.stack(list(array))
        return array[0] if array.ndim == 2 and len(array) == 1 else array

    number, log_number = column(hdu, WAVELENGTH_NAMES), column(hdu, LOG_NAMES)
    if number is not None:
        wavelength = values(number).astype(np.float64) * angstroms(hdu.columns[number].unit)
    elif log_number is not None:
        number, wavelength = log_number, 10.0 ** values(log_number).astype(np.float64)
    else:
        raise SpectraError(f"no wavelength column; columns are {', '.join(hdu.columns.names)}")
    if wavelength.ndim == 2:
        if not np.all(wavelength == wavelength[0]):
            raise SpectraError("the rows have different wavelength grids; read them one by one and resample")
        wavelength = wavelength[0]

    flux_number, quality_number = column(hdu, FLUX_NAMES), column(hdu, QUALITY_NAMES)
    assert flux_number is not None
    spectrum: dict[str, Any] = {"wavelength": wavelength, "flux": values(flux_number).astype(np.float64)}
    error = table_error(hdu, flux_number, values)
    if error is not None:
        spectrum["error"] = error
    if quality_number is not None:
        spectrum["mask"] = values(quality_number) != 0
    spectrum["medium"] = _table_medium(hdu, number)
    return spectrum


def _from_image(hdu: fits.PrimaryHDU | fits.ImageHDU, hdus: fits.HDUList) -> dict[str, Any]:
    header, data = hdu.header, np.asarray(hdu.data, dtype=np.float64)
    if data.size != data.shape[-1]:
        raise SpectraError(f"the image has shape {data.shape}; expected one spectrum, extract it first")
    step = header.get("CD1_1") or header.get("CDELT1")  # the standard ignores CDELT beside CD
    if not step:
        raise SpectraError("the image has CRVAL1 but neither CDELT1 nor CD1_1")
    kind = str(header.get("CTYPE1", "")).strip().upper()
    if kind.endswith("-LOG"):
        raise SpectraError(f"CTYPE1 {kind!r} is not supported; write a table of wavelength and flux")
    pixel = np.arange(1, data.size + 1) - header.get("CRPIX1", 1.0)
    wavelength = header["CRVAL1"] + pixel * step
    if header.get("DC-FLAG", 0) == 1:
        wavelength = 10.0**wavelength
    spectrum: dict[str, Any] = {"wavelength": wavelength * angstroms(header.get("CUNIT1")), "flux": data.ravel()}
    for other in hdus:
        if other is not hdu and other.is_image and other.header.get("NAXIS", 0) and other.data.size == data.size:
            if other.name.upper() in (*UNCERTAINTY_NAMES, SIGMA_OF.get(hdu.name.lower())):
                spectrum["error"] = error_named(other.name.upper(), other.data).ravel()
            elif other.name.upper() in QUALITY_NAMES:
                spectrum["mask"] = np.asarray(other.data).ravel() != 0
    spectrum["medium"] = "air" if kind == "AWAV" else stated_medium(header)
    return spectrum


def _table_medium(hdu: fits.BinTableHDU, number: int) -> str | None:
    """Medium from the wavelength column's UCD (ESO: ``em.wl;obs.atmos`` is air, ``em.wl`` vacuum) or name."""
    ucd = str(hdu.header.get(f"TUCD{number + 1}", "")).strip().lower()
    if ucd.startswith("em.wl"):
        return "air" if "obs.atmos" in ucd else "vacuum"
    name = hdu.columns.names[number].upper()
    if name.endswith("_AIR"):
        return "air"
    return "vacuum" if name.endswith(("_VAC", "_VACUUM")) else stated_medium(hdu.header)
