"""Spectra from objects of specutils."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units
from astropy.nddata import StdDevUncertainty

from kcinn.errors import SpectraError
from kcinn.spectra import Spectra


def from_specutils(spectrum: Any, *, medium: str, ids: Sequence[str] | None = None) -> Spectra:
    """Spectra from a `specutils.Spectrum`, with one spectrum or several on one axis.

    Parameters
    ----------
    spectrum : specutils.Spectrum
        Or anything with its `spectral_axis`, `flux`, `uncertainty` and `mask`. The unit of the flux is left away.
    medium : {"air", "vacuum"}
        specutils does not know it.
    ids : sequence of str, optional

    Raises
    ------
    SpectraError
        If the axis is no wavelength, or as `Spectra`.
    """
    try:
        wavelength = spectrum.spectral_axis.to_value(units.AA, equivalencies=units.spectral())
    except units.UnitConversionError as error:
        raise SpectraError(f"The spectral axis is no wavelength: {error}") from None
    order = slice(None) if wavelength[0] < wavelength[-1] else slice(None, None, -1)
    flux = np.asarray(spectrum.flux.value)
    given, mask = spectrum.uncertainty, spectrum.mask
    arrays = {
        "error": None if given is None else np.asarray(given.represent_as(StdDevUncertainty).array)[..., order],
        "mask": None if mask is None else np.broadcast_to(mask, flux.shape)[..., order],
    }
    return Spectra(wavelength[order], flux[..., order], **arrays, ids=ids, medium=medium)
