"""The whole way from a grid to posteriors on JAX and torch: `nn/test_backends.py` runs this file on them."""

import dataclasses

import keras
import numpy as np
import pytest
import toy

from kcinn.training import fit

pytestmark = pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="test_training.py trains on TensorFlow")


@pytest.mark.parametrize("encoder", ["fisher", "dense"])
def test_a_training_ends_with_posteriors_in_the_box(encoder):
    config = dataclasses.replace(toy.CONFIG, encoder=encoder, emulator_steps=300, draws=1024)
    model = fit(toy.grid(700), observation=toy.OBSERVATION, config=config, epochs=4, batch_size=256, verbose=0)
    (losses,) = model.summary_of_training["validation_loss"]
    assert losses[-1] < losses[0] and np.isfinite(model.summary_of_training["log_density"])
    drawn = model.sample(*toy.observed(toy.grid(40, seed=3).labels, 100.0), n_samples=50)["labels"]
    assert np.all(toy.SPACE.contains(drawn))
