"""Quasi-random numbers: points that fill the unit cube more evenly than random ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from kcinn.errors import KcinnError

SCRAMBLE = 20260401  # of the one set that all stars share
SMALLEST = 2.0**-26  # distance of a point from the faces of the cube


def shifted_sobol(generator: np.random.Generator, n_points: int, n_dimensions: int) -> NDArray[np.float64]:
    """Points inside the unit cube, ``(n_points, n_dimensions)``: a scrambled Sobol set, moved as a whole.

    Every point is uniform over random shifts, so means over the points are unbiased (Cranley & Patterson 1976); their
    error falls faster than with independent points where the integrand is smooth (Owen 1997).

    Parameters
    ----------
    generator : numpy.random.Generator
        Draws the shift.
    n_points : int
        A power of two, for which the set is balanced.
    n_dimensions : int

    Raises
    ------
    KcinnError
        If `n_points` is not a power of two.
    """
    if n_points < 1 or n_points & (n_points - 1):
        raise KcinnError(f"Quasi-random samples come in powers of two. Received: n_samples={n_points}")
    points = (_sobol(n_points, n_dimensions) + generator.random(n_dimensions)) % 1.0
    return np.clip(points, SMALLEST, 1.0 - SMALLEST)


@lru_cache(maxsize=8)
def _sobol(n_points: int, n_dimensions: int) -> NDArray[np.float64]:
    set_of_points = qmc.Sobol(n_dimensions, scramble=True, rng=np.random.default_rng(SCRAMBLE))
    return set_of_points.random_base2(n_points.bit_length() - 1)
