"""Base distributions against SciPy in double precision, against TensorFlow Probability, and against themselves."""

import cases
import keras
import numpy as np
import pytest
from autodiff import evaluate, log_abs_det_jacobian
from scipy import stats


@pytest.fixture(params=cases.BASES)
def base(request):
    return cases.make_step(request.param)


def test_density_in_plain_operations_is_that_of_scipy(base):
    z, conditioned = cases.draw(32, 4, base.n_conditioned)
    if base.name.startswith("student"):
        expected = stats.t(df=3.0).logpdf(z.astype("float64")).sum(axis=-1)
    elif base.n_conditioned:  # noise at zero and at each axis give away location and scale triangle
        corners = np.concatenate([np.zeros((1, 4)), np.eye(4)]).astype("float32")
        points = evaluate(base.from_noise, corners[None], conditioned[:, None]).astype("float64")
        triangles = np.swapaxes(points[:, 1:] - points[:, :1], 1, 2)
        covariances = triangles @ np.swapaxes(triangles, 1, 2)
        expected = [
            stats.multivariate_normal(mean, covariance).logpdf(row)
            for row, mean, covariance in zip(z.astype("float64"), points[:, 0], covariances, strict=True)
        ]
    else:
        expected = stats.multivariate_normal(np.zeros(4)).logpdf(z.astype("float64"))
    np.testing.assert_allclose(evaluate(base.log_density, z, conditioned), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(evaluate(base, z, conditioned), expected, rtol=1e-5, atol=1e-5)


def test_density_in_plain_operations_is_that_of_tensorflow_probability(base):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow Probability needs the TensorFlow backend here")
    import tensorflow_probability as tfp

    z, conditioned = cases.draw(256, 4, base.n_conditioned)
    expected = base.distribution(tfp.distributions, conditioned).log_prob(z).numpy()
    np.testing.assert_allclose(evaluate(base.log_density, z, conditioned), expected, rtol=1e-6, atol=1e-6)


def test_on_tensorflow_the_density_goes_through_tensorflow_probability(base, monkeypatch):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow Probability needs the TensorFlow backend here")
    z, conditioned = cases.draw(4, 4, base.n_conditioned)
    expected = evaluate(base, z, conditioned)
    monkeypatch.setattr(base, "log_density", None)
    np.testing.assert_array_equal(evaluate(base, z, conditioned), expected)


def test_noise_becomes_draws_of_the_density():
    base = cases.make_step("conditional")
    noise, conditioned = cases.draw(16, 4, base.n_conditioned)
    log_det = log_abs_det_jacobian(lambda values: base.from_noise(values, conditioned), noise)
    expected = stats.norm.logpdf(noise).sum(axis=-1) - log_det
    z = evaluate(base.from_noise, noise, conditioned)
    np.testing.assert_allclose(evaluate(base.log_density, z, conditioned), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "law"), [("normal", stats.norm()), ("student_t", stats.t(df=3.0))])
def test_noise_follows_the_law(name, law):
    noise = cases.make_step(name).draw(np.random.default_rng(0), (5000,))
    assert noise.shape == (5000, 4)
    assert noise.dtype == np.float32
    assert min(stats.kstest(column, law.cdf).pvalue for column in noise.T) > 1e-3
