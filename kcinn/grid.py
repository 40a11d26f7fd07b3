"""SyntheticGrid: noiseless spectra on an instrument's pixels, with the labels they were computed from."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import GridError
from kcinn.grid_file import read_grid, rounded, write_grid
from kcinn.instrument import Instrument
from kcinn.labels import LabelSpace


class SyntheticGrid:
    """Noiseless, continuum-normalised spectra and their labels, plain or as principal components.

    Parameters
    ----------
    instrument : Instrument
        Its pixels are the wavelength grid.
    label_space : LabelSpace
        Names, units and prior box of the columns of `labels`.
    labels : array_like, shape (n_rows, n_labels)
    flux : array_like, shape (n_rows, n_pixels), optional
        Plain spectra. Either this or the three that follow.
    coefficients, basis, mean : array_like, optional
        Shapes ``(n_rows, n_components)``, ``(n_components, n_pixels)``, ``(n_pixels,)``:
        ``flux = mean + coefficients @ basis``.
    reconstruction_error : float, optional
        Rms flux error of the compression.
    star : array_like of int, shape (n_rows,), optional
        Rows that were computed from one synthesised spectrum share a number; a split into training and test keeps
        them together. By default every row is a star.
    metadata : dict, optional
        Plain values that say how the grid was made: engine, engine_version, nlte_species, solar_abundances, seed,
        region, unreliable_windows.

    Raises
    ------
    GridError
        If shapes disagree, a value is not finite, or a label lies outside its box.
    """

    def __init__(
        self,
        instrument: Instrument,
        label_space: LabelSpace,
        labels: ArrayLike,
        *,
        flux: ArrayLike | None = None,
        coefficients: ArrayLike | None = None,
        basis: ArrayLike | None = None,
        mean: ArrayLike | None = None,
        reconstruction_error: float = 0.0,
        star: ArrayLike | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.instrument, self.label_space = instrument, label_space
        self.labels = np.asarray(labels, dtype=np.float64)
        self.compressed = flux is None
        if self.compressed and (coefficients is None or basis is None or mean is None):
            raise GridError("A grid needs either flux, or coefficients with basis and mean.")
        self._flux = None if flux is None else np.asarray(flux, dtype=np.float32)
        self.coefficients = None if coefficients is None else np.asarray(coefficients, dtype=np.float32)
        self.basis = None if basis is None else np.asarray(basis, dtype=np.float32)
        self.mean = None if mean is None else np.asarray(mean, dtype=np.float32)
        self.reconstruction_error = float(reconstruction_error)
        self.star = np.arange(len(self.labels)) if star is None else np.asarray(star, dtype=np.int64)
        self.metadata = dict(metadata or {})
        self._check()

    def _check(self) -> None:
        n_pixels = len(self.instrument.wavelength)
        rows = self.coefficients if self.compressed else self._flux
        pixels = self.basis if self.compressed else self._flux
        assert rows is not None and pixels is not None
        if self.labels.shape != (len(rows), len(self.label_space)) or len(self.star) != len(rows):
            raise GridError(
                f"Labels must have shape (n_rows, n_labels) = ({len(rows)}, {len(self.label_space)}), and every row a "
                f"star number. Received: labels {self.labels.shape}, star {self.star.shape}"
            )
        if pixels.shape[-1] != n_pixels:
            raise GridError(
                f"{self.instrument.name} has {n_pixels} pixels. Received spectra of {pixels.shape[-1]} pixels"
            )
        for name, values in (("labels", self.labels), ("spectra", rows)):
            if not np.all(np.isfinite(values)):
                raise GridError(
                    f"Grid {name} must be finite; {np.sum(~np.isfinite(values))} values are not. Make the grid anew."
                )
        inside = self.label_space.contains(self.labels)
        if not inside.all():
            raise GridError(
                f"{np.sum(~inside)} of {len(self)} spectra have labels outside the box {self.label_space}. Leave them "
                "out, or give the grid a wider box."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = f"{self.coefficients.shape[1]} components" if self.coefficients is not None else "plain"
        return f"SyntheticGrid({len(self)} spectra, {kind}, {self.instrument.name}, {self.label_space!r})"

    @property
    def wavelength(self) -> NDArray[np.float64]:
        """Pixel centres of the instrument, ``(n_pixels,)``, angstrom."""
        return self.instrument.wavelength

    @property
    def phi(self) -> NDArray[np.float32]:
        """The labels in the space in which their uniform prior is a standard normal, see `LabelSpace.to_unbounded`."""
        return self.label_space.to_unbounded(self.labels).astype(np.float32)

    def flux(self, rows: Any = slice(None)) -> NDArray[np.float32]:
        """Spectra of `rows` (a slice or index array), shape ``(n, n_pixels)``.

        Parameters
        ----------
        rows : slice or array

        Returns
        -------
        ndarray, shape (n, n_pixels)
        """
        if self._flux is not None:
            return self._flux[rows]
        assert self.coefficients is not None
        return self.mean + self.coefficients[rows] @ self.basis

    def subset(self, rows: Any) -> SyntheticGrid:
        """The grid of `rows` only.

        Parameters
        ----------
        rows : slice or array

        Returns
        -------
        SyntheticGrid
        """
        return SyntheticGrid(
            self.instrument,
            self.label_space,
            self.labels[rows],
            flux=None if self._flux is None else self._flux[rows],
            coefficients=None if self.coefficients is None else self.coefficients[rows],
            basis=self.basis,
            mean=self.mean,
            reconstruction_error=self.reconstruction_error,
            star=self.star[rows],
            metadata=self.metadata,
        )

    def on(self, instrument: Instrument) -> SyntheticGrid:
        """The grid on `instrument`, whose arms must be among those of the grid.

        Parameters
        ----------
        instrument : Instrument

        Returns
        -------
        SyntheticGrid

        Raises
        ------
        GridError
            If an arm is not in the grid.
        """
        if instrument.get_config() == self.instrument.get_config():
            return self
        where = dict(zip(self.instrument.arms, self.instrument.arm_slices, strict=True))
        missing = [arm.name for arm in instrument.arms if arm not in where]
        if missing or instrument.medium != self.instrument.medium:
            raise GridError(
                f"The grid was made for {self.instrument.name} ({self.instrument.medium}) and does not hold "
                f"{missing or 'all'} of {instrument.name} ({instrument.medium}). Synthesise one for that instrument."
            )
        pixels = np.concatenate([np.arange(where[arm].start, where[arm].stop) for arm in instrument.arms])
        if self._flux is not None:
            spectra: dict[str, Any] = {"flux": self._flux[:, pixels]}
        else:
            assert self.coefficients is not None and self.basis is not None and self.mean is not None
            weight = np.sqrt(instrument.pixel_width).astype(np.float32)
            spectra = {"mean": self.mean[pixels], "reconstruction_error": self.reconstruction_error}
            # fewer pixels: the components have to be made orthogonal again
            left, size, right = np.linalg.svd(self.basis[:, pixels] * weight, full_matrices=False)
            spectra |= {"coefficients": self.coefficients @ (left * size), "basis": right / weight}
        return SyntheticGrid(
            instrument, self.label_space, self.labels, **spectra, star=self.star, metadata=self.metadata
        )

    def split(self, *fractions: float, seed: int = 0) -> list[SyntheticGrid]:
        """Split into parts of about these fractions of the **stars**; no star is in two parts.

        Parameters
        ----------
        *fractions : float
        seed : int

        Returns
        -------
        list of SyntheticGrid
            One for each fraction.

        Raises
        ------
        GridError
            If a fraction is not positive, they add up to more than one, or a part would be empty.
        """
        if min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
            raise GridError(f"Fractions must be positive and add up to at most 1. Received: {fractions}")
        stars = np.random.default_rng(seed).permutation(np.unique(self.star))
        edges = np.round(np.cumsum([0.0, *fractions]) * len(stars)).astype(int)
        parts = [self.subset(np.flatnonzero(np.isin(self.star, stars[a:b]))) for a, b in pairwise(edges)]
        if min(len(part) for part in parts) == 0:
            raise GridError(f"A grid of {len(stars)} stars is too small to be split into fractions {fractions}")
        return parts

    def joined(self, other: SyntheticGrid) -> SyntheticGrid:
        """The spectra of this grid and, after them, those of another: no longer draws from this one's prior.

        The other's box may be narrower. If this grid is compressed, so are the other's spectra, to its components.

        Parameters
        ----------
        other : SyntheticGrid

        Returns
        -------
        SyntheticGrid

        Raises
        ------
        GridError
            If the other's labels, pixels or engine differ, or a label is outside this grid's box.
        """
        self.check_alike(other)
        columns = [other.label_space.index(name) for name in self.label_space.names]
        labels = np.concatenate([self.labels, other.labels[:, columns]])
        star = np.concatenate([self.star, self.star.max() + 1 + other.star - other.star.min()])
        if self._flux is not None:
            spectra: dict[str, Any] = {"flux": np.concatenate([self._flux, other.flux()])}
        else:
            assert self.coefficients is not None
            spectra = {"coefficients": np.concatenate([self.coefficients, self._coefficients_of(other)])}
            spectra |= {"basis": self.basis, "mean": self.mean, "reconstruction_error": self.reconstruction_error}
        return SyntheticGrid(self.instrument, self.label_space, labels, **spectra, star=star, metadata=self.metadata)

    def check_alike(self, other: SyntheticGrid) -> None:
        """Raise GridError unless another grid has the same labels, pixels and engine, so that the two can be joined.

        Parameters
        ----------
        other : SyntheticGrid
        """
        names, theirs = self.label_space.names, other.label_space.names
        if set(theirs) != set(names):
            raise GridError(
                f"Grids to be joined need the same labels, {', '.join(names)}. Received: {', '.join(theirs)}"
            )
        if not np.array_equal(other.wavelength, self.wavelength) or other.instrument.medium != self.instrument.medium:
            raise GridError(f"Both grids must be on the pixels of {self.instrument}. Received: {other.instrument}")
        for key in ("engine", "engine_version"):
            if other.metadata.get(key) != self.metadata.get(key):
                raise GridError(
                    f"Both grids must be of one engine, here {key} {self.metadata.get(key)}. "
                    f"Received: {other.metadata.get(key)}"
                )

    def _coefficients_of(self, other: SyntheticGrid) -> NDArray[np.float32]:
        """Coefficients of another grid's spectra in this one's components, ``(n, n_components)``."""
        assert self.basis is not None and self.mean is not None
        weight = np.sqrt(self.instrument.pixel_width).astype(np.float32)
        weighted = self.basis * weight
        # rounded in the file, the components are orthogonal almost only
        inverse = np.linalg.inv((weighted @ weighted.T).astype(np.float64)).astype(np.float32)
        pieces = (other.flux(slice(start, start + 1000)) for start in range(0, len(other), 1000))
        return np.concatenate([((piece - self.mean) * weight) @ weighted.T @ inverse for piece in pieces])

    def principal_components(self, n_components: int, *, n_max: int = 6000, seed: int = 0) -> SyntheticGrid:
        """The same grid as principal components.

        Pixels are weighted by the square root of their width, so that noise of a given signal-to-noise ratio per
        angstrom is white in the components. The components are those of at most `n_max` rows.

        Parameters
        ----------
        n_components : int
            No more than there are pixels.
        n_max : int
        seed : int

        Returns
        -------
        SyntheticGrid
            With `reconstruction_error`, the rms of what the components leave out.

        Raises
        ------
        GridError
            If there are fewer rows than components.
        """
        n_components = min(n_components, self.instrument.n_pixels)
        if len(self) < n_components:
            raise GridError(f"{n_components} components need at least as many spectra. Received: {len(self)}")
        weight = np.sqrt(self.instrument.pixel_width).astype(np.float32)
        rows = np.sort(np.random.default_rng(seed).permutation(len(self))[:n_max])
        mean = self.flux(rows).mean(axis=0)
        weighted = (self.flux(rows) - mean) * weight
        if len(rows) > weighted.shape[1]:
            _, vectors = np.linalg.eigh(weighted.T @ weighted)
            vectors = vectors[:, ::-1][:, :n_components].T
        else:
            power, left = np.linalg.eigh((weighted @ weighted.T).astype(np.float64))
            power, left = power[::-1][:n_components], left[:, ::-1][:, :n_components]
            vectors = (left / np.sqrt(np.maximum(power, 1e-12 * power[0]))).T.astype(np.float32) @ weighted
        del weighted
        coefficients = np.empty((len(self), n_components), dtype=np.float32)
        squares = 0.0
        for start in range(0, len(self), 1000):
            deviation = (self.flux(slice(start, start + 1000)) - mean) * weight
            coefficients[start : start + 1000] = deviation @ vectors.T
            squares += float((((coefficients[start : start + 1000] @ vectors - deviation) / weight) ** 2).sum())
        return SyntheticGrid(
            self.instrument,
            self.label_space,
            self.labels,
            coefficients=coefficients,
            basis=rounded(vectors / weight, (vectors / weight).std(axis=1, keepdims=True)),
            mean=mean,
            reconstruction_error=np.sqrt(squares / (len(self) * len(weight))),
            star=self.star,
            metadata=self.metadata,
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write to HDF5, see `kcinn.grid_file`; an existing file is replaced only once the new one is whole.

        Parameters
        ----------
        path : path
        """
        if self._flux is not None:
            arrays = {"flux": self._flux}
        else:
            assert self.coefficients is not None and self.basis is not None and self.mean is not None
            arrays = {"coefficients": self.coefficients, "basis": self.basis, "mean": self.mean}
        write_grid(
            path, self.instrument, self.label_space, {"labels": self.labels, "star": self.star, **arrays},
            self.reconstruction_error, self.metadata,
        )  # fmt: skip

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> SyntheticGrid:
        """Read a grid file.

        Parameters
        ----------
        path : path

        Returns
        -------
        SyntheticGrid

        Raises
        ------
        GridError
            If the file is missing, damaged or not a grid of this format.
        """
        return cls(**read_grid(path))
