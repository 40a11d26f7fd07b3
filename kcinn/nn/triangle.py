"""Small symmetric and triangular systems, one for every row of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

RIDGE = 3e-6  # of the diagonal: keeps the factorisation in float32 from failing
UNROLLED = 32  # XLA writes out the solution of fewer equations than this, and takes a second or more to compile it


def cholesky(matrix: Any) -> Any:
    """Lower factor of positive definite matrices, of which float32 may have lost the smallest eigenvalues."""
    scale = ops.sqrt(ops.diagonal(matrix, axis1=1, axis2=2))
    scaled = matrix / (scale[:, :, None] * scale[:, None, :]) + RIDGE * ops.eye(matrix.shape[-1])
    return scale[:, :, None] * ops.cholesky(scaled)


def solve_triangular(factor: Any, right: Any, *, lower: bool = True) -> Any:
    """``x`` of ``factor x = right``, shapes ``(n, n_rows, n_rows)`` and ``(n, n_rows, n_columns)``."""
    n_rows = factor.shape[-1]
    more = max(0, UNROLLED - n_rows)
    if more:  # further equations, that say that further unknowns are zero
        further = np.diag([0.0] * n_rows + [1.0] * more).astype("float32")
        factor = ops.pad(factor, ((0, 0), (0, more), (0, more))) + ops.convert_to_tensor(further)
        right = ops.pad(right, ((0, 0), (0, more), (0, 0)))
    return ops.solve_triangular(factor, right, lower=lower)[:, :n_rows]


def solve(factor: Any, vector: Any) -> Any:
    """``x`` of ``factor factor^T x = vector``, ``(n, n_rows)``."""
    half = solve_triangular(factor, vector[:, :, None])
    return solve_triangular(ops.transpose(factor, (0, 2, 1)), half, lower=False)[:, :, 0]
