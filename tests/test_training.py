"""fit: refuses what cannot work, marginalises labels, resumes after a kill."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import toy

import kcinn
from kcinn.config import Config
from kcinn.errors import GridError, KcinnError, LabelError
from kcinn.grid import SyntheticGrid
from kcinn.model.ordinary import Ordinary
from kcinn.region import Region
from kcinn.rows import Rows
from kcinn.training import fit

FAST = dataclasses.replace(toy.CONFIG, emulator_steps=600, draws=4608)
LEARNED = {"depth": 3, "width": 48, "base": "conditional", "learning_rate": 3e-3, "weight_decay": 1e-4}


def train(**changes):
    arguments = {"observation": toy.OBSERVATION, "config": FAST, "epochs": 4, "batch_size": 256, "verbose": 0}
    return fit(toy.grid(700), **{**arguments, **changes})


def test_new_labels_keep_the_prior_uniform(toy_model):
    """Jittering inside a region must neither leave it nor pile up at its edges."""

    class HotMetalRich(Region):
        def contains(self, values, space):
            return values[:, 0] > 5000.0 + 500.0 * values[:, 1]

    stars = toy.grid(3000, seed=7)
    stars = stars.subset(HotMetalRich().contains(stars.labels, toy.SPACE)).principal_components(24)
    rows = Rows(toy_model, stars, jitter=0.4)
    rows.region = HotMetalRich()
    labels = toy.SPACE.from_unbounded(rows.draw(20000, np.random.default_rng(0))["phi"])
    assert np.all(rows.region.contains(labels, toy.SPACE)) and np.all(toy.SPACE.contains(labels))
    assert len(np.unique(labels[:, 0])) > 15000
    uniform = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * np.random.default_rng(1).random((200000, 3))
    uniform = uniform[rows.region.contains(uniform, toy.SPACE)]
    for column, expected in zip(labels.T, uniform.T, strict=True):
        edges = np.quantile(expected, np.linspace(0, 1, 9))
        share = np.histogram(column, edges)[0] / len(labels)
        np.testing.assert_allclose(share, 1 / 8, atol=0.03)


def test_a_subset_of_labels_marginalises_the_others(toy_model, tmp_path):
    model = train(labels=["fe_h", "teff"], config=dataclasses.replace(toy.CONFIG, emulator_steps=2000), epochs=12)
    assert model.label_space.names == ("fe_h", "teff")
    truth = toy.grid(150, seed=3).labels
    spectra = toy.observed(truth, 100.0)
    part = model.sample(*spectra, n_samples=200)["labels"]
    whole = toy_model.sample(*spectra, n_samples=200)["labels"]
    assert part.shape == (150, 200, 2)
    ratio = np.median(part.std(axis=1) / whole.std(axis=1)[:, [1, 0]], axis=0)
    assert np.all((ratio > 0.6) & (ratio < 1.8)), ratio
    with pytest.raises(Exception, match="marginalises mg_fe"):
        model.spectrum([[0.0, 5000.0]])
    model.save(tmp_path / "model.keras")
    twin = kcinn.load(tmp_path / "model.keras")
    assert twin.get_config() == model.get_config()
    for saved, trained in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, trained)


def test_further_spectra_for_the_emulator_make_it_better_where_they_are():
    """Few stars of the prior, and many of its cool end for the emulator alone."""
    cool, truth = (
        stars.subset(stars.labels[:, 0] < 4500.0) for stars in (toy.grid(3000, seed=11), toy.grid(600, seed=12))
    )
    config, error = dataclasses.replace(FAST, draws=512), []
    halves = [cool.subset(np.arange(len(cool)) % 2 == k) for k in (0, 1)]
    for further in ([], halves):
        model = fit(toy.grid(150), emulator_grids=further, config=config, epochs=1, batch_size=256, verbose=0)
        error.append(np.sqrt(np.mean((model.emulator.spectrum(truth.labels) - truth.flux()) ** 2)))
    assert error[1] < 0.5 * error[0]
    assert model.summary_of_training["spectra"] == 150


def test_further_spectra_for_the_flow_make_its_posteriors_better():
    """Few stars of the prior leave the flow a dozen; the truth is in the posterior's density on stars of neither."""
    grid, further, truth = toy.grid(150), toy.grid(1500, seed=11), toy.grid(300, seed=12)
    config, density = dataclasses.replace(FAST, draws=4096), []
    for grids in ([], [further]):
        model = fit(grid, flow_grids=grids, config=config, epochs=20, batch_size=256, verbose=0)
        density.append(np.mean(model.log_prob(truth.labels, *toy.observed(truth.labels, 1000.0))))
    assert density[1] > density[0] + 0.05, density
    assert model.summary_of_training["flow_spectra"] > 1500 > 150 > model.summary_of_training["emulator_spectra"]


@pytest.mark.parametrize("encoder", ["dense", "conv"])
def test_learned_encoder_learns(encoder, tmp_path):
    config = dataclasses.replace(FAST, encoder=encoder, **LEARNED)
    model = train(config=config, epochs=6)
    (losses,) = model.summary_of_training["validation_loss"]
    assert losses[-1] < losses[0]
    spectra = toy.observed(toy.grid(40, seed=3).labels, 100.0)
    drawn = model.sample(*spectra, n_samples=100)
    assert np.all(np.isfinite(drawn["labels"]))
    for missing in (np.arange(512) < 256, np.arange(512) % 2 == 0):
        flux, error, mask = spectra
        chi_square = model.sample(flux, error, mask | missing, n_samples=2)["chi_square"]
        assert 0.8 < np.median(chi_square) < 1.2
    model.save(tmp_path / "model.keras")
    again = kcinn.load(tmp_path / "model.keras").sample(*spectra, n_samples=100)
    for name in ("labels", "outlier"):
        np.testing.assert_allclose(again[name], drawn[name], rtol=1e-4)


def test_members_together_are_no_worse_than_on_average():
    model = train(config=dataclasses.replace(FAST, members=2))
    first, second = model.summary_of_training["validation_loss"]
    assert first != second
    labels, encoding, _ = Ordinary.observed(model, toy.grid(100, seed=3), seed=1)
    theta, _ = model.to_frame(model.label_space.to_unbounded(labels).astype(np.float32), encoding)
    context = model.standardise(encoding.context)
    together, *alone = (
        np.mean(keras.ops.convert_to_numpy(flow.log_density(theta, context)))
        for flow in (model.flow, *model.flow.members)
    )
    # the density of a mixture is at least the geometric mean of its members'
    assert np.mean(alone) - 1e-4 <= together <= max(alone) + np.log(2.0)


def test_resume_after_kill(tmp_path):
    """A training that dies by SIGKILL goes on from its checkpoint and ends with a model that works."""
    script = (
        "import sys\nsys.path.insert(0, sys.argv[2])\nimport test_training as t\n"
        "t.train(checkpoint=sys.argv[1], resume=True, epochs=6)\n"
    )
    folder = tmp_path / "checkpoint"
    command = [sys.executable, "-c", script, str(folder), os.path.dirname(__file__)]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (folder / "encoded-0000.npz").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = json.loads((folder / "seconds.json").read_text())
    assert 0.0 < before < time.monotonic() - start
    encoded = (folder / "encoded-0000.npz").stat().st_mtime_ns
    with pytest.raises(KcinnError, match="resume=True"):
        train(checkpoint=folder)
    with pytest.raises(KcinnError, match="other arguments"):
        train(checkpoint=folder, resume=True, epochs=6, seed=1)
    start = time.monotonic()
    model = train(checkpoint=folder, resume=True, epochs=6)
    assert before < model.summary_of_training["seconds"] < before + time.monotonic() - start
    assert (folder / "encoded-0000.npz").stat().st_mtime_ns == encoded
    assert len(model.summary_of_training["loss"][0]) <= 6
    again = train(checkpoint=folder, resume=True, epochs=6)  # nothing is left to do
    assert again.summary_of_training["validation_loss"] == model.summary_of_training["validation_loss"]
    assert np.isfinite(again.summary_of_training["log_density"])
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-6)
    drawn = model.sample(*toy.observed(toy.grid(20, seed=3).labels, 100.0), n_samples=100)
    assert np.all(np.isfinite(drawn["labels"]))


@pytest.mark.parametrize(
    "arguments, error, reason",
    [
        ({"labels": ["teff", "xx"]}, LabelError, "'xx'.*teff, fe_h"),
        ({"validation": 0.9}, KcinnError, "validation"),
        ({"resume": True}, KcinnError, "checkpoint"),
        ({"instrument": "giraffe-hr15n"}, KcinnError, "does not hold"),
        ({"batch_size": 8192}, KcinnError, "do not fill one batch"),
    ],
)
def test_bad_arguments(arguments, error, reason):
    with pytest.raises(error, match=reason):
        train(**arguments)


def test_what_cannot_work_leaves_the_checkpoint_free(tmp_path):
    other = toy.grid(50)
    other.metadata["engine"] = "another"
    with pytest.raises(GridError, match="one engine"):
        train(emulator_grids=[other], checkpoint=tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_the_flow_learns_from_the_prior_and_from_stars_that_the_emulator_has_not_seen():
    grid, warm = toy.grid(50), toy.grid(50, seed=1)
    warm.metadata["region"] = {"kind": "warm"}
    with pytest.raises(GridError, match="draws from the prior"):
        train(flow_grids=[warm])
    with pytest.raises(GridError, match="50 are in another"):
        fit(grid, emulator_grids=[toy.grid(50, seed=3)], flow_grids=[toy.grid(50, seed=3)], verbose=0)


def test_another_grid_of_the_same_labels_is_no_resumption(tmp_path):
    folder = tmp_path / "checkpoint"
    grid = toy.grid(700)
    deeper = SyntheticGrid(toy.INSTRUMENT, toy.SPACE, grid.labels, flux=grid.flux() ** 1.1, metadata=grid.metadata)
    config = dataclasses.replace(FAST, emulator_steps=1, draws=256)
    options = {"config": config, "epochs": 1, "batch_size": 256, "verbose": 0, "checkpoint": folder, "resume": True}
    fit(grid, **options)
    with pytest.raises(KcinnError, match="other arguments"):
        fit(deeper, **options)


@pytest.mark.parametrize("wrong", [{"encoder": "resnet"}, {"emulator_share": 1.0}, {"draws": 0}])
def test_bad_config(wrong):
    with pytest.raises(KcinnError, match=next(iter(wrong))):
        Config(**wrong)
