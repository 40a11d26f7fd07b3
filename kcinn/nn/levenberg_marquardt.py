"""Damped Gauss-Newton steps for a batch of least-squares problems (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops, tree

from kcinn.nn.tensor import Tensor
from kcinn.nn.triangle import solve

LIMIT = 4.5  # parameters, in prior standard deviations, stay within this
LARGEST_STEP = 1.5
SUCCESS, FAILURE = 0.1, 32.0  # what the damping is multiplied by: with few steps, it has to be right soon
ROUNDING = 1e-6  # of the cost in float32: whether it rose by less cannot be told, and the gradient knows better


def minimise(
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor, tuple[Tensor, ...]]],
    curvature_at: Callable[..., Tensor],
    start: Tensor,
    *,
    steps: int,
    damping: float,
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Minimise a cost.

    Parameters
    ----------
    evaluate : callable
        Maps parameters ``(n, n_parameters)`` to their cost ``(n, 1)``, the pull towards lower cost (minus half the
        gradient), and a tuple of tensors, all with `n` rows, that tell of the point reached.
    curvature_at : callable
        Maps what tells of a point to half the Hessian of the cost there, or what approximates it.
    start : tensor, shape (n, n_parameters)
    steps : int
    damping : float
        Of the first step, in units of the curvature's diagonal.

    Returns
    -------
    parameters, pull, point
        Of the lowest cost, and what tells of the point.
    """
    identity = ops.eye(start.shape[1])

    def step(_: int, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        parameters, cost, pull, point, damping = state
        curvature = curvature_at(*point) * (1.0 + damping[:, :, None] * identity)
        move = ops.clip(solve(curvature, pull), -LARGEST_STEP, LARGEST_STEP)
        candidate = ops.clip(parameters + move, -LIMIT, LIMIT)
        new = (candidate, *evaluate(candidate))
        better = new[1] < cost + ROUNDING * ops.abs(cost)
        return tree.map_structure(
            lambda a, b: ops.where(ops.reshape(better, (-1,) + (1,) * (len(b.shape) - 1)), a, b),
            (*new, damping * SUCCESS),
            (parameters, cost, pull, point, damping * FAILURE),
        )

    cost, pull, point = evaluate(start)
    state = (start, cost, pull, point, ops.zeros_like(cost) + damping)
    parameters, _, pull, point, _ = ops.fori_loop(0, steps, step, state)
    return parameters, pull, point
