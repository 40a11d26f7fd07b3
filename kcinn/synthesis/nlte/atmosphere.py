"""Model atmospheres: T(tau5000) interpolated in a table, pressure from hydrostatic equilibrium."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcinn.synthesis.nlte.constants import SPEED_OF_LIGHT, STEFAN_BOLTZMANN
from kcinn.synthesis.nlte.equation_of_state import EquationOfState, Plasma
from kcinn.synthesis.nlte.opacity import continuum
from kcinn.synthesis.nlte.tables import load

# log10 of the continuous optical depth at 5000 angstrom, dense where lines form: normalised flux to 3e-4
LOG_TAU = np.concatenate([np.linspace(-4.9, -1.0, 24)[:-1], np.linspace(-1.0, 0.6, 24)[:-1], np.linspace(0.6, 1.6, 5)])
_TOLERANCE = 1e-4  # in ln pressure
_MAX_ITERATIONS = 100


@dataclass(frozen=True)
class Atmosphere:
    """Plasma on a scale of log tau5000, shape (n_depth,), with its continuous opacity at 5000 angstrom, cm-1."""

    log_tau: NDArray[np.float64]
    plasma: Plasma
    opacity_5000: NDArray[np.float64]
    gas_pressure: NDArray[np.float64]  # dyn cm-2


def bracket(nodes: NDArray[np.float64], value: float) -> tuple[int, float]:
    """Index of the node below `value` and the weight of the next one; values outside take the edge."""
    i = int(np.clip(np.searchsorted(nodes, value) - 1, 0, len(nodes) - 2))
    return i, float(np.clip((value - nodes[i]) / (nodes[i + 1] - nodes[i]), 0.0, 1.0))


def temperature(teff: float, logg: float, fe_h: float, overshooting: float = 1.0) -> NDArray[np.float64]:
    """Temperature at `LOG_TAU`, K: ln T linear in Teff, logg, [Fe/H] and overshooting between ATLAS9 models."""
    tables = {"atmosphere_without_overshooting": 1.0 - overshooting, "atmosphere": overshooting}
    where = {"teff": teff, "logg": logg, "fe_h": fe_h}
    return np.exp(sum(share * _ln_temperature(name, where) for name, share in tables.items() if share))


def _ln_temperature(name: str, where: dict[str, float]) -> NDArray[np.float64]:
    table = load(name)
    cube = table["temperature"]
    for axis, value in where.items():
        i, weight = bracket(table[axis], value)
        cube = np.exp((1.0 - weight) * np.log(cube[i]) + weight * np.log(cube[i + 1]))
    return np.log(np.interp(LOG_TAU, table["log_tau"], cube))


def hydrostatic(
    log_tau: NDArray[np.float64],
    temperature: NDArray[np.float64],
    *,
    teff: float,
    logg: float,
    abundances: NDArray[np.float64],
) -> Atmosphere:
    """Atmosphere in hydrostatic equilibrium with the given T(tau5000).

    Integrates ``d(P^1.5) = 1.5 P^0.5 g / kappa dtau``, iterated because kappa depends on P. Radiation pressure lowers
    gravity by ``sigma Teff^4 kappa / c``, at most to 15 % of itself.
    """
    gravity = 10.0**logg
    tau = 10.0**log_tau
    state = EquationOfState(temperature, abundances)
    pressure = 30.0 * gravity * np.sqrt(tau) + 1.0
    electrons = None
    for _ in range(_MAX_ITERATIONS):
        plasma = state.solve(pressure, electrons)
        electrons = plasma.electrons
        opacity = np.add(*continuum(5000.0, plasma))[0]
        kappa = opacity / plasma.density
        # flux-mean opacity is 1.3 times that at 5000 angstrom to the accuracy that this correction needs
        lift = 1.3 * STEFAN_BOLTZMANN * teff**4 / SPEED_OF_LIGHT * kappa
        effective = np.maximum(gravity - lift, 0.15 * gravity)
        slope = 1.5 * np.sqrt(pressure) * effective * tau / kappa  # d P^1.5 / d ln tau
        integral = slope[0] + math.log(10.0) * np.concatenate(
            [[0.0], np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(log_tau))]
        )
        update = integral ** (2.0 / 3.0)
        change = np.max(np.abs(np.log(update / pressure)))
        pressure = update**0.7 * pressure**0.3
        if change < _TOLERANCE:
            break
    plasma = state.solve(pressure, electrons)
    return Atmosphere(log_tau, plasma, np.add(*continuum(5000.0, plasma))[0], pressure)


def model(
    teff: float, logg: float, fe_h: float, abundances: NDArray[np.float64], overshooting: float = 1.0
) -> Atmosphere:
    """Model atmosphere for the given labels; T(tau) is that of scaled solar abundances, pressure follows them all."""
    structure = temperature(teff, logg, fe_h, overshooting)
    return hydrostatic(LOG_TAU, structure, teff=teff, logg=logg, abundances=abundances)
