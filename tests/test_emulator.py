"""Emulator: its spectra, derivatives and stated error against the toy world, and its file."""

import json
import zipfile

import numpy as np
import pytest
import toy
from astropy import units
from astropy.table import QTable

import kcinn
from kcinn.errors import KcinnError, LabelError, ModelError

LABELS = toy.grid(400, seed=41).labels  # none of them in a training


@pytest.fixture(scope="module")
def emulator(made_once):
    def train(path):
        options = {"components": 48, "width": 48, "depth": 2, "steps": 1500, "batch_size": 128, "verbose": 0}
        kcinn.Emulator.fit(toy.grid(1200), **options).save(path)

    return kcinn.Emulator.load(made_once("emulator.keras", train))


def test_spectra_are_as_good_as_stated(emulator):
    truth = toy.flux(LABELS)
    error = emulator.spectrum(LABELS) - truth
    rms = np.sqrt(np.mean(error**2, axis=1))
    assert emulator.rms < 0.05 * truth.std()
    assert np.sqrt(np.mean(rms**2)) == pytest.approx(emulator.rms, rel=0.3)
    assert np.median(rms) == pytest.approx(emulator.median_rms, rel=0.3)
    stated = np.sqrt(np.mean(emulator.flux_error(LABELS) ** 2, axis=1))
    assert 0.7 < np.median(rms / stated) < 1.3
    assert np.corrcoef(np.log(rms), np.log(stated))[0, 1] > 0.3  # where it is worse, it says so


def test_jacobian_is_the_derivative_of_the_spectrum(emulator):
    corner = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * np.array([0.01, 0.99, 0.5])
    labels = np.vstack([LABELS[:20], corner])
    jacobian = emulator.jacobian(labels)
    assert jacobian.shape == (21, 3, toy.INSTRUMENT.n_pixels)
    for k, step in enumerate((toy.SPACE.upper - toy.SPACE.lower) * 2e-3):
        shift = step * np.eye(3)[k]
        difference = (emulator.spectrum(labels + shift) - emulator.spectrum(labels - shift)) / (2.0 * step)
        np.testing.assert_allclose(jacobian[:, k], difference, rtol=0, atol=1e-3 * np.abs(difference).max())


def test_labels_by_name_are_those_by_position(emulator):
    labels = LABELS[:3]
    expected = emulator.spectrum(labels)
    table = QTable({"mg_fe": labels[:, 2], "star": ["a", "b", "c"], "fe_h": labels[:, 1]})
    table["teff"] = labels[:, 0] / 1000.0 * units.kK
    np.testing.assert_allclose(emulator.spectrum(table), expected, atol=1e-5)
    one = dict(zip(toy.SPACE.names, labels[1], strict=True))
    np.testing.assert_allclose(emulator.spectrum(one), expected[1], atol=1e-5)
    assert emulator.jacobian(one).shape == (3, toy.INSTRUMENT.n_pixels)
    assert emulator.flux_error(one | {"fe_h": np.linspace(-1, 0, 4)}).shape == (4, toy.INSTRUMENT.n_pixels)


@pytest.mark.parametrize(
    "labels, reason",
    [
        ([[5000.0, 0.0, 0.0], [9000.0, 0.0, 0.0]], r"teff=9000 in row 1 \(4000 to 7000\)"),
        ([5000.0, np.nan, 0.0], "fe_h=nan"),
        ([5000.0, 0.0], r"\(\.\.\., 3\).*Received: \(2,\)"),
        ({"teff": 5000.0, "mg_fe": 0.0}, "Missing: fe_h"),
        ({"teff": 5000.0 * units.km, "fe_h": 0.0, "mg_fe": 0.0}, "teff must be in K"),
    ],
)
@pytest.mark.parametrize("ask", ["spectrum", "jacobian", "flux_error"])
def test_labels_that_it_cannot_know_are_refused(emulator, labels, reason, ask):
    with pytest.raises(LabelError, match=reason):
        getattr(emulator, ask)(labels)


def test_a_model_gives_its_emulator(toy_model, tmp_path):
    assert isinstance(toy_model.emulator, kcinn.Emulator)
    np.testing.assert_allclose(toy_model.emulator.spectrum(LABELS[:5]), toy_model.spectrum(LABELS[:5]), atol=1e-6)
    assert toy_model.emulator.rms == pytest.approx(toy_model.summary_of_training["emulator_rms"])
    toy_model.emulator.save(tmp_path / "emulator.keras")
    twin = kcinn.Emulator.load(tmp_path / "emulator.keras")
    assert twin.label_space == toy.SPACE and twin.metadata["engine"] == "toy" and twin.rms == toy_model.emulator.rms
    np.testing.assert_array_equal(twin.spectrum(LABELS[:5]), toy_model.emulator.spectrum(LABELS[:5]))


def test_files_are_checked(emulator, toy_model_file, tmp_path):
    path, altered = tmp_path / "emulator.keras", tmp_path / "altered.keras"
    emulator.save(path)
    with pytest.raises(ModelError, match=r"kcinn\.Emulator\.load loads it"):
        kcinn.load(path)
    with pytest.raises(ModelError, match=r"kcinn\.load loads it"):
        kcinn.Emulator.load(toy_model_file)
    with pytest.raises(ModelError, match="SHA-256"):
        kcinn.Emulator.load(path, expected_sha256="0" * 64)
    with pytest.raises(ModelError, match=r"end in \.keras"):
        emulator.save(tmp_path / "emulator.h5")
    edits = {
        "kcinn-emulator/9": lambda config: config.update(format="kcinn-emulator/9"),
        "emulator is larger": lambda config: config["emulator"].update(width=10**9),
    }
    for reason, edit in edits.items():
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(altered, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name == "config.json":
                    data = json.loads(content)
                    edit(data["config"])
                    content = json.dumps(data).encode()
                target.writestr(name, content)
        with pytest.raises(ModelError, match=reason):
            kcinn.Emulator.load(altered)


def test_bad_arguments():
    with pytest.raises(KcinnError, match="validation"):
        kcinn.Emulator.fit(toy.grid(40), validation=1.5)
    with pytest.raises(KcinnError, match="does not hold"):
        kcinn.Emulator.fit(toy.grid(40), instrument="giraffe-hr15n")
