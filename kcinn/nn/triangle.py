"""Small symmetric and triangular systems, one for every row of a batch.

Libraries take such systems one by one. Here every step of an elimination is one pass over those of all rows: on a CPU
several times faster than what XLA writes out for TensorFlow, and in operations that every backend and format has.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from kcinn.nn.tensor import Tensor

RIDGE = 3e-6  # of the diagonal: keeps the elimination in float32 from failing


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factor of positive definite matrices, of which float32 may have lost the smallest eigenvalues.

    Parameters
    ----------
    matrix : tensor, shape (n, n_rows, n_rows)

    Returns
    -------
    tensor, shape (n, n_rows, n_rows)
    """
    scaled, scale = _scaled(matrix)
    number = ops.convert_to_tensor(np.arange(matrix.shape[-1], dtype="int32"))

    def next_column(k: Tensor, rest: Tensor) -> Tensor:
        column = ops.take(rest, k, axis=2)
        column = ops.where(number >= k, column / ops.sqrt(ops.take(column, k, axis=1))[:, None], 0.0)
        rest = rest - column[:, :, None] * column[:, None, :]
        return ops.where(ops.equal(number, k), column[:, :, None], rest)

    return ops.fori_loop(0, matrix.shape[-1], next_column, scaled) / scale[:, :, None]


def solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """``x`` of ``matrix x = vector`` with such a matrix (Gauss and Jordan).

    Parameters
    ----------
    matrix : tensor, shape (n, n_rows, n_rows)
    vector : tensor, shape (n, n_rows)

    Returns
    -------
    tensor, shape (n, n_rows)
    """
    scaled, scale = _scaled(matrix)
    number = ops.convert_to_tensor(np.arange(matrix.shape[-1], dtype="int32"))

    def eliminate(k: Tensor, equations: Tensor) -> Tensor:
        equation = ops.take(equations, k, axis=1)
        equation = equation / ops.take(equation, k, axis=1)[:, None]
        share = ops.take(equations, k, axis=2) - ops.cast(ops.equal(number, k), "float32")
        return equations - share[:, :, None] * equation[:, None, :]

    equations = ops.concatenate([scaled, (scale * vector)[:, :, None]], axis=2)
    return scale * ops.fori_loop(0, matrix.shape[-1], eliminate, equations)[:, :, -1]


def solve_triangular(factor: Tensor, right: Tensor, *, lower: bool = True) -> Tensor:
    """``x`` of ``factor x = right``.

    Parameters
    ----------
    factor : tensor, shape (n, n_rows, n_rows)
    right : tensor, shape (n, n_rows, n_columns)
    lower : bool
        Whether what is not zero stands below the diagonal, or above.

    Returns
    -------
    tensor, shape (n, n_rows, n_columns)
    """
    last = factor.shape[-1] - 1
    number = ops.convert_to_tensor(np.arange(last + 1, dtype="int32"))

    def substitute(step: Tensor, rest: Tensor) -> Tensor:
        k = step if lower else last - step
        column = ops.take(factor, k, axis=2)
        known = ops.take(rest, k, axis=1) / ops.take(column, k, axis=1)[:, None]
        column = ops.where(number > k if lower else number < k, column, 0.0)
        rest = rest - column[:, :, None] * known[:, None, :]
        return ops.where(ops.equal(number, k)[:, None], known[:, None, :], rest)

    return ops.fori_loop(0, last + 1, substitute, right)


def _scaled(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix with ones and `RIDGE` on its diagonal, and by what its rows and columns were multiplied."""
    scale = 1.0 / ops.sqrt(ops.diagonal(matrix, axis1=1, axis2=2))
    return matrix * scale[:, :, None] * scale[:, None, :] + RIDGE * ops.eye(matrix.shape[-1]), scale
