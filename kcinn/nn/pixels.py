"""What happens to a spectrum between star and detector, on the pixels: velocity and continuum."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from astropy.constants import c
from keras import ops
from numpy.polynomial import legendre
from numpy.typing import NDArray

from kcinn.nn.tensor import Tensor

SPEED_OF_LIGHT = c.to_value("km/s")
STENCIL = (-2, -1, 0, 1, 2)


def arm_edges(n_pixels: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and one-past-last pixel of every arm."""
    return list(pairwise(np.cumsum([0, *n_pixels]).tolist()))


def arm_indicator(edges: list[tuple[int, int]]) -> np.ndarray:
    """One on the pixels of each arm, zero elsewhere, ``(n_arms, n_pixels)``."""
    pixel = np.arange(edges[-1][1])
    return np.stack([(pixel >= a) & (pixel < b) for a, b in edges]).astype(np.float32)


def pixel_width(wavelength: np.ndarray, edges: list[tuple[int, int]]) -> np.ndarray:
    """Width of every pixel ``(n_pixels,)``, in the unit of `wavelength`."""
    return np.concatenate([np.gradient(wavelength[a:b]) for a, b in edges]).astype(np.float32)


def pixels_per_velocity(wavelength: np.ndarray, edges: list[tuple[int, int]]) -> np.ndarray:
    """How many pixels 1 km/s is, at every pixel ``(n_pixels,)``."""
    return (wavelength / SPEED_OF_LIGHT / pixel_width(wavelength, edges)).astype(np.float32)


def continuum_curves(edges: list[tuple[int, int]], degree: int, scatter: float) -> np.ndarray:
    """Legendre polynomials of every arm, zero elsewhere, of rms `scatter`, ``(n_arms * (degree + 1), n_pixels)``."""
    rows = []
    for a, b in edges:
        values = (
            scatter
            * legendre.legvander(np.linspace(-1.0, 1.0, b - a), degree).T
            * np.sqrt(2.0 * np.arange(degree + 1.0) + 1.0)[:, None]
        )
        rows.append(np.pad(values, ((0, 0), (a, edges[-1][1] - b))))
    return np.concatenate(rows).astype(np.float32)


def rebin(values: Tensor, width: int) -> Tensor:
    """Means of `width` neighbouring pixels of values ``(n, n_pixels)``; what is left at the end is left out."""
    n_bins = values.shape[1] // width
    return ops.mean(ops.reshape(values[:, : n_bins * width], (-1, n_bins, width)), axis=-1)


def shift(flux: Tensor, distance: Tensor, edges: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Flux of a spectrum moved by `distance` pixels to the red, and its derivative with respect to the distance.

    Five-point Lagrange interpolation, per arm, edges repeated: for distances of about one pixel at most; see `move`.

    Parameters
    ----------
    flux, distance : tensors, shape (n, n_pixels)
    """
    moved, slope = [], []
    for a, b in edges:
        arm = ops.concatenate(
            [ops.repeat(flux[:, a : a + 1], 2, axis=1), flux[:, a:b], ops.repeat(flux[:, b - 1 : b], 2, axis=1)], axis=1
        )
        value = derivative = 0.0
        for node, weight, change in _lagrange(-distance[:, a:b]):
            pixels = arm[:, node + 2 : node + 2 + b - a]
            value, derivative = value + weight * pixels, derivative - change * pixels
        moved.append(value)
        slope.append(derivative)
    return ops.concatenate(moved, axis=1), ops.concatenate(slope, axis=1)


def follow(values: Tensor, whole: Tensor, edges: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Values of the pixels that lie `whole` pixels to the red in the same arm, and whether there are such pixels.

    Parameters
    ----------
    values, whole : tensors, shape (n, n_pixels)
        `whole` holds whole numbers, as floats.

    Returns
    -------
    followed, inside : tensors, shape (n, n_pixels)
        Beyond the edge of an arm its last pixel is repeated, and `inside` is zero, else one.
    """
    widths = [b - a for a, b in edges]
    first, last = (np.repeat(limits, widths).astype("int32") for limits in np.transpose([(a, b - 1) for a, b in edges]))
    wanted = ops.convert_to_tensor(np.arange(edges[-1][1], dtype="int32")) + ops.cast(whole, "int32")
    found = ops.clip(wanted, ops.convert_to_tensor(first), ops.convert_to_tensor(last))
    return ops.take_along_axis(values, found, axis=1), ops.cast(ops.equal(wanted, found), "float32")


def follow_known(values: Tensor, whole: NDArray[np.floating], edges: list[tuple[int, int]]) -> Tensor:
    """As `follow`, for a `whole` ``(n_pixels,)`` of NumPy: long runs of pixels are sliced. Zero beyond the edges."""
    n_pixels = edges[-1][1]
    wanted = np.arange(n_pixels) + whole.astype(int)
    inside = np.concatenate([(wanted[a:b] >= a) & (wanted[a:b] < b) for a, b in edges])
    number = np.where(inside, wanted, np.arange(n_pixels) - 2 * n_pixels)
    ends = [0, *(np.flatnonzero(np.diff(number) != 1) + 1).tolist(), n_pixels]
    runs = [
        values[:, wanted[a] : wanted[a] + b - a] if inside[a] else ops.zeros_like(values[:, a:b])
        for a, b in pairwise(ends)
    ]
    return ops.concatenate(runs, axis=1)


def move(flux: Tensor, distance: Tensor, edges: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """As `shift`, by any distance: to the nearest pixel, and from there by `shift`'s interpolation."""
    whole = ops.round(distance)
    moved = slope = 0.0
    for node, weight, change in _lagrange(whole - distance):
        pixels, _ = follow(flux, node - whole, edges)
        moved, slope = moved + weight * pixels, slope - change * pixels
    return moved, slope


def _lagrange(where: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Nodes, and of each the weight and its derivative for an interpolation at `where`."""
    for node in STENCIL:
        weights = np.polynomial.Polynomial.fromroots([other for other in STENCIL if other != node])
        weights = weights / weights(node)
        yield node, _polynomial(where, weights.coef), _polynomial(where, weights.deriv().coef)


def _polynomial(x: Tensor, coefficients: NDArray[Any]) -> Tensor:
    value = float(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + float(coefficient)
    return value
