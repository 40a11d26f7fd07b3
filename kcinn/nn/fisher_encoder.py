"""FisherEncoder: label estimate and Fisher information from a fit of the emulator."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kcinn.nn.emulator import Emulator
from kcinn.nn.encoder import Encoder, Encoding
from kcinn.nn.levenberg_marquardt import LARGEST_STEP, LIMIT, minimise
from kcinn.nn.pixels import continuum_polynomials, follow, follow_known, pixels_per_velocity, rebin, shift
from kcinn.nn.triangle import cholesky, solve, solve_triangular

COARSE, FINE = 4, 2  # pixels that are averaged in the search of the start, and for the curvature of the fit
ROUNDS = 2  # of the fit to components; each begins with a new linearisation of the nuisances
BLOCK = 192  # pixels that share one weight in the fast normal equations
STRETCH = 768  # averages of pixels whose derivatives are held at a time
DAMPING = (1e-2, 1e-2)  # of the first step on components, and on pixels
LAST_STEP = 0.5  # prior standard deviations
SMALLEST_MISFIT = 1e-3  # reduced chi-square whose logarithm is taken
LUCK = 5.0  # standard deviations of the reduced chi-square by which noise may leave it below one
REACH = 1.5  # largest velocity that is sought, over the largest of the training
PARTS = 4  # of a pixel, to which the velocity is rounded by which a spectrum is moved


@keras.saving.register_keras_serializable(package="kcinn")
class FisherEncoder(Encoder):
    """Fit the emulator to the spectrum: label estimate, Fisher information and chi-square are the summary.

    Near its optimum the likelihood is Gaussian in the labels, so the estimate and the Fisher matrix are asymptotically
    sufficient (score compression, Alsing & Wandelt 2018). The fit starts at the nearest of a set of synthetic spectra
    and at the best of a few velocities, about a pixel apart. The spectrum is moved back by whole pixels, so that its
    noise stays as it is; what is left, less than about a pixel, is a shift of the emulator's spectrum. The velocity and
    a low-order continuum per arm are free in the fit. It takes damped Gauss-Newton steps (Levenberg 1944, Marquardt
    1963), first on the principal components, with one weight per block of pixels and these nuisances, which are nearly
    linear, marginalised; then on all pixels. There, pixels that the best fit misses by more than the noise count less
    (Student-t weights), and errors grow with the square root of the reduced chi-square where it exceeds one. A last
    step marginalises the emulator's own error along its principal axes.

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
    descent, polish : int
        Number of steps on components, in all rounds together, and on pixels.
    velocity : float, km/s
        The prior of the residual velocity reaches from minus to plus this; a normal of the same variance stands for it.
    continuum : float
        Prior standard deviation of every continuum coefficient.
    continuum_degree : int
    degrees_of_freedom : float
        Of the Student-t weights.

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
        polish: int = 4,
        velocity: float = 10.0,
        continuum: float = 0.01,
        continuum_degree: int = 2,
        degrees_of_freedom: float = 16.0,
        **kwargs: Any,
    ):
        super().__init__(emulator, wavelength, arm_pixels, targets, **kwargs)
        self.n_start, self.descent, self.polish = n_start, descent, polish
        self.velocity, self.continuum, self.continuum_degree = velocity, continuum, continuum_degree
        self.degrees_of_freedom = degrees_of_freedom
        self.polynomials = continuum_polynomials(self.edges, continuum_degree)
        self.pixels_per_velocity = pixels_per_velocity(self.wavelength, self.edges)
        self.velocity_scatter = velocity / math.sqrt(3.0)
        self.velocity_step = 1.0 / float(np.median(self.pixels_per_velocity))
        self.n_nuisances = len(self.polynomials) + 1
        self.n_blocks = math.ceil(emulator.n_pixels / BLOCK)
        frozen = {"initializer": "zeros", "trainable": False}
        self.start_phi = self.add_weight(shape=(n_start, emulator.n_labels), name="start_phi", **frozen)
        self.start_coefficients = self.add_weight(
            shape=(n_start, emulator.n_components), name="start_coefficients", **frozen
        )
        self.start_power = self.add_weight(shape=(self.n_blocks, n_start), name="start_power", **frozen)

    @property
    def columns(self) -> tuple[int, ...]:
        """The emulator's labels as the fit takes them: those that are marginalised, and the targets in their order."""
        others = [i for i in range(self.emulator.n_labels) if i not in self.targets]
        return (*others, *(self.targets[i] for i in self.order))

    @property
    def n_context(self) -> int:
        return self.emulator.n_labels + len(self.targets) + 3 + len(self.edges)

    def best_fit(self, encoding):
        return encoding.context[:, : self.emulator.n_labels]

    def set_start(self, phi: ArrayLike, coefficients: ArrayLike) -> None:
        """Take these labels ``(n_start, n_labels)`` and coefficients ``(n_start, n_components)`` as possible starts."""
        coefficients = np.asarray(coefficients, dtype=np.float32)
        deviation = coefficients @ ops.convert_to_numpy(self.emulator.basis)
        padded = np.pad(deviation, ((0, 0), (0, self.n_blocks * BLOCK - deviation.shape[1])))
        power = np.square(padded).reshape(len(coefficients), self.n_blocks, BLOCK).sum(axis=-1).T
        self.start_phi.assign(np.clip(phi, -2.5, 2.5).astype(np.float32))
        self.start_coefficients.assign(coefficients)
        self.start_power.assign(power)

    def set_order(self, phi: ArrayLike, inverse_variance: ArrayLike) -> None:
        """Order the targets by what spectra with these labels tell of them, ``(n, n_labels)``, from least to most.

        `inverse_variance` ``(n_pixels,)`` is that of every spectrum.
        """
        basis = ops.convert_to_numpy(self.emulator.basis)
        gram = (basis * np.asarray(inverse_variance, dtype=np.float32)) @ basis.T
        slopes = ops.convert_to_numpy(self.emulator.linearise(np.asarray(phi, dtype=np.float32))[1])
        fisher = slopes @ gram @ slopes.transpose(0, 2, 1) + np.eye(self.emulator.n_labels)
        variance = np.median(np.diagonal(np.linalg.inv(fisher), axis1=1, axis2=2), axis=0)
        self.order = tuple(int(i) for i in np.argsort(-variance[list(self.targets)], kind="stable"))

    def call(self, flux, inverse_variance):
        phi, nuisances = self._approach(flux, inverse_variance)
        return self._polish(phi, nuisances, *self._back(nuisances, flux, inverse_variance))

    def _approach(self, flux, inverse_variance):
        """Labels ``(n, n_labels)`` and nuisances ``(n, n_nuisances)`` of the fit to components."""
        velocity, phi = self._search(flux, inverse_variance)
        level = [ops.zeros_like(velocity)] * len(self.polynomials)
        nuisances = ops.concatenate([*level, velocity / self.velocity_scatter], axis=1)
        block_weight = self._block_weight(inverse_variance)
        gram = self._block_gram(block_weight)

        def descend(_, fit):
            phi, nuisances = fit
            spectrum = self._back(nuisances, flux, inverse_variance)
            return self._descend(phi, nuisances, gram, block_weight, *spectrum)

        return ops.fori_loop(0, ROUNDS, descend, (phi, nuisances))

    def _search(self, flux, inverse_variance):
        """The best of some velocities ``(n, 1)``, and the labels of the nearest start there."""
        basis = rebin(self.emulator.basis, COARSE)
        most = round(REACH * self.velocity / self.velocity_step)
        best = None
        for velocity in self.velocity_step * np.arange(-most, most + 1.0):
            whole = np.round(velocity * self.pixels_per_velocity)
            moved, weight = (follow_known(values, whole, self.edges) for values in (flux, inverse_variance))
            distance, phi = self._nearest_start(moved, weight, basis)
            distance = distance + (velocity / self.velocity_scatter) ** 2
            new = (distance, ops.zeros_like(distance) + velocity, phi)
            if best is not None:
                new = tuple(ops.where(distance < best[0], a, b) for a, b in zip(new, best, strict=True))
            best = new
        return best[1:]

    def _back(self, nuisances, flux, inverse_variance):
        """The spectrum moved back by the velocity to the nearest pixel, and the number of pixels, at every pixel."""
        velocity = self.velocity_scatter * nuisances[:, -1:]
        step = self.velocity_step / PARTS  # else whole pixels could hang on the last digit of the velocity
        distance = step * ops.round(velocity / step) * ops.convert_to_tensor(self.pixels_per_velocity)
        whole = ops.round(distance)
        (flux, inside), (weight, _) = (follow(values, whole, self.edges) for values in (flux, inverse_variance))
        return flux, inside * weight, whole

    def _predict(self, coefficients, nuisances, whole):
        """The emulator's spectrum, moved as `_back` leaves the observed one, its slope with the nuisance of velocity,
        and what the continuum multiplies it by."""
        pixels = self.velocity_scatter * ops.convert_to_tensor(self.pixels_per_velocity)
        spectrum, slope = shift(self.emulator.flux(coefficients), nuisances[:, -1:] * pixels - whole, self.edges)
        return spectrum, slope * pixels, 1.0 + ops.matmul(nuisances[:, :-1], self._curves())

    def _curves(self):
        """What a continuum coefficient of one prior standard deviation adds, ``(n_polynomials, n_pixels)``."""
        return self.continuum * ops.convert_to_tensor(self.polynomials)

    def _pull(self, pulled, spectrum, slope):
        """How the weighted residuals `pulled` pull at the nuisances ``(n, n_nuisances)`` and coefficients."""
        continuum = ops.matmul(pulled * spectrum, ops.transpose(self._curves()))
        velocity = ops.sum(pulled * slope, axis=-1, keepdims=True)
        projection = ops.matmul(pulled, ops.transpose(self.emulator.basis))
        return ops.concatenate([continuum, velocity], axis=1), projection

    def _block_weight(self, inverse_variance):
        n_pixels = self.emulator.n_pixels
        padded = ops.pad(inverse_variance, ((0, 0), (0, self.n_blocks * BLOCK - n_pixels)))
        count = np.full(self.n_blocks, BLOCK, dtype=np.float32)
        count[-1] = n_pixels - (self.n_blocks - 1) * BLOCK
        return ops.sum(ops.reshape(padded, (-1, self.n_blocks, BLOCK)), axis=-1) / ops.convert_to_tensor(count)

    def _block_gram(self, block_weight):
        """Normal matrices of the components ``(n, n_components, n_components)``, one weight per block."""
        n = self.emulator.n_components
        padded = ops.pad(self.emulator.basis, ((0, 0), (0, self.n_blocks * BLOCK - self.emulator.n_pixels)))
        blocks = ops.transpose(ops.reshape(padded, (n, self.n_blocks, BLOCK)), (1, 0, 2))
        grams = ops.matmul(blocks, ops.transpose(blocks, (0, 2, 1)))
        return ops.reshape(ops.matmul(block_weight, ops.reshape(grams, (self.n_blocks, n * n))), (-1, n, n))

    def _nearest_start(self, flux, inverse_variance, basis):
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

    def _descend(self, phi, nuisances, gram, block_weight, flux, inverse_variance, whole):
        """Labels and nuisances after steps on components; the spectrum's nuisances are linearised where it begins."""
        reference = self.emulator(phi)
        spectrum, slope, continuum = self._predict(reference, nuisances, whole)
        residual = inverse_variance * (flux - spectrum * continuum)
        own, projection = self._pull(residual, spectrum, slope)
        weight = ops.repeat(block_weight, BLOCK, axis=1)[:, : self.emulator.n_pixels]
        spectrum, slope, weight = (rebin(values, FINE) for values in (spectrum, slope, weight))
        columns = ops.concatenate([spectrum[:, None] * rebin(self._curves(), FINE), slope[:, None]], axis=1)
        weighted = FINE * weight[:, None] * columns
        factor = cholesky(ops.matmul(weighted, ops.transpose(columns, (0, 2, 1))) + ops.eye(self.n_nuisances))
        shared = ops.matmul(weighted, ops.transpose(rebin(self.emulator.basis, FINE)))
        shared = solve_triangular(factor, shared)
        own = solve_triangular(factor, (own - nuisances)[:, :, None])
        gram = gram - ops.matmul(ops.transpose(shared, (0, 2, 1)), shared)
        projection = projection - ops.matmul(ops.transpose(shared, (0, 2, 1)), own)[:, :, 0]

        def evaluate(phi):
            coefficients, jacobian = self.emulator.linearise(phi)
            moved = coefficients - reference
            pull = ops.matmul(gram, moved[:, :, None])[:, :, 0]
            cost = ops.sum(moved * (pull - 2.0 * projection), axis=-1, keepdims=True)
            cost = cost + ops.sum(ops.square(phi), axis=-1, keepdims=True)
            return cost, ops.matmul(jacobian, (projection - pull)[:, :, None])[:, :, 0] - phi, (jacobian, moved)

        def curvature(jacobian, _):
            rows = ops.matmul(ops.matmul(jacobian, gram), ops.transpose(jacobian, (0, 2, 1)))
            return rows + ops.eye(phi.shape[1])

        phi, _, (_, moved) = minimise(evaluate, curvature, phi, steps=self.descent // ROUNDS, damping=DAMPING[0])
        left = own - ops.matmul(shared, moved[:, :, None])
        move = solve_triangular(ops.transpose(factor, (0, 2, 1)), left, lower=False)[:, :, 0]
        pixel = min(self.velocity_step / self.velocity_scatter, LARGEST_STEP)
        most = np.array([LARGEST_STEP] * len(self.polynomials) + [pixel], dtype=np.float32)
        return phi, nuisances + ops.clip(move, -most, most)

    def _polish(self, phi, nuisances, flux, inverse_variance, whole):
        """The encoding after steps on the pixels, robust against those that the emulator misses."""
        n_pixels = ops.maximum(ops.sum(ops.cast(inverse_variance > 0, "float32"), axis=-1, keepdims=True), 1.0)
        # averages of pixels resolve the lines: enough for the curvature, while the pull is exact
        basis, curves = rebin(self.emulator.basis, FINE), rebin(self._curves(), FINE)

        def evaluate(parameters):
            nuisances, phi = self._split(parameters)
            coefficients, tangents = self.emulator.linearise(phi)
            tangents = ops.take(tangents, self.columns, axis=1)
            spectrum, slope, continuum = self._predict(coefficients, nuisances, whole)
            residual = flux - spectrum * continuum
            square = inverse_variance * ops.square(residual)
            chi_square = ops.sum(square, axis=-1, keepdims=True) / n_pixels
            tail = self.degrees_of_freedom * ops.maximum(chi_square, 1.0)
            variance = ops.maximum(ops.sum(square / (1.0 + square / tail), axis=-1, keepdims=True) / n_pixels, 1.0)
            relative = square / (self.degrees_of_freedom * variance)
            weight = inverse_variance / (variance * (1.0 + relative))
            penalty = ops.sum(ops.square(parameters), axis=-1, keepdims=True)
            cost = variance * (self.degrees_of_freedom * ops.sum(ops.log1p(relative), axis=-1, keepdims=True) + penalty)
            own, projection = self._pull(weight * residual, spectrum, slope)
            pull = ops.concatenate([own, ops.matmul(tangents, projection[:, :, None])[:, :, 0]], axis=1) - parameters
            return cost, pull, (tangents, spectrum, slope, weight, projection, chi_square)

        def curvature(tangents, spectrum, slope, weight, *_, errors=None):
            spectrum, slope, root = rebin(spectrum, FINE), rebin(slope, FINE), ops.sqrt(FINE * rebin(weight, FINE))
            total = 0.0
            for first in range(0, basis.shape[1], STRETCH):  # in stretches that stay in cache
                part = slice(first, first + STRETCH)
                columns = [spectrum[:, None, part] * curves[:, part], slope[:, None, part]]
                if errors is not None:
                    columns.append(errors[:, :, None] * ops.matmul(self.emulator.error, basis[:, part]))
                columns.append(ops.matmul(tangents, basis[:, part]))
                columns = ops.concatenate(columns, axis=1) * root[:, None, part]
                total = total + ops.matmul(columns, ops.transpose(columns, (0, 2, 1)))
            return total + ops.eye(total.shape[1])

        start = ops.concatenate([nuisances, ops.take(phi, self.columns, axis=1)], axis=1)
        parameters, pull, point = minimise(evaluate, curvature, start, steps=self.polish, damping=DAMPING[1])
        return self._encoding(parameters, pull, point, curvature, inverse_variance)

    def _encoding(self, parameters, pull, point, curvature, inverse_variance):
        """One more step with the emulator's error as further nuisances, now that all are nearly linear; its result."""
        *_, projection, chi_square = point
        nuisances, labels = pull[:, : self.n_nuisances], pull[:, self.n_nuisances :]
        size = self.emulator.error_size(self._split(parameters)[1])
        errors = size * ops.matmul(projection, ops.transpose(self.emulator.error))
        factor = cholesky(curvature(*point, errors=size))
        own = ops.concatenate([nuisances, ops.zeros_like(errors), labels], axis=1)
        step = ops.sqrt(ops.maximum(ops.sum(own * solve(factor, own), axis=-1, keepdims=True), 0.0))
        move = solve(factor, ops.concatenate([nuisances, errors, labels], axis=1))
        # how far the emulator is off here: few spectra are, and only these deserve wide posteriors
        strain = ops.sum(ops.square(move[:, self.n_nuisances : -self.emulator.n_labels]), axis=-1, keepdims=True)
        move = ops.clip(move, -LAST_STEP, LAST_STEP)
        its = self.n_nuisances - 1
        velocity = self.velocity_scatter * (parameters[:, its] + move[:, its])
        unit = ops.one_hot(ops.zeros_like(velocity, dtype="int32") + its, factor.shape[-1])
        column = solve_triangular(factor, unit[:, :, None])
        velocity_error = self.velocity_scatter * ops.sqrt(ops.sum(ops.square(column), axis=(1, 2)))
        labels = parameters[:, self.n_nuisances :] + move[:, -self.emulator.n_labels :]
        parameters = ops.concatenate([parameters[:, : self.n_nuisances], ops.clip(labels, -LIMIT, LIMIT)], axis=1)
        _, phi = self._split(parameters)
        n_targets = len(self.targets)
        # the last block of the factor is the factor of the Schur complement: all else is marginalised
        factor = factor[:, -n_targets:, -n_targets:]
        good = ops.cast(inverse_variance > 0, "float32")
        shares = [ops.mean(good[:, a:b], axis=-1, keepdims=True) for a, b in self.edges]
        information = ops.log(ops.diagonal(factor, axis1=1, axis2=2))
        # below what noise can do it says that errors are too large, as those of smoothed pixels, and nothing of labels
        n_pixels = ops.maximum(ops.sum(good, axis=-1, keepdims=True), 1.0)
        least = ops.maximum(1.0 - LUCK * ops.sqrt(2.0 / n_pixels), SMALLEST_MISFIT)
        misfit = [ops.log1p(strain), ops.log(ops.maximum(chi_square, least))]
        context = ops.concatenate([phi, information, ops.log1p(step), *shares, *misfit], axis=-1)
        return Encoding(
            context, parameters[:, -n_targets:], factor, chi_square[:, 0], velocity, velocity_error,
            self.snr(inverse_variance),
        )  # fmt: skip

    def _split(self, parameters):
        """Nuisances, and labels in the emulator's order."""
        labels = ops.take(parameters[:, self.n_nuisances :], np.argsort(self.columns), axis=1)
        return parameters[:, : self.n_nuisances], labels

    def get_config(self):
        keys = ("n_start", "descent", "polish", "velocity", "continuum", "continuum_degree", "degrees_of_freedom")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}
