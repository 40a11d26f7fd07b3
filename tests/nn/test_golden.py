"""Flows saved by each backend load on the active one and give the density that they gave where they were saved."""

from pathlib import Path

import keras
import numpy as np
import pytest
from autodiff import evaluate

import kcinn.nn.flow  # noqa: F401  (registers the class that the files name)

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("kind", ["affine", "spline"])
@pytest.mark.parametrize("saved_by", ["tensorflow", "jax", "torch"])
def test_golden_flow(saved_by, kind):
    expected = np.load(FOLDER / f"expected_{saved_by}.npz")
    flow = keras.saving.load_model(FOLDER / f"{kind}_{saved_by}.keras")
    log_density = evaluate(flow.log_density, expected["theta"], expected["context"])
    np.testing.assert_allclose(log_density, expected[kind], rtol=0, atol=1e-4)
