"""Continuum: what noise, lines and gaps may not do to it, and labels of spectra that come with the shape of a blaze."""

import numpy as np
import pytest
import toy

from kcinn.continuum import normalised, smooth_curves
from kcinn.inference import predict
from kcinn.spectra import Spectra

N_SAMPLES = 500  # of every call: another number would be compiled anew
WAVELENGTH = np.r_[np.arange(5150.0, 5730.0, 0.1), np.arange(6100.0, 6790.0, 0.1)]
RED = WAVELENGTH > 6000.0
HEIGHT = np.where(RED, 40.0, 9.0) * (1.0 + 0.3 * np.sin((WAVELENGTH - 5100.0) / 400.0))


def bump(of_arms, slope, curvature):
    """A blaze that changes by a third over each arm, in counts."""
    shape = np.ones(of_arms.n_pixels)
    for arm in of_arms.arm_slices:
        x = np.linspace(-1.0, 1.0, arm.stop - arm.start)
        shape[arm] = 3e3 * (1.0 + slope * x + curvature * x**2)
    return shape


@pytest.mark.parametrize("snr_per_pixel", [3.0, 10.0, 100.0])
def test_noise_does_not_lift_the_envelope(snr_per_pixel):
    error = HEIGHT / snr_per_pixel
    counts = HEIGHT + error * np.random.default_rng(0).normal(size=(4, len(HEIGHT)))
    error = np.broadcast_to(error, counts.shape)
    envelope = counts / normalised(Spectra(WAVELENGTH, counts, error=error, medium="air")).flux / HEIGHT
    assert abs(envelope.mean() - 1.0) < 0.003
    assert envelope.std() < 0.01 + 0.05 / snr_per_pixel


def test_lines_gaps_and_cosmic_rays_do_not_bend_it():
    rng = np.random.default_rng(1)
    centre, depth = rng.uniform(5150.0, 6790.0, 700), rng.uniform(0.05, 0.8, 700)
    lines = np.ones_like(WAVELENGTH)
    for c, d in zip(centre, depth, strict=True):
        lines *= 1.0 - d * np.exp(-0.5 * ((WAVELENGTH - c) / 0.15) ** 2)
    error = HEIGHT / 100.0
    counts = HEIGHT * lines + error * rng.normal(size=len(HEIGHT))
    counts[rng.choice(len(HEIGHT), 30, replace=False)] *= 20.0
    mask = (WAVELENGTH > 5300.0) & (WAVELENGTH < 5340.0)
    counts[mask] = -999.0
    seen = normalised(Spectra(WAVELENGTH, counts, error=error, mask=mask, medium="air"))
    envelope = (error / seen.error[0] / HEIGHT)[~mask]
    assert np.percentile(np.abs(envelope - 1.0), 95) < 0.01
    np.testing.assert_array_equal(seen.mask[0], mask)


def test_a_filled_gap_spoils_nothing_else():
    counts = HEIGHT * (1.0 + 0.01 * np.random.default_rng(3).normal(size=len(HEIGHT)))
    counts[1500:2600] = 9.0  # no scatter, from which an error could be estimated
    found = normalised(Spectra(WAVELENGTH, counts, medium="air"))
    assert np.all(np.isfinite(found.flux)) and not found.mask.any()
    assert abs(np.median(found.flux[0, ~np.isin(np.arange(len(counts)), np.arange(1500, 2600))]) - 1.0) < 0.01


def test_a_spectrum_without_light_is_left_as_it_is():
    counts = np.stack([HEIGHT, -HEIGHT, np.where(RED, np.nan, HEIGHT)])
    seen = normalised(Spectra(WAVELENGTH, counts, error=np.full(counts.shape, 0.5), medium="air"))
    np.testing.assert_allclose(seen.flux[0], 1.0, atol=0.01)
    np.testing.assert_array_equal(seen.flux[1], -HEIGHT)
    np.testing.assert_allclose(seen.flux[2], 1.0, atol=0.01)
    assert seen.mask[2, RED].all() and not seen.mask[2, ~RED].any()


def test_curves_add_up_to_one_and_keep_to_their_arm():
    curves = smooth_curves(WAVELENGTH)
    np.testing.assert_allclose(curves.sum(axis=0), 1.0, rtol=1e-12)
    assert not np.any((curves[:, RED] != 0).any(axis=1) & (curves[:, ~RED] != 0).any(axis=1))


@pytest.mark.parametrize("snr", [30.0, 100.0, 250.0])
def test_labels_of_raw_spectra_are_those_of_normalised_ones(toy_model, snr):
    rng = np.random.default_rng(2)
    labels = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * rng.uniform(0.1, 0.9, (64, 3))
    flux, error, _ = toy.observed(labels, snr, seed=int(snr))
    blaze = bump(toy.INSTRUMENT, 0.15, -0.2)
    given = predict(toy_model, Spectra(toy.INSTRUMENT.wavelength, flux, error=error, medium="air"), n_samples=N_SAMPLES)
    raw = Spectra(toy.INSTRUMENT.wavelength, flux * blaze, error=error * blaze, medium="air")
    posterior = predict(toy_model, raw, normalise=True, n_samples=N_SAMPLES)
    apart = (posterior.median - given.median) / given.samples.std(axis=1)
    assert np.all(np.abs(apart.mean(axis=0)) < 0.3)
    assert np.all(apart.std(axis=0) < 0.5)
    pull = (posterior.median - labels) / posterior.samples.std(axis=1)
    assert np.sqrt(np.mean(pull**2)) < 1.25
    np.testing.assert_allclose(np.median(posterior.diagnostics["chi_square"]), 1.0, atol=0.1)


def test_the_model_shows_the_continuum_that_it_divides_by(toy_model):
    flux, error, _ = toy.observed(np.array([[5500.0, -0.5, 0.1]]), 100.0)
    blaze = bump(toy.INSTRUMENT, -0.2, -0.15)
    raw = Spectra(toy.INSTRUMENT.wavelength, flux * blaze, error=error * blaze, medium="air")
    seen = toy_model.normalised(raw)
    np.testing.assert_allclose(raw.flux / seen.flux, blaze[None], rtol=0.02)
    np.testing.assert_allclose(seen.flux / seen.error, flux / error, rtol=1e-6)
    posteriors = (
        predict(toy_model, seen, n_samples=N_SAMPLES),
        predict(toy_model, raw, normalise=True, n_samples=N_SAMPLES),
    )
    np.testing.assert_array_equal(posteriors[0].samples, posteriors[1].samples)
