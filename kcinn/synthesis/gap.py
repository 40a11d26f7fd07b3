"""The synthetic gap: how far an engine's spectra are from those of real stars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kcinn.instrument import Instrument
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.nlte.tables import load
from kcinn.wavelength import vacuum_to_air

TOGETHER = 2.0  # resolution elements that err together, as `tools/build_gap.py` finds in the Sun and Arcturus


def synthetic_gap(engine: str, instrument: Instrument) -> NDArray[np.float32]:
    """Typical error of synthetic spectra on every pixel, in units of the continuum.

    For the embedded engine it was learned from the Sun and Arcturus (``tools/build_gap.py``) at the resolving power of
    4MOST HRS; for other engines it is unknown, and zero. The pixels of a line err together: the error grows by the
    square root of their number, so that fits that take it as independent weigh it rightly.

    Parameters
    ----------
    engine : str
        `Engine.name`, as a grid's metadata give it.
    instrument : Instrument

    Returns
    -------
    ndarray, shape (n_pixels,)
    """
    wavelength = instrument.wavelength
    if engine != NLTEEngine.name:
        return np.zeros(len(wavelength), dtype=np.float32)
    table = load("gap")
    in_air = vacuum_to_air(wavelength) if instrument.medium == "vacuum" else wavelength
    gap = np.interp(in_air, table["wavelength"], table["gap"])
    element = wavelength / (instrument.resolving_power(wavelength) * instrument.pixel_width)
    return (gap * np.sqrt(np.maximum(TOGETHER * element, 1.0))).astype(np.float32)
