"""Problems whose exact posterior is known: a linear Gaussian and the two moons."""

import numpy as np

N_LABELS = 2
NOISE = 0.3
MATRIX = np.random.default_rng(42).normal(size=(4, N_LABELS)) / 2.0
RADIUS, RADIUS_SIGMA, OFFSET = 0.5, 0.05, 0.25


def linear_gaussian(n, seed):
    """Labels from a standard normal, context ``MATRIX @ labels`` with Gaussian noise."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(n, N_LABELS))
    context = theta @ MATRIX.T + NOISE * rng.normal(size=(n, len(MATRIX)))
    return theta.astype("float32"), context.astype("float32")


def linear_gaussian_log_posterior(theta, context):
    """``log p(theta | context)`` of `linear_gaussian` in closed form, shape ``(n,)``."""
    precision = np.eye(N_LABELS) + MATRIX.T @ MATRIX / NOISE**2
    offset = theta - context @ MATRIX @ np.linalg.inv(precision) / NOISE**2
    log_norm = 0.5 * np.linalg.slogdet(precision / (2.0 * np.pi))[1]
    return log_norm - 0.5 * np.einsum("ni,ij,nj->n", offset, precision, offset)


def two_moons(n, seed):
    """Labels uniform in ``[-1, 1]``; a crescent at ``(-|a + b|, b - a) / sqrt(2)`` (after Greenberg et al. 2019)."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-1.0, 1.0, size=(n, 2))
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(RADIUS, RADIUS_SIGMA, n)
    crescent = np.stack([radius * np.cos(angle) + OFFSET, radius * np.sin(angle)], axis=-1)
    return theta.astype("float32"), (crescent + _centre(theta)).astype("float32")


def two_moons_log_likelihood(theta, context):
    """``log p(context | theta)`` of `two_moons`; the leading axes broadcast. Radii below zero are ten sigma away."""
    x, y = np.moveaxis(context - _centre(theta) - [OFFSET, 0.0], -1, 0)
    radius = np.maximum(np.hypot(x, y), 1e-12)
    log_radial = -0.5 * ((radius - RADIUS) / RADIUS_SIGMA) ** 2 - np.log(RADIUS_SIGMA * np.sqrt(2.0 * np.pi))
    return np.where(x > 0.0, log_radial - np.log(np.pi * radius), -np.inf)


def two_moons_log_posterior(theta, context, n_grid=400):
    """``log p(theta | context)`` normalised by a sum over a grid of the prior box; both of shape ``(n, 2)``."""
    edges = np.linspace(-1.0, 1.0, n_grid + 1)
    axis = 0.5 * (edges[1:] + edges[:-1])
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    evidence = [np.exp(two_moons_log_likelihood(grid, row)).sum() * (2.0 / n_grid) ** 2 for row in context]
    return two_moons_log_likelihood(theta, context) - np.log(evidence)


def _centre(theta):
    a, b = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)
    return np.stack([-np.abs(a + b), b - a], axis=-1) / np.sqrt(2.0)
