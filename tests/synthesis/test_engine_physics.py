"""The engine's physics against analytic results and textbook numbers."""

import astropy.units as u
import numpy as np
import pytest
from astropy.modeling.physical_models import BlackBody
from scipy.special import expn, wofz

from kcinn.synthesis.nlte.atmosphere import model
from kcinn.synthesis.nlte.balmer import NODES, _stark_and_thermal, line_opacity
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, abundances, ion_fractions, partition_functions, saha_products
from kcinn.synthesis.nlte.equation_of_state import EquationOfState, carbon_and_oxygen_in_co
from kcinn.synthesis.nlte.opacity import continuum, planck
from kcinn.synthesis.nlte.transfer import MU, MU_WEIGHTS, emergent_flux, line_flux, mean_intensity, tau_weights
from kcinn.synthesis.nlte.voigt import voigt

LOG_TAU = np.linspace(-5.0, 2.0, 600)


@pytest.fixture(scope="module")
def sun():
    return model(5777.0, 4.44, 0.0, abundances(0.0, {}))


@pytest.mark.parametrize("a", [0.0, 1e-4, 1e-2, 0.19, 0.21, 1.0, 2.0])
def test_voigt_function(a):
    v = np.concatenate([np.linspace(0.0, 12.0, 241), [30.0, 200.0]])
    ours = np.array([voigt(a, x) for x in v])
    np.testing.assert_allclose(ours, wofz(v + 1j * a).real, rtol=0.01, atol=1e-7)


def test_planck_function():
    ours = planck(np.array([5000.0]), np.array([5777.0]))[0, 0]
    theirs = BlackBody(temperature=5777 * u.K)(5000 * u.AA).to_value("erg / (s cm2 Hz sr)")
    assert ours == pytest.approx(theirs, rel=1e-6)


def grey(source):
    """Flux of an atmosphere with constant opacity and the source function source(tau)."""
    flux = np.empty(1)
    opacity = np.ones((1, len(LOG_TAU)))
    weight = tau_weights(LOG_TAU, opacity[0])
    emergent_flux(source(10.0**LOG_TAU)[None], opacity, LOG_TAU, weight, MU, MU_WEIGHTS, flux)
    return flux[0]


def test_flux_of_a_linear_source_function_is_its_value_at_two_thirds():
    # Eddington-Barbier: F = pi (a + 2/3 b) for S = a + b tau, exactly
    assert grey(lambda tau: 1.0 + 1.5 * tau) == pytest.approx(np.pi * 2.0, rel=2e-3)
    assert grey(np.ones_like) == pytest.approx(np.pi, rel=1e-3)


def test_flux_of_a_quadratic_source_function():
    # F = 2 pi int S E2 dtau = 2 pi (1/2 + 2!/(4)...) evaluated numerically
    tau = np.linspace(0.0, 60.0, 600001)
    expected = 2.0 * np.pi * np.trapezoid((1.0 + tau**2) * expn(2, tau), tau)
    assert grey(lambda tau: 1.0 + tau**2) == pytest.approx(expected, rel=5e-3)


def isothermal(destruction):
    """Mean intensity and source function of an isothermal atmosphere, B = 1, of the given destruction probability."""
    opacity = np.ones((1, len(LOG_TAU)))
    weight = tau_weights(LOG_TAU, opacity[0])
    mean = mean_intensity(destruction * opacity, (1.0 - destruction) * opacity, opacity, LOG_TAU, weight)[0]
    return mean, destruction + (1.0 - destruction) * mean


def test_mean_intensity_without_scattering_is_that_of_the_planck_function():
    mean, source = isothermal(1.0)
    np.testing.assert_allclose(mean, 1.0 - 0.5 * expn(2, 10.0**LOG_TAU), atol=0.01)
    np.testing.assert_array_equal(source, 1.0)


@pytest.mark.parametrize("destruction", [1e-1, 1e-2, 1e-3])
def test_scattering_atmosphere_obeys_the_square_root_law(destruction):
    mean, source = isothermal(destruction)
    assert source[0] == pytest.approx(np.sqrt(destruction), rel=0.03)  # exact: Mihalas (1978), eq. 6-24
    assert mean[-1] == pytest.approx(1.0, abs=0.01 / np.sqrt(destruction) * 0.1)


def test_scattering_conserves_energy():
    """What leaves at the surface is what the gas emits beyond what it absorbs."""
    destruction = 0.02
    mean, source = isothermal(destruction)
    opacity, flux = np.ones((1, len(LOG_TAU))), np.empty(1)
    emergent_flux(source[None], opacity, LOG_TAU, tau_weights(LOG_TAU, opacity[0]), MU, MU_WEIGHTS, flux)
    tau = 10.0**LOG_TAU
    emitted = 4.0 * np.pi * np.trapezoid(destruction * (1.0 - mean) * tau * np.log(10.0), LOG_TAU)
    assert flux[0] == pytest.approx(emitted, rel=0.02)


@pytest.mark.parametrize("strength", [0.0, 0.01, 0.1, 1.0, 30.0])
def test_a_line_over_a_scattering_continuum(strength):
    """Schuster's mechanism: where an isothermal atmosphere scatters, a line that absorbs is seen in emission.

    As bright as the direct solution of the transfer equation with the line's opacity says.
    """
    nodes, wavelength = np.array([5000.0, 5010.0]), np.array([5003.0])
    one = np.ones((2, len(LOG_TAU)))
    weight = tau_weights(LOG_TAU, one[0])
    absorption, scattering, line = 0.02 * one, 0.98 * one, np.full((1, len(LOG_TAU)), strength)
    flux, exact = np.empty((2, 1))
    mean = mean_intensity(absorption, scattering, one, LOG_TAU, weight)
    line_flux(
        wavelength, nodes, absorption, scattering, one, mean,
        line, 0.0 * line, LOG_TAU, weight, MU, MU_WEIGHTS, flux,
    )  # fmt: skip
    absorbed, scattered = absorption[:1] + line, scattering[:1]
    mean = mean_intensity(absorbed, scattered, one[:1], LOG_TAU, weight)
    source = (absorbed + scattered * mean) / (absorbed + scattered)
    emergent_flux(source, absorbed + scattered, LOG_TAU, weight, MU, MU_WEIGHTS, exact)
    assert flux[0] == pytest.approx(exact[0], rel=0.03)


def test_saha_limits():
    temperature = np.array([3500.0, 6000.0, 12000.0])
    partition = partition_functions(temperature)
    fractions = ion_fractions(saha_products(temperature, partition), np.full(3, 1e13))
    np.testing.assert_allclose(fractions.sum(axis=1), 1.0)
    assert fractions[1, 0, 0] > 0.999999 and fractions[1, 1, 2] > 0.95  # hydrogen neutral when cool, ionised when hot
    assert fractions[ATOMIC_NUMBER["Na"], 1, 1] > 0.99 and fractions[2, 0, 1] > 0.999
    # Gray (2005), eq. 1.20: log(n1/n0 Pe) = log(0.6665 u1/u0 T^2.5) - 5040/T I, for hydrogen at 10000 K
    t = np.array([10000.0])
    ratio = saha_products(t, partition_functions(t))[1, 0, 0] * 1.380649e-16 * t[0]
    assert np.log10(ratio) == pytest.approx(np.log10(0.6665 * 0.5) + 10.0 - 0.504 * 13.598, abs=0.005)


def test_charge_and_particles_balance():
    temperature = np.array([4000.0, 5000.0, 6500.0, 9000.0])
    pressure = np.array([1e3, 1e5, 1e5, 1e5])
    plasma = EquationOfState(temperature, abundances(0.0, {})).solve(pressure)
    fractions = ion_fractions(plasma.saha, plasma.electrons)
    ions = (plasma.abundances[2:, None] * plasma.hydrogen * (fractions[2:, 1] + 2.0 * fractions[2:, 2])).sum(axis=0)
    np.testing.assert_allclose(plasma.electrons, ions + plasma.protons - plasma.h_minus, rtol=0.01)
    nuclei = plasma.hydrogen * plasma.abundances[2:].sum()
    particles = plasma.h_neutral + plasma.protons + plasma.h_minus + plasma.h2 + nuclei + plasma.electrons
    np.testing.assert_allclose(particles * 1.380649e-16 * temperature, pressure, rtol=2e-3)


def test_solar_photosphere(sun):
    """Model C of Vernazza, Avrett & Loeser (1981, ApJS 45, 635) at tau5000 = 1: an independent sun."""
    at_unity = np.interp(0.0, sun.log_tau, sun.gas_pressure)
    assert np.log10(at_unity) == pytest.approx(np.log10(1.172e5), abs=0.03)
    pressure = np.array([1.166e17 * 1.085 * 1.380649e-16 * 6420.0])
    pressure = np.array([1.166e17 * 1.085 * 1.380649e-16 * 6420.0])
    gas = EquationOfState(np.array([6420.0]), abundances(0.0, {})).solve(pressure)
    assert gas.hydrogen[0] == pytest.approx(1.166e17, rel=0.01)
    assert gas.electrons[0] == pytest.approx(6.433e13, rel=0.07)


def test_solar_structure_without_overshooting():
    """MARCS solar model (Gustafsson et al. 2008, A&A 486, 951), without overshooting; with it up to 250 K off."""
    log_tau = [-1.0711, -0.4944, -0.1071, 0.1838, 0.3729, 0.6480]
    marcs = [5088.6, 5597.1, 6235.2, 6983.3, 7618.2, 8290.4]
    sun = model(5777.0, 4.44, 0.0, abundances(0.0, {}), overshooting=0.0)
    assert np.interp(log_tau, sun.log_tau, sun.plasma.temperature) == pytest.approx(marcs, abs=50.0)


def test_half_of_the_overshooting_lies_between():
    none, half, whole = (
        np.log(model(6500.0, 4.0, 0.0, abundances(0.0, {}), overshooting=x).plasma.temperature) for x in (0.0, 0.5, 1.0)
    )
    assert np.abs(whole - none).max() > 0.01  # 100 K where the wings of H alpha form
    np.testing.assert_allclose(half, 0.5 * (none + whole), atol=1e-9)


def test_pressure_supports_the_weight_above():
    star = model(6500.0, 4.5, -2.0, abundances(-2.0, {}))
    kappa = star.opacity_5000 / star.plasma.density
    tau = 10.0**star.log_tau
    mass = tau[0] / kappa[0] + np.concatenate([[0.0], np.cumsum(0.5 * (1 / kappa[1:] + 1 / kappa[:-1]) * np.diff(tau))])
    inside = tau > 1e-3
    np.testing.assert_allclose(star.gas_pressure[inside], 10**4.5 * mass[inside], rtol=0.03)


def test_continuous_opacity_of_the_sun(sun):
    # optical depth scale of Gray (2005), fig. 8: H- makes nearly all of it at 5000 A, and its maximum lies at 8500 A
    absorption, scattering = continuum(np.array([4000.0, 5000.0, 8500.0, 16000.0]), sun.plasma)
    middle = np.argmin(np.abs(sun.log_tau))
    assert scattering[1, middle] < 0.01 * absorption[1, middle]
    assert absorption[2, middle] > absorption[1, middle] > absorption[0, middle] > absorption[3, middle]


def test_carbon_monoxide_forms_below_4500_kelvin():
    hot, cool = (EquationOfState(np.array([t]), abundances(0.0, {})).solve(np.array([1e4])) for t in (6500.0, 3500.0))
    assert carbon_and_oxygen_in_co(hot)[0][0] < 0.01
    carbon, oxygen = carbon_and_oxygen_in_co(cool)
    assert carbon[0] > 0.95 and oxygen[0] == pytest.approx(carbon[0] * 10 ** (8.46 - 8.69), rel=1e-6)


@pytest.mark.parametrize("upper", [3, 4, 5, 6])
def test_balmer_profiles_are_normalised(upper, sun):
    profile = _stark_and_thermal(upper, sun.plasma)
    order = np.argsort(NODES)
    integral = 2.0 * np.trapezoid(profile[:, order], NODES[order], axis=1)
    assert np.all(np.abs(integral[sun.log_tau < 0.0] - 1.0) < 0.12)


def test_balmer_wings_fall_like_stark_and_damping(sun):
    nodes, opacity = line_opacity(3, sun.plasma, 1.0)
    near, far = opacity[np.searchsorted(nodes, [20.0, 40.0])]
    fall = np.log2(near / far)
    assert np.all((fall > 1.95) & (fall < 2.55))  # between the Lorentz and the Holtsmark power
    assert fall[-1] > fall[0]  # Stark broadening gains with density
