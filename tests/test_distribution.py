"""The posterior as a distribution of TensorFlow Probability: samples and densities of kcinn, and their gradients."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import toy
from tensorflow_probability import distributions as tfd

import kcinn
from kcinn.errors import SpectraError

TRUTH = np.array([[5500.0, -0.5, 0.1], [4800.0, -1.2, 0.3]])
N = 4000


@pytest.fixture(scope="module")
def world():
    model = kcinn.load(Path(__file__).parent / "golden" / "cinn.keras")
    flux, error, mask = toy.observed(TRUTH, 150.0)
    mask[1, 20:140] = True
    spectra = kcinn.Spectra(toy.INSTRUMENT.wavelength, flux, error=error, mask=mask, medium="air")
    posterior = kcinn.predict(model, spectra, n_samples=N, log_prob=True)
    return model, spectra, model.distribution(spectra), posterior


def test_samples_are_of_the_posterior(world):
    _, _, distribution, posterior = world
    drawn = distribution.sample(N, seed=(0, 3)).numpy()
    assert drawn.shape == (N, 2, 3) and toy.SPACE.contains(drawn).all()
    np.testing.assert_array_equal(drawn, distribution.sample(N, seed=(0, 3)).numpy())
    scatter = posterior.samples.std(axis=1)
    assert np.abs((drawn.mean(axis=0) - posterior.mean) / scatter).max() < 5 * np.sqrt(2 / N)
    np.testing.assert_allclose(drawn.std(axis=0), scatter, rtol=0.1)


def test_density_is_that_of_predict_and_ends_at_the_box(world):
    _, _, distribution, posterior = world
    value = posterior.samples[:, :200].transpose(1, 0, 2)
    found = distribution.log_prob(value).numpy()
    np.testing.assert_allclose(found, posterior.log_prob[:, :200].T, atol=5e-3)
    assert np.all(distribution.log_prob([3000.0, 0.0, 0.0]).numpy() == -np.inf)  # one point for both spectra
    joint = tfd.Independent(distribution, 1)
    np.testing.assert_allclose(joint.log_prob(value), found.sum(axis=1), rtol=1e-5)


def test_gradients_are_the_slopes_of_the_density(world):
    _, _, distribution, posterior = world
    at, step = tf.constant(posterior.median, tf.float32), 0.1 * posterior.samples.std(axis=1)
    with tf.GradientTape() as tape:
        tape.watch(at)
        total = distribution.log_prob(at)
    slope = tape.gradient(total, at).numpy()
    for k in range(3):
        apart = np.zeros_like(step)
        apart[:, k] = step[:, k]
        difference = distribution.log_prob(at + apart) - distribution.log_prob(at - apart)
        np.testing.assert_allclose(slope[:, k] * 2 * step[:, k], difference, atol=0.02)


def test_spectra_with_a_continuum_are_refused(world):
    model, spectra, _, _ = world
    counts = kcinn.Spectra(spectra.wavelength, 300.0 * spectra.flux, error=spectra.error, medium="air")
    with pytest.raises(SpectraError, match="Normalise"):
        model.distribution(counts)
