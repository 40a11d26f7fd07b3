"""check_observed: measure a model on observed stars with reference labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy import units
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn import plot
from kcinn.check import page
from kcinn.errors import KcinnError
from kcinn.inference import predict
from kcinn.instrument import Instrument
from kcinn.label_array import numbers
from kcinn.labels import UNITS
from kcinn.model import CINN, load
from kcinn.posterior import Posterior
from kcinn.preparation import prepared
from kcinn.spectra import Spectra
from kcinn.survey.readers import read

FEWEST = 4  # stars to which a line is fitted
N_SAMPLES = 2048
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "none")
HOW_TO_READ = ("file", "star", "medium", "resolving_power", "normalise")  # all other numbers are labels


class Star(NamedTuple):
    """An observed star: name, spectrum on an instrument's pixels, and its reference labels by name.

    `normalise`: the spectrum is divided by its envelope, and a model is to refine that.
    """

    name: str
    spectrum: Spectra
    reference: dict[str, float]
    normalise: bool = False


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
        (folder / "report.json").write_text(json.dumps(_without_nan(self.results), indent=1), encoding="utf-8")
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
    found = read_stars(model.instrument, Path(folder), table, estimate_errors=estimate_errors, checksum=checksum)
    stars, posteriors = [], []
    for star in tqdm(found, desc="stars", disable=None if verbose else True):
        if star.normalise:
            star = star._replace(spectrum=model.refined(star.spectrum, gap=gap))
        stars.append(star)
        posterior = predict(model, star.spectrum, n_samples=N_SAMPLES, gap=gap, seed=seed)
        posterior.ids = np.array([star.name])
        posteriors.append(posterior)
    return Observed(model, stars, Posterior.concatenate(posteriors))


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table of observed spectra and reference labels, in any format that astropy knows by its ending."""
    path = Path(path)
    if not path.is_file():
        raise KcinnError(f"{path}: no such table")
    try:
        table = Table.read(path, format="ascii.csv") if path.suffix == ".csv" else Table.read(path)
    except Exception as error:  # astropy meets damage with almost any exception
        raise KcinnError(f"{path}: not a readable table ({error})") from None
    if "file" not in table.colnames or not len(table):
        raise KcinnError(
            f"{path}: expected a row per spectrum with the column `file`, and reference labels. "
            f"Received: {len(table)} rows of {', '.join(table.colnames)}"
        )
    return table


def read_stars(
    instrument: Instrument, folder: Path, table: Table, *, estimate_errors: bool = False, checksum: bool = True
) -> Iterator[Star]:
    """Every star of a table, on the instrument's pixels; files of one star (arms) are put together.

    Parameters
    ----------
    instrument : Instrument
    folder : Path
        Where the files are.
    table : Table
        A row per file. Columns: `file`; optional `star` (files of the same star are put together; by default the file's
        name), `medium` ("air" or "vacuum", if the file does not say), `resolving_power` (if higher than the
        instrument's), `normalise` (1: divide by the continuum first); all others are reference labels by
        the model's names, `teff`, `logg`, `fe_h`, ... Empty or NaN: not known.
    estimate_errors : bool
        Estimate errors from the scatter of the pixels even where the file gives some.
    checksum : bool
        Refuse files that differ from their checksum.

    Raises
    ------
    SpectraError
        If a file cannot be read, or does not cover the instrument.
    """
    names = [_value(row, "star") or Path(str(row["file"])).name for row in table]
    for name in dict.fromkeys(names):
        rows = [row for row, of in zip(table, names, strict=True) if of == name]
        parts = []
        for row in rows:
            spectra = read(folder / str(row["file"]), medium=_value(row, "medium"), checksum=checksum)
            if estimate_errors:
                spectra = spectra.with_estimated_error()
            power, normalise = _number(row, "resolving_power"), _truth(row, "normalise")
            parts.append(prepared(spectra, instrument, resolving_power=power, normalise=normalise))
        reference = {
            key: value
            for row in rows
            for key in table.colnames
            if key not in HOW_TO_READ and (value := _number(row, key)) is not None
        }
        yield Star(str(name), _put_together(parts), reference, any(_truth(row, "normalise") for row in rows))


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


def _value(row: Any, name: str) -> Any:
    """A cell of the table; None if the column is not there or the cell is empty."""
    if name not in row.colnames or row[name] is np.ma.masked:
        return None
    value = row[name]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return str(value) or None if isinstance(value, str) else value


def _number(row: Any, name: str) -> float | None:
    """A cell as a number in the label's unit; None if it is empty or none."""
    value = _value(row, name)
    if not isinstance(value, int | float | np.number | units.Quantity):
        return None
    unit = row.columns[name].unit
    if unit is not None and not isinstance(value, units.Quantity):
        value = units.Quantity(value, unit)
    return float(numbers(value, UNITS.get(name, "dex"), name))


def _truth(row: Any, name: str) -> bool:
    value = str(_value(row, name)).strip().lower()
    if value not in (*YES, *NO):
        raise KcinnError(f"{name} must be one of {', '.join((*YES, *NO[:-1]))}, or empty. Received: {value}")
    return value in YES


def _put_together(parts: list[Spectra]) -> Spectra:
    """One spectrum from parts on the same pixels; where several have a good pixel, the first counts."""
    flux, error, mask = (np.array(x) for x in (parts[0].flux, parts[0].error, parts[0].mask))
    for part in parts[1:]:
        assert part.error is not None
        new = mask & ~part.mask
        flux[new], error[new], mask[new] = part.flux[new], part.error[new], False
    return Spectra(parts[0].wavelength, flux, error=error, mask=mask, medium=parts[0].medium)


def _without_nan(results: Any) -> Any:
    """With null where there is no number, which JSON has no other word for."""
    if isinstance(results, dict):
        return {key: _without_nan(value) for key, value in results.items()}
    if isinstance(results, list):
        return [_without_nan(value) for value in results]
    return None if isinstance(results, float) and not np.isfinite(results) else results


def _heads_and_rows(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return rows[0], rows[1:]
