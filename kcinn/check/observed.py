"""check_observed: measure a model on observed stars with reference labels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn import plot
from kcinn.check import page
from kcinn.check.observed_star import Star, read_stars, read_table
from kcinn.check.results import write_results
from kcinn.errors import KcinnError
from kcinn.inference import predict
from kcinn.model import CINN, load
from kcinn.posterior import Posterior
from kcinn.survey.text_reader import is_number

FEWEST = 4  # stars to which a line is fitted
N_SAMPLES = 2048


class Observed:
    """Posteriors of observed stars beside their reference labels.

    `posterior` has a row per star; `reference` ``(n_stars, n_labels)`` is NaN where a label has no reference.
    """

    def __init__(self, model: CINN, stars: list[Star], posterior: Posterior) -> None:
        self.model, self.stars, self.posterior = model, stars, posterior
        names = posterior.label_space.names
        self.reference = np.array([[star.reference.get(name, np.nan) for name in names] for star in stars])
        difference = posterior.median - self.reference
        calibrated = calibrated_by_others(posterior.median, self.reference) - self.reference
        self.results: dict[str, Any] = {
            "stars": [self._star(i) for i in range(len(stars))],
            "labels": {
                name: {"plain": _bias_and_scatter(difference[:, k]), "calibrated": _bias_and_scatter(calibrated[:, k])}
                for k, name in enumerate(names)
                if np.isfinite(difference[:, k]).any()
            },
        }

    def _star(self, i: int) -> dict[str, Any]:
        low, middle, high = self.posterior.quantile([0.16, 0.5, 0.84])[:, i]
        names = self.posterior.label_space.names
        return {
            "star": self.stars[i].name,
            "labels": dict(zip(names, middle.tolist(), strict=True)),
            "errors": dict(zip(names, (0.5 * (high - low)).tolist(), strict=True)),
            "reference": self.stars[i].reference,
            **{key: float(values[i]) for key, values in self.posterior.diagnostics.items()},
            "flag": int(self.posterior.flag[i]),
        }

    def text(self) -> str:
        """The table of differences, and bias and scatter per label, as text."""
        return "\n\n".join(
            "\n".join("  ".join(f"{cell:>{width}s}" for cell, width in zip(row, widths, strict=True)) for row in rows)
            for rows in (self._star_rows(), self._label_rows())
            for widths in [[max(len(row[k]) for row in rows) for k in range(len(rows[0]))]]
        )

    def write(self, folder: Path) -> None:
        """Write `index.html`, `report.json` and `catalogue.fits` into `folder`, made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        stars = page.Table(*_heads_and_rows(self._star_rows()))
        if self.results["labels"]:
            sections = [
                page.Section("Stars", [self._picture(), stars]),
                page.Section(
                    "Bias and scatter",
                    [
                        "Posterior median minus reference: mean, standard deviation and rms. Calibrated: after a line "
                        "that was fitted to the other stars (leave one out).",
                        page.Table(*_heads_and_rows(self._label_rows())),
                    ],
                ),
            ]
        else:
            names = ", ".join(self.posterior.label_space.names)
            sections = [
                page.Section("Stars", [f"The table has no reference for any label of the model: {names}.", stars])
            ]
        sections.append(page.Section("Fits", self._fits()))
        title = f"Check of a model for {self.model.instrument.name} on observed stars"
        (folder / "index.html").write_text(page.page(title, sections), encoding="utf-8")
        write_results(folder / "report.json", self.results)
        self.posterior.write(folder / "catalogue.fits")

    def _picture(self) -> Figure:
        low, middle, high = self.posterior.quantile([0.16, 0.5, 0.84])
        names = np.array([star.name for star in self.stars])
        return plot.against_reference(middle, 0.5 * (high - low), self.reference, self.posterior.label_space, names)

    def _fits(self) -> list[Any]:
        """Every spectrum with its re-synthesis."""
        model = self.model
        if model.marginalised:
            return ["The model marginalises some labels, so that its labels alone do not make a spectrum."]
        wavelength = model.instrument.wavelength
        windows = [(wavelength[arm][0], wavelength[arm][-1]) for arm in model.instrument.arm_slices]
        return [
            plot.spectrum(
                wavelength, star.spectrum.flux[0],
                model.spectrum(self.posterior.samples[i, :32], velocity=self.posterior.diagnostics["velocity"][i]),
                mask=star.spectrum.mask[0] | model.ignored, windows=windows, title=star.name,
            )
            for i, star in enumerate(self.stars)
        ]  # fmt: skip

    def _star_rows(self) -> list[list[str]]:
        names = list(self.results["labels"])
        rows = [["star", *[f"{name} (- reference)" for name in names], "chi-square", "flag"]]
        for star in self.results["stars"]:
            row = [star["star"]]
            for name in names:
                value, error = star["labels"][name], star["errors"][name]
                apart = value - star["reference"][name] if name in star["reference"] else None
                digits = 0 if abs(value) > 100 else 2
                row.append(
                    f"{value:.{digits}f} +- {error:.{digits}f}" + ("" if apart is None else f" ({apart:+.{digits}f})")
                )
            rows.append([*row, f"{star['chi_square']:.1f}", str(star["flag"])])
        return rows

    def _label_rows(self) -> list[list[str]]:
        rows = [["label", "stars", "bias", "scatter", "rms", "calibrated: bias", "scatter", "rms"]]
        for name, result in self.results["labels"].items():
            numbers = [
                f"{result[kind][key]:.3g}" for kind in ("plain", "calibrated") for key in ("bias", "scatter", "rms")
            ]
            rows.append([name, str(result["plain"]["stars"]), *numbers])
        return rows


def check_observed(
    model: CINN | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    table: Table | str | os.PathLike[str],
    *,
    estimate_errors: bool = False,
    checksum: bool = True,
    gap: bool = True,
    seed: int = 0,
    verbose: int = 0,
) -> Observed:
    """Posteriors of observed stars with reference labels.

    Parameters
    ----------
    model : CINN or path
    folder, table, estimate_errors, checksum
        See `read_stars`.
    gap, seed : bool, int
        See `predict`.
    verbose : int
        1 shows a progress bar.

    Raises
    ------
    KcinnError
        If the table lacks a column or a file cannot be used.
    """
    model = model if isinstance(model, CINN) else load(model)
    if not isinstance(table, Table):
        table = read_table(table)
    _check_numbers(table, model.label_space.names)
    found = read_stars(model.instrument, Path(folder), table, estimate_errors=estimate_errors, checksum=checksum)
    stars, posteriors = [], []
    for star in tqdm(found, desc="stars", disable=None if verbose else True):
        if star.normalise:
            star = star._replace(spectrum=model.refined(star.spectrum, gap=gap))
        stars.append(star)
        posteriors.append(predict(model, star.spectrum, n_samples=N_SAMPLES, gap=gap, seed=seed))
    return Observed(model, stars, Posterior.concatenate(posteriors))


def _check_numbers(table: Table, names: Iterable[str]) -> None:
    """Raise KcinnError if a column of a label is text: one word in it makes astropy read all of it so."""
    for name in [name for name in names if name in table.colnames]:
        words = [cell for cell in table[name] if isinstance(cell, str) and cell.strip()]
        if words:
            wrong = [word for word in words if not is_number(word)]
            raise KcinnError(
                f"The reference labels {name} must be numbers; leave cells empty where none is known. "
                f"Received: {', '.join(wrong[:3]) or 'text'}"
            )


def calibrated_by_others(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values ``(n_stars, n_labels)`` after the line, fitted to the other stars, that takes values to references.

    NaN where a label has no reference for at least four other stars.
    """
    corrected = np.full(values.shape, np.nan)
    for k in range(values.shape[1]):
        known = np.isfinite(reference[:, k])
        for i in np.flatnonzero(known):
            others = known & (np.arange(len(values)) != i)
            if others.sum() >= FEWEST:
                slope, zero = np.polyfit(values[others, k], reference[others, k], 1)
                corrected[i, k] = zero + slope * values[i, k]
    return corrected


def _bias_and_scatter(difference: NDArray[np.float64]) -> dict[str, float]:
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return {"stars": 0, "bias": float("nan"), "scatter": float("nan"), "rms": float("nan")}
    scatter = float(difference.std(ddof=1)) if len(difference) > 1 else float("nan")
    rms = float(np.sqrt(np.mean(difference**2)))
    return {"stars": len(difference), "bias": float(difference.mean()), "scatter": scatter, "rms": rms}


def _heads_and_rows(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return rows[0], rows[1:]
