"""A flow that is too narrow for labels that it was not trained on is widened by as much as they say."""

import numpy as np
from scipy.stats import norm

from kcinn.nn import ConditionalFlow

SPREAD = np.array([1.5, 0.8, 1.1], dtype="float32")


def test_held_out_labels_get_the_density_and_samples_of_their_own_spread():
    rng = np.random.default_rng(0)
    theta, context = SPREAD * rng.normal(size=(20000, 3)).astype("f4"), rng.normal(size=(20000, 2)).astype("f4")
    flow = ConditionalFlow(n_labels=3, depth=2, width=8)  # untrained: a standard normal
    for _ in range(2):  # the second time there is nothing left to do
        flow.calibrate(theta, context)
        expected = norm.logpdf(theta, scale=SPREAD).sum(axis=1)
        np.testing.assert_allclose(flow.log_prob(theta, context), expected, rtol=0.02, atol=0.02)
    drawn = flow.sample(context[:2], n_samples=20000)
    np.testing.assert_allclose(drawn.std(axis=1), np.stack([SPREAD, SPREAD]), rtol=0.02)
