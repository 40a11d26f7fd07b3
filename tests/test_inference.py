"""predict and Posterior: observed spectra of any shape in, an honest catalogue out."""

import numpy as np
import pytest
import toy
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from kcinn.errors import KcinnError, SpectraError
from kcinn.flag import Flag
from kcinn.inference import predict
from kcinn.model.mock import mock_spectra
from kcinn.posterior import Posterior
from kcinn.spectra import Spectra
from kcinn.wavelength import air_to_vacuum

N_SAMPLES = 500  # of every call: another number would be compiled anew
TRUTH = np.array([[5500.0, -0.5, 0.1], [4800.0, -1.2, 0.3], [6200.0, 0.1, 0.0]])


def spectra(snr=150.0, **changes):
    flux, error, mask = toy.observed(TRUTH, snr)
    arguments = {"error": error, "mask": mask, "medium": "air", **changes}
    return Spectra(toy.INSTRUMENT.wavelength, flux, **arguments)


def test_truth_lies_within_the_posterior(toy_model):
    posterior = predict(toy_model, spectra(), n_samples=N_SAMPLES)
    pull = (posterior.median - TRUTH) / posterior.samples.std(axis=1)
    assert np.all(np.abs(pull) < 4.5)
    assert np.all(posterior.flag == 0)
    np.testing.assert_allclose(posterior.diagnostics["snr"], 150.0, rtol=0.5)
    assert np.all(np.abs(posterior.diagnostics["chi_square"] - 1.0) < 0.4)


def test_medium_and_grid_do_not_matter(toy_model):
    """The same stars on a finer grid in vacuum give the same answer within their errors."""
    fine = np.concatenate([np.arange(5155.0, 5190.0, 0.02), np.arange(6095.0, 6135.0, 0.02)])
    rng = np.random.default_rng(5)
    pieces = [np.interp(fine, toy.INSTRUMENT.wavelength, row) for row in toy.flux(TRUTH)]
    error = 0.01
    flux = np.array(pieces) + error * rng.normal(size=(3, len(fine)))
    posterior = predict(
        toy_model, Spectra(air_to_vacuum(fine), flux, error=error, medium="vacuum"), n_samples=N_SAMPLES
    )
    direct = predict(toy_model, spectra(), n_samples=N_SAMPLES)
    spread = np.hypot(posterior.samples.std(axis=1), direct.samples.std(axis=1))
    assert np.all(np.abs(posterior.median - direct.median) < 4.0 * spread + 0.01 * (toy.SPACE.upper - toy.SPACE.lower))


def test_quantities_in_other_units_give_the_same_posterior(toy_model):
    """Wavelengths in nm, um or wave numbers, and flux in percent, are the star in angstrom."""
    wavelength, (flux, error, _) = toy.INSTRUMENT.wavelength, toy.observed(TRUTH, 150.0)
    expected = predict(toy_model, Spectra(wavelength, flux, error=error, medium="vacuum"), n_samples=200)
    for unit in (u.nm, u.um):
        axis = (wavelength * u.AA).to(unit)
        given = Spectra(axis, 100.0 * flux * u.percent, error=100.0 * error * u.percent, medium="vacuum")
        np.testing.assert_allclose(predict(toy_model, given, n_samples=200).samples, expected.samples, rtol=1e-3)
    moving = Spectra(wavelength, flux, error=error, medium="vacuum").shifted(-3e4 * u.m / u.s)
    back = moving.shifted(30.0 * u.km / u.s).resampled(wavelength, velocity=np.zeros(3) * u.m / u.s)
    np.testing.assert_allclose(back.flux, flux, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"wavelength": np.arange(5200.0, 5300.0) * u.K}, "wavelength is in K"),
        ({"wavelength": np.arange(520.0, 530.0, 0.1)}, "looks like nm"),
        ({"flux": np.ones(100) * u.Jy}, "flux is in Jy.*continuum"),
    ],
)
def test_units_that_are_none_of_these_are_refused(arguments, match):
    with pytest.raises(SpectraError, match=match):
        Spectra(**{"wavelength": np.arange(5200.0, 5300.0), "flux": np.ones(100), "medium": "air", **arguments})


def test_pixels_outside_are_masked_and_few_pixels_are_flagged(toy_model):
    part = slice(20, 140)
    flux, error, _ = toy.observed(TRUTH, 150.0)
    few = Spectra(toy.INSTRUMENT.wavelength[part], flux[:, part], error=error[:, part], medium="air")
    posterior = predict(toy_model, few, n_samples=N_SAMPLES)
    assert np.all(posterior.flag & Flag.FEW_PIXELS)
    assert np.all(posterior.diagnostics["n_pixels"] <= 120)
    assert np.all(np.isfinite(posterior.samples))


def test_the_synthetic_gap_widens_what_the_synthesis_misses_and_nothing_else(toy_model):
    gap = np.where(np.arange(toy.INSTRUMENT.n_pixels) % 3 == 0, 0.06, 0.0).astype("f4")
    labels = np.tile(TRUTH, (20, 1))
    flux, error, _ = toy.observed(labels, 150.0, seed=3)
    flux[::2] += gap * np.random.default_rng(4).normal(size=flux.shape)[::2]
    observed = Spectra(toy.INSTRUMENT.wavelength, flux, error=error, medium="air")
    plain = predict(toy_model, observed, n_samples=N_SAMPLES)
    assert not np.any(plain.flag & Flag.GAP)  # a grid of another engine: its gap is not known
    try:
        toy_model.gap.assign(gap)
        posterior = predict(toy_model, observed, n_samples=N_SAMPLES)
        off = predict(toy_model, observed, n_samples=N_SAMPLES, gap=False)
        # 16 spectra of 500 samples are drawn at a time: these have the same places, on which the last bit can depend
        fewer = predict(toy_model, observed[16:], n_samples=N_SAMPLES, first=16)
    finally:
        toy_model.gap.assign(np.zeros_like(gap))
    np.testing.assert_array_equal(off.samples, plain.samples)
    np.testing.assert_array_equal(posterior.flag & Flag.GAP > 0, np.arange(len(labels)) % 2 == 0)
    np.testing.assert_array_equal(posterior.samples[1::2], plain.samples[1::2])
    np.testing.assert_array_equal(fewer.samples, posterior.samples[16:])  # whichever rows are beside it in the batch

    def residual(of):
        return np.sqrt(np.mean(((of.median - labels)[::2] / (toy.SPACE.upper - toy.SPACE.lower)) ** 2))

    assert residual(posterior) < 0.8 * residual(plain)
    pull = (posterior.median - labels)[::2] / posterior.samples[::2].std(axis=1)
    assert np.sqrt(np.mean(pull**2)) < 1.4


def test_errors_smaller_than_any_in_the_training_count_as_the_smallest(toy_model):
    best = toy.OBSERVATION.snr[1] * np.exp(2.0 * toy.OBSERVATION.arm_contrast)  # arms differ
    flux, error, _ = toy.observed(np.array([[5500.0, -0.5, 0.1]]), best)
    believed, boasted = (
        predict(toy_model, Spectra(toy.INSTRUMENT.wavelength, flux, error=e, medium="air"), n_samples=N_SAMPLES)
        for e in (error, error / 30.0)
    )
    # the fit's cost in single precision, and with it the best fit, is known to about a hundredth of the error
    apart = np.abs(boasted.samples - believed.samples) / believed.samples.std(axis=1, keepdims=True)
    assert apart.max() < 0.05
    assert boasted.flag[0] & Flag.SNR_RANGE


def test_errors_are_trusted_as_far_as_the_training_knew_them(toy_model):
    """Those of the best mock spectra stay, small ones in line cores too; those of better spectra grow as a whole."""
    best = mock_spectra(toy.grid(64, seed=4), toy_model.observation.at(toy_model.observation.snr[1]), seed=1)
    error, mask = best.error.astype(np.float32), best.mask.astype(np.float32)
    assert error.min() < 0.5 * error.max()
    np.testing.assert_array_equal(toy_model.trusted(error, mask), error)
    growth = np.asarray(toy_model.trusted(0.01 * error, mask)) / (0.01 * error)
    np.testing.assert_allclose(growth, np.broadcast_to(growth[:, :1], growth.shape), rtol=1e-5)
    assert np.all((growth > 30.0) & (growth < 100.0))


def test_a_pixel_with_a_wrong_error_does_not_decide_for_all(toy_model):
    flux, error, _ = toy.observed(np.array([[5500.0, -0.5, 0.1]]), 100.0)
    wrong = error.copy()
    wrong[0, 100] = 1e-7
    usual, odd = (
        predict(toy_model, Spectra(toy.INSTRUMENT.wavelength, flux, error=e, medium="air"), n_samples=N_SAMPLES)
        for e in (error, wrong)
    )
    scatter = usual.samples[0].std(axis=0)
    np.testing.assert_allclose(odd.samples[0].std(axis=0), scatter, rtol=0.2)
    assert np.all(np.abs(odd.mean[0] - usual.mean[0]) < 3.0 * scatter)


def test_flags(toy_model):
    assert np.all(predict(toy_model, spectra(error=None), n_samples=N_SAMPLES).flag & Flag.ESTIMATED_ERROR)
    assert np.all(predict(toy_model, spectra(snr=5.0), n_samples=N_SAMPLES).flag & Flag.SNR_RANGE)
    flux = 1.0 - 0.4 * (np.arange(512) % 7 == 0)
    strange = Spectra(toy.INSTRUMENT.wavelength, flux, error=0.01, medium="air")
    assert predict(toy_model, strange, n_samples=N_SAMPLES).flag[0] & Flag.POOR_FIT
    edge = toy.observed(np.array([[4001.0, -1.99, 0.0]]), 200.0)
    near = Spectra(toy.INSTRUMENT.wavelength, edge[0], error=edge[1], medium="air")
    assert predict(toy_model, near, n_samples=N_SAMPLES).flag[0] & Flag.EDGE


def test_a_spectrum_without_a_good_pixel_has_no_labels(toy_model):
    mask = toy.observed(TRUTH, 150.0)[2].astype(bool)
    mask[1] = True
    posterior = predict(toy_model, spectra(mask=mask), n_samples=N_SAMPLES)
    assert np.isnan(posterior.samples[1]).all() and np.isfinite(posterior.samples[[0, 2]]).all()
    assert posterior.flag[1] == Flag.UNUSABLE and not np.any(posterior.flag[[0, 2]] & Flag.UNUSABLE)
    row = posterior.summary(covariance=True)[1]
    assert np.isnan([row[name].value for name in ("teff", "e_teff", "teff_map", "cov_fe_h_teff", "velocity")]).all()
    others = predict(toy_model, spectra(), n_samples=N_SAMPLES)
    np.testing.assert_array_equal(posterior.samples[0], others.samples[0])


def test_bad_input_is_refused(toy_model):
    with pytest.raises(SpectraError, match="no spectra"):
        predict(toy_model, spectra()[:0])
    wavelength = toy.INSTRUMENT.wavelength
    with pytest.raises(SpectraError, match="no good pixel"):
        predict(toy_model, Spectra(wavelength + 1000.0, np.ones(512), error=0.1, medium="air"))
    with pytest.raises(SpectraError, match="median flux"):
        predict(toy_model, Spectra(wavelength, np.full(512, 3e4), error=100.0, medium="air"))
    with pytest.raises(SpectraError, match="resolving power"):
        predict(toy_model, spectra(), resolving_power=5000.0)


def gaussian_posterior(n_samples=20000):
    rng = np.random.default_rng(0)
    samples = np.array([5500.0, -0.5, 0.1]) + np.array([50.0, 0.1, 0.05]) * rng.normal(size=(2, n_samples, 3))
    return Posterior(samples, toy.SPACE, ids=["a", "b"], diagnostics={"snr": [10.0, 20.0]})


def test_summary_of_a_known_posterior():
    table = gaussian_posterior().summary(covariance=True)
    assert table["teff"].unit == "K" and table["e_teff"].unit == "K"
    np.testing.assert_allclose(table["teff"].value, 5500.0, atol=2.0)
    np.testing.assert_allclose(table["e_teff"].value, 0.9945 * 50.0, rtol=0.03)
    np.testing.assert_allclose(table["teff_map"].value, 5500.0, atol=15.0)
    np.testing.assert_allclose(table["teff_p84"].value - table["teff_p16"].value, 2 * 0.9945 * 50.0, rtol=0.03)
    np.testing.assert_allclose(table["cov_fe_h_fe_h"].value, 0.01, rtol=0.05)
    assert list(table["id"]) == ["a", "b"]


@pytest.mark.parametrize("ending", [".fits", ".ecsv", ".csv", ".vot", ".h5"])
def test_catalogue_files(tmp_path, ending):
    posterior = gaussian_posterior(100)
    path = tmp_path / f"catalogue{ending}"
    posterior.write(path)
    posterior.write(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if ending in (".fits", ".ecsv", ".vot"):
        table = QTable.read(path)
        np.testing.assert_allclose(table["teff"].to_value("K"), posterior.median[:, 0], rtol=1e-6)
    if ending == ".fits":
        header = fits.getheader(path, 1)
        number = next(k for k in range(1, 99) if header[f"TTYPE{k}"] == "e_fe_h")
        assert header[f"TUNIT{number}"] == "dex" and header[f"TUCD{number}"] == "stat.error;phys.abund"
        assert "16 to 84" in header[f"TCOMM{number}"] and "edge" in header["FLAG4"]


def test_unknown_ending_is_refused(tmp_path):
    with pytest.raises(KcinnError, match=r"\.fits.*catalogue\.xyz"):
        gaussian_posterior(10).write(tmp_path / "catalogue.xyz")
    assert list(tmp_path.iterdir()) == []


def test_quasi_random_samples_summarise_better_and_stay_with_their_star(toy_model):
    many = predict(toy_model, spectra(), n_samples=32768)
    random, quasi = (predict(toy_model, spectra(), n_samples=256, quasi=flag) for flag in (False, True))
    scatter = many.samples.std(axis=1)

    def error(of):
        return np.sqrt(np.mean(((of.mean - many.mean) / scatter) ** 2))

    assert error(quasi) < 0.5 * error(random)
    np.testing.assert_allclose(quasi.samples.std(axis=1), scatter, rtol=0.1)
    second = predict(toy_model, spectra()[1:], n_samples=256, quasi=True, first=1)
    np.testing.assert_array_equal(second.samples[0], quasi.samples[1])
    other = predict(toy_model, spectra()[:1], n_samples=256, quasi=True, seed=1)
    assert np.all(np.abs(other.samples[0] - quasi.samples[0]).max(axis=0) > 0.1 * scatter[0])
    with pytest.raises(KcinnError, match="powers of two.*n_samples=300"):
        predict(toy_model, spectra(), n_samples=300, quasi=True)
