"""Re-simulation: spectra against the emulator's at given labels, and the largest misfit along them."""

from __future__ import annotations

import math

from keras import ops

from kcinn.nn.emulator import Emulator
from kcinn.nn.observe import Observe
from kcinn.nn.pixels import move
from kcinn.nn.tensor import Tensor
from kcinn.nn.triangle import solve

WINDOW = 7  # pixels, about two resolution elements of a spectrograph that samples one with three


def largest_misfit(
    emulator: Emulator, observe: Observe, phi: Tensor, velocity: Tensor, flux: Tensor, inverse_variance: Tensor
) -> Tensor:
    """Largest mean misfit in a short window, in its standard deviations, ``(n,)``.

    The emulator's spectrum is shifted, and the continuum of every arm fitted within its prior; then residuals over
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
    settings = observe.observation
    distance = velocity[:, None] * ops.convert_to_tensor(observe.pixels_per_velocity)
    star, _ = move(emulator.flux(emulator(phi)), distance, observe.edges)
    columns = star[:, None, :] * ops.convert_to_tensor(settings.continuum * observe.polynomials)
    weighted = columns * inverse_variance[:, None, :]
    residual = flux - star
    normal = ops.matmul(weighted, ops.transpose(columns, (0, 2, 1))) + ops.eye(columns.shape[1])
    level = solve(normal, ops.matmul(weighted, residual[:, :, None])[:, :, 0])
    residual = residual - ops.matmul(level[:, None, :], columns)[:, 0]
    pull = residual * ops.sqrt(inverse_variance)
    n = pull.shape[1] - WINDOW + 1
    total = sum(pull[:, k : k + n] for k in range(WINDOW))
    return ops.max(ops.abs(total), axis=-1) / math.sqrt(WINDOW)
