"""Exported models: without kcinn, and in any number of rows, they say what kcinn says."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy

import kcinn
from kcinn.errors import ModelError
from kcinn.flag import Flag
from kcinn.spectra import Spectra

HERE = Path(__file__).parent
FORMATS = ["savedmodel", pytest.param("onnx", marks=pytest.mark.skipif(
    importlib.util.find_spec("tf2onnx") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="tf2onnx and onnxruntime are not installed",
))]  # fmt: skip
TRUTH = np.array([[5500.0, -0.5, 0.1], [4800.0, -1.2, 0.3], [6200.0, 0.1, 0.0], [4001.0, -1.99, 0.0]])
TRUTH = np.concatenate([TRUTH, TRUTH[:3]])
WITHOUT_KCINN = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "kcinn":
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import numpy as np
from load_export import load, noise
description, functions, model = load(sys.argv[2])
spectra = np.load(sys.argv[3])
arrays = [spectra[key] for key in ("flux", "error", "mask")]
latent = noise(description, range(len(arrays[0])), 200, seed=3)
found = functions["sample"](*arrays, latent)
found = {**found, **functions["summary"](*arrays, latent)}
for n in (1, 1000):
    rows = np.arange(n) % len(arrays[0])
    many = functions["sample"](*(array[rows] for array in arrays), latent[rows])["samples"]
    np.testing.assert_allclose(many[0], found["samples"][0], rtol=1e-4, atol=1e-4)
    assert many.shape == (n, 200, 3)
if "log_prob" in functions:
    at = np.concatenate([found["samples"], 0.0 * latent[:, :1]], axis=1)
    found = {**found, **functions["log_prob"](*arrays, at)}
try:
    functions["sample"](arrays[0][:, 1:], *arrays[1:], latent)
except Exception as error:
    print(type(error).__name__)
else:
    raise AssertionError("a pixel is missing, and nobody minds")
assert "kcinn" not in sys.modules
np.savez(sys.argv[4], **{key: np.asarray(value) for key, value in found.items()})
"""


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A model, what it says of some spectra, and a file with these."""
    model = kcinn.load(HERE / "golden" / "cinn.keras")
    model.gap.assign(np.where(np.arange(toy.INSTRUMENT.n_pixels) % 3 == 0, 0.06, 0.0).astype("f4"))
    flux, error, mask = (array.copy() for array in toy.observed(TRUTH, 150.0))
    flux[0, 7], error[1, 9], mask[2, 20:140] = np.nan, 0.0, True
    flux[4] += 0.05 * np.random.default_rng(1).normal(size=flux.shape[1])  # the synthetic gap widens its errors
    error[5] /= 30.0  # smaller than in the training
    spectra = Spectra(toy.INSTRUMENT.wavelength, flux, error=error, mask=mask, medium="air")
    expected = kcinn.predict(model, spectra, n_samples=200, seed=3, log_prob=True)
    flux[6] *= 3.0  # not normalised
    path = tmp_path_factory.mktemp("observed") / "spectra.npz"
    np.savez(path, flux=flux.astype("f4"), error=error.astype("f4"), mask=mask)
    return model, expected, path


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, observed, tmp_path_factory):
    """What kcinn says of spectra, what an exported model says in a process without kcinn, and the model's folder."""
    model, expected, path = observed
    folder = tmp_path_factory.mktemp("export")
    kcinn.export_model(model, folder / "model", format=request.param)
    command = [sys.executable, "-c", WITHOUT_KCINN, str(HERE.parent / "tools"), str(folder / "model")]
    command += [str(path), str(folder / "found.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return expected, dict(np.load(folder / "found.npz")), folder / "model"


def test_exported_models_say_what_kcinn_says(exported):
    expected, found, _ = exported
    good = slice(0, 6)
    scatter = expected.samples.std(axis=1, keepdims=True)[good]
    width = toy.SPACE.upper - toy.SPACE.lower
    assert np.abs((found["samples"][good] - expected.samples[good]) / width).max() < 1e-4
    table = expected.summary(covariance=True)[good]
    for k, name in enumerate(toy.SPACE.names):
        for key in ("p16", "p50", "p84", "mean"):
            difference = found[key][good, k] - table[f"{name}_{key}"].value
            assert np.abs(difference / scatter[:, 0, k]).max() < 0.01, (name, key)  # rounding, where a fit ends
        assert np.median(np.abs(found["map"][good, k] - table[f"{name}_map"].value) / scatter[:, 0, k]) < 0.02
    np.testing.assert_allclose(found["covariance"][good], expected.covariance[good], rtol=2e-3, atol=1e-6)
    for key in ("snr", "n_pixels", "chi_square", "velocity", "outlier"):
        np.testing.assert_allclose(found[key][good], expected.diagnostics[key][good], rtol=1e-3, atol=1e-4)
    if "log_prob" in found:
        samples = expected.samples[good]
        from_edge = np.minimum(samples - toy.SPACE.lower, toy.SPACE.upper - samples)
        last_digit = np.sum(np.spacing(samples) / from_edge, axis=-1)  # by which it changes the density at the edge
        assert np.all(np.abs(found["log_prob"][good, :-1] - expected.log_prob[good]) < 1e-3 + 2.0 * last_digit)
        assert np.all(found["log_prob"][good, -1] == -np.inf)  # the label 0 K is outside the box


def test_flags_are_those_of_kcinn_and_unusable_rows_are_not_numbers(exported):
    expected, found, _ = exported
    np.testing.assert_array_equal(found["flag"][:6], expected.flag[:6])
    assert expected.flag[3] & Flag.EDGE and expected.flag[4] & Flag.GAP and expected.flag[5] & Flag.SNR_RANGE
    assert found["flag"][6] == Flag.UNUSABLE
    assert np.all(np.isnan(found["samples"][6])) and np.all(np.isnan(found["p50"][6]))
    assert np.all(np.isfinite(found["samples"][:6]))


def test_the_description_fits_its_schema_and_the_files(exported):
    jsonschema = pytest.importorskip("jsonschema")
    folder = exported[2]
    description = json.loads((folder / "kcinn.json").read_text(encoding="utf-8"))
    schema = json.loads((HERE.parent / "docs" / "kcinn-export.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(description, schema)
    np.testing.assert_array_equal(description["spectra"]["wavelength"], toy.INSTRUMENT.wavelength)
    assert [label["name"] for label in description["labels"]] == list(toy.SPACE.names)
    assert description["flags"].keys() == {str(int(flag)) for flag in Flag}
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {*description["files"], "kcinn.json"}
    for name, digest in description["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_bad_requests_are_refused_and_leave_nothing(tmp_path):
    model = kcinn.load(HERE / "golden" / "cinn.keras")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ModelError, match="new folder"):
        kcinn.export_model(model, tmp_path / "full")
    with pytest.raises(ModelError, match="savedmodel, onnx"):
        kcinn.export_model(model, tmp_path / "new", format="pickle")
    with pytest.raises(ModelError, match="no such folder"):
        kcinn.export_model(model, tmp_path / "nowhere" / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
