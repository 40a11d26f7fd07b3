"""The outlier score, on signs whose distribution is known."""

import numpy as np

from kcinn.outlier import Outlier

N, PIXELS = 20000, 4000


def signs(seed, n=N, *, emulator=2e-3, shift=0.0):
    """Of spectra with correlated contexts, S/N 3 to 300 per pixel and an emulator that errs by `emulator`."""
    rng = np.random.default_rng(seed)
    mix = np.array([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [0.0, 0.5, 2.0]])
    snr = np.exp(rng.uniform(np.log(3.0), np.log(300.0), n))
    emulator = emulator * np.exp(0.3 * rng.normal(size=n))
    return {
        "context": rng.normal(size=(n, 3)) @ mix + shift,
        "chi_square": rng.chisquare(PIXELS, n) / PIXELS + (emulator * snr) ** 2,
        "peak": np.abs(rng.normal(size=(n, 60))).max(axis=1) + 4.0 * emulator * snr,
        "snr": snr,
        "n_pixels": np.full(n, PIXELS),
    }


def test_false_alarms_are_rarer_than_promised():
    outlier = Outlier.learn(**signs(0))
    share = np.mean(outlier(**signs(1)) > 1.0)
    assert 0.002 < share < 0.01


def test_every_sign_alone_is_enough():
    outlier = Outlier.learn(**signs(0))
    ordinary = {key: value[:200] for key, value in signs(2).items()} | {"snr": np.full(200, 30.0)}
    ordinary |= {"chi_square": np.full(200, 1.0), "peak": np.full(200, 3.0)}
    assert np.mean(outlier(**ordinary) > 1.0) < 0.02
    for change in (
        {"chi_square": np.full(200, 1.3)},
        {"peak": np.full(200, 12.0)},
        {"context": np.tile([3.0, -3.0, 0.0], (200, 1))},  # each number is ordinary, the pair is not
    ):
        assert np.all(outlier(**(ordinary | change)) > 1.0)


def test_configuration_survives_a_file():
    import json

    outlier = Outlier.learn(**signs(0, n=500))
    again = Outlier.from_config(json.loads(json.dumps(outlier.get_config())))
    np.testing.assert_array_equal(again(**signs(1, n=50)), outlier(**signs(1, n=50)))
    wide = {key: value[:500] for key, value in signs(0).items()} | {
        "context": np.random.default_rng(0).normal(size=(500, 200))
    }
    assert Outlier.learn(**wide).whitening.shape == (200,)  # correlations of long contexts are not kept
