"""Spectra: many spectra on one wavelength grid, with errors, masks and names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import SpectraError
from kcinn.quantity import VELOCITY, values
from kcinn.replacing import replacing
from kcinn.spectra_check import checked_ids, checked_medium, checked_wavelength, numbers, per_spectrum, shaped
from kcinn.spectra_format import CHUNK_ROWS, FORMAT, attribute, checked_datasets
from kcinn.wavelength import (
    FILL_FLUX,
    air_to_vacuum,
    doppler_shift,
    pixel_edges,
    resample,
    segments,
    vacuum_to_air,
)

NOISE_CHUNK = 1000  # pixels over which one noise level is estimated


class Spectra:
    """Many spectra on one wavelength grid.

    Parameters
    ----------
    wavelength : array_like or Quantity, shape (n_pixels,), angstrom
        Strictly ascending. A Quantity in nm or um is converted.
    flux : array_like, shape (n_spectra, n_pixels) or (n_pixels,)
        Normalised to the continuum, for everything in kcinn that compares it with a model.
    error : array_like, shape of flux, or float, optional
        One standard deviation per pixel.
    mask : array_like, shape of flux, optional
        True for bad pixels.
    ids : sequence of int or str, optional
        Names, ``0 .. n_spectra - 1`` by default.
    medium : {"air", "vacuum"}
        What the wavelengths are measured in; it has no default.
    estimated : array_like of bool, shape (n_spectra,), or bool
        Whose errors did not come with the spectrum but from the scatter of its pixels; their posteriors are flagged.

    Attributes
    ----------
    wavelength, flux, error, mask, ids, estimated : ndarray
        Two-dimensional flux, error (or None) and mask. Non-finite flux reads 1 and unusable error infinity; both are
        masked.
    medium : str
    n_masked_input : int
        Pixels masked because their flux or error was not usable, beyond those that `mask` named.

    Raises
    ------
    SpectraError
        If shapes differ, wavelengths do not ascend or are not in angstrom, the medium is missing, or no pixel of any
        spectrum is good.
    """

    def __init__(
        self,
        wavelength: ArrayLike,
        flux: ArrayLike,
        *,
        error: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        ids: Sequence[int] | Sequence[str] | NDArray[Any] | None = None,
        medium: str | None = None,
        estimated: ArrayLike = False,
    ) -> None:
        self.medium = checked_medium(medium)
        self.wavelength = checked_wavelength(wavelength)
        self.flux = np.array(np.atleast_2d(numbers(flux, "flux")))
        if self.flux.ndim != 2 or self.flux.shape[0] == 0 or self.flux.shape[1] != len(self.wavelength):
            raise SpectraError(
                f"flux must have shape (n_spectra, {len(self.wavelength)}), one column per wavelength. "
                f"Received: {np.shape(flux)}"
            )
        shape = self.flux.shape
        self.mask = np.zeros(shape, dtype=bool) if mask is None else shaped(np.asarray(mask, dtype=bool), shape, "mask")
        self.error = None if error is None else shaped(numbers(error, "error"), shape, "error")
        self.ids = checked_ids(ids, shape[0])
        self.estimated = per_spectrum(np.asarray(estimated, dtype=bool), shape[0], "estimated")

        unusable = ~np.isfinite(self.flux)
        self.flux[unusable] = FILL_FLUX
        if self.error is not None:
            bad_error = ~(np.isfinite(self.error) & (self.error > 0))
            self.error[bad_error] = np.inf
            unusable |= bad_error
        self.n_masked_input = int(np.count_nonzero(unusable & ~self.mask))
        self.mask |= unusable
        if self.mask.all():
            raise SpectraError(
                f"No good pixel in {shape[0]} spectra of {shape[1]} pixels: {self.n_masked_input} have non-finite flux "
                "or a non-finite, zero or negative error, the others are masked"
            )

    def _with(self, **changes: Any) -> Spectra:
        """A copy with some attributes replaced; values are already checked."""
        new = object.__new__(Spectra)
        new.__dict__.update(self.__dict__ | changes)
        return new

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows: int | slice | NDArray[Any]) -> Spectra:
        """One spectrum (int), or those that a slice, an index array or a boolean array selects."""
        picked = np.atleast_1d(np.arange(len(self))[rows])
        error = None if self.error is None else self.error[picked]
        per_row = {name: getattr(self, name)[picked] for name in ("flux", "mask", "ids", "estimated")}
        return self._with(error=error, **per_row)

    def __repr__(self) -> str:
        grid = f"{self.wavelength[0]:.1f}-{self.wavelength[-1]:.1f} A ({self.medium}) x {len(self.wavelength)}"
        error = "without errors" if self.error is None else "with errors"
        return f"Spectra({len(self)} spectra, {grid}, {error}, {self.mask.mean():.1%} masked)"

    @property
    def pixel_width(self) -> NDArray[np.float64]:
        """Width of every pixel, shape ``(n_pixels,)``, angstrom."""
        lower, upper = pixel_edges(self.wavelength)
        return upper - lower

    @property
    def snr(self) -> NDArray[np.float64]:
        """Signal-to-noise ratio per angstrom, shape ``(n_spectra,)``: median over good pixels, 0 if there is none.

        Raises
        ------
        SpectraError
            If the spectra have no errors.
        """
        if self.error is None:
            raise SpectraError("These spectra have no errors; pass error= or use with_estimated_error()")
        ratio = np.where(self.mask, np.nan, self.flux / self.error / np.sqrt(self.pixel_width))
        filled = ~self.mask.all(axis=1)
        snr = np.zeros(len(self))
        snr[filled] = np.nanmedian(ratio[filled], axis=1)
        return snr

    def masked(self, pixels: ArrayLike) -> Spectra:
        """The same spectra with further bad pixels, such as those of telluric lines.

        Parameters
        ----------
        pixels : array_like of bool, shape of flux, (n_pixels,) or (n_spectra, 1)
            True for bad ones.

        Returns
        -------
        Spectra

        Raises
        ------
        SpectraError
            If the shape is another, or no good pixel is left.
        """
        pixels = np.asarray(pixels, dtype=bool)
        if pixels.shape not in (self.flux.shape, self.flux.shape[1:], (len(self), 1)):
            raise SpectraError(f"pixels has shape {pixels.shape}, flux has {self.flux.shape}")
        mask = self.mask | pixels
        if mask.all():
            raise SpectraError(f"No good pixel is left in {len(self)} spectra")
        return self._with(mask=mask)

    def in_medium(self, medium: str) -> Spectra:
        """The same spectra with wavelengths in "air" or "vacuum".

        Parameters
        ----------
        medium : {"air", "vacuum"}

        Returns
        -------
        Spectra
        """
        if checked_medium(medium) == self.medium:
            return self
        convert = vacuum_to_air if medium == "air" else air_to_vacuum
        return self._with(wavelength=convert(self.wavelength), medium=medium)

    def shifted(self, velocity: Any) -> Spectra:
        """The same spectra in the rest frame of a source that recedes at `velocity` (a Quantity, or km/s).

        Parameters
        ----------
        velocity : Quantity or float, km/s
            One for all spectra; `resampled` takes one for each.

        Returns
        -------
        Spectra
        """
        velocity = values(velocity, VELOCITY, "velocity")
        if np.ndim(velocity) or not np.isfinite(velocity):
            raise SpectraError(
                "shifted takes one finite velocity in km/s; for one per star use resampled(..., velocity=...)"
            )
        return self._with(wavelength=doppler_shift(self.wavelength, -velocity))

    def resampled(
        self,
        wavelength: ArrayLike,
        *,
        velocity: ArrayLike | None = None,
        sigma: ArrayLike | None = None,
        line: ArrayLike | None = None,
    ) -> Spectra:
        """The spectra on another wavelength grid, in the same medium; see `kcinn.wavelength.resample`.

        Parameters
        ----------
        wavelength : array_like, shape (n_new,), angstrom
        velocity : array_like, shape (n_spectra,), km/s, optional
            Radial velocities to remove.
        sigma : array_like, shape (n_new,), angstrom, optional
            Standard deviation of a Gaussian to convolve with.
        line : array_like, shape (n_new,), angstrom, optional
            Standard deviation of lines for whose depths the errors are to be right; by default they are so for wide
            stretches.

        Returns
        -------
        Spectra

        Raises
        ------
        SpectraError
            If no good pixel falls on the new grid.
        """
        new = checked_wavelength(wavelength)
        onto_new = partial(resample, new_wavelength=new, sigma=sigma, line=line)
        if velocity is None:
            flux, error, mask = onto_new(self.wavelength, self.flux, error=self.error, mask=self.mask)
        else:
            shifts = numbers(values(velocity, VELOCITY, "velocity"), "velocity")
            if shifts.shape != (len(self),) or not np.all(np.isfinite(shifts)):
                raise SpectraError(
                    f"velocity needs shape ({len(self)},) and finite values. Received shape: {shifts.shape}"
                )
            flux, mask = np.empty((len(self), len(new))), np.empty((len(self), len(new)), dtype=bool)
            error = None if self.error is None else np.empty_like(flux)
            for row, shift in enumerate(shifts):
                rest = doppler_shift(self.wavelength, -shift)
                old = None if self.error is None else self.error[row]
                flux[row], new_error, mask[row] = onto_new(rest, self.flux[row], error=old, mask=self.mask[row])
                if error is not None and new_error is not None:
                    error[row] = new_error
        if mask.all() and not self.mask.all():
            raise SpectraError(
                f"The spectra cover {self.wavelength[0]:.1f}-{self.wavelength[-1]:.1f} angstrom and have no good pixel "
                f"on the grid asked for, {new[0]:.1f}-{new[-1]:.1f}"
            )
        return self._with(wavelength=new, flux=flux, error=error, mask=mask)

    def estimated_error(self) -> NDArray[np.float64]:
        """Noise measured from the scatter among pixels, shape ``(n_spectra, n_pixels)``.

        One level per spectrum and stretch of at most 1000 pixels without a gap: DER_SNR, the median of
        ``|2 f_i - f_(i-2) - f_(i+2)|``. It takes the noise of pixels as uncorrelated and the spectrum as smooth over
        five pixels: oversampled or smoothed spectra come out too good, crowded lines too bad. Infinity where too few
        pixels are good.

        Returns
        -------
        ndarray, shape (n_spectra, n_pixels)

        References
        ----------
        Stoehr et al. (2008), ASP Conf. Ser. 394, 505.
        """
        flux = np.where(self.mask, np.nan, self.flux)
        error = np.full(flux.shape, np.inf)
        for stretch in segments(self.wavelength):
            n_chunks = max(1, round((stretch.stop - stretch.start) / NOISE_CHUNK))
            for pixels in np.array_split(np.arange(stretch.start, stretch.stop), n_chunks):
                f = flux[:, pixels]
                scatter = np.abs(2.0 * f[:, 2:-2] - f[:, :-4] - f[:, 4:])
                enough = np.count_nonzero(np.isfinite(scatter), axis=1) >= 5
                level = 1.482602 / np.sqrt(6.0) * np.nanmedian(scatter[enough], axis=1)
                error[np.ix_(enough, pixels)] = level[:, None]
        return error

    def with_estimated_error(self) -> Spectra:
        """The spectra with `estimated_error` as their errors.

        Returns
        -------
        Spectra
        """
        return Spectra(
            self.wavelength, self.flux, error=self.estimated_error(), mask=self.mask, ids=self.ids, medium=self.medium,
            estimated=True,
        )  # fmt: skip

    @staticmethod
    def concatenate(parts: Sequence[Spectra]) -> Spectra:
        """All spectra of several sets that share wavelength grid and medium, and all or none of which have errors.

        Parameters
        ----------
        parts : sequence of Spectra

        Returns
        -------
        Spectra
        """
        if not parts:
            raise SpectraError("concatenate needs at least one set of spectra")
        first = parts[0]
        for part in parts[1:]:
            if part.medium != first.medium or not np.array_equal(part.wavelength, first.wavelength):
                raise SpectraError(
                    "concatenate needs one wavelength grid and one medium; use resampled and in_medium first"
                )
        errors = [part.error for part in parts if part.error is not None]
        if errors and len(errors) < len(parts):
            raise SpectraError("concatenate: some sets have errors and some have none")
        ids = [part.ids for part in parts]
        if len({part_ids.dtype.kind for part_ids in ids}) > 1:
            ids = [part_ids.astype(str) for part_ids in ids]
        return first._with(
            flux=np.concatenate([part.flux for part in parts]),
            error=np.concatenate(errors) if errors else None,
            mask=np.concatenate([part.mask for part in parts]),
            ids=np.concatenate(ids),
            estimated=np.concatenate([part.estimated for part in parts]),
            n_masked_input=sum(part.n_masked_input for part in parts),
        )

    def write(self, path: str | Path) -> None:
        """Write HDF5 of the format "kcinn-spectra/1"; a file of that name is replaced only when all is written.

        Parameters
        ----------
        path : path
        """
        path = Path(path)
        chunks = (min(CHUNK_ROWS, len(self)), len(self.wavelength))
        try:
            with replacing(path) as partial, h5py.File(partial, "w", libver="latest") as file:
                # the latest format: its metadata carry checksums
                file.attrs["format"], file.attrs["medium"] = np.bytes_(FORMAT), np.bytes_(self.medium)
                file["wavelength"] = self.wavelength
                file.create_dataset("flux", data=self.flux, dtype="f4", chunks=chunks)
                file.create_dataset("mask", data=self.mask, dtype="u1", chunks=chunks)
                if self.error is not None:
                    file.create_dataset("error", data=self.error, dtype="f4", chunks=chunks)
                is_text = self.ids.dtype.kind == "U"
                file["source_id"] = np.char.encode(self.ids, "utf-8") if is_text else self.ids.astype("i8")
                if self.estimated.any():
                    file["meta/estimated"] = self.estimated.astype("u1")
        except OSError as error:
            raise SpectraError(f"{path}: cannot write spectra: {error}") from None

    @classmethod
    def read(cls, path: str | Path, *, rows: slice = slice(None), medium: str | None = None) -> Spectra:
        """Read `rows` of an HDF5 file of the format "kcinn-spectra/1"; `medium` goes before what the file says.

        Parameters
        ----------
        path : path
        rows : slice
        medium : {"air", "vacuum"}, optional

        Returns
        -------
        Spectra

        Raises
        ------
        SpectraError
            If the file is missing, damaged or of another format; the message names path and reason.
        """
        try:
            with h5py.File(path, "r") as file:
                data = checked_datasets(file)
                ids = data.pop("source_id")
                ids = ids.asstr("utf-8")[rows] if h5py.check_string_dtype(ids.dtype) else ids[rows]
                wavelength = data.pop("wavelength")[:]
                data.pop("meta/refused", None)
                arrays = {name.removeprefix("meta/"): dataset[rows] for name, dataset in data.items()}
                return cls(wavelength, **arrays, ids=ids, medium=medium or attribute(file, "medium"))
        except Exception as error:  # h5py meets damage with almost any exception
            raise SpectraError(f"{path}: {error}") from None
