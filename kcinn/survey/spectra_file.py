"""SpectraFile: spectra of an HDF5 file, read a stretch at a time."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kcinn.errors import SpectraError
from kcinn.spectra import Spectra
from kcinn.spectra_format import attribute, checked_datasets


class SpectraFile:
    """An open file of the format "kcinn-spectra/1".

    Raises
    ------
    SpectraError
        If it is missing, damaged or of another format; the message names path and reason.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self._file = h5py.File(path, "r")
            self.data = checked_datasets(self._file)
            self.wavelength = self.data["wavelength"][:]
            self.medium = attribute(self._file, "medium")
            self.rows(0, 1)
        except Exception as error:  # h5py meets damage with almost any exception
            message = str(error)
            raise SpectraError(message if message.startswith(self.path) else f"{path}: {message}") from None

    def __enter__(self) -> SpectraFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.data["flux"])

    def ids(self, start: int, stop: int) -> NDArray[Any]:
        """Names of some spectra, as integers or bytes."""
        names = self.data["source_id"][start:stop]
        if names.dtype.kind == "O":
            return names.astype("S")
        return trimmed(names) if names.dtype.kind == "S" else names.astype("i8")

    def meta(self, name: str, rows: slice) -> NDArray[Any]:
        """What ``meta/name`` says of some spectra; zeros if the file does not have it."""
        dataset = self.data.get(f"meta/{name}")
        n = len(range(*rows.indices(len(self))))
        return np.zeros(n, dtype="u1") if dataset is None else np.asarray(dataset[rows])

    def rows(self, start: int, stop: int) -> Spectra | None:
        """The spectra from `start` to `stop`; None if none of them has a good pixel.

        Raises
        ------
        SpectraError
            If they cannot be read.
        """
        try:
            arrays = {name: self.data[name][start:stop] for name in ("flux", "error", "mask") if name in self.data}
        except OSError as error:
            raise SpectraError(f"{self.path}: spectra {start} to {stop} cannot be read ({error})") from None
        good = np.isfinite(arrays["flux"]) & (arrays.get("mask", 0) == 0)
        if "error" in arrays:
            good &= np.isfinite(arrays["error"]) & (arrays["error"] > 0)
        if not good.any():
            return None
        return Spectra(
            self.wavelength, **arrays, ids=np.arange(start, start + len(good)), medium=self.medium,
            estimated=self.meta("estimated", slice(start, stop)),
        )  # fmt: skip


def trimmed(texts: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Texts of fixed length, no longer than the longest of them."""
    return texts.astype(f"S{max(1, int(np.char.str_len(texts).max(initial=1)))}")
