"""Re-weighting, detection, modes and exports, on posteriors that can be written down."""

import h5py
import numpy as np
import pytest
from astropy.table import Table
from scipy import stats

from kcinn.errors import KcinnError, LabelError
from kcinn.flag import Flag
from kcinn.labels import Label, LabelSpace
from kcinn.posterior import Posterior

SPACE = LabelSpace([Label("teff", "K", 4000.0, 7000.0), Label("li_fe", "dex", -1.0, 3.0)])
CENTRE, SCATTER = np.array([5500.0, 1.0]), np.array([60.0, 0.2])


def gaussian(n_samples=40000, *, centre=CENTRE, scatter=SCATTER, seed=0):
    """One spectrum, drawn from a normal of known density."""
    z = np.random.default_rng(seed).normal(size=(1, n_samples, 2))
    density = stats.norm.logpdf(z).sum(axis=2) - np.log(scatter).sum()
    return Posterior(centre + scatter * z, SPACE, log_prob=density)


def test_a_normal_prior_gives_the_product_of_normals():
    posterior = gaussian().reweight(log_prior=lambda x: -0.5 * ((x["li_fe"] - 1.3) / 0.3) ** 2)
    variance = 1.0 / (0.2**-2 + 0.3**-2)
    np.testing.assert_allclose(posterior.mean[0], [5500.0, variance * (1.0 / 0.2**2 + 1.3 / 0.3**2)], rtol=3e-3)
    np.testing.assert_allclose(posterior.samples[0].std(axis=0), [60.0, np.sqrt(variance)], rtol=0.02)
    assert 0.3 * 40000 < posterior.diagnostics["ess"][0] < 40000 and posterior.flag[0] == 0
    expected = stats.norm.logpdf(posterior.samples[0, :, 1], posterior.mean[0, 1], np.sqrt(variance))
    expected = expected + stats.norm.logpdf(posterior.samples[0, :, 0], 5500.0, 60.0)
    np.testing.assert_allclose(posterior.log_prob[0], expected, atol=0.15)


def test_a_likelihood_corrects_a_wrong_proposal_and_gives_the_evidence():
    """Samples shifted and too wide, and a Gaussian likelihood whose integral over the box is known."""
    proposal = gaussian(centre=CENTRE + [30.0, -0.1], scatter=1.5 * SCATTER)
    peak = 12.0

    def likelihood(labels):
        return peak - 0.5 * np.sum(((labels - CENTRE) / SCATTER) ** 2, axis=2)

    posterior = proposal.reweight(log_likelihood=likelihood)
    np.testing.assert_allclose(posterior.mean[0], CENTRE, atol=0.03 * SCATTER.max(), rtol=1e-3)
    np.testing.assert_allclose(posterior.samples[0].std(axis=0), SCATTER, rtol=0.03)
    evidence = peak + np.log(2 * np.pi * SCATTER.prod()) - np.log(3000.0 * 4.0)
    np.testing.assert_allclose(posterior.diagnostics["log_evidence"], evidence, atol=0.02)
    cut = proposal.reweight(log_likelihood=likelihood, log_prior=lambda x: np.where(x["li_fe"] > 1.0, 0.0, -np.inf))
    assert cut.samples[..., 1].min() > 1.0
    np.testing.assert_allclose(cut.diagnostics["log_evidence"], evidence - np.log(2.0), atol=0.03)


def test_two_reweightings_are_no_better_than_one():
    """A narrow prior leaves few samples, many times each; a flat one after it brings none back."""
    once = gaussian(4096).reweight(log_prior=lambda x: -0.5 * ((x["li_fe"] - 1.5) / 0.05) ** 2)
    few = once.diagnostics["ess"]
    assert 60.0 < few < 600.0
    twice = once.reweight(log_prior=lambda x: -0.5 * ((x["teff"] - 5500.0) / 300.0) ** 2)
    np.testing.assert_allclose(twice.diagnostics["ess"], few, rtol=0.1)


def test_a_row_without_labels_stays_one():
    whole = gaussian()
    with_gap = Posterior(np.concatenate([whole.samples, np.full_like(whole.samples, np.nan)]), SPACE, flag=[0, 256])
    prior = {"log_prior": lambda labels: -0.5 * ((labels["teff"] - 5450.0) / 30.0) ** 2}
    changed = with_gap.reweight(**prior)
    np.testing.assert_array_equal(changed.samples[0], whole.reweight(**prior).samples[0])
    assert np.isnan(changed.samples[1]).all() and changed.diagnostics["ess"][1] == 0.0 and changed.flag[1] & 256
    assert not with_gap.detection("li_fe").detected[1] and np.isnan(with_gap.mode[1]).all()


def test_few_effective_samples_are_flagged_and_none_is_lost():
    far = gaussian(2000).reweight(log_prior=lambda x: -0.5 * ((x["li_fe"] - 2.0) / 0.05) ** 2)
    assert far.diagnostics["ess"][0] < 100 and far.flag[0] & Flag.FEW_SAMPLES
    nothing = gaussian(2000).reweight(log_prior=lambda x: np.where(x["teff"] < 4500.0, 0.0, -np.inf))
    assert nothing.diagnostics["ess"][0] == 0 and nothing.flag[0] & Flag.FEW_SAMPLES
    np.testing.assert_array_equal(nothing.samples, gaussian(2000).samples)


def test_a_prior_that_does_not_fit_the_box_is_refused():
    with pytest.raises(LabelError, match=r"7\d% of its mass in li_fe outside -1 to 3"):
        gaussian(500).reweight(log_prior=lambda x: -0.5 * ((x["li_fe"] - 4.0) / 1.5) ** 2)
    with pytest.raises(LabelError, match="teff outside 4000 to 7000"):
        gaussian(500).reweight(log_prior=lambda x: -0.5 * ((x["teff"] - 5500.0) / 2000.0) ** 2)
    for harmless in (
        lambda x: -0.5 * ((x["teff"] - 5500.0) / 300.0) ** 2,
        lambda x: np.where(np.abs(x["teff"] - 5500.0) < 1500.0, -0.5 * ((x["teff"] - 5500.0) / 2000.0) ** 2, -np.inf),
        lambda x: 0.0,
    ):
        gaussian(500).reweight(log_prior=harmless)
    with pytest.raises(KcinnError, match="one number per sample"):
        gaussian(500).reweight(log_prior=lambda x: np.zeros(3))
    with pytest.raises(KcinnError, match="not a number"):
        gaussian(500).reweight(log_prior=lambda x: np.full(x["teff"].shape, np.nan))
    with pytest.raises(KcinnError, match="log_prob=True"):
        Posterior(gaussian(50).samples, SPACE).reweight(log_likelihood=lambda labels: np.zeros(labels.shape[:2]))
    with pytest.raises(KcinnError, match="log_prior, log_likelihood"):
        gaussian(50).reweight()


@pytest.mark.parametrize("below, detected", [(4.0, True), (3.0, True), (1.0, False), (0.0, False)])
def test_detection_depends_on_how_far_below_the_peak_the_prior_ends(below, detected):
    """A normal cut off `below` standard deviations under its peak; its upper limit by the formula."""
    cut = stats.truncnorm(-below, np.inf)
    li = -1.0 + 0.2 * (cut.rvs((3, 4096), random_state=0) + below)
    samples = np.stack([np.full_like(li, 5500.0), li], axis=2)
    result = Posterior(samples, SPACE).detection("li_fe")
    assert np.all(result.detected == detected)
    np.testing.assert_allclose(result.upper_limit, -1.0 + 0.2 * (cut.ppf(0.95) + below), atol=0.02)


def test_a_flat_posterior_is_an_upper_limit_wherever_its_lower_edge():
    li = np.random.default_rng(0).uniform(0.3, 1.2, (2, 4096))
    result = Posterior(np.stack([np.full_like(li, 5500.0), li], axis=2), SPACE).detection("li_fe")
    assert not result.detected.any()


@pytest.mark.parametrize("rounded, significance, detected", [(0.0, 5.0, True), (0.0, 1.0, False), (0.4, 1.0, False)])
def test_a_weak_line_is_detected_by_its_significance(rounded, significance, detected):
    """The strength of a weak line has a Gaussian error, its logarithm is the label, whose flat prior begins 1.5 dex
    below the line. A flow rounds the edges of such a posterior."""
    rng = np.random.default_rng(0)
    grid = np.linspace(-1.5, 1.5, 4000)
    density = np.exp(-0.5 * (significance * (10.0**grid - 1.0)) ** 2)
    li = rng.choice(grid, (3, 4096), p=density / density.sum()) + rounded * rng.normal(size=(3, 4096))
    result = Posterior(np.stack([np.full_like(li, 5500.0), li], axis=2), SPACE).detection("li_fe")
    assert np.all(result.detected == detected)


def test_joint_mode_is_the_densest_sample():
    posterior = gaussian()
    np.testing.assert_allclose(posterior.joint_mode[0], CENTRE, atol=0.05 * SCATTER.max(), rtol=2e-3)
    with pytest.raises(KcinnError, match="log_prob=True"):
        _ = Posterior(posterior.samples, SPACE).joint_mode
    assert posterior[:1].log_prob.shape == (1, 40000)


@pytest.mark.parametrize("ending", [".fits", ".ecsv", ".vot", ".h5"])
def test_names_in_any_alphabet_are_kept(tmp_path, ending):
    path = tmp_path / f"c{ending}"
    Posterior(gaussian(100).samples, SPACE, ids=["β Vir"]).write(path)
    if ending == ".h5":
        with h5py.File(path) as file:
            name = file["id"][0]
    else:
        name = Table.read(path)["id"][0]
    assert (name.decode() if isinstance(name, bytes) else name) == "β Vir"


def test_samples_come_back_from_their_file(tmp_path):
    posterior = Posterior(
        gaussian(500).samples,
        SPACE,
        ids=["β Vir"],
        flag=[64],
        diagnostics={"snr": [80.0]},
        log_prob=gaussian(500).log_prob,
    )
    posterior.write(tmp_path / "samples.h5")
    again = Posterior.read(tmp_path / "samples.h5")
    assert again.label_space == SPACE and list(again.ids) == ["β Vir"] and list(again.flag) == [64]
    np.testing.assert_array_equal(again.samples, posterior.samples)
    np.testing.assert_array_equal(again.joint_mode, posterior.joint_mode)
    assert again.diagnostics.keys() == {"snr"} and again.diagnostics["snr"] == [80.0]
    posterior[:1].write(tmp_path / "catalogue.fits")
    for name, reason in (("none.h5", "no such file"), ("catalogue.fits", "not a readable file")):
        with pytest.raises(KcinnError, match=reason):
            Posterior.read(tmp_path / name)


def test_exports():
    pytest.importorskip("arviz")
    posterior = Posterior(gaussian(1000).samples.repeat(2, axis=0), SPACE, ids=["a", "b"])
    data = posterior.to_arviz().posterior
    assert data["teff"].dims == ("chain", "draw", "star") and list(data["star"].values) == ["a", "b"]
    np.testing.assert_array_equal(data["li_fe"].sel(star="b").values[0], posterior.samples[1, :, 1])
    table = posterior.to_table()
    assert table["teff"].unit == "K" and table["teff"].info.meta["ucd"].startswith("phys.temperature.effective")
    np.testing.assert_allclose(table["cov_li_fe_teff"].value, posterior.covariance[:, 1, 0], rtol=1e-4)
    frame = posterior.to_dataframe()
    np.testing.assert_allclose(frame["teff"], posterior.median[:, 0])
    assert list(frame["id"]) == ["a", "b"]
