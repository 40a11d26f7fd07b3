"""Widths: learned factors make central intervals hold what they should at every S/N."""

import numpy as np
import pytest
from keras import ops

from kcinn.nn.widths import Widths

LABELS = np.array([0.8, 1.0, 1.5])  # how much wider the posteriors of each label should be


def wanted(snr):
    return (1.0 + 0.4 * np.tanh(np.log10(snr) - 2.0))[:, None] * LABELS


def drawn(rng, n=20000):
    """Scores of truths in posteriors that should be wider by `wanted`, and S/N."""
    snr = 10.0 ** rng.uniform(1.0, 3.0, n)
    return wanted(snr) * rng.normal(size=(n, 3)), snr


def test_ones_until_it_has_learned():
    np.testing.assert_array_equal(ops.convert_to_numpy(Widths(3)(np.array([1.0, 100.0], "float32"))), 1.0)


@pytest.mark.parametrize("lessons", [1, 2])
def test_intervals_hold_what_they_should(lessons):
    widths, rng = Widths(3), np.random.default_rng(0)
    for _ in range(lessons):  # each on what the widths so far leave
        score, snr = drawn(rng)
        widths.learn(score / ops.convert_to_numpy(widths(snr.astype("float32"))), snr)
    score, snr = drawn(rng)
    score = score / ops.convert_to_numpy(widths(snr.astype("float32")))
    for low, high in ((10.0, 30.0), (30.0, 100.0), (100.0, 300.0), (300.0, 1000.0)):
        held = np.mean(np.abs(score[(snr > low) & (snr < high)]) < 1.0, axis=0)
        np.testing.assert_allclose(held, 0.683, atol=0.02)
    np.testing.assert_allclose(ops.convert_to_numpy(widths(snr.astype("float32"))), wanted(snr), rtol=0.06)


def test_a_spectrum_without_a_pixel_does_not_spoil_the_others():
    score, snr = drawn(np.random.default_rng(0))
    whole, with_one = Widths(3), Widths(3)
    whole.learn(score, snr)
    with_one.learn(score, np.where(np.arange(len(snr)) == 3, 0.0, snr))
    at = snr[snr > 30.0].astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(with_one(at)), ops.convert_to_numpy(whole(at)), rtol=0.02)


def test_constant_beyond_the_knots_and_finite_without_a_pixel():
    widths, (score, snr) = Widths(3), drawn(np.random.default_rng(1))
    widths.learn(score, snr)
    inside, outside, none = ops.convert_to_numpy(widths(np.array([1e4, 1e5, 0.0], "float32")))
    np.testing.assert_allclose(inside, outside, rtol=1e-6)
    assert np.all(np.isfinite(none))
