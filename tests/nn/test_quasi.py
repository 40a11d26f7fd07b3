"""Quasi-random noise: uniform, even, unbiased, and shared out well among the members of a mixture."""

import numpy as np
import pytest
from scipy import stats

from kcinn.nn.mixture import FlowMixture
from kcinn.nn.quasi import shifted_sobol


def test_points_fill_the_cube_evenly_and_every_shift_is_uniform():
    shifted = np.stack([shifted_sobol(np.random.default_rng(k), 256, 5) for k in range(400)])
    assert np.all((shifted > 0.0) & (shifted < 1.0))
    for dimension in range(5):  # one point of every set: independent and uniform over the shifts
        assert stats.kstest(shifted[:, 17, dimension], "uniform").pvalue > 1e-3
    counts = np.stack([np.histogram(points[:, 0], 16, (0.0, 1.0))[0] for points in shifted])
    assert np.all(np.abs(counts - 16) <= 2)  # of random points they scatter by four


@pytest.mark.parametrize("base", ["normal", "student_t"])
def test_noise_has_the_distribution_of_the_base(base):
    flow = FlowMixture(3, members=1, depth=1, width=8, base=base)
    flow.build({"theta": (None, 3), "context": (None, 2)})
    noise = flow.draw_noise(range(8), 1024, quasi=True)
    law = stats.norm if base == "normal" else stats.t(flow.members[0].base.degrees_of_freedom)
    for probability in (0.05, 0.5, 0.9):
        found = np.mean(noise < law.ppf(probability), axis=1)
        np.testing.assert_allclose(found, probability, atol=0.01)


def test_every_member_gets_points_from_everywhere():
    flow = FlowMixture(2, members=4, depth=1, width=8)
    flow.build({"theta": (None, 2), "context": (None, 2)})
    noise = flow.draw_noise(range(3), 1024, quasi=True)
    for k in range(4):
        np.testing.assert_allclose(noise[:, k::4].mean(axis=1), 0.0, atol=0.03)
        np.testing.assert_allclose(noise[:, k::4].std(axis=1), 1.0, atol=0.03)
