"""Damped Gauss-Newton steps for a batch of least-squares problems (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

from keras import ops

LIMIT = 4.5  # parameters, in prior standard deviations, stay within this
LARGEST_STEP = 1.5
RIDGE = 3e-6  # of the diagonal: keeps the factorisation in float32 from failing


def minimise(evaluate, curvature_at, start, *, rounds, steps):
    """Minimise a cost, with the curvature computed once for several steps.

    Parameters
    ----------
    evaluate : callable
        Maps parameters ``(n, n_parameters)`` to their cost ``(n, 1)``, the pull towards lower cost (minus half the
        gradient), and a further quantity ``(n, 1)``.
    curvature_at : callable
        Maps parameters to half the Hessian of the cost, or what approximates it.
    start : tensor, shape (n, n_parameters)
    rounds, steps : int
        Number of curvatures, and of steps with each.

    Returns
    -------
    parameters, extra
        The best parameters, and their further quantity.
    """
    identity = ops.eye(start.shape[1])

    def descend(_, state):
        curvature = curvature_at(state[0])

        def step(_, state):
            parameters, cost, pull, extra, damping = state
            factor = cholesky(curvature * (1.0 + damping[:, :, None] * identity))
            move = ops.clip(solve(factor, pull), -LARGEST_STEP, LARGEST_STEP)
            candidate = ops.clip(parameters + move, -LIMIT, LIMIT)
            new_cost, new_pull, new_extra = evaluate(candidate)
            better = new_cost < cost
            new = (candidate, new_cost, new_pull, new_extra, damping * 0.1)
            old = (parameters, cost, pull, extra, damping * 8.0)
            return tuple(ops.where(better, a, b) for a, b in zip(new, old, strict=True))

        return ops.fori_loop(0, steps, step, state)

    cost, pull, extra = evaluate(start)
    state = (start, cost, pull, extra, ops.zeros_like(cost) + 0.02)
    parameters, _, _, extra, _ = ops.fori_loop(0, rounds, descend, state)
    return parameters, extra


def cholesky(matrix):
    """Lower factor of positive definite matrices, of which float32 may have lost the smallest eigenvalues."""
    scale = ops.sqrt(ops.diagonal(matrix, axis1=1, axis2=2))
    scaled = matrix / (scale[:, :, None] * scale[:, None, :]) + RIDGE * ops.eye(matrix.shape[-1])
    return scale[:, :, None] * ops.cholesky(scaled)


def solve(factor, vector):
    """``x`` of ``factor factor^T x = vector``, ``(n, n_parameters)``."""
    half = ops.solve_triangular(factor, vector[:, :, None], lower=True)
    return ops.solve_triangular(ops.transpose(factor, (0, 2, 1)), half, lower=False)[:, :, 0]
