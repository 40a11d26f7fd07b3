"""Spectra from objects of specutils."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units
from astropy.nddata import NDUncertainty, StdDevUncertainty
from numpy.typing import NDArray

from kcinn.errors import SpectraError
from kcinn.quantity import WAVELENGTH, values
from kcinn.spectra import Spectra


def from_specutils(spectrum: Any, *, medium: str, ids: Sequence[str] | None = None) -> Spectra:
    """Spectra from a `specutils.Spectrum` or `specutils.SpectrumCollection`.

    Parameters
    ----------
    spectrum : specutils.Spectrum or specutils.SpectrumCollection
        Or anything with their `spectral_axis`, `flux`, `uncertainty` and `mask`. The unit of the flux is left away.
        Spectra of a collection whose axes differ are resampled to that of the first.
    medium : {"air", "vacuum"}
        specutils does not know it.
    ids : sequence of str, optional
        Names of the spectra, by default their numbers.

    Returns
    -------
    Spectra
        On ascending wavelengths in angstrom.

    Raises
    ------
    SpectraError
        If it is no spectrum, the axis no wavelength, the uncertainty in another kind of unit, or as `Spectra`.
    """
    if not hasattr(spectrum, "spectral_axis"):
        kind = type(spectrum).__name__
        raise SpectraError(f"expected a Spectrum or SpectrumCollection of specutils. Received: {kind}")
    axes = np.atleast_2d(values(spectrum.spectral_axis, WAVELENGTH, "The spectral axis"))
    flux = np.atleast_2d(spectrum.flux.value)
    given, mask = spectrum.uncertainty, spectrum.mask
    error = None if given is None else np.atleast_2d(_error(given, spectrum.flux.unit))
    names = None if ids is None else np.atleast_1d(ids)
    mask = np.broadcast_to(False if mask is None else mask, flux.shape)

    def rows(wavelength: Any, pick: Any) -> Spectra:
        order = slice(None) if wavelength[0] < wavelength[-1] else slice(None, None, -1)
        return Spectra(
            wavelength[order],
            flux[pick][:, order],
            error=None if error is None else error[pick][:, order],
            mask=mask[pick][:, order],
            ids=None if names is None else names[pick],
            medium=medium,
        )

    if np.all(axes == axes[0]):
        return rows(axes[0], slice(None))
    alone = [rows(axis, slice(k, k + 1)) for k, axis in enumerate(axes)]
    together = Spectra.concatenate([part.resampled(alone[0].wavelength) for part in alone])
    together.ids = np.arange(len(axes)) if ids is None else together.ids
    return together


def _error(uncertainty: NDUncertainty, unit: units.UnitBase) -> NDArray[Any]:
    """Standard deviations in the unit of the flux."""
    deviation = uncertainty.represent_as(StdDevUncertainty)
    if deviation.unit is None:
        return np.asarray(deviation.array)
    try:
        return np.asarray(deviation.quantity.to_value(unit))
    except units.UnitConversionError as error:
        raise SpectraError(f"the uncertainty is not in a unit of the flux: {error}") from None
