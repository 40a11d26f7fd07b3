"""Wavelength scales and resampling, against published values, Monte Carlo and analytic spectra."""

import numpy as np
import pytest

from kcinn.errors import SpectraError
from kcinn.wavelength import (
    air_to_vacuum,
    doppler_shift,
    pixel_edges,
    resample,
    resampling_matrix,
    segments,
    smoothing_matrix,
    vacuum_to_air,
)

COARSE, FINE = np.arange(5000.0, 5100.0, 0.37), np.arange(4999.0, 5101.0, 0.03)


@pytest.mark.parametrize(
    ("air", "vacuum"),  # NIST: H alpha, [O III], H beta
    [(6562.819, 6564.632), (5006.843, 5008.240), (4861.333, 4862.691)],
)
def test_air_and_vacuum_agree_with_published_pairs(air, vacuum):
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=2e-3)
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=2e-3)


def test_refractive_index_agrees_with_edlen():
    vacuum = np.linspace(3900.0, 9000.0, 30)
    s = (1e4 / vacuum) ** 2
    edlen = 1.0 + 6.4328e-5 + 2.94981e-2 / (146.0 - s) + 2.5540e-4 / (41.0 - s)  # Edlen (1953), another measurement
    np.testing.assert_allclose(vacuum_to_air(vacuum), vacuum / edlen, rtol=3e-8)  # 9 m/s


def test_air_to_vacuum_inverts_vacuum_to_air_to_rounding():
    vacuum = np.linspace(2001.0, 24990.0, 20001)
    np.testing.assert_allclose(air_to_vacuum(vacuum_to_air(vacuum)), vacuum, rtol=4e-16)


@pytest.mark.parametrize("convert", [vacuum_to_air, air_to_vacuum])
def test_nanometres_are_suspected(convert):
    with pytest.raises(SpectraError, match="nm"):
        convert(656.28)


def test_doppler_shift_is_relativistic_and_undone_by_the_opposite_velocity():
    assert doppler_shift(5000.0, 299.792458) == pytest.approx(5000.0 * (1.001 / 0.999) ** 0.5, rel=1e-12)
    np.testing.assert_allclose(doppler_shift(doppler_shift(FINE, 321.0), -321.0), FINE, rtol=1e-14)


def test_pixel_edges_stop_at_gaps():
    wavelength = np.r_[np.arange(5000.0, 5010.0, 0.1), np.arange(6000.0, 6010.0, 0.2)]
    lower, upper = pixel_edges(wavelength)
    assert upper[99] == pytest.approx(wavelength[99] + 0.05) and lower[100] == pytest.approx(5999.9)
    np.testing.assert_array_equal(upper[:99], lower[1:100])
    assert segments(wavelength) == [slice(0, 100), slice(100, 150)]


def test_same_grid_is_the_identity():
    np.testing.assert_allclose(resampling_matrix(FINE, FINE).toarray(), np.eye(len(FINE)), atol=1e-9)


def test_coarser_grid_conserves_the_integral():
    flux = np.random.default_rng(0).uniform(0.2, 1.0, len(FINE))
    new, _, mask = resample(FINE, flux, COARSE)
    lower, upper = pixel_edges(COARSE)
    old_lower, old_upper = pixel_edges(FINE)
    inside = np.minimum(old_upper, upper[-1]) - np.maximum(old_lower, lower[0])
    assert not mask.any()
    assert np.sum(new * (upper - lower)) == pytest.approx(np.sum(flux * np.maximum(inside, 0.0)), rel=1e-12)


GRIDS = {
    "overlap": (np.arange(5000.0, 5030.0, 0.1), np.arange(5001.0, 5029.0, 0.43)),
    "interpolation": (np.arange(5000.0, 5030.0, 0.4), np.arange(5001.0, 5029.0, 0.13)),
    "same step": (np.arange(5000.0, 5030.0, 0.1), np.arange(5001.04, 5029.0, 0.1)),
    "smoothing": (np.arange(5000.0, 5030.0, 0.1), np.arange(5003.0, 5027.0, 0.25)),
}


def resampled_noise(shape, line=None):
    """Many draws of noise, resampled, and the errors that come with them."""
    old, new = GRIDS[shape]
    sigma = np.full(len(new), 0.3) if shape == "smoothing" else None
    error = 1.0 + 0.5 * np.sin(old / 5.0)
    draws = 1.0 + error * np.random.default_rng(1).normal(size=(4000, len(old)))
    return resample(old, draws, new, error=np.broadcast_to(error, draws.shape), sigma=sigma, line=line)


@pytest.mark.parametrize("shape", GRIDS)
def test_a_wide_sum_scatters_as_the_errors_of_its_pixels_say(shape):
    new = GRIDS[shape][1]
    flux, error, mask = resampled_noise(shape)
    weight = np.exp(-0.5 * ((new - 5015.0) / 3.0) ** 2)
    assert not mask.any()
    assert (flux @ weight).std() / np.linalg.norm(weight * error[0]) == pytest.approx(1.0, abs=0.035)
    assert np.all(flux.std(axis=0) < 1.06 * error[0])  # single pixels scatter no more than their errors


@pytest.mark.parametrize("shape", GRIDS)
def test_a_fitted_line_depth_scatters_as_its_error_says(shape):
    new, width = GRIDS[shape][1], 0.4
    flux, error, _ = resampled_noise(shape, line=np.full(len(new), width))
    ratios = []
    for centre in np.arange(5008.0, 5023.0, 0.7):
        profile = np.exp(-0.5 * ((new - centre) / width) ** 2) / error[0]
        depth = ((1.0 - flux) / error[0]) @ profile / (profile @ profile)
        ratios.append(depth.std() * np.linalg.norm(profile))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)


def test_linear_flux_is_interpolated_exactly_onto_a_finer_grid():
    old, new = np.arange(5000.0, 5030.0, 0.4), np.arange(5001.0, 5029.0, 0.13)
    flux, _, mask = resample(old, 0.01 * (old - 5000.0), new)
    np.testing.assert_allclose(flux, 0.01 * (new - 5000.0), rtol=1e-9)
    assert not mask.any()


def test_smoothing_a_gaussian_line_gives_the_analytic_line():
    old, new = np.arange(4990.0, 5010.0, 0.02), np.arange(4995.0, 5005.0, 0.11)
    flux, _, _ = resample(old, 1 - 0.5 * np.exp(-0.5 * ((old - 5000) / 0.1) ** 2), new, sigma=np.full(len(new), 0.2))
    width = np.hypot(0.1, 0.2)
    x = (new[:, None] + np.linspace(-0.055, 0.055, 111) - 5000) / width
    expected = np.trapezoid(1 - 0.5 * 0.1 / width * np.exp(-0.5 * x**2), dx=1 / 110, axis=1)
    np.testing.assert_allclose(flux, expected, atol=2e-4)


def test_smoothing_rows_add_up_to_one_inside():
    matrix = smoothing_matrix(FINE, np.arange(5010.0, 5090.0, 0.1), np.full(800, 0.3))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-8)


def test_pixels_outside_the_input_are_masked():
    new = np.arange(4990.0, 5110.0, 0.37)
    flux, error, mask = resample(FINE, np.full(len(FINE), 0.5), new, error=np.full(len(FINE), 0.1))
    outside = (new < FINE[0] - 0.4) | (new > FINE[-1] + 0.4)
    assert mask[outside].all() and not mask[(new > FINE[0] + 0.4) & (new < FINE[-1] - 0.4)].any()
    assert np.all(flux[mask] == 1.0) and np.all(np.isinf(error[mask]))
    np.testing.assert_allclose(flux[~mask], 0.5)


@pytest.mark.parametrize("step", [0.05, 0.4])
def test_gaps_are_not_bridged(step):
    old = np.r_[np.arange(5000.0, 5020.0, 0.1), np.arange(5030.0, 5050.0, 0.1)]
    new = np.arange(5001.0, 5049.0, step)
    flux, _, mask = resample(old, np.where(old < 5025, 0.2, 0.8), new)
    assert mask[(new > 5020.3) & (new < 5029.7)].all()
    assert np.all(np.isin(np.round(flux[~mask], 9), [0.2, 0.8]))


@pytest.mark.parametrize("bad", ["mask", "nan flux", "zero error"])
def test_bad_pixels_do_not_leak(bad):
    old, new = np.arange(5000.0, 5030.0, 0.1), np.arange(5001.0, 5029.0, 0.5)
    flux, error, mask = np.full((2, len(old)), 0.7), np.full((2, len(old)), 0.1), np.zeros((2, len(old)), dtype=bool)
    spot = slice(100, 115)
    if bad == "mask":
        flux[1, spot], mask[1, spot] = 1e9, True
    elif bad == "nan flux":
        flux[1, spot] = np.nan
    else:
        error[1, spot], flux[1, spot] = 0.0, 1e9
    new_flux, new_error, new_mask = resample(old, flux, new, error=error, mask=mask)
    assert not new_mask[0].any() and new_mask[1].any() and new_mask[1].sum() <= 5
    np.testing.assert_allclose(new_flux[~new_mask], 0.7)
    assert np.isfinite(new_error[~new_mask]).all()


@pytest.mark.parametrize(("max_bad", "masked"), [(0.24, True), (0.26, False)])
def test_a_pixel_is_masked_when_its_bad_share_exceeds_the_limit(max_bad, masked):
    old, new = 5000.0625 + 0.125 * np.arange(80), 5000.25 + 0.5 * np.arange(20)  # four old pixels in each new one
    bad = np.arange(80) == 41
    flux, error, mask = resample(old, np.where(bad, 99.0, 0.5), new, error=np.ones(80), mask=bad, max_bad=max_bad)
    np.testing.assert_array_equal(np.flatnonzero(mask), [10] if masked else [])
    np.testing.assert_allclose(flux[~mask], 0.5)
    if not masked:
        assert error[10] == pytest.approx(1 / np.sqrt(3)) and error[9] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("wavelength", "flux", "error"),
    [
        (FINE[::-1], np.ones(len(FINE)), None),
        (FINE, np.ones(7), None),
        (FINE, np.ones(len(FINE)), np.ones((2, len(FINE)))),
    ],
)
def test_wrong_input_is_refused(wavelength, flux, error):
    with pytest.raises(SpectraError):
        resample(wavelength, flux, COARSE, error=error)
