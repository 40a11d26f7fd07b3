"""The contract of an engine: what it takes, what it refuses, what it returns."""

import json

import numpy as np
import pytest

from kcinn.errors import KcinnError, LabelError
from kcinn.synthesis.nlte import NLTEEngine

SUN = {"teff": 5772.0, "logg": 4.44, "fe_h": 0.0}
WINDOW = [(6710.0, 6715.0)]


@pytest.fixture(scope="module")
def engine():
    return NLTEEngine()


def test_windows_come_back_in_one_ascending_array(engine):
    wavelength, flux = engine.spectrum(SUN, windows=[(5300.0, 5301.0), *WINDOW], step=0.25)
    np.testing.assert_allclose(wavelength[:5], [5300.0, 5300.25, 5300.5, 5300.75, 5301.0])
    assert wavelength[5] == 6710.0 and len(wavelength) == len(flux) == 5 + 21
    assert np.all(np.diff(wavelength) > 0) and np.all((flux > 0) & (flux <= 1.0001))


def test_labels_that_are_not_given_are_solar_scaled(engine):
    short = engine.spectrum(SUN, windows=WINDOW, step=0.1)[1]
    full = engine.spectrum({**SUN, "vmic": 1.0, "mg_fe": 0.0, "ni_fe": 0.0}, windows=WINDOW, step=0.1)[1]
    np.testing.assert_array_equal(short, full)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({**SUN, "mgfe": 0.1}, "does not know 'mgfe'.*teff.*mg_fe"),
        ({"teff": 5772.0, "fe_h": 0.0}, "needs the label 'logg'.*0.5 to 5"),
        ({**SUN, "teff": 8000.0}, "valid for teff from 4000 to 7000.*teff=8000"),
        ({**SUN, "fe_h": np.nan}, "valid for fe_h from -3 to 0.5.*nan"),
    ],
)
def test_bad_labels_are_refused_by_name(engine, labels, message):
    with pytest.raises(LabelError, match=message):
        engine.spectrum(labels, windows=WINDOW, step=0.1)


@pytest.mark.parametrize(
    ("windows", "step", "message"),
    [
        ([(5800.0, 5900.0)], 0.1, "covers 3920-4358, 5157-5733, 6097-6793.*5800-5900"),
        ([(6720.0, 6710.0)], 0.1, "lower < upper"),
        ([*WINDOW, *WINDOW], 0.1, "without overlap"),
        ([], 0.1, "at least one window"),
        (WINDOW, 0.0, "positive.*step=0"),
    ],
)
def test_bad_windows_are_refused(engine, windows, step, message):
    with pytest.raises(KcinnError, match=message):
        engine.spectrum(SUN, windows=windows, step=step)


def test_unknown_nlte_species_are_refused_with_a_list():
    with pytest.raises(KcinnError, match=r"'Xx'.*Al, Ba, Ca, Fe, H, Li, Mg, Na"):
        NLTEEngine(nlte=("Li", "Xx"))


def test_unknown_oscillator_strengths_are_refused_with_a_list():
    with pytest.raises(KcinnError, match="listed, solar"):
        NLTEEngine(log_gf="lunar")


def test_overshooting_is_a_label_and_has_a_default():
    star, window = {"teff": 6500.0, "logg": 4.0, "fe_h": 0.0}, [(6550.0, 6575.0)]
    _, asked = NLTEEngine().spectrum({**star, "overshooting": 0.0}, windows=window, step=0.5)
    _, default = NLTEEngine(overshooting=0.0).spectrum(star, windows=window, step=0.5)
    np.testing.assert_array_equal(asked, default)
    _, whole = NLTEEngine().spectrum(star, windows=window, step=0.5)
    assert np.mean(whole - asked) > 0.005  # it weakens the wings of H alpha
    with pytest.raises(LabelError, match="valid for overshooting from 0 to 1. Received: overshooting=1.5"):
        NLTEEngine(overshooting=1.5).spectrum(star, windows=window, step=0.5)


def test_every_published_label_changes_the_spectrum(engine):
    windows = [(5160.0, 5240.0), (6690.0, 6720.0)]
    plain = engine.spectrum(SUN, windows=windows, step=0.05)[1]
    for name in ("teff", "logg", "fe_h", "vmic", "li_fe", "mg_fe", "ca_fe", "ti_fe", "cr_fe", "ni_fe", "c_fe"):
        step = {"teff": 100.0, "li_fe": 2.0}.get(name, 0.3)
        changed = engine.spectrum(
            {**SUN, name: SUN.get(name, engine.defaults.get(name)) + step}, windows=windows, step=0.05
        )
        assert np.max(np.abs(changed[1] - plain)) > 0.005, name


def test_metadata_are_plain_values():
    metadata = NLTEEngine(nlte=("Li",)).metadata
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["nlte_species"] == ["Li"] and metadata["medium"] == "air"
    assert any(lower < 6562.8 < upper for lower, upper, _ in metadata["unreliable_windows"])
