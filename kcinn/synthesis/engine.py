"""The interface that every synthesis engine keeps: labels in, noiseless spectrum out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn.errors import KcinnError, LabelError

Window = tuple[float, float]


class Engine(ABC):
    """Computes continuum-normalised stellar spectra on air wavelengths.

    Attributes
    ----------
    name, version : str
    validity : dict of str to (float, float)
        Labels that the engine takes, in order, with the range in which it may be trusted to run.
    defaults : dict of str to float
        Values of labels that may be left out.
    coverage : tuple of (float, float)
        Wavelength intervals that the engine can compute, air angstrom.
    unreliable_windows : tuple of (float, float, str)
        Air wavelength intervals in which the engine is known to be wrong, and why: a fit should ignore them.
    """

    name: str
    version: str
    validity: Mapping[str, tuple[float, float]]
    defaults: Mapping[str, float]
    coverage: tuple[Window, ...]
    unreliable_windows: tuple[tuple[float, float, str], ...] = ()

    @property
    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """What a file of spectra must say about the engine: plain values only.

        Keys `engine`, `engine_version`, `nlte_species`, `solar_abundances`, `medium`, `unreliable_windows`.
        """

    @abstractmethod
    def _synthesize(
        self, labels: dict[str, float], windows: list[Window], wavelengths: list[NDArray[np.float64]]
    ) -> list[NDArray[np.float64]]:
        """Normalised flux at the wavelengths of every window, for a complete set of valid labels."""

    def spectrum(
        self, labels: Mapping[str, float], *, windows: Iterable[Window], step: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Spectrum of one star, not broadened by rotation or instrument.

        Parameters
        ----------
        labels : mapping of str to float
            Labels that are left out take the engine's `defaults`.
        windows : iterable of (lower, upper), air angstrom
            Ascending, not overlapping.
        step : float, angstrom
            Distance of the wavelengths inside a window.

        Returns
        -------
        wavelength, flux : ndarray, shape (n_wavelength,)
            Air wavelengths in angstrom, all windows one after the other, and continuum-normalised flux.

        Raises
        ------
        LabelError
            If a label is unknown, missing or outside `validity`.
        KcinnError
            If a window is not inside `coverage`, windows do not ascend, or the step is not positive.
        """
        complete = self.check_labels(labels)
        windows = self.check_windows(windows)
        if not (np.isfinite(step) and step > 0):
            raise KcinnError(f"The wavelength step has to be positive, in angstrom. Received: step={step}")
        pieces = [np.arange(lower, upper + 0.5 * step, step) for lower, upper in windows]
        # the last point may pass the end of the window by half a step
        pieces = [piece[piece <= upper + 1e-9] for piece, (_, upper) in zip(pieces, windows, strict=True)]
        return np.concatenate(pieces), np.concatenate(self._synthesize(complete, windows, pieces))

    def check_labels(self, labels: Mapping[str, float]) -> dict[str, float]:
        """All labels of the engine, in its order, with defaults filled in; LabelError if one cannot be used.

        Parameters
        ----------
        labels : mapping of str to float

        Returns
        -------
        dict of str to float
        """
        unknown = [name for name in labels if name not in self.validity]
        if unknown:
            raise LabelError(
                f"{self.name} does not know {', '.join(map(repr, unknown))}. Valid labels: {', '.join(self.validity)}"
            )
        complete = {}
        for name, (lower, upper) in self.validity.items():
            if name not in labels and name not in self.defaults:
                raise LabelError(
                    f"{self.name} needs the label {name!r} ({lower:g} to {upper:g}). Received: {list(labels)}"
                )
            value = float(labels.get(name, self.defaults.get(name, np.nan)))
            if not lower <= value <= upper:
                raise LabelError(
                    f"{self.name} is valid for {name} from {lower:g} to {upper:g}. Received: {name}={value:g}"
                )
            complete[name] = value
        return complete

    def check_windows(self, windows: Iterable[Window]) -> list[Window]:
        """The windows as floats; KcinnError if they are outside `coverage` or out of order.

        Parameters
        ----------
        windows : iterable of (lower, upper), angstrom

        Returns
        -------
        list of (lower, upper)
        """
        checked = [(float(lower), float(upper)) for lower, upper in windows]
        covered = ", ".join(f"{lower:g}-{upper:g}" for lower, upper in self.coverage)
        for lower, upper in checked:
            if not lower < upper:
                raise KcinnError(
                    f"A window is (lower, upper) in angstrom with lower < upper. Received: ({lower:g}, {upper:g})"
                )
            if not any(start <= lower and upper <= end for start, end in self.coverage):
                raise KcinnError(f"{self.name} covers {covered} angstrom (air). Received window: {lower:g}-{upper:g}")
        if not checked or any(a[1] >= b[0] for a, b in pairwise(checked)):
            raise KcinnError(f"Give at least one window, ascending and without overlap. Received: {checked}")
        return checked
