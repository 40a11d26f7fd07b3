"""Posterior: samples of the labels of many spectra, their summaries and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable
from numpy.typing import ArrayLike, NDArray

from kcinn.catalogue import (
    DIAGNOSTICS,
    FLAG,
    ID,
    REWEIGHTED,
    Column,
    covariance_columns,
    label_columns,
    label_values,
    to_table,
    write_table,
)
from kcinn.detection import Detection, detect
from kcinn.errors import KcinnError
from kcinn.flag import MEANINGS, Flag
from kcinn.labels import LabelSpace
from kcinn.marginals import summarise
from kcinn.posterior_file import check_ending, read_samples, write_samples
from kcinn.replacing import replacing
from kcinn.reweighting import LogPrior, effective_size, evaluate_prior, resample

FEWEST_SAMPLES = 100.0


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
        Further columns, such as `snr`, `chi_square`, `velocity`, `velocity_error`.
    log_prob : array_like, shape (n_spectra, n_samples), optional
        Logarithm of the posterior density of every sample, in the units of the labels.

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
        log_prob: ArrayLike | None = None,
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
        self.log_prob = None if log_prob is None else np.asarray(log_prob, dtype=np.float64)
        if self.log_prob is not None and self.log_prob.shape != self.samples.shape[:2]:
            raise KcinnError(f"log_prob must have shape {self.samples.shape[:2]}. Received: {self.log_prob.shape}")
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
        return self._with(
            samples=self.samples[rows], ids=self.ids[rows], flag=self.flag[rows], diagnostics=diagnostics,
            log_prob=None if self.log_prob is None else self.log_prob[rows],
        )  # fmt: skip

    def _with(self, **changes: Any) -> Posterior:
        """A copy with some arguments replaced."""
        keys = ("samples", "label_space", "ids", "flag", "diagnostics", "log_prob")
        return Posterior(**{**{key: getattr(self, key) for key in keys}, **changes})

    @staticmethod
    def concatenate(parts: Sequence[Posterior]) -> Posterior:
        """Several posteriors of the same labels as one; KcinnError if their labels differ.

        Parameters
        ----------
        parts : sequence of Posterior
            If they differ in their numbers of samples, all are cut to the fewest.

        Returns
        -------
        Posterior
        """
        first = parts[0]
        if any(part.label_space != first.label_space for part in parts):
            raise KcinnError("Posteriors of different labels cannot be joined.")
        n_samples = min(part.samples.shape[1] for part in parts)
        densities = [part.log_prob[:, :n_samples] for part in parts if part.log_prob is not None]
        return Posterior(
            np.concatenate([part.samples[:, :n_samples] for part in parts]),
            first.label_space,
            ids=np.concatenate([part.ids for part in parts]),
            flag=np.concatenate([part.flag for part in parts]),
            diagnostics={key: np.concatenate([part.diagnostics[key] for part in parts]) for key in first.diagnostics},
            log_prob=np.concatenate(densities) if len(densities) == len(parts) else None,
        )

    def label(self, name: str) -> NDArray[np.float32]:
        """Samples of one label, ``(n_spectra, n_samples)``.

        Parameters
        ----------
        name : str

        Returns
        -------
        ndarray, shape (n_spectra, n_samples)
            In the label's unit.
        """
        return self.samples[:, :, self.label_space.index(name)]

    def quantile(self, q: ArrayLike) -> NDArray[np.float64]:
        """Quantiles, shape ``(n_spectra, n_labels)``, with the shape of `q` in front if it is an array.

        Parameters
        ----------
        q : float or array_like
            Between 0 and 1.

        Returns
        -------
        ndarray, shape (n_spectra, n_labels), or that with the shape of q in front
        """
        return np.quantile(self.samples.astype(np.float64), np.asarray(q, dtype=np.float64), axis=1)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the samples, ``(n_spectra, n_labels)``."""
        return self.samples.mean(axis=1, dtype=np.float64)

    @property
    def median(self) -> NDArray[np.float64]:
        """Median of the samples, ``(n_spectra, n_labels)``."""
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

    @property
    def joint_mode(self) -> NDArray[np.float32]:
        """The sample of highest joint density of each spectrum, ``(n_spectra, n_labels)``.

        Of the density in the unbounded labels (`LabelSpace.to_unbounded`), which vanishes towards the edges of the box:
        in the labels themselves, a density that is a little too heavy-tailed would have its maximum at an edge.

        Raises
        ------
        KcinnError
            If the densities of the samples are not known.
        """
        unbounded = self.label_space.to_unbounded(self.samples)
        density = self._densities() - 0.5 * np.sum(unbounded**2, axis=2)
        return self.samples[np.arange(len(self)), np.argmax(density, axis=1)]

    def reweight(
        self,
        *,
        log_prior: LogPrior | None = None,
        log_likelihood: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None = None,
        seed: int = 0,
    ) -> Posterior:
        """The posterior under another prior, or the exact likelihood, by importance sampling.

        The result has as many samples, drawn anew by their weights, so that some occur repeatedly; `ess` in its
        diagnostics is the effective sample size, also after several calls, and rows with less than 100 are flagged.
        With a likelihood, `log_evidence` is added: the likelihood averaged over the prior, if that is normalised (the
        uniform one is).

        Parameters
        ----------
        log_prior : callable, optional
            Logarithm of the new prior density relative to the uniform one; takes a mapping from label names to arrays
            and returns an array of the same shape, such as ``lambda labels: -0.5 * ((labels["fe_h"] + 0.5) / 0.2)**2``.
        log_likelihood : callable, optional
            Takes samples ``(n_spectra, n_samples, n_labels)`` and returns ``(n_spectra, n_samples)``, such as
            ``model.likelihood(spectra)``. The weights are against the density of the samples, so that the posterior
            is that of this likelihood and `log_prior`, or the uniform prior of the whole box; pass
            ``log_prior=model.log_prior`` for the prior of the training, which ends where stars do.
        seed : int

        Returns
        -------
        Posterior

        Raises
        ------
        LabelError
            If the prior has mass outside the training box.
        KcinnError
            If both are missing, or the densities of the samples are needed and not known.
        """
        if log_prior is None and log_likelihood is None:
            raise KcinnError("Give log_prior, log_likelihood or both.")
        log_weight = np.zeros(self.samples.shape[:2])
        if log_prior is not None:
            log_weight += evaluate_prior(log_prior, self.samples, self.label_space)
        if log_likelihood is not None:
            log_weight += log_likelihood(self.samples) - self._densities() - self.label_space.log_volume
        log_weight[np.isnan(self.samples).any(axis=2)] = -np.inf  # of spectra that could not be used
        drawn, ess = resample(log_weight, seed=seed), effective_size(log_weight, self.samples)
        diagnostics = {**self.diagnostics, "ess": ess}
        log_prob = self.log_prob
        if log_prob is not None:
            with np.errstate(invalid="ignore"):  # no sample has weight: the samples and their densities stay
                change = np.where(ess[:, None] > 0, log_weight - drawn.log_mean[:, None], 0.0)
            log_prob = log_prob + change
        if log_likelihood is not None:
            diagnostics["log_evidence"] = drawn.log_mean
        few = np.where(ess < FEWEST_SAMPLES, int(Flag.FEW_SAMPLES), 0).astype(np.int32)
        return self._with(
            samples=np.take_along_axis(self.samples, drawn.place[:, :, None], axis=1),
            flag=self.flag | few,
            diagnostics=diagnostics,
            log_prob=None if log_prob is None else np.take_along_axis(log_prob, drawn.place, axis=1),
        )

    def detection(self, name: str) -> Detection:
        """Whether a label is detected, or its posterior is the prior cut off by an upper limit.

        Undetected means that the density is still high where the samples begin: between their 1st and 10th percentile
        it is on average more than a third of its peak, as for a Gaussian that the lower edge of the prior cuts less
        than two standard deviations below its peak. Or, if the label is in dex, that it may be smaller than its median
        by 0.25 dex or more at 1 sigma: the strength of a weak line goes with the abundance, and is less than 2.3 sigma
        then. A flow rounds the edges of a flat posterior, so the first sign alone would miss most limits. The upper
        limit (95 percent) of such a label depends on where its prior begins.

        Parameters
        ----------
        name : str

        Returns
        -------
        Detection
            `detected` and `upper_limit`, ``(n_spectra,)`` each.
        """
        in_dex = self.label_space.labels[self.label_space.index(name)].unit.startswith("dex")
        return detect(self.label(name), in_dex=in_dex)

    def to_table(self) -> QTable:
        """The summary with the covariances, as a table of astropy with units, descriptions and UCDs.

        Returns
        -------
        QTable
        """
        return self.summary(covariance=True)

    def to_dataframe(self) -> Any:
        """The summary as a pandas DataFrame, without units.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        KcinnError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise KcinnError('to_dataframe needs pandas: pip install "kcinn[arviz]"') from error
        table = self.summary()
        return pandas.DataFrame({key: np.asarray(getattr(table[key], "value", table[key])) for key in table.colnames})

    def to_arviz(self) -> Any:
        """The samples as an ArviZ InferenceData: a variable per label, one chain, the spectra as a dimension `star`.

        Returns
        -------
        arviz.InferenceData

        Raises
        ------
        KcinnError
            If arviz is not installed.
        """
        try:
            import arviz
        except ImportError as error:
            raise KcinnError('to_arviz needs arviz: pip install "kcinn[arviz]"') from error
        names = self.label_space.names
        return arviz.from_dict(
            posterior={name: self.label(name).T[None] for name in names},
            coords={"star": self.ids},
            dims={name: ["star"] for name in names},
        )

    def _densities(self) -> NDArray[np.float64]:
        if self.log_prob is None:
            raise KcinnError("The densities of the samples are not known; draw them by predict(..., log_prob=True).")
        return self.log_prob

    def summary(self, *, covariance: bool = False) -> QTable:
        """A row per spectrum, with units.

        For a label `x`: `x` (median), `e_x` (half the 16 to 84 percent interval), `x_p16`, `x_p50`, `x_p84`, `x_map`
        (mode of the marginal), `x_mean`. Then the diagnostics and `flag`; its bits are explained in the metadata.

        Parameters
        ----------
        covariance : bool
            Whether to add `cov_x_y` for every pair of labels.

        Returns
        -------
        QTable
        """
        space = self.label_space
        values = label_values(space, summarise(self.samples))
        columns = [ID, *label_columns(space), *(covariance_columns(space) if covariance else [])]
        known = {**DIAGNOSTICS, **REWEIGHTED}
        columns += [known.get(name, Column(name, description=name)) for name in self.diagnostics]
        return to_table([*columns, FLAG], {"id": self.ids, **values, **self.diagnostics, "flag": self.flag}, MEANINGS)

    def write(self, path: str | os.PathLike[str], *, covariance: bool = False) -> None:
        """Write the summary (``.fits``, ``.ecsv``, ``.csv``, ``.vot``) or all samples (``.h5``); never half a file.

        Parameters
        ----------
        path : path
        covariance : bool
            Whether a summary has the covariances, see `summary`.

        Raises
        ------
        KcinnError
            If the ending is none of these.
        """
        path = Path(path)
        check_ending(path)
        with replacing(path) as partial:
            if path.suffix == ".h5":
                arrays = {"samples": self.samples, "id": self.ids, "flag": self.flag, **self.diagnostics}
                if self.log_prob is not None:
                    arrays["log_prob"] = self.log_prob
                write_samples(partial, arrays, self.label_space)
            else:
                write_table(self.summary(covariance=covariance), partial)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Posterior:
        """All samples from a file that `write` made with the ending ``.h5``.

        Parameters
        ----------
        path : path

        Returns
        -------
        Posterior

        Raises
        ------
        KcinnError
            If the file is missing, damaged or of another format.
        """
        arrays, space = read_samples(path)
        samples, ids, flag = (arrays.pop(key) for key in ("samples", "id", "flag"))
        log_prob = arrays.pop("log_prob", None)
        return cls(samples, space, ids=ids, flag=flag, diagnostics=arrays, log_prob=log_prob)
