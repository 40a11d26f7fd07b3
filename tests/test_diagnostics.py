"""Diagnostics against posteriors whose calibration is known, and linear models whose information is."""

import numpy as np
import pytest
import toy

from kcinn.diagnostics import bound, calibration, coverage, normality, recovery, saliency, sbc, tarp
from kcinn.noise import Noise

N, DRAWS = 600, 400
SIGMA = np.array([40.0, 0.1, 0.05])


def gaussian(*, width=1.0, shift=0.0, correlation=0.0, seed=0):
    """Truths drawn from Gaussian posteriors, and samples that are too wide, shifted, or robbed of a correlation."""
    rng = np.random.default_rng(seed)
    centre = toy.grid(N, seed=seed).labels
    matrix = np.eye(3)
    matrix[0, 1] = matrix[1, 0] = correlation
    truth = centre + SIGMA * rng.multivariate_normal(np.zeros(3), matrix, N)
    samples = centre[:, None] + SIGMA * (width * rng.normal(size=(N, DRAWS, 3)) + shift)
    return samples, truth


def test_an_exact_posterior_passes_every_test():
    samples, truth = gaussian()
    assert np.all(sbc(samples, truth).corrected > 0.01)
    assert tarp(samples, truth, toy.SPACE).p_value > 0.01
    result = calibration(samples, truth)
    assert np.all(result.error < 0.02)
    np.testing.assert_allclose(result.width68, 2 * 0.9945 * SIGMA, rtol=0.03)
    assert np.all(np.abs(coverage(samples, truth, [0.5]) - 0.5) < 0.06)


def test_p_values_of_an_exact_posterior_are_uniform():
    """A test that rejects at 1 percent must do so in one case of a hundred, not more and not less."""
    rng = np.random.default_rng(3)
    p_values: dict[str, list[float]] = {"sbc": [], "tarp": []}
    for seed in range(60):
        centre = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * rng.random((100, 3))
        truth = centre + SIGMA * rng.normal(size=centre.shape)
        samples = centre[:, None] + SIGMA * rng.normal(size=(100, 50, 3))
        p_values["sbc"].extend(sbc(samples, truth, seed=seed).p_value)
        p_values["tarp"].append(tarp(samples, truth, toy.SPACE, seed=seed).p_value)
    for values in p_values.values():
        assert 0.35 < np.mean(values) < 0.65 and np.mean(np.array(values) < 0.2) == pytest.approx(0.2, abs=0.13)


@pytest.mark.parametrize("fault", [{"width": 1.35}, {"width": 0.75}, {"shift": 0.35}])
def test_a_wrong_width_or_a_bias_is_found(fault):
    samples, truth = gaussian(**fault)
    assert np.all(sbc(samples, truth).corrected < 0.01)
    if "width" in fault:  # a bias to one side cancels among random reference points
        assert tarp(samples, truth, toy.SPACE).p_value < 0.05


def test_e_cal_is_the_median_miscalibration():
    """A Gaussian too wide by a factor f holds erf(f erfinv(q)) instead of q."""
    from scipy.special import erf, erfinv

    samples, truth = gaussian(width=1.5)
    level = np.arange(0.01, 1.0, 0.01)
    expected = np.median(np.abs(erf(1.5 * erfinv(level)) - level))
    np.testing.assert_allclose(calibration(samples, truth).error, expected, atol=0.02)


def test_only_the_joint_test_sees_a_lost_correlation():
    samples, truth = gaussian(correlation=0.97)
    narrow = toy.LabelSpace(
        [toy.Label(x.name, x.unit, x.lower, x.lower + 4 * s) for x, s in zip(toy.SPACE, SIGMA, strict=True)]
    )
    shift = narrow.lower + 2 * SIGMA - toy.grid(N, seed=0).labels  # all posteriors in one place, as wide as the box
    samples, truth = (samples + shift[:, None])[:, :, :2], (truth + shift)[:, :2]
    plane = narrow.subset(narrow.names[:2])
    assert np.all(sbc(samples, truth).corrected > 0.01)
    p_value = min(tarp(samples, truth, plane, seed=seed).p_value for seed in range(5))
    assert p_value < 0.01 / 5


def test_recovery_of_a_shifted_posterior():
    samples, truth = gaussian(shift=2.0)
    result = recovery(samples, truth)
    np.testing.assert_allclose(result.bias, 2.0 * SIGMA, rtol=0.08)
    np.testing.assert_allclose(result.rms, np.sqrt(5.0) * SIGMA, rtol=0.1)
    assert np.all(result.coverage68 < 0.3)


def test_normality():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(2000, 3))
    assert np.all(normality(good).corrected > 0.05) and normality(good).correlation < 0.1
    assert np.all(normality(1.2 * good).corrected < 0.01)
    assert normality(np.cumsum(good, axis=1)).correlation > 0.5


def linear_model(seed=0, n_pixels=60):
    rng = np.random.default_rng(seed)
    jacobian, nuisances = rng.normal(size=(3, n_pixels)), rng.normal(size=(2, n_pixels))
    inverse_variance = rng.uniform(0.5, 4.0, n_pixels)
    return jacobian, nuisances, inverse_variance


def test_noise_is_the_dense_gaussian():
    jacobian, nuisances, inverse_variance = linear_model()
    noise = Noise(inverse_variance, nuisances)
    covariance = np.diag(1.0 / inverse_variance) + nuisances.T @ nuisances
    np.testing.assert_allclose(noise.precision_times(jacobian), jacobian @ np.linalg.inv(covariance), atol=1e-12)
    np.testing.assert_allclose(noise.log_determinant, np.linalg.slogdet(covariance)[1])
    masked = np.where(np.arange(60) < 20, 0.0, inverse_variance)
    kept = Noise(inverse_variance[20:], nuisances[:, 20:])
    np.testing.assert_allclose(
        Noise(masked, nuisances).precision_times(jacobian)[:, 20:], kept.precision_times(jacobian[:, 20:]), atol=1e-12
    )
    np.testing.assert_allclose(Noise(masked, nuisances).log_determinant, kept.log_determinant)


def test_bound_is_the_marginal_of_the_joint_fisher_matrix():
    """Labels and nuisances as parameters of one linear model, each with its prior."""
    jacobian, nuisances, inverse_variance = linear_model()
    prior = np.array([0.3, 1.0, 1e3])
    everything = np.vstack([jacobian, nuisances])
    fisher = everything * inverse_variance @ everything.T + np.diag([*prior**-2.0, 1.0, 1.0])
    expected = np.sqrt(np.diag(np.linalg.inv(fisher))[:3])
    np.testing.assert_allclose(bound(jacobian, Noise(inverse_variance, nuisances), prior), expected, rtol=1e-9)


def test_a_maximum_likelihood_fit_reaches_the_bound():
    jacobian, nuisances, inverse_variance = linear_model()
    rng, n = np.random.default_rng(1), 20000
    data = rng.normal(size=(n, 2)) @ nuisances + rng.normal(size=(n, 60)) / np.sqrt(inverse_variance)
    everything = np.vstack([jacobian, nuisances])
    fisher = everything * inverse_variance @ everything.T + np.diag([0, 0, 0, 1.0, 1.0])
    fit = np.linalg.solve(fisher, (everything * inverse_variance) @ data.T)[:3]
    limit = bound(jacobian, Noise(inverse_variance, nuisances), np.full(3, 1e6))
    np.testing.assert_allclose(fit.std(axis=1), limit, rtol=0.03)


def test_saliency_is_where_only_this_label_acts():
    """Two labels move the first pixels alike; what tells them apart is a pixel that only one of them moves."""
    jacobian = np.zeros((2, 40))
    jacobian[:, :10] = 1.0
    jacobian[0, 30] = 1.0
    share = saliency(jacobian, Noise(np.ones(40), np.zeros((0, 40))), np.full(2, 1e3))
    np.testing.assert_allclose(share.sum(axis=1), 1.0)
    assert share[0, 30] > 0.99 and share[1, 30] > 0.85
    assert np.all(share[:, 31:] == 0.0)
    jacobian, _, inverse_variance = linear_model()
    noise, prior = Noise(inverse_variance, np.zeros((0, 60))), np.full(3, 1e6)
    others = jacobian[1:]
    fit = np.linalg.solve(others * inverse_variance @ others.T, others * inverse_variance @ jacobian[0])
    own = (jacobian[0] - fit @ others) ** 2 * inverse_variance
    np.testing.assert_allclose(saliency(jacobian, noise, prior)[0], own / own.sum(), rtol=1e-6)
    np.testing.assert_allclose(own.sum() ** -0.5, bound(jacobian, noise, prior)[0], rtol=1e-6)
