"""Posterior: samples of the labels of many spectra, their summaries and files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import IntFlag
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.table import QTable
from numpy.typing import ArrayLike, NDArray

from kcinn.catalogue import (
    DIAGNOSTICS,
    ENDINGS,
    FLAG,
    ID,
    Column,
    covariance_columns,
    label_columns,
    label_values,
    to_table,
    write_table,
)
from kcinn.errors import KcinnError
from kcinn.labels import LabelSpace
from kcinn.marginals import summarise

FORMAT = "kcinn-posterior/1"


class Flag(IntFlag):
    """What a user should know before using a row; 0 is a clean one."""

    FEW_PIXELS = 1  # less than a third of the pixels could be used
    POOR_FIT = 2  # the best fit misses the spectrum by more than twice its errors
    EDGE = 4  # a median lies within two percent of the edge of the training box
    SNR_RANGE = 8  # signal-to-noise ratio outside the range of the training
    VELOCITY = 16  # the fit wants a velocity beyond three times its prior scatter
    EXTRAPOLATION = 32  # the encoder's summary lies outside that of the training spectra
    ESTIMATED_ERROR = 64  # no errors came with the spectrum; they were estimated from its scatter
    GAP = 128  # the synthesis misses the spectrum by more than noise: its typical error was added to the errors
    UNUSABLE = 256  # no usable pixel, or not normalised: no labels


MEANINGS = {
    f"FLAG{int(flag)}": meaning
    for flag, meaning in {
        Flag.FEW_PIXELS: "less than a third of the pixels usable",
        Flag.POOR_FIT: "best fit misses the spectrum by more than twice its errors",
        Flag.EDGE: "a median within 2 % of the edge of the training box",
        Flag.SNR_RANGE: "S/N outside the training range",
        Flag.VELOCITY: "residual velocity beyond three sigma of the training",
        Flag.EXTRAPOLATION: "summary of the spectrum outside that of the training",
        Flag.ESTIMATED_ERROR: "errors estimated from the scatter of the pixels",
        Flag.GAP: "typical error of the synthesis added to the errors",
        Flag.UNUSABLE: "no usable pixel, or not normalised: no labels",
    }.items()
}


def check_ending(path: str | os.PathLike[str]) -> None:
    """Raise KcinnError unless `path` has an ending that a posterior can be written to, in a folder that exists."""
    path = Path(path)
    if path.suffix not in [*ENDINGS, ".h5"]:
        raise KcinnError(f"A posterior is written to {', '.join([*ENDINGS, '.h5'])}. Received: {path.name}")
    if not path.parent.is_dir():
        raise KcinnError(f"{path.parent}: no such folder")


class Posterior:
    """Posterior samples for a set of spectra.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
    label_space : LabelSpace
    ids : array_like, shape (n_spectra,), optional
        By default ``0 .. n_spectra - 1``.
    flag : array_like of int, shape (n_spectra,), optional
        Bits of `Flag`.
    diagnostics : mapping of str to array_like (n_spectra,), optional
        Further columns, such as `snr`, `chi_square`, `velocity`.

    Raises
    ------
    KcinnError
        If shapes disagree.
    """

    def __init__(
        self,
        samples: ArrayLike,
        label_space: LabelSpace,
        *,
        ids: ArrayLike | None = None,
        flag: ArrayLike | None = None,
        diagnostics: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self.samples = np.asarray(samples, dtype=np.float32)
        self.label_space = label_space
        if self.samples.ndim != 3 or self.samples.shape[2] != len(label_space):
            raise KcinnError(
                f"samples must have shape (n_spectra, n_samples, {len(label_space)}). Received: {self.samples.shape}"
            )
        n = len(self.samples)
        self.ids = np.arange(n) if ids is None else np.asarray(ids)
        self.flag = np.zeros(n, dtype=np.int32) if flag is None else np.asarray(flag, dtype=np.int32)
        self.diagnostics = {key: np.asarray(value) for key, value in (diagnostics or {}).items()}
        for key, value in {"ids": self.ids, "flag": self.flag, **self.diagnostics}.items():
            if value.shape != (n,):
                raise KcinnError(f"{key} must have shape ({n},). Received: {value.shape}")

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Posterior({len(self)} spectra x {self.samples.shape[1]} samples, {', '.join(self.label_space.names)})"

    def __getitem__(self, rows: Any) -> Posterior:
        """The posterior of some of the spectra."""
        rows = np.atleast_1d(np.arange(len(self))[rows])
        diagnostics = {key: value[rows] for key, value in self.diagnostics.items()}
        return Posterior(
            self.samples[rows], self.label_space, ids=self.ids[rows], flag=self.flag[rows], diagnostics=diagnostics
        )

    @staticmethod
    def concatenate(parts: Sequence[Posterior]) -> Posterior:
        """Several posteriors of the same labels as one; KcinnError if their labels differ."""
        first = parts[0]
        if any(part.label_space != first.label_space for part in parts):
            raise KcinnError("Posteriors of different labels cannot be joined.")
        n_samples = min(part.samples.shape[1] for part in parts)
        return Posterior(
            np.concatenate([part.samples[:, :n_samples] for part in parts]),
            first.label_space,
            ids=np.concatenate([part.ids for part in parts]),
            flag=np.concatenate([part.flag for part in parts]),
            diagnostics={key: np.concatenate([part.diagnostics[key] for part in parts]) for key in first.diagnostics},
        )

    def label(self, name: str) -> NDArray[np.float32]:
        """Samples of one label, ``(n_spectra, n_samples)``."""
        return self.samples[:, :, self.label_space.index(name)]

    def quantile(self, q: ArrayLike) -> NDArray[np.float64]:
        """Quantiles, shape ``(n_spectra, n_labels)``, with the shape of `q` in front if it is an array."""
        return np.quantile(self.samples.astype(np.float64), np.asarray(q, dtype=np.float64), axis=1)

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.samples.mean(axis=1, dtype=np.float64)

    @property
    def median(self) -> NDArray[np.float64]:
        return self.quantile(0.5)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Shape ``(n_spectra, n_labels, n_labels)``."""
        deviation = self.samples - self.mean[:, None, :]
        return np.einsum("nsi,nsj->nij", deviation, deviation) / max(self.samples.shape[1] - 1, 1)

    @property
    def mode(self) -> NDArray[np.floating]:
        """Maximum of the marginal density of each label, ``(n_spectra, n_labels)``.

        Of a histogram of 80 bins, smoothed with a Gaussian kernel whose bandwidth is that of Silverman's rule with the
        robust scatter.
        """
        return np.clip(summarise(self.samples).mode, self.label_space.lower, self.label_space.upper)

    def summary(self, *, covariance: bool = False) -> QTable:
        """A row per spectrum, with units.

        For a label `x`: `x` (median), `e_x` (half the 16 to 84 percent interval), `x_p16`, `x_p50`, `x_p84`, `x_map`
        (mode of the marginal), `x_mean`. Then the diagnostics and `flag`; its bits are explained in the metadata.

        Parameters
        ----------
        covariance : bool
            Whether to add `cov_x_y` for every pair of labels.
        """
        space = self.label_space
        values = label_values(space, summarise(self.samples))
        columns = [ID, *label_columns(space), *(covariance_columns(space) if covariance else [])]
        columns += [DIAGNOSTICS.get(name, Column(name, description=name)) for name in self.diagnostics]
        return to_table([*columns, FLAG], {"id": self.ids, **values, **self.diagnostics, "flag": self.flag}, MEANINGS)

    def write(self, path: str | os.PathLike[str], *, covariance: bool = False) -> None:
        """Write the summary (``.fits``, ``.ecsv``, ``.csv``, ``.vot``) or all samples (``.h5``); never half a file.

        Raises
        ------
        KcinnError
            If the ending is none of these.
        """
        path = Path(path)
        check_ending(path)
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        try:
            if path.suffix == ".h5":
                self._write_samples(partial)
            else:
                write_table(self.summary(covariance=covariance), partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def _write_samples(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.attrs["format"] = FORMAT
            file.attrs["labels"] = list(self.label_space.names)
            file.attrs["units"] = [label.unit for label in self.label_space]
            file["samples"], file["flag"] = self.samples, self.flag
            file["id"] = self.ids.astype("S") if self.ids.dtype.kind == "U" else self.ids
            for key, value in self.diagnostics.items():
                file[key] = value
