"""Residual velocity: labels do not depend on it, and it has a posterior of its own."""

import numpy as np
import pytest
import toy
from keras import ops

from kcinn.flag import Flag
from kcinn.inference import predict
from kcinn.nn.pixels import arm_edges, follow, move
from kcinn.spectra import Spectra
from kcinn.wavelength import SPEED_OF_LIGHT

EDGES = arm_edges([arm.n_pixels for arm in toy.INSTRUMENT.arms])
N_SAMPLES = 500


def observed(model, labels, velocity, snr=100.0, seed=None):
    """Spectra of stars that recede at `velocity`; without a seed they have errors, yet no noise."""
    clean = toy.flux(labels).astype("f4")
    distance = np.broadcast_to(np.asarray(velocity) * model.observe.pixels_per_velocity, clean.shape)
    flux = ops.convert_to_numpy(move(clean, distance.astype("f4"), EDGES)[0])
    error = np.broadcast_to(1.0 / (snr * np.sqrt(toy.INSTRUMENT.pixel_width)), flux.shape)
    if seed is not None:
        flux = flux + error * np.random.default_rng(seed).normal(size=flux.shape)
    return Spectra(toy.INSTRUMENT.wavelength, flux, error=error, medium="air")


@pytest.mark.parametrize("velocity", [-9.3, 0.4, 7.0])
def test_lines_move_to_where_the_doppler_effect_puts_them(velocity):
    wavelength = toy.INSTRUMENT.wavelength
    lines = np.array([5165.3, 5172.0, 5180.2, 6110.1, 6121.7])

    def spectrum(centres):
        return 1.0 - np.exp(-0.5 * ((wavelength - centres[:, None]) / 0.22) ** 2).sum(axis=0, keepdims=True)

    width = np.concatenate([np.gradient(wavelength[a:b]) for a, b in EDGES])
    distance = velocity / SPEED_OF_LIGHT * wavelength / width
    moved, slope = move(spectrum(lines).astype("f4"), distance[None].astype("f4"), EDGES)
    expected = spectrum(lines * (1.0 + velocity / SPEED_OF_LIGHT))
    np.testing.assert_allclose(ops.convert_to_numpy(moved), expected, atol=4e-3)
    before, after = (spectrum(lines * (1.0 + v / SPEED_OF_LIGHT)) for v in (velocity - 0.1, velocity + 0.1))
    pixels = 0.2 / SPEED_OF_LIGHT * wavelength / width
    np.testing.assert_allclose(ops.convert_to_numpy(slope), (after - before) / pixels, atol=0.02)


def test_spectra_of_a_model_are_those_of_stars_that_move(toy_model):
    labels = toy.grid(3, seed=14).labels
    seen = observed(toy_model, labels, 7.5)
    star = toy_model.spectrum(labels, velocity=7.5)
    assert np.abs(star - seen.flux).max() < 0.5 * np.abs(toy_model.spectrum(labels) - seen.flux).max()
    np.testing.assert_array_equal(toy_model.spectrum(labels), toy_model.spectrum(labels, velocity=0.0))


def test_pixels_are_followed_to_the_edge_of_their_arm():
    values = np.arange(12.0, dtype="f4")[None]
    followed, inside = follow(values, np.full((1, 12), 2.0, "f4"), [(0, 5), (5, 12)])
    np.testing.assert_array_equal(ops.convert_to_numpy(followed)[0], [2, 3, 4, 4, 4, 7, 8, 9, 10, 11, 11, 11])
    np.testing.assert_array_equal(ops.convert_to_numpy(inside)[0], [1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0])


def test_labels_do_not_depend_on_the_velocity(toy_model):
    labels = toy.grid(60, seed=11).labels
    rest = predict(toy_model, observed(toy_model, labels, 0.0), n_samples=N_SAMPLES)
    for velocity in (-8.0, 3.0, 9.5):
        posterior = predict(toy_model, observed(toy_model, labels, velocity), n_samples=N_SAMPLES)
        change = (posterior.median - rest.median) / rest.samples.std(axis=1)
        assert np.sqrt(np.mean(change**2)) < 0.3
        assert not np.any(posterior.flag & Flag.VELOCITY)
        ratio = posterior.samples.std(axis=1) / rest.samples.std(axis=1)
        assert np.median(ratio) == pytest.approx(1.0, abs=0.1)


def test_velocity_has_an_honest_error(toy_model):
    labels = toy.grid(200, seed=12).labels
    velocity = np.random.default_rng(2).uniform(-10.0, 10.0, size=(200, 1))
    said = predict(toy_model, observed(toy_model, labels, velocity, snr=50.0, seed=3), n_samples=N_SAMPLES).diagnostics
    pull = (said["velocity"] - velocity[:, 0]) / said["velocity_error"]
    assert abs(pull.mean()) < 0.25 and pull.std() == pytest.approx(1.0, abs=0.2)
    assert np.median(said["velocity_error"]) < 1.0


@pytest.mark.parametrize("velocity, flag", [(14.0, Flag.VELOCITY), (-14.0, Flag.VELOCITY), (100.0, Flag.OUTLIER)])
def test_velocities_beyond_the_training_are_flagged(toy_model, velocity, flag):
    labels = toy.grid(40, seed=13).labels
    posterior = predict(toy_model, observed(toy_model, labels, velocity, seed=4), n_samples=N_SAMPLES)
    assert np.mean(posterior.flag & flag > 0) >= 0.95
