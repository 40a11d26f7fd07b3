"""4MOST files of many spectra (OBMETATAB, SPECTAB, FIBMETATAB) -> what spectra are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from kcinn.errors import SpectraError
from kcinn.survey.fits_columns import (
    FLUX_NAMES,
    QUALITY_NAMES,
    angstroms,
    column,
    stated_medium,
    table_error,
)

SCIENCE = 2  # FIB_ST of a fibre on a target
TARGET_NAMES = ("OBJ_UID", "TRG_UID", "OBJ_NME", "TRG_NME", "SPECUID")


def is_multi_spectrum(hdus: fits.HDUList) -> bool:
    """Whether a FITS file is one of 4MOST with many spectra."""
    return any(hdu.name.upper() == "SPECTAB" for hdu in hdus)


def from_spectab(hdus: fits.HDUList) -> dict[str, Any]:
    """Spectra of the science fibres, one arm.

    Wavelengths from the world coordinates of the flux column (``1CRVLn``, ``1CDLTn``, ``1CRPXn``, ``1CUNIn``), or from
    WAVELMIN and SPEC_BIN of FIBMETATAB, in nanometres.

    Raises
    ------
    SpectraError
        If the wavelengths, the names or the science fibres cannot be found.
    """
    spectab, fibres = _table(hdus, "SPECTAB"), _table(hdus, "FIBMETATAB")
    number = column(spectab, FLUX_NAMES)
    if number is None:
        raise SpectraError(f"SPECTAB has no column of flux; its columns are {', '.join(spectab.columns.names)}")
    if len(spectab.data) != len(fibres.data):
        raise SpectraError(f"SPECTAB has {len(spectab.data)} rows, FIBMETATAB {len(fibres.data)}")
    science = _science(fibres)

    def values(number: int) -> NDArray[Any]:
        return np.atleast_2d(spectab.data.field(number))[science]

    flux = values(number).astype(np.float64)
    spectrum: dict[str, Any] = {
        "wavelength": _wavelength(spectab, number, fibres, flux.shape[1]),
        "flux": flux,
        "names": _names(fibres, spectab)[science],
        "medium": _medium(spectab, number),
        "frame": str(spectab.header.get("SPECSYS", hdus[0].header.get("SPECSYS", ""))).strip().upper(),
    }
    error, quality = table_error(spectab, number, values), column(spectab, QUALITY_NAMES)
    if error is not None:
        spectrum["error"] = error
    if quality is not None:
        spectrum["mask"] = values(quality) != 0
    return spectrum


def _table(hdus: fits.HDUList, name: str) -> fits.BinTableHDU:
    for hdu in hdus:
        if hdu.name.upper() == name and isinstance(hdu, fits.BinTableHDU):
            return hdu
    raise SpectraError(f"no table {name}; a 4MOST file of many spectra has SPECTAB and FIBMETATAB")


def _science(fibres: fits.BinTableHDU) -> NDArray[np.bool_]:
    status = column(fibres, ("FIB_ST",))
    if status is None:
        raise SpectraError("FIBMETATAB has no column FIB_ST, so science fibres cannot be told from sky")
    science = np.asarray(fibres.data.field(status)) == SCIENCE
    if not science.any():
        raise SpectraError(f"no fibre with FIB_ST = {SCIENCE}, so no star")
    return science


def _names(fibres: fits.BinTableHDU, spectab: fits.BinTableHDU) -> NDArray[np.str_]:
    for hdu in (fibres, spectab):
        number = column(hdu, TARGET_NAMES)
        if number is not None:
            return np.array([str(name).strip() for name in hdu.data.field(number)])
    raise SpectraError(f"no column names the targets; expected one of {', '.join(TARGET_NAMES)} in FIBMETATAB")


def _wavelength(spectab: fits.BinTableHDU, number: int, fibres: fits.BinTableHDU, n_pixels: int) -> NDArray[np.float64]:
    header, n = spectab.header, number + 1
    pixel = np.arange(n_pixels, dtype=np.float64)
    if f"1CRVL{n}" in header and f"1CDLT{n}" in header:
        reference = header.get(f"1CRPX{n}", 1.0) - 1.0
        unit = angstroms(header.get(f"1CUNI{n}"))
        return unit * (header[f"1CRVL{n}"] + (pixel - reference) * header[f"1CDLT{n}"])
    start, step = column(fibres, ("WAVELMIN",)), column(fibres, ("SPEC_BIN",))
    if start is None or step is None:
        raise SpectraError(f"no wavelengths: neither 1CRVL{n} and 1CDLT{n} nor WAVELMIN and SPEC_BIN")
    starts, steps = (np.unique(np.asarray(fibres.data.field(k), dtype=np.float64)) for k in (start, step))
    if len(starts) > 1 or len(steps) > 1:
        raise SpectraError("the fibres have different wavelength grids; resample them to one")
    return 10.0 * (starts[0] + pixel * steps[0])


def _medium(spectab: fits.BinTableHDU, number: int) -> str | None:
    kind = str(spectab.header.get(f"1CTYP{number + 1}", spectab.header.get(f"1CTY{number + 1}", ""))).strip().upper()
    return "air" if kind.startswith("AWAV") else stated_medium(spectab.header)
