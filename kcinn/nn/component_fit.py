"""ComponentFit: the fit of the emulator to a spectrum, on the emulator's principal components."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kcinn.nn.emulator import Emulator
from kcinn.nn.encoder import Encoder
from kcinn.nn.levenberg_marquardt import LARGEST_STEP, minimise
from kcinn.nn.pixels import continuum_curves, follow, follow_known, pixels_per_velocity, rebin, shift
from kcinn.nn.tensor import Tensor
from kcinn.nn.triangle import cholesky, solve_triangular

COARSE, FINE = 4, 2  # pixels that are averaged in the search of the start, and for the curvature of the fit
ROUNDS = 2  # each linearises the nuisances anew
BLOCK = 192  # pixels that share one weight in the fast normal equations
DAMPING = 1e-2  # of the first step
REACH = 1.5  # largest velocity that is sought, over the largest of the training
PARTS = 4  # of a pixel, to which the velocity is rounded by which a spectrum is moved


class ComponentFit(Encoder):
    """Fit the emulator to spectra, in steps whose cost does not hang on the number of pixels.

    The fit starts at the nearest of a set of synthetic spectra and at the best of a few velocities, about a pixel
    apart. The spectrum is moved back by whole pixels, so that its noise stays as it is; what is left, less than about a
    pixel, is a shift of the emulator's spectrum. The velocity and a low-order continuum per arm are free.

    Rounds follow. Each compares the spectrum with the emulator's on all pixels; from there it takes damped Gauss-Newton
    steps (Levenberg 1944, Marquardt 1963) on the principal components, with one weight per block of pixels and the
    nuisances, which are nearly linear, marginalised.

    Parameters
    ----------
    emulator : Emulator
    wavelength : array_like, shape (n_pixels,), angstrom
    arm_pixels : list of int
        Pixels per arm.
    targets : list of int
        The emulator's labels that the flow models; the others are marginalised.
    n_start : int
        Number of spectra among which the start is sought.
    descent : int
        Number of steps, in all rounds together.
    velocity : float, km/s
        The prior of the residual velocity reaches from minus to plus this; a normal of the same variance stands for it.
    continuum : float
        Prior standard deviation of every continuum coefficient.
    continuum_degree : int

    Input shape
        flux, inverse_variance ``(n, n_pixels)``; inverse variance zero marks a pixel that is not to be used.
    """

    def __init__(
        self,
        emulator: Emulator,
        wavelength: ArrayLike,
        arm_pixels: list[int],
        targets: list[int],
        *,
        n_start: int = 2048,
        descent: int = 16,
        velocity: float = 10.0,
        continuum: float = 0.01,
        continuum_degree: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(emulator, wavelength, arm_pixels, targets, **kwargs)
        self.n_start, self.descent = n_start, descent
        self.velocity, self.continuum, self.continuum_degree = velocity, continuum, continuum_degree
        self.curves = continuum_curves(self.edges, continuum_degree, continuum)
        self.pixels_per_velocity = pixels_per_velocity(self.wavelength, self.edges)
        self.velocity_scatter = velocity / math.sqrt(3.0)
        self.velocity_step = 1.0 / float(np.median(self.pixels_per_velocity))
        self.n_nuisances = len(self.curves) + 1
        self.n_blocks = math.ceil(emulator.n_pixels / BLOCK)
        frozen = {"initializer": "zeros", "trainable": False}
        self.start_phi = self.add_weight(shape=(n_start, emulator.n_labels), name="start_phi", **frozen)
        self.start_coefficients = self.add_weight(
            shape=(n_start, emulator.n_components), name="start_coefficients", **frozen
        )
        self.start_power = self.add_weight(shape=(self.n_blocks, n_start), name="start_power", **frozen)

    def set_start(self, phi: ArrayLike, coefficients: ArrayLike) -> None:
        """Take these labels ``(n_start, n_labels)`` and coefficients ``(n_start, n_components)`` as possible starts."""
        coefficients = np.asarray(coefficients, dtype=np.float32)
        deviation = coefficients @ ops.convert_to_numpy(self.emulator.basis)
        padded = np.pad(deviation, ((0, 0), (0, self.n_blocks * BLOCK - deviation.shape[1])))
        power = np.square(padded).reshape(len(coefficients), self.n_blocks, BLOCK).sum(axis=-1).T
        self.start_phi.assign(np.clip(phi, -2.5, 2.5).astype(np.float32))
        # three digits are enough to tell which is near, and files pack to half
        self.start_coefficients.assign(coefficients.astype(np.float16).astype(np.float32))
        self.start_power.assign(power.astype(np.float16).astype(np.float32))

    def _approach(self, flux: Tensor, inverse_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Labels ``(n, n_labels)`` and nuisances ``(n, n_nuisances)`` of the fit to components."""
        velocity, phi = self._search(flux, inverse_variance)
        level = [ops.zeros_like(velocity)] * len(self.curves)
        nuisances = ops.concatenate([*level, velocity / self.velocity_scatter], axis=1)
        block_weight = self._block_weight(inverse_variance)
        gram = self._block_gram(block_weight)

        def descend(_: int, fit: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            phi, nuisances = fit
            spectrum = self._back(nuisances, flux, inverse_variance)
            return self._descend(phi, nuisances, gram, block_weight, *spectrum)

        return ops.fori_loop(0, ROUNDS, descend, (phi, nuisances))

    def _search(self, flux: Tensor, inverse_variance: Tensor) -> tuple[Tensor, Tensor]:
        """The best of some velocities ``(n, 1)``, and the labels of the nearest start there."""
        basis = rebin(self.emulator.basis, COARSE)
        most = round(REACH * self.velocity / self.velocity_step)
        best: tuple[Tensor, ...] = ()
        for velocity in self.velocity_step * np.arange(-most, most + 1.0):
            whole = np.round(velocity * self.pixels_per_velocity)
            moved, weight = (follow_known(values, whole, self.edges) for values in (flux, inverse_variance))
            distance, phi = self._nearest_start(moved, weight, basis)
            distance = distance + (velocity / self.velocity_scatter) ** 2
            new: tuple[Tensor, ...] = (distance, ops.zeros_like(distance) + velocity, phi)
            if best:
                new = tuple(ops.where(distance < best[0], a, b) for a, b in zip(new, best, strict=True))
            best = new
        _, velocity, phi = best
        return velocity, phi

    def _back(self, nuisances: Tensor, flux: Tensor, inverse_variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The spectrum moved back by the velocity to the nearest pixel, and the number of pixels, at every pixel."""
        velocity = self.velocity_scatter * nuisances[:, -1:]
        step = self.velocity_step / PARTS  # else whole pixels could hang on the last digit of the velocity
        distance = step * ops.round(velocity / step) * ops.convert_to_tensor(self.pixels_per_velocity)
        whole = ops.round(distance)
        (flux, inside), (weight, _) = (follow(values, whole, self.edges) for values in (flux, inverse_variance))
        return flux, inside * weight, whole

    def _predict(self, coefficients: Tensor, nuisances: Tensor, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The emulator's spectrum, moved as `_back` leaves the observed one.

        With it, its slope with the nuisance of velocity, and what the continuum multiplies it by.
        """
        pixels = self.velocity_scatter * ops.convert_to_tensor(self.pixels_per_velocity)
        spectrum, slope = shift(self.emulator.flux(coefficients), nuisances[:, -1:] * pixels - whole, self.edges)
        return spectrum, slope * pixels, 1.0 + ops.matmul(nuisances[:, :-1], ops.convert_to_tensor(self.curves))

    def _pull(self, pulled: Tensor, spectrum: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """How the weighted residuals `pulled` pull at the nuisances ``(n, n_nuisances)`` and coefficients."""
        continuum = ops.matmul(pulled * spectrum, ops.transpose(ops.convert_to_tensor(self.curves)))
        velocity = ops.sum(pulled * slope, axis=-1, keepdims=True)
        projection = ops.matmul(pulled, ops.transpose(self.emulator.basis))
        return ops.concatenate([continuum, velocity], axis=1), projection

    def _block_weight(self, inverse_variance: Tensor) -> Tensor:
        n_pixels = self.emulator.n_pixels
        padded = ops.pad(inverse_variance, ((0, 0), (0, self.n_blocks * BLOCK - n_pixels)))
        count = np.full(self.n_blocks, BLOCK, dtype=np.float32)
        count[-1] = n_pixels - (self.n_blocks - 1) * BLOCK
        return ops.sum(ops.reshape(padded, (-1, self.n_blocks, BLOCK)), axis=-1) / ops.convert_to_tensor(count)

    def _block_gram(self, block_weight: Tensor) -> Tensor:
        """Normal matrices of the components ``(n, n_components, n_components)``, one weight per block."""
        n = self.emulator.n_components
        padded = ops.pad(self.emulator.basis, ((0, 0), (0, self.n_blocks * BLOCK - self.emulator.n_pixels)))
        blocks = ops.transpose(ops.reshape(padded, (n, self.n_blocks, BLOCK)), (1, 0, 2))
        grams = ops.matmul(blocks, ops.transpose(blocks, (0, 2, 1)))
        return ops.reshape(ops.matmul(block_weight, ops.reshape(grams, (self.n_blocks, n * n))), (-1, n, n))

    def _nearest_start(self, flux: Tensor, inverse_variance: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        """Chi-square of the nearest start ``(n, 1)``, and its labels; `basis` is that of averages of pixels."""
        deviation = flux - self.emulator.mean
        weighted = inverse_variance * deviation
        projection = COARSE * ops.matmul(rebin(weighted, COARSE), ops.transpose(basis))
        distance = ops.matmul(self._block_weight(inverse_variance), self.start_power) - 2.0 * ops.matmul(
            projection, ops.transpose(self.start_coefficients)
        )
        nearest = ops.one_hot(ops.argmin(distance, axis=-1), self.n_start)
        own = ops.sum(weighted * deviation, axis=-1, keepdims=True)
        return own + ops.min(distance, axis=-1, keepdims=True), ops.matmul(nearest, self.start_phi)

    def _marginalised(
        self, spectrum: Tensor, slope: Tensor, gram: Tensor, block_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The normal equations with the nuisances marginalised.

        Factor of the nuisances' matrix, what they share with the components, and the components' matrix less that.
        """
        weight = ops.repeat(block_weight, BLOCK // FINE, axis=1)[:, : self.emulator.n_pixels // FINE]
        spectrum, slope = rebin(spectrum, FINE), rebin(slope, FINE)
        curves = rebin(ops.convert_to_tensor(self.curves), FINE)
        columns = ops.concatenate([spectrum[:, None] * curves, slope[:, None]], axis=1)
        weighted = FINE * weight[:, None] * columns
        factor = cholesky(ops.matmul(weighted, ops.transpose(columns, (0, 2, 1))) + ops.eye(self.n_nuisances))
        shared = ops.matmul(weighted, ops.transpose(rebin(self.emulator.basis, FINE)))
        shared = solve_triangular(factor, shared)
        return factor, shared, gram - ops.matmul(ops.transpose(shared, (0, 2, 1)), shared)

    def _descend(
        self,
        phi: Tensor,
        nuisances: Tensor,
        gram: Tensor,
        block_weight: Tensor,
        flux: Tensor,
        inverse_variance: Tensor,
        whole: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Labels and nuisances after steps on components; the spectrum's nuisances are linearised where it begins."""
        reference = self.emulator(phi)
        spectrum, slope, continuum = self._predict(reference, nuisances, whole)
        own, projection = self._pull(inverse_variance * (flux - spectrum * continuum), spectrum, slope)
        factor, shared, gram = self._marginalised(spectrum, slope, gram, block_weight)
        own = solve_triangular(factor, (own - nuisances)[:, :, None])
        projection = projection - ops.matmul(ops.transpose(shared, (0, 2, 1)), own)[:, :, 0]

        def evaluate(phi: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
            coefficients, jacobian = self.emulator.linearise(phi)
            moved = coefficients - reference
            product = ops.matmul(ops.concatenate([jacobian, moved[:, None]], axis=1), gram)
            curvature = ops.matmul(product[:, :-1], ops.transpose(jacobian, (0, 2, 1))) + ops.eye(phi.shape[1])
            pull = product[:, -1]
            cost = ops.sum(moved * (pull - 2.0 * projection), axis=-1, keepdims=True)
            cost = cost + ops.sum(ops.square(phi), axis=-1, keepdims=True)
            return cost, ops.matmul(jacobian, (projection - pull)[:, :, None])[:, :, 0] - phi, (curvature, moved)

        def curvature_at(curvature: Tensor, _: Tensor) -> Tensor:
            return curvature

        phi, _, (_, moved) = minimise(evaluate, curvature_at, phi, steps=self.descent // ROUNDS, damping=DAMPING)
        left = own - ops.matmul(shared, moved[:, :, None])
        move = solve_triangular(ops.transpose(factor, (0, 2, 1)), left, lower=False)[:, :, 0]
        pixel = min(self.velocity_step / self.velocity_scatter, LARGEST_STEP)
        most = np.array([LARGEST_STEP] * len(self.curves) + [pixel], dtype=np.float32)
        return phi, nuisances + ops.clip(move, -most, most)

    def get_config(self) -> dict[str, Any]:
        keys = ("n_start", "descent", "velocity", "continuum", "continuum_degree")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}
