"""Departure coefficients b = n / n(LTE), interpolated in tables over the labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_interp_spline

from kcinn.errors import KcinnError
from kcinn.synthesis.nlte.tables import DATA, load

SAME_LEVEL = 0.06  # eV within which a line's level is taken to be the table's
_PREFIX = "departures_"


@dataclass(frozen=True)
class Departures:
    """Departure coefficients of one element in one atmosphere.

    `ion` and `energy` (eV above the ground state of that ion), shape (n_levels,), name the levels; `b` has shape
    (n_levels, n_depth).
    """

    ion: NDArray[np.int64]
    energy: NDArray[np.float64]
    b: NDArray[np.float64]

    def has(self, ion: int) -> bool:
        """Whether the model atom resolves this ion; a lone ground state only closes the ion below."""
        return int(np.sum(self.ion == ion)) > 1

    def at(self, ion: int, energy: float) -> NDArray[np.float64]:
        """b of the level at `energy` eV, shape (n_depth,).

        The nearest level if one lies within `SAME_LEVEL`; else linear in energy between levels, and above the highest
        one the geometric mean of that level and the next ion.
        """
        levels = np.flatnonzero(self.ion == ion)
        levels = levels[np.argsort(self.energy[levels], kind="stable")]
        energies = self.energy[levels]
        nearest = int(np.argmin(np.abs(energies - energy)))
        if abs(energies[nearest] - energy) < SAME_LEVEL:
            return self.b[levels[nearest]]
        if energy > energies[-1]:
            following = np.flatnonzero(self.ion == ion + 1)
            above = self.b[following[0]] if len(following) else np.ones(self.b.shape[1])
            return np.sqrt(self.b[levels[-1]] * above)
        upper = int(np.searchsorted(energies, energy))
        weight = (energy - energies[upper - 1]) / (energies[upper] - energies[upper - 1])
        return (1.0 - weight) * self.b[levels[upper - 1]] + weight * self.b[levels[upper]]


@cache
def available() -> tuple[str, ...]:
    """Symbols of the elements with a table, in alphabetical order."""
    return tuple(sorted(path.stem.removeprefix(_PREFIX) for path in DATA.glob(f"{_PREFIX}*.npz")))


def check_species(species: tuple[str, ...]) -> None:
    """Raise KcinnError, listing what there is, unless every element of `species` has a table."""
    unknown = [symbol for symbol in species if symbol not in available()]
    if unknown:
        raise KcinnError(
            f"No departure coefficients for {', '.join(map(repr, unknown))}. Available: {', '.join(available())}"
        )


def departures(
    symbol: str, log_tau: NDArray[np.float64], *, teff: float, logg: float, fe_h: float, x_h: float
) -> Departures:
    """Departure coefficients of an element at the depths `log_tau`.

    ln b is a quadratic spline in every label and linear in log tau5000; labels outside the table take its edge, depths
    outside it b = 1.
    `x_h` is [X/H]: tables follow the saturation of the element's own lines with nodes in it or, relative to iron, in
    [X/Fe].
    """
    table = load(_PREFIX + symbol)
    log_b = table["log_b"].astype(np.float64)
    abundance = ("x_h", x_h) if "x_h" in table else ("x_fe", x_h - fe_h)
    for name, value in (("teff", teff), ("logg", logg), ("fe_h", fe_h), abundance):
        log_b = np.tensordot(_weights(table[name], value), log_b, 1)
    nodes = table["log_tau"]
    b = np.exp([np.interp(log_tau, nodes, row, left=0.0, right=0.0) for row in log_b])
    return Departures(table["ion"].astype(np.int64), table["energy"].astype(np.float64), b)


def _weights(nodes: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """What every node contributes to the spline at `value`, (n_nodes,)."""
    return _spline(tuple(nodes.tolist()))(np.clip(value, nodes[0], nodes[-1]))


@cache
def _spline(nodes: tuple[float, ...]) -> BSpline:
    """The interpolating spline of every unit vector; linear between two nodes, constant with one."""
    return make_interp_spline(nodes, np.eye(len(nodes)), k=min(2, len(nodes) - 1))
