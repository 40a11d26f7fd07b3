"""What arrays must be to become spectra, with errors that say what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.utils.masked import Masked
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import SpectraError
from kcinn.quantity import FLUX, WAVELENGTH, values


def numbers(given: ArrayLike, name: str) -> NDArray[np.float64]:
    """Pure numbers as an array; entries that a masked array or Quantity of astropy masks are NaN."""
    try:
        plain = values(given, FLUX, name)
        if isinstance(plain, np.ma.MaskedArray):
            return np.ma.filled(np.ma.asarray(plain, dtype=np.float64), np.nan)
        if isinstance(plain, Masked):
            return np.where(plain.mask, np.nan, np.asarray(plain.unmasked, dtype=np.float64))
        return np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SpectraError(f"{name} must be numbers: {error}") from None


def shaped(array: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """A copy of `values` in the shape of the flux; a single number stands for all pixels."""
    if array.ndim == 0:
        return np.full(shape, array)
    if np.atleast_2d(array).shape != shape:
        raise SpectraError(f"{name} has shape {array.shape}, flux has {shape}")
    return np.array(np.atleast_2d(array))


def per_spectrum(array: NDArray[Any], n: int, name: str) -> NDArray[Any]:
    """A copy with one value for each of `n` spectra; a single one stands for all."""
    if array.shape not in ((), (n,)):
        raise SpectraError(f"{name} has shape {array.shape}, there are {n} spectra")
    return np.array(np.broadcast_to(array, (n,)))


def checked_medium(medium: str | None) -> str:
    """The medium of wavelengths; SpectraError if it is neither air nor vacuum."""
    if medium not in ("air", "vacuum"):
        raise SpectraError(
            "Pass medium='air' or medium='vacuum': the scales differ by 83 km/s and the wrong one spoils every label. "
            f"Received: medium={medium!r}"
        )
    return medium


def checked_wavelength(wavelength: ArrayLike) -> NDArray[np.float64]:
    """Wavelengths in angstrom; SpectraError unless they ascend and lie where spectra of stars do."""
    wavelength = np.array(numbers(values(wavelength, WAVELENGTH, "wavelength"), "wavelength"))
    if wavelength.ndim != 1 or len(wavelength) < 2:
        raise SpectraError(f"wavelength must be 1-D with at least two pixels. Received shape: {wavelength.shape}")
    if not np.all(np.isfinite(wavelength)):
        raise SpectraError(
            f"{np.count_nonzero(~np.isfinite(wavelength))} of {len(wavelength)} wavelengths are not finite"
        )
    if not np.all(np.diff(wavelength) > 0):
        if np.all(np.diff(wavelength) < 0):
            raise SpectraError("Wavelengths descend; reverse wavelength, flux, error and mask")
        where = int(np.argmin(np.diff(wavelength) > 0))
        raise SpectraError(
            f"Wavelengths must ascend strictly; pixel {where} is at {wavelength[where]:.4f} angstrom, "
            f"the next at {wavelength[where + 1]:.4f}"
        )
    if wavelength[0] < 2000.0 or wavelength[-1] > 25000.0:
        in_nm = wavelength[0] >= 200.0 and wavelength[-1] <= 2500.0
        advice = "looks like nm: multiply them by 10, or pass a Quantity" if in_nm else "expected within 2000 to 25000"
        raise SpectraError(
            f"Wavelengths must be in angstrom; {advice}. Received: {wavelength[0]:g} to {wavelength[-1]:g}"
        )
    return wavelength


def checked_ids(ids: Any, n_spectra: int) -> NDArray[Any]:
    """A name for every spectrum, by default its number; SpectraError if their number is another."""
    if ids is None:
        return np.arange(n_spectra)
    array = np.atleast_1d(np.asarray(ids))
    if array.dtype.kind == "O":
        array = array.astype(str)
    elif array.dtype.kind == "S":  # as astropy reads them from FITS
        array = np.char.decode(array, "utf-8")
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.shape != (n_spectra,) or array.dtype.kind not in "iuU":
        raise SpectraError(
            f"ids must be {n_spectra} integers or strings. Received: {array.dtype} of shape {array.shape}"
        )
    return array
