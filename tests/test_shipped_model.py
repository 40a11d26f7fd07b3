"""The model that comes with kcinn, on stars that are synthesised anew."""

import numpy as np
import pytest

import kcinn
from kcinn.flag import Flag
from kcinn.model.mock import mock_spectra
from kcinn.model_file import find_model, sha256
from kcinn.shipped import MODELS, shipped

NAME = "4most-hrs"


@pytest.fixture(scope="module")
def model():
    return kcinn.load(NAME)


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    """Plausible stars of another seed than those of the training."""
    path = tmp_path_factory.mktemp("stars") / "stars.h5"
    return kcinn.synthesize(path, n=24, draws=1, instrument=NAME, seed=2026, processes=1, verbose=0)


def test_the_card_is_that_of_the_file():
    card = shipped(f"{MODELS}/{NAME}.md").read_text(encoding="utf-8")
    assert sha256(find_model(NAME)) in card
    assert find_model(NAME).stat().st_size < 16e6


def test_labels_of_new_stars_come_back_within_their_errors(model, stars):
    spectra = mock_spectra(stars, model.observation.at(100), seed=1)
    posterior = kcinn.predict(model, spectra, n_samples=1000, gap=False)
    low, high = posterior.quantile([0.16, 0.84])
    pull = (posterior.median - stars.labels) / (0.5 * (high - low))
    inside = (stars.labels > low) & (stars.labels < high)
    # 24 stars with 22 labels: the labels of a star are correlated, the share has a standard deviation of about 0.04
    assert 0.55 < inside.mean() < 0.82
    assert np.quantile(np.abs(pull), 0.95) < 3.0
    teff = posterior.median[:, model.label_space.index("teff")] - stars.labels[:, model.label_space.index("teff")]
    assert np.median(np.abs(teff)) < 30.0
    assert np.mean((posterior.flag & Flag.OUTLIER) > 0) < 0.1


def test_a_missing_arm_costs_precision_and_nothing_else(model, stars):
    spectra = mock_spectra(stars, model.observation.at(100), seed=1)
    blue = model.instrument.arm_slices[0]
    spectra.mask[:, blue] = True
    posterior = kcinn.predict(model, spectra, n_samples=1000, gap=False)
    low, high = posterior.quantile([0.16, 0.84])
    assert 0.55 < np.mean((stars.labels > low) & (stars.labels < high)) < 0.82


def test_bfloat16_moves_samples_by_less_than_a_hundredth_of_their_scatter(model, stars, tmp_path):
    spectra = mock_spectra(stars, model.observation.at(100), seed=1)
    exact = kcinn.predict(model, spectra, n_samples=1000, gap=False).samples
    model.in_bfloat16().save(tmp_path / "rounded.keras")
    rounded = kcinn.predict(tmp_path / "rounded.keras", spectra, n_samples=1000, gap=False).samples
    moved = np.abs(rounded - exact) / exact.std(axis=1, keepdims=True)
    assert 0.0 < np.median(moved) < 0.002
    assert np.quantile(moved, 0.99) < 0.01
