"""Re-simulation: spectra against the emulator's at given labels, and the largest misfit along them."""

from __future__ import annotations

import math

from keras import ops

from kcinn.nn.emulator import Emulator
from kcinn.nn.observe import Observe
from kcinn.nn.pixels import follow, shift
from kcinn.nn.tensor import Tensor
from kcinn.nn.triangle import solve

WINDOW = 7  # pixels, about two resolution elements of a spectrograph that samples one with three


def largest_misfit(
    emulator: Emulator, observe: Observe, phi: Tensor, velocity: Tensor, flux: Tensor, inverse_variance: Tensor
) -> Tensor:
    """Largest mean misfit in a short window, in its standard deviations, ``(n,)``.

    The spectrum is moved to rest, and the continuum of every arm fitted within its prior; then residuals over
    errors are added up in every window of seven pixels, and divided by the square root of their number. Noise alone
    gives about 4.5 among ten thousand pixels. A line that the labels do not explain, in emission or absorption, gives
    more, even where it does not show in the chi-square of the whole spectrum.

    Parameters
    ----------
    emulator : Emulator
    observe : Observe
        Holds the prior of the continuum.
    phi : tensor, shape (n, n_labels)
        Unbounded labels in the emulator's order.
    velocity : tensor, shape (n,)
        Of the spectra, km/s.
    flux, inverse_variance : tensors, shape (n, n_pixels)
    """
    distance = velocity[:, None] * ops.convert_to_tensor(observe.pixels_per_velocity)
    whole = ops.round(distance)  # by which the spectrum is moved back; slices of the emulator's make up for the rest
    (flux, inside), (weight, _) = (follow(values, whole, observe.edges) for values in (flux, inverse_variance))
    star, _ = shift(emulator.flux(emulator(phi)), distance - whole, observe.edges)
    weight, residual = inside * weight, flux - star
    level = ops.matmul(_level(star, residual, weight, observe), ops.convert_to_tensor(observe.curves))
    pull = (residual - star * level) * ops.sqrt(weight)
    n = pull.shape[1] - WINDOW + 1
    total = sum(pull[:, k : k + n] for k in range(WINDOW))
    return ops.max(ops.abs(total), axis=-1) / math.sqrt(WINDOW)


def _level(star: Tensor, residual: Tensor, weight: Tensor, observe: Observe) -> Tensor:
    """Coefficients ``(n, n_curves)`` of the continuum that brings `residual` nearest to zero, within their prior."""
    curves = ops.convert_to_tensor(observe.curves)
    n_curves = curves.shape[0]
    products = ops.reshape(curves[:, None] * curves[None], (n_curves**2, -1))
    normal = ops.reshape(ops.matmul(weight * ops.square(star), ops.transpose(products)), (-1, n_curves, n_curves))
    return solve(normal + ops.eye(n_curves), ops.matmul(weight * star * residual, ops.transpose(curves)))
