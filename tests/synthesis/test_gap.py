"""The synthetic gap: known for the embedded engine alone, largest where lines are known to be wrong."""

import numpy as np
import pytest

from kcinn.instrument import Instrument
from kcinn.synthesis.gap import synthetic_gap
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.nlte.tables import load


@pytest.mark.parametrize("name", ["4most-hrs", "4most-hrs-green-red"])
def test_gap_of_the_embedded_engine(name):
    instrument = Instrument.load(name)
    gap = synthetic_gap(NLTEEngine.name, instrument)
    assert gap.shape == (instrument.n_pixels,) and np.all(gap > 0)
    assert 0.005 < np.median(gap) < 0.05
    # a line of the list that neither star has, and continuum
    near = [gap[np.argmin(np.abs(instrument.wavelength - line))] for line in (6159.4, 6504.2)]
    assert min(near) > 5.0 * np.quantile(gap[instrument.wavelength > 6097], 0.2)


def test_pixels_of_a_line_err_together():
    instrument = Instrument.load("4most-hrs-green-red")
    table = load("gap")
    ratio = synthetic_gap(NLTEEngine.name, instrument) / np.interp(
        instrument.wavelength, table["wavelength"], table["gap"]
    )
    element = instrument.wavelength / (20000 * instrument.pixel_width)
    np.testing.assert_allclose(ratio**2, 2.0 * element, rtol=0.15)


def test_gap_of_another_engine_is_unknown():
    instrument = Instrument.load("4most-hrs")
    np.testing.assert_array_equal(synthetic_gap("turbospectrum", instrument), 0.0)
