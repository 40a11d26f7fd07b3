"""Observation model: from a noiseless spectrum to what a detector delivers, drawn anew at every call."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kcinn.errors import KcinnError
from kcinn.nn.pixels import (
    arm_edges,
    arm_indicator,
    continuum_curves,
    move,
    pixel_width,
    pixels_per_velocity,
)
from kcinn.nn.tensor import Shape, Tensor

LONGEST_RUN = 200  # pixels
N_RUNS = 3
DRAWS_PER_CALL = 16  # or fewer
LARGEST_VELOCITY = 10.0  # km/s


@dataclass(frozen=True)
class Observation:
    """What training spectra are made to suffer.

    Parameters
    ----------
    snr : (float, float)
        Range of the signal-to-noise ratio per angstrom, drawn log-uniformly.
    velocity : float, km/s
        The residual velocity, left over by the correction to the rest frame, is drawn uniformly between minus and plus
        this; at most 10.
    continuum : float
        Standard deviation of every Legendre coefficient (unit variance polynomials) of the relative continuum error.
    continuum_degree : int
        Of that polynomial, per arm.
    missing_pixels, missing_runs, missing_arms : float
        Largest fraction of single missing pixels, probability of each of three missing runs of up to 200 pixels,
        probability that an arm is missing (never all).
    arm_contrast : float
        Standard deviation of the logarithm of the noise of an arm relative to the others.

    Raises
    ------
    KcinnError
        If a number lies outside its range.
    """

    snr: tuple[float, float] = (10.0, 1000.0)
    velocity: float = 10.0
    continuum: float = 0.01
    continuum_degree: int = 2
    missing_pixels: float = 0.03
    missing_runs: float = 0.3
    missing_arms: float = 0.1
    arm_contrast: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.snr[0] <= self.snr[1]:
            raise KcinnError(f"snr must be two ascending positive numbers. Received: snr={self.snr}")
        for name in ("missing_pixels", "missing_runs", "missing_arms"):
            if not 0 <= getattr(self, name) < 1:
                raise KcinnError(f"{name} is a probability, 0 to below 1. Received: {name}={getattr(self, name)}")
        for name in ("velocity", "continuum", "continuum_degree", "arm_contrast"):
            if getattr(self, name) < 0:
                raise KcinnError(f"{name} must not be negative. Received: {name}={getattr(self, name)}")
        if self.velocity > LARGEST_VELOCITY:
            raise KcinnError(
                f"velocity must not exceed {LARGEST_VELOCITY:g} km/s: correct spectra to the rest frame first. "
                f"Received: {self.velocity}"
            )

    @property
    def velocity_scatter(self) -> float:
        """Standard deviation of the residual velocity, km/s."""
        return self.velocity / math.sqrt(3.0)

    def at(self, snr: float) -> Observation:
        """The same at one signal-to-noise ratio and with no pixel missing: what tests are made of.

        Parameters
        ----------
        snr : float
            Per angstrom.

        Returns
        -------
        Observation
        """
        return replace(self, snr=(snr, snr), missing_pixels=0.0, missing_runs=0.0, missing_arms=0.0, arm_contrast=0.0)

    def get_config(self) -> dict[str, Any]:
        """As plain data, for files."""
        return {**asdict(self), "snr": list(self.snr)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Observation:
        """Rebuild from `get_config`.

        Parameters
        ----------
        config : dict

        Returns
        -------
        Observation
        """
        return cls(**{**config, "snr": tuple(config["snr"])})


@keras.saving.register_keras_serializable(package="kcinn")
class Observe(keras.layers.Layer):
    """Draw velocity, continuum error, noise and missing pixels for every spectrum.

    Parameters
    ----------
    observation : Observation
    wavelength : array_like, shape (n_pixels,), angstrom
    arm_pixels : list of int
        Pixels per arm.
    seed : int

    Input shape
        flux ``(n, n_pixels)``, noiseless.
    Output shape
        flux, error, mask, each ``(n, n_pixels)``; mask 1 marks a missing pixel, whose flux is 1.
    """

    def __init__(
        self, observation: Observation, wavelength: ArrayLike, arm_pixels: list[int], *, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.observation, self.seed = observation, seed
        self.wavelength, self.arm_pixels = np.asarray(wavelength, dtype=np.float64), tuple(arm_pixels)
        self.edges = arm_edges(self.arm_pixels)
        self.pixels_per_velocity = pixels_per_velocity(self.wavelength, self.edges)
        self.curves = continuum_curves(self.edges, observation.continuum_degree, observation.continuum)
        self.arms = arm_indicator(self.edges)
        self.root_width = np.sqrt(pixel_width(self.wavelength, self.edges))
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, flux_shape: Shape | None = None) -> None:
        self.built = True

    def reseed(self, seed: int, call: int = 0) -> None:
        """Make the next call draw what belongs to `seed` and this number of the call."""
        self.seed_generator.state.assign(np.array([seed, DRAWS_PER_CALL * call]))

    def call(self, flux: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flux = self._distort(flux)
        error = self._error(flux)
        missing = self._missing(flux)
        flux = ops.where(missing, 1.0, flux + error * self._normal(flux, len(self.wavelength)))
        return flux, error, ops.cast(missing, "float32")

    def _normal(self, flux: Tensor, n: int) -> Tensor:
        return keras.random.normal((ops.shape(flux)[0], n), seed=self.seed_generator)

    def _uniform(self, flux: Tensor, n: int) -> Tensor:
        return keras.random.uniform((ops.shape(flux)[0], n), seed=self.seed_generator)

    def _distort(self, flux: Tensor) -> Tensor:
        velocity = self.observation.velocity * (2.0 * self._uniform(flux, 1) - 1.0)
        flux, _ = move(flux, velocity * ops.convert_to_tensor(self.pixels_per_velocity), self.edges)
        return flux * (1.0 + ops.matmul(self._normal(flux, len(self.curves)), ops.convert_to_tensor(self.curves)))

    def _error(self, flux: Tensor) -> Tensor:
        low, high = (math.log(snr) for snr in self.observation.snr)
        snr = ops.exp(low + (high - low) * self._uniform(flux, 1))
        arms = ops.convert_to_tensor(self.arms)
        contrast = ops.exp(self.observation.arm_contrast * ops.matmul(self._normal(flux, len(self.edges)), arms))
        photon_share = self._uniform(flux, 1)
        return (
            contrast
            / (snr * ops.convert_to_tensor(self.root_width))
            * ops.sqrt(1.0 - photon_share * (1.0 - ops.clip(flux, 0.05, 1.5)))
        )

    def _missing(self, flux: Tensor) -> Tensor:
        settings, n_pixels = self.observation, len(self.wavelength)
        single = self._uniform(flux, n_pixels) < settings.missing_pixels * self._uniform(flux, 1)
        centre = n_pixels * self._uniform(flux, N_RUNS)
        half = 0.5 * LONGEST_RUN ** self._uniform(flux, N_RUNS)
        half = ops.where(self._uniform(flux, N_RUNS) < settings.missing_runs, half, -1.0)
        pixel = ops.arange(n_pixels, dtype="float32")
        runs = ops.any(ops.abs(pixel - centre[:, :, None]) < half[:, :, None], axis=1)
        gone = ops.cast(self._uniform(flux, len(self.edges)) < settings.missing_arms, "float32")
        gone = gone * (ops.min(gone, axis=1, keepdims=True) < 0.5)
        return ops.logical_or(ops.logical_or(single, runs), ops.matmul(gone, ops.convert_to_tensor(self.arms)) > 0.5)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "observation": self.observation.get_config(),
            "wavelength": self.wavelength.tolist(),
            "arm_pixels": list(self.arm_pixels),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Observe:
        return cls(Observation.from_config(config.pop("observation")), **config)
