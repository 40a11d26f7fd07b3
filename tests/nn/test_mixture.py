"""A mixture of flows is the mean of their densities, and samples come from that."""

import numpy as np
from cases import N_CONTEXT, perturb
from keras import ops
from scipy.stats import kstest

from kcinn.nn.mixture import FlowMixture


def mixture():
    layer = FlowMixture(1, members=3, depth=2, width=16)
    layer.build({"theta": (None, 1), "context": (None, N_CONTEXT)})
    for k, member in enumerate(layer.members):
        perturb(member, seed=k, size=0.5)
    return layer


def test_density_is_the_mean_of_the_members_and_integrates_to_one():
    layer = mixture()
    theta = np.linspace(-40.0, 40.0, 80001, dtype=np.float32)
    context = np.full((1, N_CONTEXT), 0.3, np.float32)
    density = np.exp(ops.convert_to_numpy(layer.log_density(theta[None, :, None], context)))[0]
    members = [ops.convert_to_numpy(m.log_density(theta[None, :, None], context))[0] for m in layer.members]
    np.testing.assert_allclose(density, np.mean(np.exp(members), axis=0), rtol=1e-4, atol=1e-7)
    assert np.max(np.std(members, axis=0)) > 0.1  # they do differ
    assert abs(np.trapezoid(density, theta) - 1.0) < 1e-3


def test_any_stretch_of_samples_is_of_all_members():
    layer = mixture()
    context = np.full((1, N_CONTEXT), 0.3, np.float32)
    noise = layer.draw_noise([0], 8, seed=1)
    samples = ops.convert_to_numpy(layer.transform(noise, context))
    for k, member in enumerate(layer.members):
        expected = ops.convert_to_numpy(member.transform(noise[:, k::3], context))
        np.testing.assert_allclose(samples[:, k::3], expected, rtol=1e-5, atol=1e-6)


def test_samples_follow_the_density():
    layer = mixture()
    context = np.full((1, N_CONTEXT), 0.3, np.float32)
    noise = layer.draw_noise([0], 5001, seed=1)
    samples = ops.convert_to_numpy(layer.transform(noise, context))[0, :, 0]
    assert len(samples) == 5001
    theta = np.linspace(-40.0, 40.0, 80001, dtype=np.float32)
    density = np.exp(ops.convert_to_numpy(layer.log_density(theta[None, :, None], context)))[0]
    cumulative = np.cumsum(density) * (theta[1] - theta[0])
    assert kstest(samples, lambda x: np.interp(x, theta, cumulative)).pvalue > 1e-3
