"""Convection in model atmospheres: mixing-length theory, and structures without overshooting."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline, griddata

from kcinn.synthesis.nlte.constants import (
    ANGSTROM,
    ELECTRON_VOLT,
    RYDBERG_HYDROGEN,
    SPEED_OF_LIGHT,
    STEFAN_BOLTZMANN,
)
from kcinn.synthesis.nlte.equation_of_state import EquationOfState
from kcinn.synthesis.nlte.opacity import continuum, planck
from kcinn.synthesis.nlte.transfer import MU, MU_WEIGHTS, emergent_flux

# columns of a model in cgs units: column mass, T, gas pressure, Rosseland opacity, convective flux as a fraction of the
# whole, velocity of convection
MASS, TEMPERATURE, PRESSURE, OPACITY, CONVECTIVE, VELOCITY = 0, 1, 2, 4, 7, 8
MIXING_LENGTH = 1.25  # pressure scale heights, as in the ATLAS9 grid
_LARGEST_CONTRAST = 0.15  # of the temperature of a bubble
_H2_BINDING = 4.478  # eV
_LN_T, _LN_P = np.log(10.0) * np.linspace(3.3, 4.35, 176), np.log(10.0) * np.linspace(-1.0, 7.0, 121)
_ONSET = 1e-6  # convective flux of a model below which it is none
_POWERS, _USUAL_POWER, _PULL, _BISECTIONS = (-0.6, 2.5), 1.1, 0.004, 7
_WAVELENGTHS = np.geomspace(1830.0, 15900.0, 40)
_STEPS = 4  # of the integration between two depths of a model


@dataclass(frozen=True)
class Gas:
    """Gas and radiation of one composition, as splines in ln T (K) and ln P_gas (dyn cm-2)."""

    relative: NDArray[np.float64]  # atoms per hydrogen atom, shape (93,)
    enthalpy: RectBivariateSpline  # erg/g
    ln_density: RectBivariateSpline  # g cm-3
    ln_opacity: RectBivariateSpline  # Rosseland mean, cm2/g

    @classmethod
    def of(cls, relative: NDArray[np.float64], models: NDArray[np.float64]) -> Gas:
        """From atoms per hydrogen atom, shape (93,), and the opacity in models (n_models, n_depth, n_columns)."""
        temperature, pressure = (x.ravel() for x in np.meshgrid(np.exp(_LN_T), np.exp(_LN_P), indexing="ij"))
        plasma = EquationOfState(temperature, relative).solve(pressure)
        bound = ELECTRON_VOLT * (RYDBERG_HYDROGEN * plasma.protons - _H2_BINDING * plasma.h2)
        radiation = 16.0 * STEFAN_BOLTZMANN / (3.0 * SPEED_OF_LIGHT) * temperature**4
        enthalpy = (2.5 * pressure + bound + radiation) / plasma.density
        known = np.log(models[..., [TEMPERATURE, PRESSURE]].reshape(-1, 2))
        opacity = np.log(models[..., OPACITY].ravel())
        mesh = np.log(np.stack([temperature, pressure], axis=1))
        ln_opacity = griddata(known, opacity, mesh)
        outside = np.isnan(ln_opacity)
        ln_opacity[outside] = griddata(known, opacity, mesh[outside], method="nearest")
        shape = (len(_LN_T), len(_LN_P))
        return cls(
            relative,
            RectBivariateSpline(_LN_T, _LN_P, enthalpy.reshape(shape)),
            RectBivariateSpline(_LN_T, _LN_P, np.log(plasma.density).reshape(shape)),
            RectBivariateSpline(_LN_T, _LN_P, ln_opacity.reshape(shape), kx=1, ky=1),
        )


class Bubbles:
    """Bubbles that rise a mixing length, at given places; all arrays of one shape.

    Mixing-length theory as in ATLAS (Kurucz 1970, SAO Special Report 309; Castelli, Gratton & Kurucz 1997, A&A 318,
    841): a bubble radiates while it rises, also where it is transparent, with the harmonic mean of the opacities of hot
    and cold bubbles. Everything follows from `root`, whose square is the part of the gradient that drives it.
    """

    def __init__(self, gas: Gas, temperature, pressure, mass, opacity) -> None:
        self.gas, self.ln_t, self.ln_p = gas, np.log(temperature), np.log(pressure)
        density = np.exp(gas.ln_density.ev(self.ln_t, self.ln_p))
        expansion = -gas.ln_density.ev(self.ln_t, self.ln_p, dx=1)  # -dln(rho)/dlnT at constant pressure
        heat = gas.enthalpy.ev(self.ln_t, self.ln_p, dx=1)  # heat capacity times temperature, erg/g
        self.adiabatic = pressure * expansion / (density * heat)
        self.speed = 0.5 * MIXING_LENGTH * np.sqrt(0.5 * pressure / density * expansion)
        self.carried = 0.5 * density * heat * MIXING_LENGTH * self.speed
        self.emission = 8.0 * STEFAN_BOLTZMANN * temperature**4 * MIXING_LENGTH
        self.thickness = opacity * MIXING_LENGTH * mass
        self.ln_opacity = gas.ln_opacity.ev(self.ln_t, self.ln_p)

    def gradient(self, root):
        """dlnT/dlnP."""
        contrast = np.minimum(MIXING_LENGTH * root**2, _LARGEST_CONTRAST)
        hot, cold = (
            np.exp(self.gas.ln_opacity.ev(self.ln_t + np.log1p(x), self.ln_p) - self.ln_opacity)
            for x in (contrast, -contrast)
        )
        thickness = self.thickness * 2.0 / (1.0 / hot + 1.0 / cold)
        loss = self.emission / self.carried * thickness / (2.0 + thickness**2)
        return self.adiabatic + root**2 + loss * root

    def flux(self, root):
        """Convective flux, erg cm-2 s-1."""
        return self.carried * root**3

    def velocity(self, root):
        """cm/s."""
        return self.speed * root


def solve(function: Callable, upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a rising function of `root` crosses zero between 0 and `upper`, by bisection."""
    lower = np.zeros_like(upper)
    for _ in range(24):
        middle = 0.5 * (lower + upper)
        above = function(middle) > 0.0
        lower, upper = np.where(above, lower, middle), np.where(above, middle, upper)
    return lower


def convective_velocity(models: NDArray[np.float64], gas: Gas) -> NDArray[np.float64]:
    """Velocity (cm/s) that belongs to the gradient of the models, shape (n_models, n_depth)."""
    columns = (models[..., column] for column in (TEMPERATURE, PRESSURE, MASS, OPACITY))
    bubbles = Bubbles(gas, *columns)
    gradient = np.array([np.gradient(np.log(m[:, TEMPERATURE]), np.log(m[:, MASS])) for m in models])
    excess = np.maximum(gradient - bubbles.adiabatic, 0.0)
    return bubbles.velocity(solve(lambda root: bubbles.gradient(root) - bubbles.adiabatic - excess, np.sqrt(excess)))


def without_overshooting(
    models: NDArray[np.float64], teff: NDArray[np.float64], gas: Gas
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Models whose convective flux is the one of their own gradient.

    Parameters
    ----------
    models : ndarray, shape (n_models, n_depth, n_columns)
    teff : ndarray, shape (n_models,)

    Returns
    -------
    models : ndarray, shape (n_models, n_depth, n_columns)
        With new `MASS`, `TEMPERATURE`, `PRESSURE`, `OPACITY` and `CONVECTIVE` at the same Rosseland optical depths.
    ratio : ndarray, shape (n_models,)
        Continuous flux at the surface over that of the given models, which ought to be 1.

    Notes
    -----
    The convective flux of ATLAS9 models (1993) is smoothed over half a pressure scale height above and below. Here the
    temperature is integrated inwards from where that flux begins, so that the radiative and the local convective flux
    add up to sigma Teff^4. Radiation obeys ``d(T/Teff)^4/dtau = 3/4 f H`` on the Rosseland scale. Above, f is the
    model's own, so that those layers stay as they are; below it falls with a power of tau to its mean at tau = 3 to 30,
    which is nearly 1, and the power is what keeps the flux at the surface. Pressure is that of the model at the same
    column mass.
    """
    goal = surface_flux(models, gas)
    low, high = (np.full(len(models), power) for power in _POWERS)
    for _ in range(_BISECTIONS):
        power = 0.5 * (low + high)
        new = _integrate(models, teff, gas, *_closure(models, teff, power))
        ratio = surface_flux(new, gas) / goal
        # a flux that hardly depends on the power leaves it where it usually is
        steeper = np.log(ratio) > _PULL * (power - _USUAL_POWER)
        low, high = np.where(steeper, power, low), np.where(steeper, high, power)
    return new, ratio


def surface_flux(models: NDArray[np.float64], gas: Gas) -> NDArray[np.float64]:
    """Flux of the continuum in LTE, shape (n_models,), erg cm-2 s-1."""
    temperature = models[..., TEMPERATURE]
    plasma = EquationOfState(temperature.ravel(), gas.relative).solve(models[..., PRESSURE].ravel())
    opacity = np.add(*continuum(_WAVELENGTHS, plasma)).reshape(len(_WAVELENGTHS), *temperature.shape)
    source = planck(_WAVELENGTHS, temperature.ravel()).reshape(opacity.shape)
    density = plasma.density.reshape(temperature.shape)
    # the scale of the transfer is the logarithm of any depth: here of column mass
    log_mass = np.log10(models[..., MASS])
    weight = math.log(10.0) * models[..., MASS] / density
    frequency = SPEED_OF_LIGHT / (_WAVELENGTHS * ANGSTROM)
    result = np.empty(len(models))
    flux = np.empty(len(_WAVELENGTHS))
    for i in range(len(models)):
        emergent_flux(source[:, i], opacity[:, i], log_mass[i], weight[i], MU, MU_WEIGHTS, flux)
        result[i] = np.trapezoid(flux[::-1], frequency[::-1]) + flux[-1] * frequency[-1] / 3.0  # Rayleigh-Jeans
    return result


def _integrate(models, teff, gas, factor, start):
    """Models with the closure `factor` below the depths `start`."""
    flux = STEFAN_BOLTZMANN * teff**4
    new = models.copy()
    # pressure grows with column mass beyond the last depth
    known = [
        np.log(np.append(models[..., column], 10.0 * models[:, -1:, column], axis=1)) for column in (MASS, PRESSURE)
    ]

    def slopes(ln_t, ln_mass, ln_tau, factor):
        """dlnT/dlntau, dlnm/dlntau, pressure, opacity and convective flux."""
        pressure = np.exp([np.interp(*where) for where in zip(ln_mass, *known, strict=True)])
        opacity = np.exp(gas.ln_opacity.ev(ln_t, np.log(pressure)))
        temperature, mass = np.exp(ln_t), np.exp(ln_mass)
        bubbles = Bubbles(gas, temperature, pressure, mass, opacity)
        radiative = 0.1875 * factor * opacity * mass * (teff / temperature) ** 4
        upper = np.sqrt(np.maximum(radiative - bubbles.adiabatic, 0.0))
        root = solve(lambda root: bubbles.gradient(root) - radiative * (1.0 - bubbles.flux(root) / flux), upper)
        carried = bubbles.flux(root) / flux
        growth = np.exp(ln_tau) / (opacity * mass)
        return radiative * (1.0 - carried) * growth, growth, pressure, opacity, carried

    ln_tau = np.log(optical_depth(models))
    ln_t, ln_mass = (np.log(models[:, 0, column]) for column in (TEMPERATURE, MASS))
    for k in range(models.shape[1] - 1):
        step = (ln_tau[:, k + 1] - ln_tau[:, k]) / _STEPS
        for i in range(_STEPS):
            here = ln_tau[:, k] + i * step
            t_slope, mass_slope, *_ = slopes(ln_t, ln_mass, here, factor[:, k])
            middle = ln_t + 0.5 * step * t_slope, ln_mass + 0.5 * step * mass_slope, here + 0.5 * step
            t_slope, mass_slope, *_ = slopes(*middle, factor[:, k])
            ln_t, ln_mass = ln_t + step * t_slope, ln_mass + step * mass_slope
        below = k >= start
        ln_t = np.where(below, ln_t, np.log(models[:, k + 1, TEMPERATURE]))
        ln_mass = np.where(below, ln_mass, np.log(models[:, k + 1, MASS]))
        _, _, pressure, opacity, carried = slopes(ln_t, ln_mass, ln_tau[:, k + 1], factor[:, k])
        values = np.exp(ln_mass), np.exp(ln_t), pressure, opacity, carried
        for column, value in zip((MASS, TEMPERATURE, PRESSURE, OPACITY, CONVECTIVE), values, strict=True):
            new[below, k + 1, column] = value[below]
    return new


def _closure(models, teff, power):
    """f between depths, shape (n_models, n_depth - 1), and the depth from which overshooting matters."""
    tau = optical_depth(models)
    radiative = 1.0 - _middle(models[..., CONVECTIVE])
    factor = np.diff((models[..., TEMPERATURE] / teff[:, None]) ** 4) / np.diff(tau) / (0.75 * radiative)
    tau = _middle(tau)
    convects = models[..., CONVECTIVE] > _ONSET
    start = np.where(convects.any(axis=1), np.maximum(np.argmax(convects, axis=1) - 2, 1), convects.shape[1])
    deep = np.ma.median(np.ma.masked_where((tau < 3.0) | (tau > 30.0), factor), axis=1).filled(1.0)
    last = (np.arange(len(models)), np.minimum(start, tau.shape[1]) - 1)
    distance = tau / tau[last][:, None]
    below = deep[:, None] + (factor[last] - deep)[:, None] * distance ** -power[:, None]
    return np.where(np.arange(factor.shape[1]) < start[:, None], factor, below), start


def optical_depth(models: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rosseland optical depth of the models, shape (n_models, n_depth)."""
    steps = _middle(models[..., OPACITY]) * np.diff(models[..., MASS])
    first = models[:, :1, OPACITY] * models[:, :1, MASS]
    return first + np.concatenate([np.zeros_like(first), np.cumsum(steps, axis=1)], axis=1)


def _middle(x):
    return 0.5 * (x[..., 1:] + x[..., :-1])
