"""Damped Gauss-Newton steps for a batch of least-squares problems (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

from keras import ops

LIMIT = 4.5  # parameters, in prior standard deviations, stay within this
LARGEST_STEP = 1.5


def minimise(evaluate, start, n_evaluations):
    """Minimise a cost by damped Gauss-Newton steps.

    `evaluate` maps parameters ``(n, n_parameters)`` to their cost ``(n, 1)``, the pull towards lower cost, the
    curvature, and a further ``(n, 1)`` quantity. Returns the best parameters, their curvature and that quantity.
    """
    identity = ops.eye(start.shape[1])

    def step(_, state):
        candidate, damping, *best = state
        cost, pull, curvature, extra = evaluate(candidate)
        better = cost < best[0]
        damping = ops.where(better, damping * 0.2, damping * 8.0)
        cost, parameters, pull, extra = (
            ops.where(better, a, b)
            for a, b in ((cost, best[0]), (candidate, best[1]), (pull, best[2]), (extra, best[4]))
        )
        curvature = ops.where(better[:, :, None], curvature, best[3])
        move = ops.clip(_solve(curvature * (1.0 + damping[:, :, None] * identity), pull), -LARGEST_STEP, LARGEST_STEP)
        candidate = ops.clip(parameters + move, -LIMIT, LIMIT)
        return candidate, damping, cost, parameters, pull, curvature, extra

    column = ops.zeros_like(start[:, :1])
    square = column[:, :, None] + identity
    state = (start, column + 0.05, column + 1e30, start, ops.zeros_like(start), square, column)
    state = ops.fori_loop(0, n_evaluations, step, state)
    return state[3], state[5], state[6]


def _solve(matrix, vector):
    factor = ops.cholesky(matrix)
    half = ops.solve_triangular(factor, vector[:, :, None], lower=True)
    return ops.solve_triangular(ops.transpose(factor, (0, 2, 1)), half, lower=False)[:, :, 0]
