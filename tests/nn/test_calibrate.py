"""A flow that is too narrow for labels that it was not trained on is widened by as much as they say."""

import cases
import numpy as np
import pytest
from autodiff import evaluate
from scipy import stats

from kcinn.nn import ConditionalFlow

SPREAD = np.array([1.5, 0.8, 1.1], dtype="float32")
LAWS = {"normal": stats.norm(), "student_t": stats.t(df=15.0), "conditional": stats.norm()}


@pytest.mark.parametrize("base", LAWS)
def test_held_out_labels_get_the_density_and_samples_of_their_own_spread(base):
    rng, law = np.random.default_rng(0), LAWS[base]
    theta = SPREAD * law.rvs((60000, 3), random_state=rng).astype("f4")
    context = rng.normal(size=(60000, 2)).astype("f4")
    flow = ConditionalFlow(n_labels=3, depth=2, width=8, base=base)  # untrained: its base, standardised
    for _ in range(2):  # the second time there is nothing left to do
        flow.calibrate(theta, context)
        expected = (law.logpdf(theta / SPREAD) - np.log(SPREAD)).sum(axis=1)
        np.testing.assert_allclose(flow.log_prob(theta, context), expected, rtol=0.02, atol=0.02)
    drawn = flow.sample(context[:2], n_samples=20000)
    np.testing.assert_allclose(drawn.std(axis=1), [SPREAD * law.std()] * 2, rtol=0.02)


@pytest.mark.parametrize("name", cases.FLOWS)
def test_any_flow_finds_by_how_much_it_was_too_narrow(name):
    flow = cases.make_flow(name)
    _, context = cases.draw(20000, flow.n_labels)
    noise = 1.3 * flow.draw_noise(range(20000), 1)
    theta = evaluate(flow.transform, noise, context)[:, 0]
    np.testing.assert_allclose(evaluate(flow.noise_of, theta, context), noise[:, 0], atol=1e-4)
    flow.calibrate(theta, context)
    np.testing.assert_allclose(np.asarray(flow.base.scale), 1.3, rtol=0.03)


def test_a_tail_of_outliers_does_not_widen_the_posterior():
    rng = np.random.default_rng(0)
    theta, context = rng.normal(size=(20000, 3)).astype("f4"), rng.normal(size=(20000, 2)).astype("f4")
    theta[::50] *= 30.0
    flow = ConditionalFlow(n_labels=3, depth=2, width=8)
    flow.calibrate(theta, context)
    np.testing.assert_allclose(np.asarray(flow.base.scale), 1.0, rtol=0.05)
