"""Preparation: spectra as they come, brought to what a model takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kcinn.broaden import on_instrument
from kcinn.continuum import normalised
from kcinn.errors import SpectraError
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra

NORMALISED = (0.2, 1.5)  # between which the median flux of a spectrum without its continuum lies


def prepared(
    spectra: Spectra, instrument: Instrument, *, resolving_power: float | None = None, normalise: bool = False
) -> Spectra:
    """Spectra with errors, on the pixels of the instrument, and on request divided by their envelope there."""
    if spectra.error is None:
        spectra = spectra.with_estimated_error()
    spectra = on_instrument(spectra, instrument, resolving_power)
    return normalised(spectra, instrument.arm_slices) if normalise else spectra


def check_continuum(spectra: Spectra) -> None:
    """Raise SpectraError unless all spectra are divided by their continuum."""
    wrong = ~has_continuum_at_one(spectra)
    if wrong.any():
        raise SpectraError(
            f"Flux must be divided by the continuum; {wrong.sum()} of {len(spectra)} spectra have a median flux "
            f"outside {NORMALISED[0]} to {NORMALISED[1]}, the first is {spectra.ids[wrong][0]}. "
            "Normalise them (`CINN.normalised`), or pass normalise=True to predict (on the command line --normalise)."
        )


def has_continuum_at_one(spectra: Spectra) -> NDArray[np.bool_]:
    """Whether the median flux of each spectrum is that of one divided by its continuum, or there is none."""
    wrong = np.zeros(len(spectra), dtype=bool)
    some = ~spectra.mask.all(axis=1)
    typical = np.nanmedian(np.where(spectra.mask, np.nan, spectra.flux)[some], axis=1)
    wrong[some] = ~((typical > NORMALISED[0]) & (typical < NORMALISED[1]))
    return ~wrong
