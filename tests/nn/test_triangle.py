"""triangle: solutions of small systems, the same as NumPy's in float64, for any number of rows."""

import numpy as np
import pytest
from keras import ops

from kcinn.nn.triangle import cholesky, solve, solve_triangular


@pytest.fixture(params=[1, 2, 7, 32, 41])
def matrix(request):
    """Positive definite matrices whose rows are of very different size, ``(5, n_rows, n_rows)``."""
    rng = np.random.default_rng(0)
    n_rows = request.param
    columns = rng.normal(size=(5, n_rows, 2 * n_rows)) * np.logspace(-2, 2, n_rows)[:, None]
    return columns @ columns.transpose(0, 2, 1)


def test_a_vector_is_what_the_matrix_made_it(matrix):
    scale = np.sqrt(np.diagonal(matrix, axis1=1, axis2=2))
    truth = np.random.default_rng(1).normal(size=matrix.shape[:2]) / scale
    vector = np.einsum("nij,nj->ni", matrix, truth)
    found = ops.convert_to_numpy(solve(matrix.astype("f4"), vector.astype("f4")))
    np.testing.assert_allclose(found * scale, truth * scale, atol=2e-3)


def test_factor_is_lower_and_makes_the_matrix(matrix):
    scale = np.sqrt(np.diagonal(matrix, axis1=1, axis2=2))
    factor = ops.convert_to_numpy(cholesky(matrix.astype("f4"))).astype("f8")
    np.testing.assert_array_equal(factor, np.tril(factor))
    made = factor @ factor.transpose(0, 2, 1) / (scale[:, :, None] * scale[:, None, :])
    np.testing.assert_allclose(made, matrix / (scale[:, :, None] * scale[:, None, :]), atol=1e-5)


@pytest.mark.parametrize("lower", [True, False])
def test_triangular_systems_with_several_columns(matrix, lower):
    factor = np.linalg.cholesky(matrix)
    factor = factor if lower else factor.transpose(0, 2, 1)
    truth = np.random.default_rng(2).normal(size=(*matrix.shape[:2], 3))
    truth = truth if lower else truth / np.diagonal(factor, axis1=1, axis2=2)[:, :, None]
    right = (factor @ truth).astype("f4")
    found = ops.convert_to_numpy(solve_triangular(factor.astype("f4"), right, lower=lower))
    assert found.shape == truth.shape
    size = np.abs(truth).max() if lower else np.abs(truth)
    np.testing.assert_array_less(np.abs(found - truth) / size, 5e-3)
