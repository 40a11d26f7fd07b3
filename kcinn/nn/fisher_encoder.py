"""FisherEncoder: label estimate and Fisher information from a fit of the emulator."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kcinn.nn.component_fit import DAMPING, FINE, ComponentFit
from kcinn.nn.emulator import Emulator
from kcinn.nn.encoder import Encoding
from kcinn.nn.levenberg_marquardt import LIMIT, minimise
from kcinn.nn.pixels import rebin
from kcinn.nn.tensor import Tensor
from kcinn.nn.triangle import cholesky, solve_triangular

STRETCH = 768  # averages of pixels whose derivatives are held at a time
LAST_STEP = 0.5  # prior standard deviations
SMALLEST_MISFIT = 1e-3  # reduced chi-square whose logarithm is taken
LUCK = 5.0  # standard deviations of the reduced chi-square by which noise may leave it below one


@keras.saving.register_keras_serializable(package="kcinn")
class FisherEncoder(ComponentFit):
    """Fit the emulator to the spectrum: label estimate, Fisher information and chi-square are the summary.

    Near its optimum the likelihood is Gaussian in the labels, so the estimate and the Fisher matrix are asymptotically
    sufficient (score compression, Alsing & Wandelt 2018). After the fit to components the last steps are on all pixels:
    those that the best fit misses by more than the noise count less (Student-t weights), and errors grow with the
    square root of the reduced chi-square where it exceeds one. The very last step marginalises the emulator's own error
    along its principal axes.

    Parameters
    ----------
    emulator, wavelength, arm_pixels, targets
        As of `ComponentFit`, whose further parameters are taken by name.
    polish : int
        Number of steps on pixels.
    degrees_of_freedom : float
        Of the Student-t weights.

    Input shape
        As of `ComponentFit`.
    """

    def __init__(
        self,
        emulator: Emulator,
        wavelength: ArrayLike,
        arm_pixels: list[int],
        targets: list[int],
        *,
        polish: int = 4,
        degrees_of_freedom: float = 16.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(emulator, wavelength, arm_pixels, targets, **kwargs)
        self.polish, self.degrees_of_freedom = polish, degrees_of_freedom

    @property
    def columns(self) -> tuple[int, ...]:
        """The emulator's labels as the fit takes them: those that are marginalised, and the targets in their order."""
        others = [i for i in range(self.emulator.n_labels) if i not in self.targets]
        return (*others, *(self.targets[i] for i in self.order))

    @property
    def n_context(self) -> int:
        return self.emulator.n_labels + len(self.targets) + 3 + len(self.edges)

    def best_fit(self, encoding: Encoding) -> Tensor:
        return encoding.context[:, : self.emulator.n_labels]

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

    def call(self, flux: Tensor, inverse_variance: Tensor) -> Encoding:
        phi, nuisances = self._approach(flux, inverse_variance)
        return self._polish(phi, nuisances, *self._back(nuisances, flux, inverse_variance))

    def _polish(
        self, phi: Tensor, nuisances: Tensor, flux: Tensor, inverse_variance: Tensor, whole: Tensor
    ) -> Encoding:
        """The encoding after steps on the pixels, robust against those that the emulator misses."""
        n_pixels = ops.maximum(ops.sum(ops.cast(inverse_variance > 0, "float32"), axis=-1, keepdims=True), 1.0)
        # averages of pixels resolve the lines: enough for the curvature, while the pull is exact
        basis, curves = rebin(self.emulator.basis, FINE), rebin(ops.convert_to_tensor(self.curves), FINE)

        def evaluate(parameters: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
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

        def curvature(
            tangents: Tensor, spectrum: Tensor, slope: Tensor, weight: Tensor, *_: Tensor, errors: Tensor | None = None
        ) -> Tensor:
            spectrum, slope, root = rebin(spectrum, FINE), rebin(slope, FINE), ops.sqrt(FINE * rebin(weight, FINE))
            total: Tensor = 0.0
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
        parameters, pull, point = minimise(evaluate, curvature, start, steps=self.polish, damping=DAMPING)
        return self._encoding(parameters, pull, point, curvature, inverse_variance)

    def _encoding(
        self, parameters: Tensor, pull: Tensor, point: tuple[Tensor, ...], curvature: Tensor, inverse_variance: Tensor
    ) -> Encoding:
        """One more step with the emulator's error as further nuisances, now that all are nearly linear; its result."""
        *_, projection, chi_square = point
        nuisances, labels = pull[:, : self.n_nuisances], pull[:, self.n_nuisances :]
        size = self.emulator.error_size(self._split(parameters)[1])
        errors = size * ops.matmul(projection, ops.transpose(self.emulator.error))
        factor = cholesky(curvature(*point, errors=size))
        its = self.n_nuisances - 1
        velocity = ops.one_hot(ops.zeros_like(projection[:, 0], dtype="int32") + its, factor.shape[-1])
        own = ops.concatenate([nuisances, ops.zeros_like(errors), labels], axis=1)
        pull = ops.concatenate([nuisances, errors, labels], axis=1)
        half = solve_triangular(factor, ops.stack([own, velocity, pull], axis=2))
        step, velocity_error = ops.unstack(ops.sqrt(ops.sum(ops.square(half[:, :, :2]), axis=1)), axis=1)
        move = solve_triangular(ops.transpose(factor, (0, 2, 1)), half[:, :, 2:], lower=False)[:, :, 0]
        # how far the emulator is off here: few spectra are, and only these deserve wide posteriors
        strain = ops.sum(ops.square(move[:, self.n_nuisances : -self.emulator.n_labels]), axis=-1, keepdims=True)
        move = ops.clip(move, -LAST_STEP, LAST_STEP)
        velocity = self.velocity_scatter * (parameters[:, its] + move[:, its])
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
        context = ops.concatenate([phi, information, ops.log1p(step[:, None]), *shares, *misfit], axis=-1)
        inverse = solve_triangular(factor, ops.eye(n_targets) + ops.zeros_like(factor))
        return Encoding(
            context, parameters[:, -n_targets:], factor, inverse, chi_square[:, 0], velocity,
            self.velocity_scatter * velocity_error, self.snr(inverse_variance),
        )  # fmt: skip

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Nuisances, and labels in the emulator's order."""
        labels = ops.take(parameters[:, self.n_nuisances :], np.argsort(self.columns), axis=1)
        return parameters[:, : self.n_nuisances], labels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "polish": self.polish, "degrees_of_freedom": self.degrees_of_freedom}
