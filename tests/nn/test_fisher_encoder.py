"""The Fisher encoder against the statistics that it claims: is its frame that of the posterior?"""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import erf

from kcinn.errors import KcinnError
from kcinn.nn.emulator import Emulator
from kcinn.nn.fisher_encoder import FisherEncoder

PIXELS, COMPONENTS, LABELS, ERRORS = (256, 256), 12, 3, 4
SIGMA = 0.01


def growth(phi):
    """How the emulator's error depends on the first label, ``(n, 1)``."""
    return np.exp(0.5 * erf(phi[:, :1] / np.sqrt(2.0)))


@pytest.fixture(scope="module")
def encoder():
    """Of an emulator with smooth random components, which is wrong by more than the noise along some axes."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    wavelength = np.concatenate([5160.0 + 0.1 * np.arange(256), 6100.0 + 0.12 * np.arange(256)])
    kernel = np.exp(-0.5 * (np.arange(-12, 13) / 3.0) ** 2)
    basis = np.array([np.convolve(row, kernel, "same") for row in rng.normal(size=(COMPONENTS, sum(PIXELS)))])
    basis /= np.sqrt((basis**2).sum(axis=1, keepdims=True))
    emulator = Emulator(LABELS, sum(PIXELS), COMPONENTS, width=16, depth=2, n_errors=ERRORS)
    emulator.set_basis(np.ones(sum(PIXELS)), basis, np.full(COMPONENTS, 1.0))
    residuals = rng.normal(size=(4000, ERRORS)) @ (SIGMA * rng.normal(size=(ERRORS, COMPONENTS)))
    at = rng.normal(size=(4000, LABELS))
    emulator.set_error(at, growth(at) * residuals)
    encoder = FisherEncoder(emulator, wavelength, list(PIXELS), [0, 1, 2], n_start=256, velocity=0.01, continuum=1e-6)
    phi = rng.normal(size=(256, LABELS)).astype("f4")
    encoder.build((None, sum(PIXELS)), (None, sum(PIXELS)))
    encoder.set_start(phi, ops.convert_to_numpy(emulator(phi)))
    return encoder


def observed(encoder, n, seed):
    """Labels and spectra: emulator, its error, noise."""
    rng = np.random.default_rng(seed)
    phi = np.clip(0.8 * rng.normal(size=(n, LABELS)), -1.5, 1.5).astype("f4")
    size = ops.convert_to_numpy(encoder.emulator.error_size(phi))
    np.testing.assert_allclose(size / size[0], growth(phi) / growth(phi[:1]), rtol=0.1)
    error = size * (rng.normal(size=(n, ERRORS)).astype("f4") @ ops.convert_to_numpy(encoder.emulator.error))
    flux = ops.convert_to_numpy(encoder.emulator.flux(encoder.emulator(phi) + error))
    inverse_variance = np.full(flux.shape, SIGMA**-2, dtype="f4")
    inverse_variance[:, 100:150] = 0.0
    return phi, (flux + SIGMA * rng.normal(size=flux.shape)).astype("f4"), inverse_variance


def test_factor_is_the_information_left_by_noise_and_emulator_error(encoder):
    _, flux, inverse_variance = observed(encoder, 16, seed=1)
    encoding = encoder(flux, inverse_variance)
    location = ops.convert_to_numpy(encoding.location)[:, ::-1]
    factor = ops.convert_to_numpy(encoding.factor).astype("f8")
    _, jacobian = encoder.emulator.linearise(location.astype("f4"))
    basis, error = (ops.convert_to_numpy(x).astype("f8") for x in (encoder.emulator.basis, encoder.emulator.error))
    good = inverse_variance[0] > 0
    axes = error @ basis[:, good]
    sizes = ops.convert_to_numpy(encoder.emulator.error_size(location.astype("f4")))[:, 0]
    ratios = []
    for rows, lower, size in zip(ops.convert_to_numpy(jacobian).astype("f8"), factor, sizes, strict=True):
        columns = (rows @ basis[:, good])[::-1]
        covariance = SIGMA**2 * np.eye(good.sum()) + size**2 * axes.T @ axes
        information = columns @ np.linalg.solve(covariance, columns.T) + np.eye(LABELS)
        scatter = np.sqrt(np.diag(np.linalg.inv(lower @ lower.T)))
        ratios.append(scatter / np.sqrt(np.diag(np.linalg.inv(information))))
    # robust weights cost 3 %, chi-square above one a little more, and the curvature is that of the last but one step
    assert np.median(ratios) == pytest.approx(1.05, abs=0.08)
    assert np.min(ratios) > 0.75 and np.max(ratios) < 1.35


def test_truth_is_standard_normal_in_the_frame(encoder):
    phi, flux, inverse_variance = observed(encoder, 600, seed=2)
    encoding = encoder(flux, inverse_variance)
    offset = phi[:, ::-1] - ops.convert_to_numpy(encoding.location)
    u = np.einsum("ni,nij->nj", offset, ops.convert_to_numpy(encoding.factor))
    scatter = 0.5 * np.diff(np.quantile(u, [0.1587, 0.8413], axis=0), axis=0)[0]
    np.testing.assert_allclose(scatter, 1.0, atol=0.12)


def test_without_model_error_the_same_spectra_look_more_certain_than_they_are(encoder):
    phi, flux, inverse_variance = observed(encoder, 200, seed=2)
    error = ops.convert_to_numpy(encoder.emulator.error)
    try:
        encoder.emulator.error.assign(np.zeros_like(error))
        encoding = encoder(flux, inverse_variance)
    finally:
        encoder.emulator.error.assign(error)
    offset = phi[:, ::-1] - ops.convert_to_numpy(encoding.location)
    u = np.einsum("ni,nij->nj", offset, ops.convert_to_numpy(encoding.factor))
    assert np.all(np.quantile(np.abs(u), 0.683, axis=0) > 1.2)


def test_the_order_of_the_frame_is_that_of_information_and_changes_nothing_else(encoder):
    phi, flux, inverse_variance = observed(encoder, 64, seed=4)
    before, usual = encoder(flux, inverse_variance), encoder.order
    try:
        encoder.set_order(phi, inverse_variance[0])
        order, after = encoder.order, encoder(flux, inverse_variance)
    finally:
        encoder.order = usual
    scatter = {}
    for name, encoding, labels in (("before", before, usual), ("after", after, order)):
        place = np.argsort(labels)
        factor = ops.convert_to_numpy(encoding.factor).astype("f8")
        fisher = (factor @ factor.transpose(0, 2, 1))[:, place][:, :, place]
        scatter[name] = np.sqrt(np.diagonal(np.linalg.inv(fisher), axis1=1, axis2=2))
        scatter[name, "location"] = ops.convert_to_numpy(encoding.location)[:, place]
    np.testing.assert_allclose(scatter["after"], scatter["before"], rtol=0.02)
    np.testing.assert_allclose(scatter["after", "location"], scatter["before", "location"], atol=2e-3)
    typical = np.median(scatter["after"], axis=0)[list(order)]
    assert sorted(order) == [0, 1, 2] and np.all(np.diff(typical) < 0.0)


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3]])
def test_an_order_must_hold_every_target(encoder, order):
    with pytest.raises(KcinnError, match="each of 0 to 2 once"):
        FisherEncoder(encoder.emulator, encoder.wavelength, list(PIXELS), [0, 1, 2], order=order)
