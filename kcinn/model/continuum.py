"""Continuum: what is smooth in a spectrum over its re-simulation."""

from __future__ import annotations

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kcinn.nn.emulator import Emulator
from kcinn.nn.observe import Observe
from kcinn.nn.pixels import move
from kcinn.nn.tensor import Tensor
from kcinn.nn.triangle import solve

PRIOR = 0.3  # standard deviation of every coefficient: keeps an arm without pixels at one
LARGEST = 0.5  # by which the continuum may differ from one
ROUNDS = 4
DEGREES_OF_FREEDOM = 8.0  # of the Student t by which pixels are weighted: what a star has and the labels have not


def continuum(
    emulator: Emulator,
    observe: Observe,
    curves: NDArray[np.floating],
    phi: Tensor,
    velocity: Tensor,
    flux: Tensor,
    inverse_variance: Tensor,
) -> Tensor:
    """Continuum of spectra whose labels are nearly known, ``(n, n_pixels)``.

    A Gauss-Newton step for the coefficients of the curves, the labels and the velocity together: were the labels held,
    lines too weak by a wrong continuum would be taken for the star's, and many rounds of labels and continuum in turn
    would follow. Labels and velocity are then forgotten. Pixels that the fit misses count less.

    Parameters
    ----------
    emulator : Emulator
    observe : Observe
        Holds the prior of the velocity.
    curves : ndarray, shape (n_curves, n_pixels)
        Of which it is made; they add up to one.
    phi : tensor, shape (n, n_labels)
        Unbounded labels in the emulator's order.
    velocity : tensor, shape (n,)
        Of the spectra, km/s.
    flux, inverse_variance : tensors, shape (n, n_pixels)
        Near one in the continuum.
    """
    prior = max(observe.observation.velocity_scatter, 1e-3)
    per_unit, unit = prior * ops.convert_to_tensor(observe.pixels_per_velocity), velocity[:, None] / prior
    coefficients, tangents = emulator.linearise(phi)
    star, slope = move(emulator.flux(coefficients), unit * per_unit, observe.edges)
    n_curves, curves = len(curves), ops.convert_to_tensor(PRIOR * curves, dtype="float32")
    columns = ops.concatenate(
        [star[:, None] * curves, ops.matmul(tangents, emulator.basis), (slope * per_unit)[:, None]], axis=1
    )
    n_pixels = ops.sum(ops.cast(inverse_variance > 0, "float32"), axis=-1, keepdims=True)
    start = ops.concatenate([ops.zeros_like(columns[:, :n_curves, 0]), phi, unit], axis=1)
    residual, step = flux - star, ops.zeros_like(start)
    for _ in range(ROUNDS):
        square = inverse_variance * ops.square(residual - ops.matmul(step[:, None], columns)[:, 0])
        scale = ops.maximum(ops.sum(square, axis=-1, keepdims=True) / ops.maximum(n_pixels, 1.0), 1.0)
        weighted = columns * (inverse_variance / (scale * (1.0 + square / (DEGREES_OF_FREEDOM * scale))))[:, None]
        normal = ops.matmul(weighted, ops.transpose(columns, (0, 2, 1))) + ops.eye(columns.shape[1])
        step = solve(normal, ops.matmul(weighted, residual[:, :, None])[:, :, 0] - start)
    return 1.0 + ops.clip(ops.matmul(step[:, :n_curves], curves), -LARGEST, LARGEST)
