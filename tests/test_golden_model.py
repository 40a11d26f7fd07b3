"""A model file of an earlier day loads on every backend, also without kcinn's own loader, and says what it said."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SCRIPT = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import kcinn
import keras
model = keras.saving.load_model(sys.argv[1] + "/golden/cinn.keras")
import toy
expected = np.load(sys.argv[1] + "/golden/expected.npz")
spectra = toy.observed(expected["labels"], 100.0)
width = toy.SPACE.upper - toy.SPACE.lower
assert np.abs(model.log_prob(expected["labels"], *spectra) - expected["log_prob"]).max() < 1e-3
drawn = model.sample(*spectra, n_samples=20)["labels"]
assert np.abs((drawn - expected["samples"]) / width).max() < 1e-4
assert keras.backend.backend() == sys.argv[2]
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_golden_model(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", SCRIPT, str(FOLDER), backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
