"""Plots of residuals: posterior against truth, against signal-to-noise ratio, and against the information bound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from kcinn.diagnostics import Recovery
from kcinn.errors import KcinnError
from kcinn.labels import LabelSpace
from kcinn.plot.panels import BLUE, GREY, ORANGE, SERIES, axis_title, panels, short_name
from kcinn.posterior import Posterior


def recovery(posterior: Posterior, truth: ArrayLike, *, title: str = "") -> Figure:
    """Posterior median with its 68 percent interval against the truth, a panel per label.

    Parameters
    ----------
    posterior : Posterior
        Of spectra with known labels.
    truth : array_like, shape (n_spectra, n_labels)
        True labels.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure
        With the rms residual in every panel.
    """
    truth, space = np.asarray(truth), posterior.label_space
    low, middle, high = posterior.quantile([0.16, 0.5, 0.84])
    figure, axes = panels(len(space))
    for k, axis in enumerate(axes):
        edges = (space.labels[k].lower, space.labels[k].upper)
        axis.plot(edges, edges, color=GREY, linewidth=0.8, zorder=3)
        bars = np.maximum([middle[:, k] - low[:, k], high[:, k] - middle[:, k]], 0.0)
        axis.errorbar(truth[:, k], middle[:, k], bars, fmt="o", color=BLUE, markersize=1.8, elinewidth=0.5, alpha=0.6)
        residual = middle[:, k] - truth[:, k]
        axis.set_title(axis_title(space, k), fontsize=10)
        axis.text(
            0.04, 0.96, f"rms {np.sqrt(np.mean(residual**2)):.3g}", transform=axis.transAxes, va="top", fontsize=8
        )
    figure.supxlabel("true label", fontsize=10)
    figure.supylabel("posterior median", fontsize=10)
    figure.suptitle(title, fontsize=11)
    return figure


def residual_against_snr(results: Mapping[float, Recovery], space: LabelSpace) -> Figure:
    """Rms residual, its robust scatter and the median posterior width against S/N per angstrom, a panel per label.

    Parameters
    ----------
    results : mapping of float to Recovery
        `kcinn.diagnostics.recovery` of spectra of each S/N per angstrom.
    space : LabelSpace
        Of the labels.

    Returns
    -------
    matplotlib.figure.Figure
        As the headline figure of Ksoll et al. (2026), with the widths.
    """
    snr = np.array(sorted(results))
    figure, axes = panels(len(space))
    for k, axis in enumerate(axes):
        for field, style, name in (
            ("rms", {"color": ORANGE, "marker": "o"}, "rms residual"),
            ("scatter", {"color": BLUE, "marker": "s"}, "robust scatter"),
            ("width", {"color": GREY, "linestyle": "--"}, "posterior half width"),
        ):
            axis.plot(snr, [getattr(results[s], field)[k] for s in snr], **style, markersize=3, linewidth=1, label=name)
        _log_values(axis)
        _snr_axis(axis, snr)
        axis.set_title(axis_title(space, k), fontsize=10)
    axes[0].legend(fontsize=7, frameon=False)
    figure.supxlabel(r"S/N per $\AA$", fontsize=10)
    return figure


def bias_against_snr(results: Mapping[float, Recovery], space: LabelSpace) -> Figure:
    """Mean residual against S/N per angstrom, with its scatter as bars and the median posterior width as band.

    Parameters
    ----------
    results : mapping of float to Recovery
        `kcinn.diagnostics.recovery` of spectra of each S/N per angstrom.
    space : LabelSpace
        Of the labels.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per label.
    """
    snr = np.array(sorted(results))
    figure, axes = panels(len(space))
    for k, axis in enumerate(axes):
        bias, rms, width = (np.array([getattr(results[s], key)[k] for s in snr]) for key in ("bias", "rms", "width"))
        scatter = np.sqrt(np.maximum(rms**2 - bias**2, 0.0))
        axis.fill_between(snr, -width, width, color=GREY, alpha=0.25, linewidth=0, label="posterior half width")
        axis.axhline(0.0, color="black", linewidth=0.6)
        axis.errorbar(
            snr, bias, scatter, fmt="o", color=BLUE, markersize=3, capsize=2, linewidth=1, label="mean and scatter"
        )
        _snr_axis(axis, snr)
        axis.set_title(axis_title(space, k), fontsize=10)
    axes[0].legend(fontsize=7, frameon=False)
    figure.supxlabel(r"S/N per $\AA$", fontsize=10)
    figure.supylabel("posterior median - truth", fontsize=10)
    return figure


def ratio_to_bound(ratios: Mapping[str, tuple[ArrayLike, ArrayLike]], space: LabelSpace) -> Figure:
    """Width of posteriors and scatter of their medians over the Cramer-Rao bound, a colour per set of spectra.

    Parameters
    ----------
    ratios : mapping of str to (array_like, array_like)
        For every set of spectra the two ratios, of width and scatter, ``(n_labels,)`` each.
    space : LabelSpace
        Of the labels.

    Returns
    -------
    matplotlib.figure.Figure
        One panel with a place per label.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axis = figure.subplots()
    place = np.arange(len(space))
    offsets = np.linspace(-0.3, 0.3, len(ratios))
    for (name, (width, scatter)), colour, offset in zip(ratios.items(), SERIES * 3, offsets, strict=False):
        axis.plot(place + offset, np.asarray(width), "o", color=colour, markersize=4, label=f"width, {name}")
        axis.plot(place + offset, np.asarray(scatter), "x", color=colour, markersize=5, label=f"scatter, {name}")
    axis.axhline(1.0, color="black", linewidth=0.8)
    _log_values(axis)
    axis.set_xticks(place, [short_name(space, k) for k in range(len(space))], rotation=45)
    axis.set_ylabel("over the Cramér-Rao bound")
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def against_reference(
    values: ArrayLike, errors: ArrayLike, reference: ArrayLike, space: LabelSpace, names: NDArray[np.str_]
) -> Figure:
    """Posterior median minus reference label of observed stars, a panel per label.

    Parameters
    ----------
    values, errors : array_like, shape (n_stars, n_labels)
        Posterior medians and their errors.
    reference : array_like, shape (n_stars, n_labels)
        Reference labels, NaN where there is none.
    space : LabelSpace
        Of the labels.
    names : ndarray of str, shape (n_stars,)
        Of the stars.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for every label that has a reference.

    Raises
    ------
    KcinnError
        If no star has one.
    """
    difference = np.asarray(values) - np.asarray(reference)
    known = np.flatnonzero(np.any(np.isfinite(difference), axis=0))
    if not len(known):
        raise KcinnError("No star has a reference label.")
    figure, axes = panels(len(known), size=(3.2, 0.22 * len(names) + 1.2), columns=4)
    place = np.arange(len(names))[::-1]
    for k, axis in zip(known, axes, strict=True):
        axis.axvline(0.0, color="black", linewidth=0.6)
        axis.errorbar(difference[:, k], place, xerr=np.asarray(errors)[:, k], fmt="o", color=BLUE, markersize=3)
        axis.set_yticks(place, names, fontsize=7)
        axis.set_title(axis_title(space, int(k)), fontsize=10)
    figure.supxlabel("posterior median - reference", fontsize=10)
    return figure


def _snr_axis(axis: Axes, snr: NDArray[np.float64]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(snr, [f"{s:g}" for s in snr])
    axis.xaxis.set_minor_locator(NullLocator())


def _log_values(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
