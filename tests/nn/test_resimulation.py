"""largest_misfit: a line that the labels do not explain, on spectra that are moved and tilted."""

from pathlib import Path

import keras
import numpy as np
import pytest

import kcinn
from kcinn.nn.resimulation import WINDOW, largest_misfit

GOLDEN = Path(__file__).parents[1] / "golden" / "cinn.keras"
ERROR, HEIGHT, BUMP = 0.01, 0.02, 200  # the bump's first pixel


@pytest.mark.parametrize("velocity", [-8.3, 0.0, 2.1, 9.9])
@pytest.mark.parametrize("height", [HEIGHT, -HEIGHT])
def test_a_line_beyond_the_labels_is_measured_whatever_velocity_and_continuum(velocity, height):
    model = kcinn.load(GOLDEN)
    labels = model.label_space.lower + 0.4 * (model.label_space.upper - model.label_space.lower)
    flux = model.spectrum(labels[None], velocity=velocity)
    flux *= np.concatenate([np.linspace(0.995, 1.005, arm.n_pixels) for arm in model.instrument.arms])
    order = [model.label_space.index(name) for name in model.full_space.names]
    phi = model.full_space.to_unbounded(labels[None, order]).astype("float32")
    weight = np.full_like(flux, ERROR**-2)
    weight[:, 40:60] = 0.0

    def misfit():
        speed = np.array([velocity], dtype="float32")
        tensors = [keras.ops.convert_to_tensor(array) for array in (phi, speed, flux, weight)]
        return keras.ops.convert_to_numpy(largest_misfit(model.emulator, model.observe, *tensors))[0]

    assert misfit() < 1.0
    flux[:, 40:60] += 1.0  # pixels that are not used
    assert misfit() < 1.0
    flux[:, BUMP : BUMP + WINDOW] += height
    assert misfit() == pytest.approx(HEIGHT / ERROR * np.sqrt(WINDOW), rel=0.1)
