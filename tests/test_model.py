"""The trained model: does it know the truth, and is it honest about what it does not know?"""

import numpy as np
import pytest
import toy

import kcinn
from kcinn.diagnostics import recovery
from kcinn.errors import LabelError, ModelError

N_SAMPLES = 500  # of nearly every call: another number is compiled anew


@pytest.fixture(scope="module")
def test_stars():
    return toy.grid(300, seed=99).labels


def exact_posterior_scatter(labels, snr):
    """Cramer-Rao bound by finite differences of the toy's own spectra, labels alone."""
    sigma2 = 1.0 / (snr**2 * toy.INSTRUMENT.pixel_width)
    width = toy.SPACE.upper - toy.SPACE.lower
    bounds = []
    for row in labels:
        steps = np.diag(1e-4 * width)
        jacobian = np.array([(toy.flux([row + s])[0] - toy.flux([row - s])[0]) / 2e-4 for s in steps]) / width[:, None]
        bounds.append(np.sqrt(np.diag(np.linalg.inv((jacobian / sigma2) @ jacobian.T))))
    return np.array(bounds)


@pytest.mark.parametrize("snr", [60.0, 200.0])
def test_posterior_is_near_the_information_bound_and_calibrated(toy_model, test_stars, snr):
    drawn = toy_model.sample(*toy.observed(test_stars, snr), n_samples=N_SAMPLES)
    result = recovery(drawn["labels"], test_stars)
    bound = np.median(exact_posterior_scatter(test_stars, snr), axis=0)
    assert np.all(result.scatter < 2.0 * bound), (result.scatter, bound)
    assert np.all(np.abs(result.coverage68 - 0.683) < 0.13), result.coverage68
    assert np.all(result.coverage95 > 0.87), result.coverage95


def test_posterior_widens_where_the_spectrum_is_missing(toy_model, test_stars):
    flux, error, mask = toy.observed(test_stars[:60], 100.0)
    whole = toy_model.sample(flux, error, mask, n_samples=N_SAMPLES)["labels"].std(axis=1)
    mask[:, toy.INSTRUMENT.arm_slices[0]] = True
    half = toy_model.sample(flux, error, mask, n_samples=N_SAMPLES)["labels"].std(axis=1)
    assert np.median(half / whole) > 1.1


def test_masked_pixels_do_not_matter(toy_model, test_stars):
    flux, error, mask = toy.observed(test_stars[:8], 100.0)
    mask[:, 100:140] = True
    clean = toy_model.sample(flux, error, mask, n_samples=N_SAMPLES)["labels"]
    flux[:, 100:140], error[:, 100:140] = 1e6, np.nan
    np.testing.assert_array_equal(toy_model.sample(flux, error, mask, n_samples=N_SAMPLES)["labels"], clean)


def test_no_sample_leaves_the_box(toy_model):
    rng = np.random.default_rng(0)
    corners = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * rng.integers(0, 2, (32, 3))
    labels = toy_model.sample(*toy.observed(corners, 40.0), n_samples=N_SAMPLES)["labels"]
    assert np.all(np.isfinite(labels))
    assert np.all((labels >= toy.SPACE.lower.astype("f4")) & (labels <= toy.SPACE.upper.astype("f4")))


@pytest.mark.parametrize("flux", [0.0, 1.0, 50.0])
def test_nonsense_gives_finite_samples_and_a_bad_chi_square(toy_model, flux):
    shape = (2, toy.INSTRUMENT.n_pixels)
    drawn = toy_model.sample(np.full(shape, flux), np.full(shape, 0.01), np.zeros(shape), n_samples=N_SAMPLES)
    assert np.all(np.isfinite(drawn["labels"]))
    assert flux == 1.0 or np.all(drawn["chi_square"] > 10.0)


def test_log_prob_integrates_to_one(toy_model):
    """Importance sampling of the box with the model's own samples as proposal must find the volume of the box."""
    flux, error, mask = toy.observed(np.array([[5500.0, -0.5, 0.1]]), 60.0)
    samples = toy_model.sample(flux, error, mask, n_samples=4000, seed=3)["labels"][0]
    rows = np.repeat(flux, len(samples), axis=0)
    log_prob = toy_model.log_prob(
        samples, rows, np.repeat(error, len(rows), axis=0), np.repeat(mask, len(rows), axis=0)
    )
    inside = np.all(np.abs(samples - np.median(samples, axis=0)) < samples.std(axis=0), axis=1)
    volume = np.prod(2.0 * samples.std(axis=0))
    assert np.mean(inside / np.exp(log_prob)) == pytest.approx(volume, rel=0.15)
    outside = toy_model.log_prob([[9000.0, 0.0, 0.0]], flux, error, mask)
    assert outside[0] == -np.inf


def test_labels_that_do_not_belong_to_the_spectra_are_refused(toy_model):
    """Many labels of one spectrum would else all get the density of the first."""
    spectra = toy.observed(np.array([[5500.0, -0.5, 0.1]]), 60.0)
    for method in (toy_model.log_prob, toy_model.latent):
        for shape in ((4, 3), (1, 2), (3,)):
            with pytest.raises(ModelError, match=r"labels must have shape \(1, 3\).*repeat"):
                method(np.zeros(shape), *spectra)
    for wrong in ([[9000.0, 0.0, 0.0]], [[np.nan, 0.0, 0.0]], [[5000.0, 0.0]]):
        with pytest.raises(LabelError):
            toy_model.spectrum(wrong)
    edge = np.array([[5000.0, 0.0, 0.6]], dtype=np.float32)  # as samples end there: beyond 0.6 in double precision
    assert np.isfinite(toy_model.spectrum(edge)).all()


def test_same_seed_same_samples_whatever_the_batch(toy_model, test_stars):
    spectra = toy.observed(test_stars[:7], 80.0)
    whole = toy_model.sample(*spectra, n_samples=N_SAMPLES, seed=5)["labels"]
    again = toy_model.sample(*spectra, n_samples=N_SAMPLES, seed=5)["labels"]
    np.testing.assert_array_equal(whole, again)
    part = toy_model.sample(*(x[4:] for x in spectra), n_samples=N_SAMPLES, seed=5, first=4)["labels"]
    np.testing.assert_allclose(part, whole[4:], rtol=1e-4, atol=1e-3)
    other = toy_model.sample(*spectra, n_samples=N_SAMPLES, seed=6)["labels"]
    assert np.abs(other - whole).max() > 1.0


def test_a_model_knows_what_it_was_trained_on(toy_model):
    assert toy_model.label_space == toy.SPACE
    assert toy_model.summary_of_training["stars"] == 1600


def test_files_that_are_no_model(toy_model_file, tmp_path):
    whole = toy_model_file.read_bytes()
    cases = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    cases["flipped"] = bytes(flipped)
    for name, content in cases.items():
        path = tmp_path / f"{name}.keras"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=name):
            kcinn.load(path)
    with pytest.raises(ModelError, match="no such model"):
        kcinn.load(tmp_path / "absent.keras")
    with pytest.raises(ModelError, match="no such model"):
        kcinn.load(tmp_path)


def test_wrong_shapes_are_refused(toy_model):
    with pytest.raises(ModelError, match=r"\(n, 512\)"):
        toy_model.sample(np.ones((1, 10)), np.ones((1, 10)), np.zeros((1, 10)))


def test_a_file_is_not_replaced_against_the_users_wish(toy_model, tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("precious")
    with pytest.raises(ModelError, match="exists"):
        toy_model.save(path, overwrite=False)
    assert path.read_text() == "precious"
