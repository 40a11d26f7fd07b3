"""SpectraWriter: rows of spectra, appended to an HDF5 file that takes its name when it is whole."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import SurveyError
from kcinn.spectra_format import CHUNK_ROWS, FORMAT

NAME, REASON = "S255", "S500"  # of fixed length: texts of variable length have no checksum


class SpectraWriter:
    """Write a file of the format "kcinn-spectra/1"; use as a context, what was not finished at its end is removed.

    Beside flux, error, mask and names it holds ``meta/estimated``, whether a spectrum's error was estimated from its
    scatter, and ``meta/refused``, why a spectrum could not be read.

    Parameters
    ----------
    path : Path
    wavelength : array_like, shape (n_pixels,), angstrom
    medium : {"air", "vacuum"}
    """

    def __init__(self, path: Path, wavelength: ArrayLike, medium: str) -> None:
        self.path, self._partial = path, path.with_name(f".{path.name}.{os.getpid()}.partial")
        wavelength = np.asarray(wavelength, dtype=np.float64)
        try:
            self._file = h5py.File(self._partial, "w", libver="latest")  # its metadata carry checksums
        except OSError as error:
            raise SurveyError(f"{path}: cannot be written ({_reason(error)})") from None
        self._file.attrs["format"], self._file.attrs["medium"] = np.bytes_(FORMAT), np.bytes_(medium)
        self._file["wavelength"] = wavelength
        pixels = {"shape": (0, len(wavelength)), "maxshape": (None, len(wavelength))}
        for name, dtype in (("flux", "f4"), ("error", "f4"), ("mask", "u1")):
            self._file.create_dataset(name, dtype=dtype, chunks=(CHUNK_ROWS, len(wavelength)), **pixels)
        for name, dtype in (("source_id", NAME), ("meta/estimated", "u1"), ("meta/refused", REASON)):
            self._file.create_dataset(name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=(1024,))

    def __enter__(self) -> SpectraWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError) as error:  # bytes that a full disk did not take
            if exception[0] is None:
                raise SurveyError(f"{self.path}: cannot be written ({_reason(error)})") from None
        finally:
            self._partial.unlink(missing_ok=True)

    def append(
        self,
        ids: Sequence[str] | NDArray[Any],
        flux: ArrayLike,
        error: ArrayLike,
        mask: ArrayLike,
        *,
        estimated: ArrayLike | None = None,
        refused: Sequence[str] | NDArray[Any] | None = None,
    ) -> None:
        """Add rows, all arrays of shape ``(n, n_pixels)`` or ``(n,)``; SurveyError if the disk is full."""
        n = len(ids)
        values = {
            "flux": flux,
            "error": error,
            "mask": np.asarray(mask, dtype="u1"),
            "source_id": _texts(ids, NAME),
            "meta/estimated": np.zeros(n, dtype="u1") if estimated is None else np.asarray(estimated, dtype="u1"),
            "meta/refused": _texts([""] * n if refused is None else refused, REASON),
        }
        try:
            for name, value in values.items():
                dataset = self._file[name]
                start = len(dataset)
                dataset.resize(start + n, axis=0)
                dataset[start:] = value
        except OSError as error:
            raise SurveyError(f"{self.path}: cannot be written ({_reason(error)})") from None

    def append_refused(self, name: str, reason: str) -> None:
        """Add a row without a good pixel, for a spectrum that could not be read."""
        n_pixels = self._file["flux"].shape[1]
        nothing = np.ones((1, n_pixels))
        self.append([name], nothing, np.full((1, n_pixels), np.inf), nothing, refused=[reason])

    def finish(self) -> None:
        """Give the file its name, safe on the disk."""
        try:
            self._file.close()
            with self._partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self._partial, self.path)
        except (OSError, RuntimeError) as error:
            raise SurveyError(f"{self.path}: cannot be written ({_reason(error)})") from None


def _texts(texts: Sequence[str] | NDArray[Any], dtype: str) -> NDArray[np.bytes_]:
    return np.array([str(text).encode("utf-8", "replace") for text in texts], dtype=dtype)


def _reason(error: Exception) -> str:
    """What the system said, which HDF5 wraps in a long message."""
    found = re.search(r"error message = '([^']*)'", str(error))
    return found[1] if found else getattr(error, "strerror", None) or str(error)
