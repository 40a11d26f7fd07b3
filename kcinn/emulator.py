"""Emulator: labels -> spectrum and its derivatives, a network in place of the synthesis."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np
from astropy.table import Table
from keras import ops
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from kcinn import keras_file
from kcinn.checkpoint import Checkpoint
from kcinn.errors import KcinnError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Instrument
from kcinn.label_array import label_array
from kcinn.labels import LabelSpace
from kcinn.model_file import EMULATOR_FILE, check_format
from kcinn.nn.compiled import Compiled, jit_pays
from kcinn.nn.emulator import Emulator as EmulatorLayer
from kcinn.nn.emulator import EmulatorTraining
from kcinn.optimisation import Muon, callbacks, schedule, steps_per_execution

RATE = 1e-2
ROWS_PER_CALL = 64


@keras.saving.register_keras_serializable(package="kcinn")
class Emulator(EmulatorLayer):
    """Noiseless spectra of any labels inside the training box, and their derivatives, in milliseconds.

    Made by `Emulator.fit`, loaded by `Emulator.load`; that of a trained `CINN` is its attribute `emulator`. The layer
    below it works on tensors; the methods here take labels in their units and return NumPy arrays. Effective
    temperature enters the network as its reciprocal, by which lines are excited.

    Labels are an array ``(..., n_labels)`` in the order of `label_space`, or a mapping or `astropy` table of columns by
    name; columns with units are converted. Spectra have the shape of the labels, ``(..., n_pixels)``, on the pixels of
    `instrument`, and are normalised.

    Parameters
    ----------
    label_space : list
        `LabelSpace.get_config`.
    instrument : dict
        `Instrument.get_config`.
    emulator : dict
        Sizes of the layer: `n_components`, `width`, `depth`, `element_width`, `elements`, `n_errors`.
    metadata : dict, optional
        Of the grid.
    format : str, optional
        Of the file that it comes from.
    """

    def __init__(
        self,
        label_space: list[dict[str, Any]],
        instrument: dict[str, Any],
        emulator: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        format: str = EMULATOR_FILE.format,
        **kwargs: Any,
    ) -> None:
        check_format(format, kind=EMULATOR_FILE)
        space, pixels = LabelSpace.from_config(label_space), Instrument.from_config(instrument)
        super().__init__(len(space), pixels.n_pixels, bends=_bends(space), **{**emulator, **kwargs})
        self.label_space, self.instrument = space, pixels
        self.metadata, self._specification = dict(metadata or {}), dict(emulator)

    @classmethod
    def for_grid(cls, grid: SyntheticGrid, *, width: int = 192, depth: int = 3, element_width: int = 64) -> Emulator:
        """An untrained emulator with the principal components of a compressed grid.

        Parameters
        ----------
        grid : SyntheticGrid
        width, depth : int
            Of the hidden layers, and their number.
        element_width : int
            Of the hidden layers of every element's network.

        Returns
        -------
        Emulator
        """
        assert grid.coefficients is not None and grid.basis is not None and grid.mean is not None
        sizes = sizes_for(grid, width, depth, element_width)
        emulator = cls(grid.label_space.get_config(), grid.instrument.get_config(), sizes, grid.metadata)
        emulator.set_basis(grid.mean, grid.basis, grid.coefficients.std(axis=0))
        return emulator

    @classmethod
    def fit(
        cls,
        grid: SyntheticGrid,
        *,
        instrument: Instrument | str | None = None,
        components: int = 256,
        width: int = 192,
        depth: int = 3,
        element_width: int = 64,
        steps: int = 12000,
        batch_size: int = 256,
        validation: float = 0.1,
        seed: int = 0,
        verbose: int = 1,
    ) -> Emulator:
        """Train an emulator on a grid.

        Parameters
        ----------
        grid : SyntheticGrid
        instrument : Instrument or str, optional
            By default that of the grid; or one whose arms are among those of the grid.
        components : int
            Principal components of a grid that is stored plain.
        width, depth : int
            Of the hidden layers, and their number.
        element_width : int
            Of the hidden layers of every element's network.
        steps, batch_size : int
        validation : float
            Share of the stars held out, by which the emulator's error is measured.
        seed : int
        verbose : int
            0 hides the progress bar.

        Returns
        -------
        Emulator

        Raises
        ------
        GridError
            If the grid is too small or does not cover the instrument.
        KcinnError
            If `validation` is no share.
        """
        if not 0 < validation < 1:
            raise KcinnError(f"validation is a share of the stars between 0 and 1. Received: {validation}")
        if instrument is not None:
            grid = grid.on(Instrument.load(instrument) if isinstance(instrument, str) else instrument)
        keras.utils.set_random_seed(seed)
        if not grid.compressed:
            grid = grid.principal_components(components, seed=seed)
        stars, unseen = grid.split(1.0 - validation, validation, seed=seed)
        emulator = cls.for_grid(grid, width=width, depth=depth, element_width=element_width)
        emulator.learn(stars, unseen, steps=steps, batch_size=batch_size, verbose=verbose)
        return emulator

    def learn(
        self,
        stars: SyntheticGrid,
        unseen: SyntheticGrid,
        *,
        steps: int,
        batch_size: int = 256,
        checkpoint: Checkpoint | None = None,
        verbose: int = 1,
    ) -> None:
        """Train on `stars`, and measure the error on `unseen` ones, grids of the emulator's principal components.

        With a `checkpoint`, a killed training goes on from its last epoch.

        Parameters
        ----------
        stars, unseen : SyntheticGrid
        steps, batch_size : int
        checkpoint : Checkpoint, optional
        verbose : int
            0 hides the progress bar.
        """
        steps_per_epoch = -(-len(stars) // batch_size)
        epochs = max(1, round(steps / steps_per_epoch))
        training = EmulatorTraining(self)
        rate = schedule(RATE, epochs * steps_per_epoch)
        training.compile(
            optimizer=Muon(rate),
            jit_compile=jit_pays(epochs * len(stars) * self.n_components),
            steps_per_execution=steps_per_execution(),
        )
        training.fit(
            stars.phi,
            stars.coefficients,
            batch_size=batch_size,
            epochs=epochs,
            callbacks=callbacks("emulator", epochs, checkpoint or Checkpoint(), verbose),
            verbose=0,
        )
        assert unseen.coefficients is not None
        self.set_error(unseen.phi, self.coefficients(unseen.phi) - unseen.coefficients)

    def __repr__(self) -> str:
        return f"Emulator({self.label_space!r} -> {self.instrument.name}, held-out rms {self.rms:.5f})"

    @property
    def wavelength(self) -> NDArray[np.float64]:
        """Pixel centres of the instrument, ``(n_pixels,)``, angstrom."""
        return self.instrument.wavelength

    @property
    def rms(self) -> float:
        """Root mean square flux error of spectra that the training has not seen, beyond that of the components."""
        return float(ops.convert_to_numpy(self.held_out_rms)[0])

    @property
    def median_rms(self) -> float:
        """Median over those spectra of each one's rms error: a few far-off ones weigh less than in `rms`."""
        return float(ops.convert_to_numpy(self.held_out_rms)[1])

    def spectrum(self, labels: ArrayLike | Mapping[str, Any] | Table) -> NDArray[np.float32]:
        """Normalised flux ``(..., n_pixels)`` of labels ``(..., n_labels)``.

        Parameters
        ----------
        labels : array_like, shape (..., n_labels), or a mapping or table of label names to values

        Returns
        -------
        ndarray, shape (..., n_pixels)

        Raises
        ------
        LabelError
            If a label is missing, or outside the training box.
        """
        values, phi = self._phi(labels)
        return self._in_chunks(self._compiled_spectrum, phi).reshape(*values.shape[:-1], self.n_pixels)

    def jacobian(self, labels: ArrayLike | Mapping[str, Any] | Table) -> NDArray[np.float32]:
        """Derivatives of the flux with respect to every label, per unit of it, ``(..., n_labels, n_pixels)``.

        Exact derivatives of `spectrum`, not differences.

        Parameters
        ----------
        labels : array_like, shape (..., n_labels), or a mapping or table of label names to values

        Returns
        -------
        ndarray, shape (..., n_labels, n_pixels)

        Raises
        ------
        LabelError
            If a label is missing, or outside the training box.
        """
        values, phi = self._phi(labels)
        stretch = (self.label_space.upper - self.label_space.lower) * norm.pdf(phi)
        slopes = self._in_chunks(self._compiled_slopes, phi) / stretch[:, :, None].astype(np.float32)
        return slopes.reshape(*values.shape, self.n_pixels)

    def flux_error(self, labels: ArrayLike | Mapping[str, Any] | Table) -> NDArray[np.float32]:
        """What to expect of the error of `spectrum` at these labels, 1 sigma per pixel, ``(..., n_pixels)``.

        From spectra that the training has not seen; the error is correlated between pixels, see `set_error`.

        Parameters
        ----------
        labels : array_like, shape (..., n_labels), or a mapping or table of label names to values

        Returns
        -------
        ndarray, shape (..., n_pixels)

        Raises
        ------
        LabelError
            If a label is missing, or outside the training box.
        """
        values, phi = self._phi(labels)
        axes = ops.convert_to_numpy(self.error) @ ops.convert_to_numpy(self.basis)
        error = ops.convert_to_numpy(self.error_size(phi)) * np.sqrt(np.sum(axes**2, axis=0))
        return error.reshape(*values.shape[:-1], self.n_pixels)

    def coefficients(self, phi: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coefficients ``(n, n_components)`` of unbounded labels ``(n, n_labels)``.

        Parameters
        ----------
        phi : ndarray, shape (n, n_labels)
            Unbounded labels, see `LabelSpace.to_unbounded`.

        Returns
        -------
        ndarray, shape (n, n_components)
        """
        return self._in_chunks(self._compiled_call, phi)

    def _in_chunks(self, compiled: Compiled, phi: NDArray[np.float32]) -> NDArray[np.float32]:
        return compiled.in_chunks(1 if len(phi) == 1 else ROWS_PER_CALL, phi)

    def _phi(self, labels: Any) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Labels as an array, checked, and the same as unbounded rows."""
        values = label_array(labels, self.label_space)
        return values, self.label_space.to_unbounded(values.reshape(-1, len(self.label_space))).astype(np.float32)

    @cached_property
    def _compiled_call(self) -> Compiled:
        return Compiled(self.call, self)

    @cached_property
    def _compiled_spectrum(self) -> Compiled:
        return Compiled(lambda phi: self.flux(self.call(phi)), self)

    @cached_property
    def _compiled_slopes(self) -> Compiled:
        return Compiled(lambda phi: ops.matmul(self.linearise(phi)[1], self.basis), self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one ``.keras`` file; an existing one is replaced only once the new one is whole.

        Parameters
        ----------
        path : path
        """
        keras_file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, expected_sha256: str | None = None) -> Emulator:
        """Load an emulator from its file, after checking it as `kcinn.load` does.

        Parameters
        ----------
        path : path or str
        expected_sha256 : str, optional
            Refuse the file unless this is its SHA-256, for files that others could have altered.

        Returns
        -------
        Emulator

        Raises
        ------
        ModelError
            If the file is missing, damaged, of another kind or format, or has another checksum.
        """
        return keras_file.read(path, EMULATOR_FILE, expected_sha256=expected_sha256)

    def get_config(self) -> dict[str, Any]:
        """As plain data, for files."""
        return {
            "format": EMULATOR_FILE.format,
            "label_space": self.label_space.get_config(),
            "instrument": self.instrument.get_config(),
            "emulator": self._specification,
            "metadata": self.metadata,
            "name": self.name,
        }


def sizes_for(grid: SyntheticGrid, width: int, depth: int, element_width: int) -> dict[str, Any]:
    """The argument `emulator` of an `Emulator` for the labels and components of a compressed grid.

    Parameters
    ----------
    grid : SyntheticGrid
    width, depth, element_width : int
        See `Emulator.for_grid`.

    Returns
    -------
    dict
    """
    assert grid.coefficients is not None
    sizes = {"width": width, "depth": depth, "element_width": element_width}
    return {"n_components": grid.coefficients.shape[1], **sizes, "elements": list(grid.label_space.elements)}


def _bends(space: LabelSpace) -> list[float]:
    """Effective temperature enters as its reciprocal, see `nn.Emulator`; all others as they are."""
    return [(x.upper - x.lower) / (x.upper + x.lower) if x.name == "teff" and x.lower > 0 else 0.0 for x in space]
