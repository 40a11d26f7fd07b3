"""Likelihood: Gaussian, of spectra given labels, with the emulator as the model."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import KcinnError
from kcinn.labels import LabelSpace
from kcinn.nn.compiled import Compiled
from kcinn.nn.emulator import Emulator
from kcinn.nn.observe import Observe
from kcinn.nn.pixels import follow, shift
from kcinn.noise import Noise

SETTLE = 3  # Gauss-Newton steps by which velocity and continuum are found
LARGEST_CALL = 4096  # label vectors per call of the emulator


class Likelihood:
    """``log p(spectrum | labels)`` of some spectra, with velocity, continuum and the emulator's error marginalised.

    The three are linear nuisances with the normal priors of the model's observation and of `Emulator.set_error`, and
    enter the covariance of the noise (`kcinn.noise.Noise`). They are expanded about their best fit at `reference`,
    labels near the posterior: exact up to products of two small quantities, the step away from the reference and the
    uncertainty of the nuisance.

    Parameters
    ----------
    emulator : Emulator
    observe : Observe
        Holds the priors of velocity and continuum.
    space : LabelSpace
        Of the emulator, in its order.
    names : sequence of str
        Order of the labels in calls; all labels of the emulator.
    flux, inverse_variance : array_like, shape (n_spectra, n_pixels)
        Inverse variance zero marks a pixel that is not used.
    reference : array_like, shape (n_spectra, n_labels)
    velocity : array_like, shape (n_spectra,), km/s
        At which the best fit is sought; to the nearest pixel, spectra are moved back by it.
    """

    def __init__(
        self, emulator: Emulator, observe: Observe, space: LabelSpace, names: tuple[str, ...], flux: ArrayLike,
        inverse_variance: ArrayLike, reference: ArrayLike, velocity: ArrayLike,
    ) -> None:  # fmt: skip
        self.space, self.names = space, names
        self._order = [names.index(name) for name in space.names]
        self._coefficients = Compiled(emulator.call, emulator)
        phi = self._phi(reference)
        self.spectra = [
            _Spectrum(emulator, observe, *row)
            for row in zip(np.asarray(flux), np.asarray(inverse_variance), phi, np.asarray(velocity), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.spectra)

    def __call__(self, labels: ArrayLike) -> NDArray[np.float64]:
        """The log-likelihood of labels ``(n_spectra, n_samples, n_labels)``, shape ``(n_spectra, n_samples)``.

        Raises
        ------
        KcinnError
            If the first axis is not the number of spectra.
        """
        labels = np.asarray(labels, dtype=np.float64)
        if labels.ndim != 3 or labels.shape[0] != len(self) or labels.shape[2] != len(self.names):
            raise KcinnError(
                f"labels must have shape ({len(self)}, n_samples, {len(self.names)}): a likelihood of {len(self)} "
                f"spectra, labels {', '.join(self.names)}. Received: {labels.shape}"
            )
        return np.stack(
            [one.log_likelihood(self.coefficients(row)) for one, row in zip(self.spectra, labels, strict=True)]
        )

    def coefficients(self, labels: ArrayLike) -> NDArray[np.float32]:
        """The emulator's coefficients of labels ``(n, n_labels)``."""
        phi = self._phi(labels)
        return self._coefficients.in_chunks(min(LARGEST_CALL, 1 << (len(phi) - 1).bit_length()), phi)

    def chi_square(self, labels: ArrayLike) -> NDArray[np.float64]:
        """Reduced chi-square of one label vector per spectrum ``(n_spectra, n_labels)``, shape ``(n_spectra,)``.

        The pull of the nuisances towards their priors is included.
        """
        coefficients = self.coefficients(labels)
        return np.array(
            [
                one.chi_square(row) / max(one.noise.n_pixels, 1)
                for one, row in zip(self.spectra, coefficients, strict=True)
            ]
        )

    def _phi(self, labels: ArrayLike) -> NDArray[np.float32]:
        return self.space.to_unbounded(np.asarray(labels)[..., self._order]).astype(np.float32)


class _Spectrum:
    """The likelihood of one spectrum, a quadratic form in the emulator's coefficients."""

    def __init__(
        self,
        emulator: Emulator,
        observe: Observe,
        flux: NDArray[Any],
        inverse_variance: NDArray[Any],
        phi: NDArray[Any],
        velocity: float,
    ) -> None:
        self.reference = ops.convert_to_numpy(emulator(phi[None]))[0].astype(np.float64)
        rows = np.concatenate([ops.convert_to_numpy(emulator.mean)[None], ops.convert_to_numpy(emulator.basis)])
        whole = np.round(velocity * observe.pixels_per_velocity).astype(np.float32)
        flux, inside = (ops.convert_to_numpy(x)[0] for x in follow(flux[None], whole[None], observe.edges))
        inverse_variance = (
            inside * ops.convert_to_numpy(follow(inverse_variance[None], whole[None], observe.edges)[0])[0]
        )
        used = inverse_variance > 0
        flux = np.where(used, flux, 1.0).astype(np.float64)
        nuisances = np.zeros(len(observe.curves) + 1)  # in units of their priors
        nuisances[-1] = velocity / max(observe.observation.velocity_scatter, 1e-3)
        for _ in range(SETTLE):
            moved, slope = _moved(rows, nuisances[-1], whole, observe)
            level = 1.0 + nuisances[:-1] @ observe.curves
            star = moved[0] + self.reference @ moved[1:]
            slope = (slope[0] + self.reference @ slope[1:]) * level
            columns = np.vstack([observe.curves * star, slope])
            weighted = columns * inverse_variance
            pull = weighted @ (flux - star * level) - nuisances
            step = np.linalg.solve(weighted @ columns.T + np.eye(len(columns)), pull)
            best = nuisances
            nuisances = np.append((nuisances + step)[:-1], np.clip(nuisances[-1] + step[-1], -3.0, 3.0))
        self.tangents = moved[1:] * level
        size = float(ops.convert_to_numpy(emulator.error_size(phi[None]))[0, 0])
        error = size * ops.convert_to_numpy(emulator.error).astype(np.float64) @ self.tangents
        self.noise = Noise(inverse_variance, np.vstack([columns, error]))
        # the spectrum at the reference with all nuisances at the mean of their priors, as the expansion has it
        self.residual = flux - star * level + best @ columns

    @cached_property
    def _quadratic(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
        weighted = self.noise.precision_times(self.tangents)
        square = float((self.noise.precision_times(self.residual[None]) @ self.residual)[0])
        constant = -0.5 * (self.noise.log_determinant + self.noise.n_pixels * math.log(2.0 * math.pi))
        return weighted @ self.tangents.T, weighted @ self.residual, square, constant

    def log_likelihood(self, coefficients: NDArray[Any]) -> NDArray[np.float64]:
        matrix, projection, square, constant = self._quadratic
        away = coefficients - self.reference
        return constant - 0.5 * (square + np.einsum("si,si->s", away @ matrix - 2.0 * projection, away))

    def chi_square(self, coefficients: NDArray[Any]) -> float:
        residual = self.residual - (coefficients - self.reference) @ self.tangents
        return float((self.noise.precision_times(residual[None]) @ residual)[0])


def _moved(
    rows: NDArray[Any], velocity: float, whole: NDArray[np.float32], observe: Observe
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spectra at a velocity in units of its prior, moved back by `whole` pixels, and their derivative."""
    per_unit = (observe.observation.velocity_scatter * observe.pixels_per_velocity).astype(np.float32)
    distance = np.broadcast_to(np.float32(velocity) * per_unit - whole, rows.shape)
    moved, slope = shift(rows, distance, observe.edges)
    return tuple(ops.convert_to_numpy(x).astype(np.float64) for x in (moved, slope * per_unit))
