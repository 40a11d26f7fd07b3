"""Instruments: built-in grids, TOML and configuration round trips, refusals."""

import gzip
import json

import numpy as np
import pytest

from kcinn.errors import InstrumentError
from kcinn.instrument import Arm, Instrument

LINEAR = """
name = "mine"
description = "two arms"
medium = "vacuum"
[[arm]]
name = "a"
start = 5000.0
step = 0.1
n_pixels = 101
resolving_power = [20000, 22000]
telluric = [[5002.0, 5003.0]]
[[arm]]
name = "b"
start = 6000.0
log_step = 1e-5
n_pixels = 200
resolving_power = 30000
"""


@pytest.fixture
def instrument(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(LINEAR)
    return Instrument.load(path)


def test_linear_and_logarithmic_grids(instrument):
    np.testing.assert_allclose(instrument.wavelength[:101], 5000.0 + 0.1 * np.arange(101), rtol=1e-15)
    np.testing.assert_allclose(instrument.wavelength[101:], 6000.0 * np.exp(1e-5 * np.arange(200)), rtol=1e-13)
    np.testing.assert_allclose(instrument.pixel_width[:101], 0.1, rtol=1e-9)
    assert instrument.arm_slices == (slice(0, 101), slice(101, 301)) and instrument.n_pixels == 301


def test_resolving_power_is_linear_in_the_arm_and_that_of_the_nearest_arm_outside(instrument):
    np.testing.assert_allclose(instrument.resolving_power([4000, 5005, 5400, 5600, 6005]), [2e4, 21e3, 22e3, 3e4, 3e4])


def test_telluric_mask(instrument):
    inside = instrument.wavelength[instrument.telluric_mask]
    assert inside.min() > 5002.0 and inside.max() < 5003.0 and len(inside) == 9


def test_windows_reach_beyond_the_arms_and_merge(instrument):
    (a0, a1), (b0, b1) = instrument.windows(100.0)
    assert a0 == pytest.approx(4999.95 * (1 - 100 / 299792.458)) and a1 > 5010.05
    assert b0 < 6000 and b1 > instrument.wavelength[-1]
    assert len(instrument.windows(40000.0)) == 1


@pytest.mark.parametrize("name", [*Instrument.available(), "mine"])
def test_configuration_round_trip(name, instrument):
    original = instrument if name == "mine" else Instrument.load(name)
    again = Instrument.from_config(json.loads(json.dumps(original.get_config())))
    assert again == original and hash(again) == hash(original)
    np.testing.assert_allclose(again.wavelength, original.wavelength, rtol=1e-13)


def test_instruments_differ():
    assert Instrument.load("4most-hrs") != Instrument.load("4most-hrs-green-red")


# range, pixels and resolving power as published for each instrument
@pytest.mark.parametrize(
    ("name", "ranges", "n_pixels", "resolving_power"),
    [
        ("4most-hrs", [(3919.78, 4360.09), (5151.41, 5737.39), (6097.02, 6792.62)], 6144, (18000, 21000)),
        ("4most-hrs-green-red", [(5151.41, 5737.39), (6097.02, 6792.62)], 6144, (18000, 21000)),
        ("galah-hermes", [(4713, 4903), (5648, 5873), (6478, 6737), (7585, 7887)], 4096, (28000, 28000)),
        ("giraffe-hr15n", [(6470, 6790)], 6401, (19200, 19200)),
    ],
)
def test_built_in_instruments(name, ranges, n_pixels, resolving_power):
    instrument = Instrument.load(name)
    assert instrument.medium == "air"
    assert all(arm.n_pixels == n_pixels for arm in instrument.arms)
    np.testing.assert_allclose([(a.wavelength[0], a.wavelength[-1]) for a in instrument.arms], ranges, atol=0.3)
    power = instrument.resolving_power(instrument.wavelength)
    assert (power.min(), power.max()) == pytest.approx(resolving_power)


def test_4most_raster_is_reproduced():
    # pixels 0, 1000, 2000 ... and the last of each arm in the raster of the 4FS exposure-time calculator
    expected = {
        "blue": [3919.78163, 3997.82758, 4073.62493, 4146.99115, 4217.76234, 4285.79996, 4360.08690],
        "green": [5151.40578, 5255.08769, 5355.79815, 5453.34018, 5547.52149, 5638.18557, 5737.38766],
        "red": [6097.02346, 6220.26626, 6339.92173, 6455.75283, 6567.53122, 6675.08180, 6792.61721],
    }
    for arm in Instrument.load("4most-hrs").arms:
        np.testing.assert_allclose(
            arm.wavelength[[0, 1000, 2000, 3000, 4000, 5000, 6143]], expected[arm.name], atol=1e-4
        )


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('medium = "vacuum"\n', "", "missing: .'medium'"),
        ('"vacuum"', '"water"', "medium must be"),
        ("step = 0.1", "stride = 0.1", "stride.*Valid keys"),
        ("n_pixels = 101\n", "", "lacks the key 'n_pixels'"),
        ("start = 6000.0", "start = 5005.0", "overlap"),
        ("step = 0.1", "step = -0.1", "ascend"),
        ("30000", "0", "positive"),
        ("30000", '"high"', "Arm 'b'"),
        ("start = 5000.0", 'start = "blue"', "Arm 'a'"),
        ('name = "b"', 'name = "a"', "distinct"),
        ("[[arm]]", "[arm]", "not valid TOML"),
        ("telluric = [[5002.0, 5003.0]]", "telluric = [5002.0]", "Arm 'a'"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, old, new, match):
    path = tmp_path / "wrong.toml"
    path.write_text(LINEAR.replace(old, new))
    with pytest.raises(InstrumentError, match=match):
        Instrument.load(path)


def test_unknown_instrument_lists_the_built_in_ones(tmp_path):
    with pytest.raises(InstrumentError, match=r"4most-hrs.*giraffe-hr15n"):
        Instrument.load("4most-lrs")
    with pytest.raises(InstrumentError, match="IsADirectoryError"):
        Instrument.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(gzip.compress(b"name"))
    with pytest.raises(InstrumentError, match="UnicodeDecodeError"):
        Instrument.load(tmp_path / "binary.toml")


def test_knots_need_equal_lengths():
    with pytest.raises(InstrumentError, match="one length"):
        Arm.from_config({"name": "x", "pixel": [0, 5, 9], "wavelength": [5000, 5001], "resolving_power": 2e4})
    with pytest.raises(InstrumentError, match="two wavelengths"):
        Arm("x", (0.0, 5.0, 9.0), (5000.0, 5001.0, 5002.0), (2e4, 2e4), log=True)
