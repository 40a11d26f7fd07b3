"""Broadening kernels and degrade, against analytic moments, published widths and direct numerical convolution."""

import numpy as np
import pytest
from scipy.optimize import brentq, curve_fit

from kcinn.broaden import degrade, gaussian_lsf, macroturbulence, match, on_instrument, rotation
from kcinn.errors import SpectraError
from kcinn.instrument import Arm, Instrument
from kcinn.spectra import Spectra
from kcinn.wavelength import SPEED_OF_LIGHT, pixel_edges

KERNELS = {
    "rotation": lambda: rotation(12.0),
    "rotation without limb darkening": lambda: rotation(12.0, 0.0),
    "macroturbulence": lambda: macroturbulence(6.0),
    "lsf": lambda: gaussian_lsf(20000.0),
}
# second moments: Gaussian sigma^2; zeta^2 / 4 (the disk average of zeta^2 cos^2(theta) / 2); and for the Gray profile
# the moments of sqrt(1 - x^2) and 1 - x^2, which are 1/4 and 1/5, weighted by the areas of the two
VARIANCE = {
    "rotation": 144.0 * ((1 - 0.6) * 0.25 + 0.6 * 2 / 3 * 0.2) / (1 - 0.2),
    "rotation without limb darkening": 144.0 * 0.25,
    "macroturbulence": 36.0 / 4.0,
    "lsf": (SPEED_OF_LIGHT / 20000.0) ** 2 / (8.0 * np.log(2.0)),
}
VELOCITY = np.linspace(-60.0, 60.0, 240001)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_has_unit_area_and_its_analytic_variance(name):
    profile = KERNELS[name]().profile(VELOCITY)
    assert np.trapezoid(profile, VELOCITY) == pytest.approx(1.0, abs=1e-6)
    assert np.trapezoid(profile * VELOCITY**2, VELOCITY) == pytest.approx(VARIANCE[name], rel=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_transform_is_the_fourier_integral_of_the_profile(name):
    kernel = KERNELS[name]()
    frequency = np.linspace(0.0, 3.0, 31)
    profile = kernel.profile(VELOCITY)
    expected = [np.trapezoid(profile * np.cos(k * VELOCITY), VELOCITY) for k in frequency]
    np.testing.assert_allclose(kernel.transform(frequency), expected, atol=2e-6)


@pytest.mark.parametrize("build", [rotation, macroturbulence])
def test_zero_width_changes_nothing(build):
    np.testing.assert_allclose(build(0.0).transform(np.linspace(0, 10, 50)), 1.0, rtol=1e-9)


def test_macroturbulence_is_the_disk_average_of_both_streams():
    zeta, v = 5.0, 3.0
    mu = (np.arange(200000) + 0.5) / 200000
    streams = [np.exp(-((v / (zeta * s)) ** 2)) / (np.sqrt(np.pi) * zeta * s) for s in (mu, np.sqrt(1 - mu**2))]
    expected = np.mean(0.5 * (streams[0] + streams[1]) * 2 * mu)  # half the surface each, weight 2 mu d(mu)
    assert macroturbulence(zeta).profile(v) == pytest.approx(expected, rel=1e-6)


def test_full_widths_at_half_maximum():
    gaussian, gray = gaussian_lsf(20000.0).profile, rotation(10.0, 0.0).profile
    assert gaussian(0.5 * SPEED_OF_LIGHT / 20000) / gaussian(0) == pytest.approx(0.5)
    assert brentq(lambda v: gray(v) / gray(0) - 0.5, 0, 10) == pytest.approx(10 * np.sqrt(0.75))  # an ellipse


@pytest.fixture(scope="module")
def instrument():
    pixels = np.array([0.0, 300.0, 599.0])
    arms = [
        Arm("green", tuple(pixels), (5160.0, 5190.0, 5218.0), (18000.0, 21000.0)),
        Arm("red", tuple(pixels), (6540.0, 6575.0, 6608.0), (20000.0, 20000.0)),
    ]
    return Instrument("test", arms, medium="air")


RNG = np.random.default_rng(3)
CENTRES = np.concatenate([RNG.uniform(5150, 5230, 160), RNG.uniform(6530, 6620, 160)])
DEPTHS, SIGMAS = RNG.uniform(0.05, 0.9, 320), RNG.uniform(0.03, 0.06, 320)


def lines(wavelength):
    near = np.abs(CENTRES - wavelength.mean()) < 0.5 * np.ptp(wavelength) + 1.0
    shape = np.exp(-0.5 * ((wavelength[:, None] - CENTRES[near]) / SIGMAS[near]) ** 2)
    return np.exp(-shape @ DEPTHS[near])


@pytest.fixture(scope="module")
def spectrum(instrument):
    parts = [np.arange(lower, upper, 0.03) for lower, upper in instrument.windows()]
    return np.concatenate(parts), np.concatenate([lines(part) for part in parts])


@pytest.mark.parametrize(
    ("vsini", "vmac", "rv"), [(0, 0, 0), (5, 3, 0), (40, 8, 0), (0, 4, 0), (1.5, 0, 0), (5, 3, 60), (0, 0, -35)]
)
def test_degrade_agrees_with_direct_convolution(instrument, spectrum, vsini, vmac, rv):
    flux = degrade(*spectrum, instrument, vsini=vsini, vmac=vmac, rv=rv)
    v = np.arange(-4500, 4501) * 0.02
    nodes, weights = np.polynomial.legendre.leggauss(4)
    lower, upper = (np.concatenate(e) for e in zip(*(pixel_edges(a.wavelength) for a in instrument.arms), strict=True))
    for pixel in [0, 1, 150, 300, 450, 599, 600, 700, 900, 1199]:
        kernel = gaussian_lsf(instrument.resolving_power(instrument.wavelength[pixel])).profile(v)
        for width, build in ((vsini, rotation), (vmac, macroturbulence)):
            if width:
                other = build(width).profile(v)
                kernel = np.convolve(kernel, other / other.sum(), mode="same")
        points = 0.5 * (lower[pixel] + upper[pixel]) + 0.5 * (upper[pixel] - lower[pixel]) * nodes
        rest = points / np.sqrt((1 + rv / SPEED_OF_LIGHT) / (1 - rv / SPEED_OF_LIGHT))
        values = [lines(x * np.exp(-v / SPEED_OF_LIGHT)) @ kernel / kernel.sum() for x in rest]
        assert flux[pixel] == pytest.approx(0.5 * np.dot(weights, values), abs=1.5e-4)


@pytest.mark.parametrize("vsini", [0.0, 5.0, 30.0])
def test_equivalent_width_is_conserved(instrument, vsini):
    wavelength = np.concatenate([np.arange(lower, upper, 0.03) for lower, upper in instrument.windows()])
    depth = 0.6 * np.exp(-0.5 * ((wavelength - 5190.017) / 0.05) ** 2)
    flux = degrade(wavelength, 1.0 - depth, instrument, vsini=vsini, vmac=3.0)
    expected = 0.6 * 0.05 * np.sqrt(2 * np.pi)
    assert np.sum((1.0 - flux) * instrument.pixel_width) == pytest.approx(expected, rel=2e-5)


def test_a_narrow_line_shows_the_resolving_power(instrument):
    wavelength = np.concatenate([np.arange(lower, upper, 0.01) for lower, upper in instrument.windows()])
    for centre in (5165.0, 5190.0, 5213.0, 6575.0):
        depth = np.exp(-0.5 * ((wavelength - centre) / 0.02) ** 2)
        flux = degrade(wavelength, 1.0 - depth, instrument)

        def gaussian(x, height, middle, sigma):
            return height * np.exp(-0.5 * ((x - middle) / sigma) ** 2)

        fit, _ = curve_fit(gaussian, instrument.wavelength, 1.0 - flux, p0=(0.2, centre, 0.12))
        width = instrument.pixel_width[np.argmin(abs(instrument.wavelength - centre))]
        sigma = np.sqrt(fit[2] ** 2 - 0.02**2 - width**2 / 12.0)
        assert fit[1] == pytest.approx(centre, abs=1e-3)
        assert centre / (sigma * 2.3548) == pytest.approx(float(instrument.resolving_power(centre)), rel=4e-3)


def test_the_continuum_stays_one(instrument, spectrum):
    np.testing.assert_allclose(
        degrade(spectrum[0], np.ones_like(spectrum[0]), instrument, vsini=20, vmac=5), 1.0, rtol=1e-9
    )


def test_draws_agree_with_single_calls(instrument, spectrum):
    vsini, vmac = np.array([0.0, 5.0, 25.0]), np.array([1.0, 0.0, 6.0])
    together = degrade(*spectrum, instrument, vsini=vsini, vmac=vmac, rv=7.0)
    assert together.shape == (3, instrument.n_pixels)
    # each call chooses its own oversampled grid, hence the tolerance
    for row, a, b in zip(together, vsini, vmac, strict=True):
        np.testing.assert_allclose(degrade(*spectrum, instrument, vsini=a, vmac=b, rv=7.0), row, atol=1e-4)


def test_input_that_is_already_broadened_is_broadened_less(instrument, spectrum):
    sharp = degrade(*spectrum, instrument)
    fine = Instrument.from_config(
        {
            "name": "fine",
            "medium": "air",
            "arm": [
                {
                    "name": str(k),
                    "start": lower + 1.0,
                    "step": 0.01,
                    "n_pixels": int((upper - lower - 2) / 0.01),
                    "resolving_power": 45000,
                }
                for k, (lower, upper) in enumerate(instrument.windows())
            ],
        }
    )
    again = degrade(fine.wavelength, degrade(*spectrum, fine), instrument, input_resolving_power=45000)
    np.testing.assert_allclose(again, sharp, atol=3e-4)


@pytest.mark.parametrize(
    ("change", "match_"),
    [
        (lambda w, f: (w[200:], f[200:], {}), "Arm 'green'.*Synthesise a wider window"),
        (lambda w, f: (np.delete(w, slice(900, 1000)), np.delete(f, slice(900, 1000)), {}), "without a gap"),
        (lambda w, f: (w, f, {"vsini": 300.0}), "Synthesise a wider window"),
        (lambda w, f: (w, f, {"vmac": 60.0}), "Synthesise a wider window"),
        (lambda w, f: (w, f, {"rv": -200.0}), "Synthesise a wider window"),
        (lambda w, f: (w, f, {"input_resolving_power": 15000}), "below that of arm"),
        (lambda w, f: (w, f, {"vsini": -1.0}), "not negative"),
        (lambda w, f: (w, f, {"vmac": np.nan}), "finite"),
        (lambda w, f: (w, np.where(w > 6600, np.nan, f), {}), "non-finite"),
        (lambda w, f: (w, f[:-1], {}), "one shape"),
        (lambda w, f: (w[::-1], f, {}), "ascending"),
    ],
)
def test_unusable_input_is_refused(instrument, spectrum, change, match_):
    wavelength, flux, options = change(*spectrum)
    with pytest.raises(SpectraError, match=match_):
        degrade(wavelength, flux, instrument, **options)


def test_match_agrees_with_degrade_and_masks_gaps(instrument, spectrum):
    observed = Instrument.from_config(
        {
            "name": "observed",
            "medium": "air",
            "arm": [
                {
                    "name": str(k),
                    "start": lower + 1.0,
                    "step": 0.02,
                    "n_pixels": int((upper - lower - 2) / 0.02),
                    "resolving_power": 60000,
                }
                for k, (lower, upper) in enumerate(instrument.windows())
            ],
        }
    )
    flux, wavelength = degrade(*spectrum, observed), observed.wavelength
    keep = (wavelength < 5180) | (wavelength > 5184)
    spectra = Spectra(wavelength[keep], flux[keep], error=0.01, medium="air")
    matched = match(spectra, instrument, resolving_power=60000)
    difference = np.abs(matched.flux - degrade(*spectrum, instrument))[0]
    beside = np.abs(instrument.wavelength - 5182.0) < 2.6
    assert difference[~beside].max() < 1e-3  # the observed pixels have a width of their own
    assert difference[beside & ~matched.mask[0]].max() < 5e-3
    pixels = instrument.wavelength[matched.mask[0]]
    assert 5179.7 < pixels.min() < 5180.0 and 5184.0 < pixels.max() < 5184.3
    shifted = match(spectra.shifted(-20.0), instrument, resolving_power=60000, velocity=[20.0])
    np.testing.assert_allclose(shifted.flux, matched.flux, atol=1e-6)
    with pytest.raises(SpectraError, match="below"):
        match(spectra, instrument, resolving_power=19000)


@pytest.mark.parametrize("resolving_power", [None, 30000, 60000])
def test_line_depths_scatter_as_their_errors_say(instrument, resolving_power):
    """Smoothing and resampling correlate the noise; a fit that takes pixels as independent is right all the same."""
    fine = np.concatenate([np.arange(lower, upper, 0.03) for lower, upper in instrument.windows()])
    noise = 0.05 * np.random.default_rng(3).normal(size=(600, len(fine)))
    spectra = on_instrument(Spectra(fine, 1.0 + noise, error=0.05, medium="air"), instrument, resolving_power)
    ratios = []
    for pixel in range(40, instrument.n_pixels, 80):
        centre = instrument.wavelength[pixel]
        width = centre / (2.3548 * instrument.resolving_power(centre))
        profile = np.exp(-0.5 * ((instrument.wavelength - centre) / width) ** 2) / spectra.error[0]
        depth = ((1.0 - spectra.flux) / spectra.error[0]) @ profile / (profile @ profile)
        ratios.append(depth.std() * np.linalg.norm(profile))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(ratios, 1.0, atol=0.13)
