"""Plots of posteriors, their calibration and the spectra behind them; every function returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from kcinn.diagnostics import Recovery, coverage
from kcinn.labels import LabelSpace
from kcinn.posterior import Posterior

BLUE, ORANGE, GREY = "#2b6ca3", "#d1662c", "#8a8a8a"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # apart for the colour-blind: Okabe & Ito


def _axis_title(space: LabelSpace, k: int) -> str:
    label = space.labels[k]
    name = f"${label.latex}$" if label.latex else label.name
    return f"{name} [{label.unit}]" if label.unit and label.unit != "dex" else name


def _panels(n: int, *, size: tuple[float, float] = (2.7, 2.5), columns: int = 5) -> tuple[Figure, NDArray[Any]]:
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes[n:]:
        axis.set_axis_off()
    for axis in axes:
        axis.tick_params(labelsize=8)
    return figure, axes[:n]


def recovery(posterior: Posterior, truth: ArrayLike, *, title: str = "") -> Figure:
    """Posterior median with its 68 percent interval against the truth ``(n_spectra, n_labels)``, a panel per label."""
    truth, space = np.asarray(truth), posterior.label_space
    low, middle, high = posterior.quantile([0.16, 0.5, 0.84])
    figure, axes = _panels(len(space))
    for k, axis in enumerate(axes):
        edges = (space.labels[k].lower, space.labels[k].upper)
        axis.plot(edges, edges, color=GREY, linewidth=0.8, zorder=3)
        bars = np.maximum([middle[:, k] - low[:, k], high[:, k] - middle[:, k]], 0.0)
        axis.errorbar(truth[:, k], middle[:, k], bars, fmt="o", color=BLUE, markersize=1.8, elinewidth=0.5, alpha=0.6)
        residual = middle[:, k] - truth[:, k]
        axis.set_title(_axis_title(space, k), fontsize=10)
        axis.text(
            0.04, 0.96, f"rms {np.sqrt(np.mean(residual**2)):.3g}", transform=axis.transAxes, va="top", fontsize=8
        )
    figure.supxlabel("true label", fontsize=10)
    figure.supylabel("posterior median", fontsize=10)
    figure.suptitle(title, fontsize=11)
    return figure


def residual_against_snr(results: Mapping[float, Recovery], space: LabelSpace) -> Figure:
    """Rms residual, its robust scatter and the median posterior width against S/N per angstrom, a panel per label."""
    snr = np.array(sorted(results))
    figure, axes = _panels(len(space))
    for k, axis in enumerate(axes):
        for field, style, name in (
            ("rms", {"color": ORANGE, "marker": "o"}, "rms residual"),
            ("scatter", {"color": BLUE, "marker": "s"}, "robust scatter"),
            ("width", {"color": GREY, "linestyle": "--"}, "posterior half width"),
        ):
            axis.plot(snr, [getattr(results[s], field)[k] for s in snr], **style, markersize=3, linewidth=1, label=name)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(snr, [f"{s:g}" for s in snr])
        for set_formatter in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            set_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_title(_axis_title(space, k), fontsize=10)
    axes[0].legend(fontsize=7, frameon=False)
    figure.supxlabel(r"S/N per $\AA$", fontsize=10)
    return figure


def calibration(samples: ArrayLike, truth: ArrayLike, space: LabelSpace, *, title: str = "") -> Figure:
    """Share of truths inside the central interval, minus its level: zero for a calibrated posterior.

    The band is the 95 percent range that the finite number of spectra allows.
    """
    level = np.linspace(0.02, 0.99, 60)
    inside = coverage(samples, truth, level)
    spread = 1.96 * np.sqrt(level * (1.0 - level) / len(np.asarray(truth)))
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.fill_between(level, -spread, spread, color=GREY, alpha=0.25, linewidth=0, label="95 % sampling range")
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * cycler(color=SERIES))
    for k, label in enumerate(space):
        axis.plot(level, inside[:, k] - level, linewidth=1.0, label=f"${label.latex}$" if label.latex else label.name)
    axis.set(
        xlabel="level of the central interval", ylabel="share of truths inside - level", ylim=(-0.25, 0.25), title=title
    )
    axis.legend(fontsize=7, frameon=False, ncols=2, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def corner(
    posterior: Posterior, row: int = 0, *, truth: ArrayLike | None = None, labels: Sequence[str] | None = None
) -> Figure:
    """Corner plot of one spectrum's posterior."""
    import corner as corner_plots

    names = list(labels or posterior.label_space.names)
    columns = [posterior.label_space.index(name) for name in names]
    figure = Figure(figsize=(1.35 * len(names) + 1, 1.35 * len(names) + 1))
    corner_plots.corner(
        posterior.samples[row][:, columns].astype(np.float64),
        labels=[_axis_title(posterior.label_space, k) for k in columns],
        truths=None if truth is None else np.asarray(truth)[columns],
        truth_color=ORANGE,
        color=BLUE,
        quantiles=(0.16, 0.5, 0.84),
        range=[0.995] * len(names),
        plot_datapoints=False,
        levels=(0.393, 0.865),
        smooth=0.8,
        fig=figure,
        label_kwargs={"fontsize": 9},
    )
    for axis in figure.axes:
        axis.tick_params(labelsize=6)
    return figure


def spectrum(
    wavelength: ArrayLike,
    flux: ArrayLike,
    resynthesis: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    windows: Sequence[tuple[float, float]],
    title: str = "",
) -> Figure:
    """A spectrum and its re-synthesis from the posterior ``(n_draws, n_pixels)``, in some windows, with residuals."""
    wavelength, flux, resynthesis = np.asarray(wavelength), np.asarray(flux, dtype=float), np.atleast_2d(resynthesis)
    flux = flux if mask is None else np.where(np.asarray(mask, dtype=bool), np.nan, flux)
    low, middle, high = np.quantile(resynthesis, [0.025, 0.5, 0.975], axis=0)
    figure = Figure(figsize=(11, 3.0 * len(windows)), layout="constrained")
    axes = figure.subplots(2 * len(windows), 1, height_ratios=[3, 1] * len(windows), squeeze=False)[:, 0]
    for (lower, upper), top, bottom in zip(windows, axes[::2], axes[1::2], strict=True):
        part = (wavelength >= lower) & (wavelength <= upper)
        top.plot(wavelength[part], flux[part], color="black", linewidth=0.8, drawstyle="steps-mid", label="observed")
        top.fill_between(wavelength[part], low[part], high[part], color=ORANGE, alpha=0.4, linewidth=0)
        top.plot(wavelength[part], middle[part], color=ORANGE, linewidth=0.9, label="re-synthesis")
        bottom.axhline(0.0, color=GREY, linewidth=0.6)
        bottom.plot(wavelength[part], (flux - middle)[part], color=BLUE, linewidth=0.6)
        top.set(xlim=(lower, upper), ylabel="flux", xticklabels=[])
        bottom.set(xlim=(lower, upper), ylabel="residual", ylim=(-0.1, 0.1))
    axes[0].legend(fontsize=8, frameon=False, ncols=2, loc="lower left")
    axes[0].set_title(title, fontsize=11)
    axes[-1].set_xlabel(r"wavelength [$\AA$]")
    return figure


def loss(training: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Training and held-out loss of every flow against the epoch."""
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axis = figure.subplots()
    for key, colour, name in (("loss", BLUE, "training"), ("validation_loss", ORANGE, "held-out stars")):
        for k, values in enumerate(training[key]):
            axis.plot(values, color=colour, label=name if k == 0 else None)
    axis.set(xlabel="epoch", ylabel="loss: -log p (nats)")
    axis.legend(frameon=False)
    return figure
