"""A model file of an earlier day loads without kcinn's own loader and says what it said.

Here on the active backend; `nn/test_backends.py` runs this on the others, in processes that have not yet imported the
classes that the file names.
"""

from pathlib import Path

import keras
import numpy as np

import kcinn  # all that whoever loads the file has to import

FOLDER = Path(__file__).parent / "golden"


def test_golden_model():
    model = keras.saving.load_model(FOLDER / "cinn.keras")
    import toy

    expected = np.load(FOLDER / "expected.npz")
    spectra = toy.observed(expected["labels"], 100.0)
    width = toy.SPACE.upper - toy.SPACE.lower
    np.testing.assert_allclose(model.log_prob(expected["labels"], *spectra), expected["log_prob"], rtol=0, atol=1e-3)
    drawn = model.sample(*spectra, n_samples=20)["labels"]
    np.testing.assert_allclose(drawn / width, expected["samples"] / width, rtol=0, atol=1e-4)


def test_golden_emulator(tmp_path):
    emulator = keras.saving.load_model(FOLDER / "cinn.keras").emulator
    emulator.save(tmp_path / "emulator.keras")
    twin = kcinn.Emulator.load(tmp_path / "emulator.keras")
    assert twin.get_config() == emulator.get_config() and twin.rms == emulator.rms
    import toy

    expected = np.load(FOLDER / "expected.npz")
    width = (toy.SPACE.upper - toy.SPACE.lower)[:, None]
    np.testing.assert_allclose(twin.spectrum(expected["labels"][:2]), expected["flux"], rtol=0, atol=1e-5)
    jacobian = twin.jacobian(expected["labels"][:2])
    np.testing.assert_allclose(jacobian * width, expected["jacobian"] * width, rtol=0, atol=1e-4)
