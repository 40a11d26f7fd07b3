"""What columns, units and keywords of FITS spectra are called, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import NDArray

from kcinn.errors import SpectraError

WAVELENGTH_NAMES = tuple(
    name + medium
    for medium in ("", "_AIR", "_VAC", "_VACUUM")
    for name in ("WAVE", "WAVELENGTH", "LAMBDA", "LAM", "WL", "WVL", "WAVEOBS")
)
LOG_NAMES = ("LOGLAM", "LOGLAMBDA", "LOG_LAMBDA")  # log10 of angstrom
NORMALISED_NAMES = ("NORM_FLUX", "FLUX_NORM", "FLUX_NORMALISED", "FLUX_NORMALIZED")
RAW_NAMES = ("FLUX", "FLUX_REDUCED", "INTENSITY")
FLUX_NAMES = (*NORMALISED_NAMES, *RAW_NAMES)
ERROR_NAMES = (
    "ERR_FLUX", "FLUX_ERR", "ERR", "ERROR", "FLUX_ERROR", "E_FLUX", "SIGMA", "UNCERTAINTY", "UNC", "ERRS", "STD",
    "STDDEV",
)  # fmt: skip
OWN_ERROR = ("ERR_{}", "{}_ERR", "{}_ERROR", "E_{}", "SIGMA_{}", "{}_SIGMA")  # of a flux of that name
IVAR_NAMES = ("FLUX_IVAR", "IVAR")
VARIANCE_NAMES = ("VARIANCE", "VAR", "FLUX_VAR", "FLUX_VARIANCE")
UNCERTAINTY_NAMES = (*ERROR_NAMES, *IVAR_NAMES, *VARIANCE_NAMES)  # see `error_named`
QUALITY_NAMES = ("QUAL", "QUALITY", "MASK", "FLAG")


def column(hdu: fits.BinTableHDU, names: tuple[str, ...]) -> int | None:
    """Number of the first column that bears one of `names`, in their order."""
    present = [name.upper() for name in hdu.columns.names]
    return next((present.index(name) for name in names if name in present), None)


def _own_error_names(flux_name: str) -> tuple[str, ...]:
    """What the error of a flux column is called if it bears its name: ``ERR_FLUX_REDUCED``, ``ERR_REDUCED``, ..."""
    stems = (flux_name, flux_name.removeprefix("FLUX_"), flux_name.removesuffix("_FLUX"))
    return tuple(pattern.format(stem) for stem in dict.fromkeys(stems) for pattern in OWN_ERROR)


def error_named(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """The error of pixels, from values that are called so; no finite number where a variance is not positive."""
    values = np.asarray(values, dtype=np.float64)
    if name in IVAR_NAMES:
        good = values > 0
        return np.where(good, 1.0 / np.sqrt(np.where(good, values, 1.0)), np.inf)
    if name in VARIANCE_NAMES:
        return np.sqrt(np.where(values > 0, values, np.nan))
    return values


def table_error(
    hdu: fits.BinTableHDU, flux_number: int, values: Callable[[int], NDArray[Any]]
) -> NDArray[np.float64] | None:
    """The error of a flux column.

    One that does not bear its name is taken to be that of the flux before it was divided by the continuum, if the table
    has that, too.
    """
    own = column(hdu, _own_error_names(hdu.columns.names[flux_number].upper()))
    if own is not None:
        return values(own).astype(np.float64)
    number = column(hdu, UNCERTAINTY_NAMES)
    if number is None:
        return None
    error = error_named(hdu.columns.names[number].upper(), values(number))
    raw = column(hdu, RAW_NAMES)
    if raw is None or raw == flux_number:
        return error
    before = values(raw).astype(np.float64)
    return error * np.abs(values(flux_number) / np.where(before == 0, np.nan, before))


def angstroms(unit: str | None) -> float:
    """Angstroms in a header's wavelength unit; angstrom if it is missing."""
    if not unit or not str(unit).strip():
        return 1.0
    text = str(unit).strip()
    plain = {"angstroms": "angstrom", "a": "angstrom", "nanometers": "nm", "nanometer": "nm"}
    known = plain.get(text.lower()) or (text if text in ("AA", "Å", "Angstrom") else text.lower())
    try:
        return float(units.Unit(known).to(units.AA))
    except (ValueError, TypeError, units.UnitConversionError):
        raise SpectraError(f"unknown unit of wavelength: {unit!r}") from None


def stated_medium(header: fits.Header) -> str | None:
    """Medium from the keyword AIRORVAC or VACUUM. CTYPE1 = WAVE is too often written for air to count as vacuum."""
    stated = str(header.get("AIRORVAC", "")).strip().lower()
    if stated in ("air", "vac", "vacuum"):
        return "air" if stated == "air" else "vacuum"
    if "VACUUM" in header:
        return "vacuum" if header["VACUUM"] in (True, 1) else "air"
    return None
