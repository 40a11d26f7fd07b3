"""Preparation: spectra as they come, brought to what a model takes."""

from __future__ import annotations

from kcinn.broaden import on_instrument
from kcinn.continuum import normalised
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra


def prepared(
    spectra: Spectra, instrument: Instrument, *, resolving_power: float | None = None, normalise: bool = False
) -> Spectra:
    """Spectra with errors, on the pixels of the instrument, and on request divided by their envelope there."""
    if spectra.error is None:
        spectra = spectra.with_estimated_error()
    spectra = on_instrument(spectra, instrument, resolving_power)
    return normalised(spectra, instrument.arm_slices) if normalise else spectra
