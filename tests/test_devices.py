"""Training shared among devices, here two that a CPU pretends to be."""

import os
import subprocess
import sys

import numpy as np
import pytest
import toy

import kcinn

TRAINING = """
import dataclasses, sys
sys.path.insert(0, sys.argv[2])
import toy
from kcinn.training import fit

def train():
    config = dataclasses.replace(toy.CONFIG, emulator_steps=200, draws=1024)
    model = fit(toy.grid(700), observation=toy.OBSERVATION, config=config, epochs=3, batch_size=256, verbose=0)
    model.save(sys.argv[1])
"""
SHARED = {
    "tensorflow": """
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    train()
""",
    "jax": """
import keras
keras.distribution.set_distribution(keras.distribution.DataParallel())
assert len(keras.distribution.list_devices()) == 2
train()
""",
}


@pytest.mark.parametrize("backend", SHARED)
def test_devices_share_a_training(backend, tmp_path):
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    script = TRAINING + SHARED[backend]
    command = [sys.executable, "-c", script, str(tmp_path / "model.keras"), os.path.dirname(__file__)]
    subprocess.run(command, env=environment, check=True, timeout=900)
    model = kcinn.load(tmp_path / "model.keras")
    (losses,) = model.summary_of_training["validation_loss"]
    assert losses[-1] < losses[0]
    truth = toy.grid(200, seed=3).labels
    drawn = model.sample(*toy.observed(truth, 100.0), n_samples=200)["labels"]
    pull = (drawn.mean(axis=1) - truth) / drawn.std(axis=1)
    np.testing.assert_allclose(np.sqrt(np.mean(pull**2, axis=0)), 1.0, atol=0.2)
