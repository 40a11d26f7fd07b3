"""summarise: moments, quantiles and modes of samples, the same in tensors as in NumPy."""

import numpy as np
import pytest

from kcinn import marginals
from kcinn.nn.summarise import summarise, summarise_by_sorting

RNG = np.random.default_rng(0)
SAMPLES = {
    "normal": RNG.normal(5500.0, 30.0, (3, 2001, 2)),
    "skewed": RNG.gamma(2.0, 0.1, (3, 2001, 2)),
    "two peaks": np.where(RNG.random((3, 2001, 2)) < 0.7, 0.0, 4.0) + RNG.normal(0.0, 0.5, (3, 2001, 2)),
    "few": RNG.normal(size=(3, 2, 2)),
    "constant": np.ones((3, 50, 2)),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_numpy_and_tensors_agree_with_independent_statistics(kind):
    samples = SAMPLES[kind].astype("f4")
    quantiles = np.quantile(samples.astype("f8"), marginals.QUANTILES, axis=1).transpose(1, 0, 2)
    covariance = np.array([np.cov(rows.T.astype("f8")) for rows in samples])
    scatter = samples.std(axis=1).max() + 1e-6
    host, *devices = marginals.summarise(samples), summarise(samples), summarise_by_sorting(samples)
    for found in (host, *devices):
        np.testing.assert_allclose(found.quantiles, quantiles, atol=1e-4 * scatter)
        np.testing.assert_allclose(found.mean, samples.mean(axis=1, dtype="f8"), atol=1e-4 * scatter)
        np.testing.assert_allclose(found.covariance, covariance, atol=1e-3 * scatter**2)
    # where two bins nearly tie, rounding decides between them
    for device in devices:
        assert np.median(np.abs(device.mode - host.mode)) < 0.01 * scatter + 1e-6 * np.abs(host.mode).max()


@pytest.mark.parametrize(("kind", "peak", "tolerance"), [("normal", 5500.0, 12.0), ("skewed", 0.1, 0.03)])
def test_the_mode_is_the_peak_of_the_density(kind, peak, tolerance):
    assert np.all(np.abs(marginals.summarise(SAMPLES[kind].astype("f4")).mode - peak) < tolerance)


def test_the_mode_is_the_higher_of_two_peaks():
    assert np.all(np.abs(marginals.summarise(SAMPLES["two peaks"].astype("f4")).mode) < 0.3)
