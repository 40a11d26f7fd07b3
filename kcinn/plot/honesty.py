"""Plots of honesty: calibration, ranks, joint coverage, latent variables, re-simulation, and where information sits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy import stats

from kcinn.diagnostics import SBC, TARP, coverage
from kcinn.labels import LabelSpace
from kcinn.plot.panels import BLUE, GREY, ORANGE, SERIES, panels, short_name

RANK_BINS = 12


def calibration(samples: ArrayLike, truth: ArrayLike, space: LabelSpace, *, title: str = "") -> Figure:
    """Share of truths inside the central interval, minus its level: zero for a calibrated posterior.

    The band is the 95 percent range that the finite number of spectra allows.

    Parameters
    ----------
    samples : array_like, shape (n_spectra, n_samples, n_labels)
        Of the posteriors.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.
    space : LabelSpace
        Of the labels.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure
        A line per label.
    """
    level = np.linspace(0.02, 0.99, 60)
    inside = coverage(samples, truth, level)
    spread = 1.96 * np.sqrt(level * (1.0 - level) / len(np.asarray(truth)))
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(level, -spread, spread, color=GREY, alpha=0.25, linewidth=0, label="95 % sampling range")
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * cycler(color=SERIES))
    for k in range(len(space)):
        axis.plot(level, inside[:, k] - level, linewidth=1.0, label=short_name(space, k))
    axis.set(
        xlabel="level of the central interval", ylabel="share of truths inside - level", ylim=(-0.25, 0.25), title=title
    )
    axis.legend(fontsize=7, frameon=False, ncols=2, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def ranks(result: SBC, space: LabelSpace) -> Figure:
    """Histogram of the ranks of the truth per label; the band holds 99 percent of the bins if calibrated.

    Parameters
    ----------
    result : SBC
        From `kcinn.diagnostics.sbc`.
    space : LabelSpace
        Of the labels.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per label.
    """
    n = len(result.rank)
    low, high = stats.binom.ppf([0.005, 0.995], n, 1.0 / RANK_BINS)
    figure, axes = panels(len(space), size=(2.2, 1.8), columns=6)
    for k, axis in enumerate(axes):
        axis.axhspan(low, high, color=GREY, alpha=0.25, linewidth=0)
        axis.hist(result.rank[:, k], bins=RANK_BINS, range=(0.0, 1.0), histtype="step", color=BLUE)
        axis.set_ylim(0.0, None)
        axis.set_title(f"{short_name(space, k)}, p = {result.corrected[k]:.2g}", fontsize=9)
    figure.supxlabel("rank of the truth among the samples", fontsize=10)
    return figure


def joint_coverage(result: TARP, n: int) -> Figure:
    """Expected coverage of the joint posterior against its level; the band is the 95 percent range of `n` spectra.

    Parameters
    ----------
    result : TARP
        From `kcinn.diagnostics.tarp`.
    n : int
        Number of spectra behind it.

    Returns
    -------
    matplotlib.figure.Figure
        One panel.
    """
    spread = 1.96 * np.sqrt(result.level * (1.0 - result.level) / n)
    figure = Figure(figsize=(3.8, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(result.level, result.level - spread, result.level + spread, color=GREY, alpha=0.25, linewidth=0)
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    axis.plot(result.level, result.inside, color=BLUE)
    axis.set(xlabel="level", ylabel="expected coverage", title=f"TARP, p = {result.p_value:.2g}")
    return figure


def latent(values: ArrayLike) -> Figure:
    """Quantiles of the latent variables of the truths, minus those of a standard normal.

    Parameters
    ----------
    values : array_like, shape (n_spectra, n_latent)
        Latent variables of true labels, see `CINN.latent`.

    Returns
    -------
    matplotlib.figure.Figure
        A line per latent variable.
    """
    values = np.sort(np.asarray(values), axis=0)
    normal = stats.norm.ppf((np.arange(len(values)) + 0.5) / len(values))
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axis = figure.subplots()
    density = stats.norm.pdf(normal)
    spread = 1.96 * np.sqrt(stats.norm.cdf(normal) * stats.norm.sf(normal) / len(values)) / density
    axis.fill_between(normal, -spread, spread, color=GREY, alpha=0.25, linewidth=0)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * cycler(color=SERIES))
    axis.plot(normal, values - normal[:, None], linewidth=0.9)
    axis.set(xlabel="quantile of the standard normal", ylabel="latent of the truth - quantile", ylim=(-1.5, 1.5))
    return figure


def chi_squares(posterior: ArrayLike, truth: ArrayLike, n_pixels: float) -> Figure:
    """Reduced chi-square of spectra re-simulated from posterior samples, beside that of the emulator at the truth.

    The curve is the distribution that noise alone gives for `n_pixels` pixels.

    Parameters
    ----------
    posterior : array_like
        Reduced chi-squares of spectra re-simulated from posterior samples, of any shape.
    truth : array_like
        The same at the true labels.
    n_pixels : float
        Pixels behind each.

    Returns
    -------
    matplotlib.figure.Figure
        Two histograms and a curve.
    """
    posterior, truth = np.asarray(posterior).ravel(), np.asarray(truth).ravel()
    low, high = np.quantile(np.concatenate([posterior, truth]), [0.0, 0.98])
    edges = np.linspace(low, high, 40)
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axis = figure.subplots()
    options: dict[str, Any] = {"bins": edges, "density": True, "histtype": "step"}
    axis.hist(posterior, color=BLUE, label="posterior samples", **options)
    axis.hist(truth, color=ORANGE, label="true labels", **options)
    x = np.linspace(edges[0], edges[-1], 400)
    axis.plot(x, stats.chi2.pdf(x * n_pixels, n_pixels) * n_pixels, color=GREY, linewidth=1.0, label="noise alone")
    axis.set(xlabel="reduced chi-square of the re-simulation", yticks=[])
    axis.legend(fontsize=8, frameon=False)
    return figure


def information(
    wavelength: ArrayLike, share: ArrayLike, arms: Sequence[slice], space: LabelSpace, names: Sequence[str]
) -> Figure:
    """Which pixels carry which label: share of the information per bin of wavelength, a row per label.

    Parameters
    ----------
    wavelength : array_like, shape (n_pixels,), angstrom
    share : array_like, shape (n_labels, n_pixels)
        Every row sums to 1.
    arms : sequence of slice
        Pixels of every arm.
    space, names
        Labels of the rows of `share`, and those that are shown.

    Returns
    -------
    matplotlib.figure.Figure
        A row per label, a column per arm.
    """
    wavelength, share = np.asarray(wavelength), np.asarray(share)
    figure = Figure(figsize=(11, 0.85 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots(len(names), len(arms), squeeze=False, sharex="col", sharey="row")
    for row, name in zip(axes, names, strict=True):
        k = space.index(name)
        for axis, arm in zip(row, arms, strict=True):
            edges = np.arange(wavelength[arm][0], wavelength[arm][-1] + 1.0)
            height, _ = np.histogram(wavelength[arm], edges, weights=100.0 * share[k, arm])
            axis.stairs(height, edges, color=BLUE, linewidth=0.7, fill=True)
            axis.tick_params(labelsize=7)
        row[0].set_ylabel(short_name(space, k), fontsize=9)
    figure.supxlabel(r"wavelength [$\AA$]", fontsize=10)
    figure.supylabel(r"percent of the information per $\AA$", fontsize=9)
    return figure
