"""The grid runner: reproducible, resumable, and right about what it cannot do."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import toy

from kcinn.broaden import degrade
from kcinn.errors import GridError, KcinnError, LabelError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Arm, Instrument
from kcinn.labels import Label, LabelSpace
from kcinn.synthesis.engine import Engine
from kcinn.synthesis.named import engine_named
from kcinn.synthesis.synthesize import known_labels, synthesize

SPACE = LabelSpace([*toy.SPACE, Label("vsini", "km s-1", 0.0, 15.0)])


class ToyEngine(Engine):
    """One line whose depth follows the temperature; covers a little less than the toy instrument."""

    name, version = "toy", "1"
    validity = {"teff": (3000.0, 8000.0), "fe_h": (-3.0, 1.0), "mg_fe": (-1.0, 1.0)}
    defaults: dict = {}
    coverage = ((5150.0, 5190.0), (6090.0, 6130.0))

    @property
    def metadata(self):
        return {"engine": "toy", "unreliable_windows": []}

    def _synthesize(self, labels, windows, wavelengths):
        depth = labels["teff"] / 1e4
        return [1.0 - depth * np.exp(-0.5 * ((wavelength - 5170.0) / 0.1) ** 2) for wavelength in wavelengths]


def run(path, **changes):
    arguments = {"n": 40, "instrument": toy.INSTRUMENT, "engine": ToyEngine(), "label_space": SPACE, "processes": 1}
    return synthesize(path, **{**arguments, "verbose": 0, **changes})


def test_rows_are_degraded_spectra_of_their_labels(tmp_path):
    grid = run(tmp_path / "grid.h5", draws=2)
    assert len(grid) == 40 and len(np.unique(grid.star)) == 20
    teff, vsini = grid.labels[7, 0], grid.labels[7, 3]
    wavelength = np.arange(5150.0, 5190.0, 0.01)
    blue = Instrument("blue", toy.INSTRUMENT.arms[:1], medium="air")
    flux = 1.0 - teff / 1e4 * np.exp(-0.5 * ((wavelength - 5170.0) / 0.1) ** 2)
    np.testing.assert_allclose(grid.flux(7)[:256], degrade(wavelength, flux, blue, vsini=vsini), atol=2e-3)


def test_pixels_beyond_the_line_list_are_marked(tmp_path):
    windows = run(tmp_path / "grid.h5").metadata["unreliable_windows"]
    assert [window[2] for window in windows] == ["no lines listed"]
    assert windows[0][0] < 6130.0 < windows[0][1]


def test_the_same_seed_gives_the_same_grid_on_any_number_of_processes(tmp_path):
    one = run(tmp_path / "one.h5", seed=4)
    two = run(tmp_path / "two.h5", seed=4, processes=2)
    np.testing.assert_array_equal(one.flux(), two.flux())
    assert not np.array_equal(one.labels, run(tmp_path / "three.h5", seed=5).labels)


def test_goes_on_where_it_was_killed(tmp_path):
    """A run that is killed with SIGKILL leaves whole parts, which the next run takes over."""
    script = (
        "import sys, time\nsys.path.insert(0, sys.argv[2])\nimport test_synthesize as t\n"
        "class Slow(t.ToyEngine):\n"
        "    def _synthesize(self, *a):\n        time.sleep(0.01)\n        return super()._synthesize(*a)\n"
        "t.run(sys.argv[1], n=400, draws=1, engine=Slow())\n"
    )
    path = tmp_path / "grid.h5"
    process = subprocess.Popen([sys.executable, "-c", script, str(path), os.path.dirname(__file__)])
    parts = tmp_path / "grid.h5.parts"
    deadline = time.monotonic() + 120
    while len(list(parts.glob("*.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {part: part.stat().st_mtime_ns for part in parts.glob("*.npy")}
    assert len(kept) >= 3 and not path.exists()
    with pytest.raises(GridError, match="other arguments"):
        run(path, n=400, draws=1, seed=1)
    assert {part: part.stat().st_mtime_ns for part in kept} == kept
    grid = run(path, n=400, draws=1)
    np.testing.assert_array_equal(grid.flux(), run(tmp_path / "whole.h5", n=400, draws=1).flux())
    assert not parts.exists()
    assert json.loads(json.dumps(SyntheticGrid.open(path).metadata)) == grid.metadata


def test_by_default_labels_are_those_that_the_engine_knows(tmp_path):
    grid = run(tmp_path / "grid.h5", label_space=None)
    assert grid.label_space.names == ("teff", "fe_h", "vsini", "vmac", "mg_fe")
    assert "overshooting" in known_labels(engine_named("nlte")).names


def test_what_the_engine_cannot_do_is_refused(tmp_path):
    wide = LabelSpace([Label("teff", "K", 1000.0, 7000.0), *toy.SPACE.labels[1:]])
    with pytest.raises(LabelError, match="3000 to 8000"):
        run(tmp_path / "grid.h5", label_space=wide)
    with pytest.raises(LabelError, match="'xx_fe'.*teff"):
        run(tmp_path / "grid.h5", label_space=LabelSpace([Label("xx_fe", "dex", 0.0, 1.0)]))
    far = Instrument("far", [Arm("i", (0.0, 99.0), (8500.0, 8510.0), (20000.0, 20000.0))], medium="air")
    with pytest.raises(GridError, match="arm at 8"):
        run(tmp_path / "grid.h5", instrument=far)
    with pytest.raises(GridError, match="n=0"):
        run(tmp_path / "grid.h5", n=0)
    assert list(tmp_path.iterdir()) == []


def test_engines_of_installed_packages_are_known_by_name(tmp_path, monkeypatch):
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kcinn.engines]\ntoy = theirs:build\nbroken = theirs:absent\n")
    (tmp_path / "theirs.py").write_text("def build(config):\n    return ('an engine', config)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert engine_named("toy", tmp_path / "their.toml") == ("an engine", tmp_path / "their.toml")
    with pytest.raises(KcinnError, match="'broken' of theirs: AttributeError"):
        engine_named("broken")
    with pytest.raises(KcinnError, match="nlte, lte, turbospectrum, toy, broken"):
        engine_named("marcs")
