"""Emulator: labels -> spectrum, as a small network on principal components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.initializers import VarianceScaling
from numpy.typing import ArrayLike

from kcinn.devices import mean_loss
from kcinn.nn.tensor import Tensor

LONGEST_ERROR = 3.0  # of a spectrum, in units of what is typical for its labels
SQRT3 = math.sqrt(3.0)


@keras.saving.register_keras_serializable(package="kcinn", name="EmulatorLayer")
class Emulator(keras.layers.Layer):
    """Predict the coefficients of a spectrum, and their Jacobian, from labels.

    A sum of networks: one is fed all labels; and for every element, whose lines hang on the atmosphere and on their own
    abundance but hardly on those of others, one is fed the labels that are no element's abundance and its own: what is
    known of the physics need not be learned from spectra.

    The networks work on `phi`, labels mapped to the space in which their uniform prior is a standard normal
    (`LabelSpace.to_unbounded`). Inside, ``t = erf(phi / sqrt(2))`` brings them back to the interval from -1 to 1, so
    the emulator never extrapolates beyond the box. A label that lines feel by its reciprocal (``5040 K / teff``) enters
    as ``(t + bend) / (1 + bend t)``, which is linear in the reciprocal if `bend` is the half width of the label's box
    over its middle. Inputs are scaled by the square root of 3. ``flux = mean + coefficients @ basis``.

    Parameters
    ----------
    n_labels, n_pixels, n_components : int
    width, depth : int
        Size of the hidden layers (SiLU) and their number.
    element_width : int
        Size of the hidden layers of every element's network.
    elements : sequence of int
        The labels that are abundances of elements.
    n_errors : int
        Number of the principal axes of its own error that the emulator carries, see `set_error`.
    bends : sequence of float, optional
        Of every label, between 0 (enters as it is) and 1; by default all 0.

    Input shape
        phi ``(n, n_labels)``.
    Output shape
        coefficients ``(n, n_components)``.
    """

    def __init__(
        self,
        n_labels: int,
        n_pixels: int,
        n_components: int = 256,
        width: int = 512,
        depth: int = 3,
        element_width: int = 64,
        elements: Sequence[int] = (),
        n_errors: int = 32,
        bends: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_labels, self.n_pixels, self.n_components = n_labels, n_pixels, n_components
        self.width, self.depth, self.n_errors = width, depth, min(n_errors, n_components)
        self.element_width, self.elements = element_width, [int(i) for i in elements]
        if len(set(self.elements)) < len(elements) or not set(self.elements) <= set(range(n_labels)):
            raise ValueError(f"elements must be distinct numbers of the {n_labels} labels. Received: {self.elements}")
        self.bends = [0.0] * n_labels if bends is None else [float(bend) for bend in bends]
        frozen = {"initializer": "zeros", "trainable": False}
        self.mean = self.add_weight(shape=(n_pixels,), name="mean", **frozen)
        self.basis = self.add_weight(shape=(n_components, n_pixels), name="basis", **frozen)
        self.scale = self.add_weight(shape=(n_components,), name="scale", initializer="ones", trainable=False)
        self.error = self.add_weight(shape=(self.n_errors, n_components), name="error", **frozen)
        self.error_growth = self.add_weight(shape=(1 + 2 * n_labels, 1), name="error_growth", **frozen)
        self.held_out_rms = self.add_weight(shape=(2,), name="held_out_rms", **frozen)
        sizes = [n_labels] + [width] * depth + [n_components]
        self.kernels = [
            self.add_weight(shape=shape, name=f"kernel_{i}", initializer="lecun_normal")
            for i, shape in enumerate(pairwise(sizes))
        ]
        self.biases = [
            self.add_weight(shape=(n,), name=f"bias_{i}", initializer="zeros") for i, n in enumerate(sizes[1:])
        ]
        self._shared = [i for i in range(n_labels) if i not in self.elements]
        sizes = [len(self._shared) + 1] + [element_width] * depth + [n_components]
        shapes = [(len(self.elements), *shape) for shape in pairwise(sizes)] if self.elements else []
        scales = [len(self.elements)] * depth + [1]  # as each of the elements' kernels alone; but the last are summed
        self.element_kernels = [
            self.add_weight(shape=shape, name=f"element_kernel_{i}", initializer=VarianceScaling(scale))
            for i, (shape, scale) in enumerate(zip(shapes, scales, strict=False))
        ]
        self.element_biases = [
            self.add_weight(shape=(shape[0], 1, shape[2]), name=f"element_bias_{i}", initializer="zeros")
            for i, shape in enumerate(shapes[:-1])
        ]
        self._bend = np.array(self.bends, dtype=np.float32)
        self.built = True

    def set_basis(self, mean: ArrayLike, basis: ArrayLike, scale: ArrayLike) -> None:
        """Take over the principal components of a grid.

        Parameters
        ----------
        mean, basis, scale : array_like
            Shapes ``(n_pixels,)``, ``(n_components, n_pixels)``, ``(n_components,)``; scale is the standard deviation
            of the coefficients.
        """
        for weight, value in ((self.mean, mean), (self.basis, basis), (self.scale, scale)):
            weight.assign(np.asarray(value, dtype=np.float32))

    def set_error(self, phi: ArrayLike, residuals: ArrayLike) -> None:
        """Learn the emulator's own error from spectra that it has not seen.

        The logarithm of the error's size is a quadratic in every label, fitted to these spectra; `error` becomes
        ``(n_errors, n_components)``, such that a standard normal vector times it, times `error_size`, has the
        covariance of the residuals along their principal axes. Residuals much larger than is typical for their labels
        are shortened: the few spectra that the emulator gets wrong are not to widen the posteriors of all others.
        `held_out_rms` becomes the root mean square and the median of the spectra's rms flux errors.

        Parameters
        ----------
        phi : array_like, shape (n, n_labels)
        residuals : array_like, shape (n, n_components)
        """
        residuals = values = np.asarray(residuals, dtype=np.float64)
        length = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
        terms = ops.convert_to_numpy(self._quadratic(np.asarray(phi, dtype=np.float32))).astype(np.float64)
        growth = np.linalg.lstsq(terms, np.log(length), rcond=None)[0]
        typical = np.exp(terms @ growth)
        values = values / typical * np.minimum(1.0, LONGEST_ERROR * typical / length)
        power, axes = np.linalg.eigh(values.T @ values / len(values))
        power, axes = power[::-1][: self.n_errors], axes[:, ::-1][:, : self.n_errors]
        self.error.assign((np.sqrt(np.maximum(power, 0.0)) * axes).T.astype(np.float32))
        self.error_growth.assign(growth.astype(np.float32))
        basis = ops.convert_to_numpy(self.basis)
        rms = np.sqrt(np.einsum("ni,ni->n", residuals @ (basis @ basis.T), residuals) / self.n_pixels)
        self.held_out_rms.assign(np.array([np.sqrt(np.mean(rms**2)), np.median(rms)], dtype=np.float32))

    def error_size(self, phi: Tensor) -> Tensor:
        """By what `error` is to be multiplied at these labels, ``(n, 1)``."""
        return ops.exp(ops.matmul(self._quadratic(phi), self.error_growth))

    def _quadratic(self, phi: Tensor) -> Tensor:
        x = SQRT3 * ops.erf(phi / math.sqrt(2.0))
        return ops.concatenate([ops.ones_like(x[:, :1]), x, ops.square(x)], axis=1)

    def _inputs(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is fed, and the derivative of each with respect to its label."""
        t = ops.erf(phi / math.sqrt(2.0))
        slope = math.sqrt(2.0 / math.pi) * ops.exp(-0.5 * ops.square(phi))
        bend = ops.convert_to_tensor(self._bend)
        stretch = 1.0 + bend * t
        return SQRT3 * (t + bend) / stretch, SQRT3 * slope * (1.0 - ops.square(bend)) / ops.square(stretch)

    def call(self, phi: Tensor) -> Tensor:
        inputs, _ = self._inputs(phi)
        hidden = _last_hidden(inputs, self.kernels[:-1], self.biases[:-1])
        coefficients = ops.matmul(hidden, self.kernels[-1]) + self.biases[-1]
        if self.elements:
            hidden = _last_hidden(self._each_element(inputs), self.element_kernels[:-1], self.element_biases)
            coefficients = coefficients + ops.einsum("enw,ewc->nc", hidden, self.element_kernels[-1])
        return coefficients * self.scale

    def linearise(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients ``(n, n_components)`` and their Jacobian with respect to `phi`, ``(n, n_labels, n_components)``.

        Forward mode written out, since the backends have no common automatic one.
        """
        inputs, slope = self._inputs(phi)
        hidden, tangent = _propagate(inputs, slope, self.kernels[:-1], self.biases[:-1])
        coefficients = ops.matmul(hidden, self.kernels[-1]) + self.biases[-1]
        jacobian = ops.matmul(tangent, self.kernels[-1])
        if self.elements:
            hidden, tangent = _propagate(
                self._each_element(inputs), self._each_element(slope), self.element_kernels[:-1], self.element_biases
            )
            last = self.element_kernels[-1]
            coefficients = coefficients + ops.einsum("enw,ewc->nc", hidden, last)
            shared = ops.einsum("enkw,ewc->nkc", tangent[:, :, :-1], last)
            own = ops.einsum("enw,ewc->nec", tangent[:, :, -1], last)
            order = np.argsort([*self._shared, *self.elements])
            jacobian = jacobian + ops.take(ops.concatenate([shared, own], axis=1), order, axis=1)
        return coefficients * self.scale, jacobian * self.scale

    def _each_element(self, values: Tensor) -> Tensor:
        """Of every label's values ``(n, n_labels)`` those that an element's network sees, ``(n_elements, n, ...)``."""
        columns = np.array([[*self._shared, element] for element in self.elements])
        return ops.transpose(ops.take(values, columns, axis=1), (1, 0, 2))

    def flux(self, coefficients: Tensor) -> Tensor:
        """Spectra ``(n, n_pixels)`` of these coefficients."""
        return self.mean + ops.matmul(coefficients, self.basis)

    def get_config(self) -> dict[str, Any]:
        keys = ["n_labels", "n_pixels", "n_components", "width", "depth", "n_errors"]
        keys += ["element_width", "elements", "bends"]
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}


def _last_hidden(hidden: Tensor, kernels: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    for kernel, bias in zip(kernels, biases, strict=True):
        hidden = ops.silu(ops.matmul(hidden, kernel) + bias)
    return hidden


def _propagate(
    hidden: Tensor, slope: Tensor, kernels: Sequence[Tensor], biases: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """`_last_hidden` ``(..., n, width)``, and its tangents ``(..., n, n_inputs, width)``.

    `slope` is the derivative of every input with respect to its label, of the shape of the inputs `hidden`.
    """
    tangent = None
    for kernel, bias in zip(kernels, biases, strict=True):
        preactivation = ops.matmul(hidden, kernel) + bias
        gate = ops.sigmoid(preactivation)
        hidden = preactivation * gate
        derivative = gate * (1.0 + preactivation * (1.0 - gate))
        if tangent is None:
            tangent = slope[..., None] * ops.expand_dims(kernel, -3)
        else:
            rows = (*tangent.shape[:-3], -1, tangent.shape[-1])
            shape = (*tangent.shape[:-3], -1, *tangent.shape[-2:-1], kernel.shape[-1])
            tangent = ops.reshape(ops.matmul(ops.reshape(tangent, rows), kernel), shape)
        tangent = tangent * ops.expand_dims(derivative, -2)
    return hidden, tangent


@keras.saving.register_keras_serializable(package="kcinn")
class EmulatorTraining(keras.Model):
    """An emulator with its loss; once compiled, a model takes optimizer and losses into the one it is part of."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(autocast=False)
        self.emulator = emulator
        self.built = True

    def call(self, phi: Tensor) -> Tensor:
        return self.emulator(phi)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Squared error of the coefficients, over their scale: the weak ones carry the abundances."""
        return mean_loss(ops.sum(ops.square(y_pred - y) / self.emulator.scale, axis=-1))
