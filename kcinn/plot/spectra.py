"""Plots of one star: corner plot, spectrum with its re-synthesis; and the loss of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kcinn.plot.panels import BLUE, GREY, ORANGE, axis_title
from kcinn.posterior import Posterior

LEAST_RESIDUAL = 0.02  # half of the smallest range of residuals that is shown


def corner(
    posterior: Posterior, row: int = 0, *, truth: ArrayLike | None = None, labels: Sequence[str] | None = None
) -> Figure:
    """Corner plot of one spectrum's posterior.

    Parameters
    ----------
    posterior : Posterior
        Of one or several spectra.
    row : int
        Which of them.
    truth : array_like, shape (n_labels,), optional
        True labels, in the order of the posterior's.
    labels : sequence of str, optional
        Names of the labels that are shown, by default all.

    Returns
    -------
    matplotlib.figure.Figure
        Contours hold 39 and 86 percent, one and two sigma of a Gaussian in two dimensions.
    """
    import corner as corner_plots

    names = list(labels or posterior.label_space.names)
    columns = [posterior.label_space.index(name) for name in names]
    true = None if truth is None else np.asarray(truth)[columns]
    figure = Figure(figsize=(1.35 * len(names) + 1, 1.35 * len(names) + 1))
    corner_plots.corner(
        posterior.samples[row][:, columns].astype(np.float64),
        labels=[axis_title(posterior.label_space, k) for k in columns],
        truths=true if len(names) > 1 else None,
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
    if true is not None and len(names) == 1:  # of which corner cannot draw the truth
        figure.axes[0].axvline(true[0], color=ORANGE)
    for axis in figure.axes:
        axis.tick_params(labelsize=6)
    return figure


def spectrum(
    wavelength: ArrayLike,
    flux: ArrayLike,
    resynthesis: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    windows: Sequence[tuple[float, float]] = (),
    title: str = "",
) -> Figure:
    """A spectrum and its re-synthesis from the posterior, in some windows, with residuals.

    Parameters
    ----------
    wavelength : array_like, shape (n_pixels,), angstrom
        Of the pixels.
    flux : array_like, shape (n_pixels,)
        Observed, divided by the continuum.
    resynthesis : array_like, shape (n_draws, n_pixels)
        Spectra of posterior samples, see `CINN.spectrum`.
    mask : array_like of bool, shape (n_pixels,), optional
        True where a pixel is bad; it is left out.
    windows : sequence of (lower, upper), angstrom
        Wavelength intervals that are shown; all, if there is none.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels per window; the band holds 95 percent of the draws.
    """
    wavelength, flux, resynthesis = np.asarray(wavelength), np.asarray(flux, dtype=float), np.atleast_2d(resynthesis)
    flux = flux if mask is None else np.where(np.asarray(mask, dtype=bool), np.nan, flux)
    low, middle, high = np.quantile(resynthesis, [0.025, 0.5, 0.975], axis=0)
    windows = windows or [(wavelength.min(), wavelength.max())]
    figure = Figure(figsize=(11, 3.0 * len(windows)), layout="constrained")
    axes = figure.subplots(2 * len(windows), 1, height_ratios=[3, 1] * len(windows), squeeze=False)[:, 0]
    for (lower, upper), top, bottom in zip(windows, axes[::2], axes[1::2], strict=True):
        part = (wavelength >= lower) & (wavelength <= upper)
        top.plot(wavelength[part], flux[part], color="black", linewidth=0.8, drawstyle="steps-mid", label="observed")
        top.fill_between(wavelength[part], low[part], high[part], color=ORANGE, alpha=0.4, linewidth=0)
        top.plot(wavelength[part], middle[part], color=ORANGE, linewidth=0.9, label="re-synthesis")
        residual = (flux - middle)[part]
        bottom.axhline(0.0, color=GREY, linewidth=0.6)
        bottom.plot(wavelength[part], residual, color=BLUE, linewidth=0.6)
        sizes = np.abs(residual[np.isfinite(residual)])
        limit = max(LEAST_RESIDUAL, 1.2 * np.quantile(sizes, 0.99)) if len(sizes) else LEAST_RESIDUAL
        top.set(xlim=(lower, upper), ylabel="flux", xticklabels=[])
        bottom.set(xlim=(lower, upper), ylabel="residual", ylim=(-limit, limit))
    axes[0].legend(fontsize=8, frameon=False, ncols=2, loc="lower left")
    axes[0].set_title(title, fontsize=11)
    axes[-1].set_xlabel(r"wavelength [$\AA$]")
    return figure


def loss(training: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Training and held-out loss of every flow against the epoch.

    Parameters
    ----------
    training : mapping of str to sequence
        `model.summary_of_training`, with `loss` and `validation_loss` of every flow.

    Returns
    -------
    matplotlib.figure.Figure
        Training and held-out stars in one panel.
    """
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axis = figure.subplots()
    for key, colour, name in (("loss", BLUE, "training"), ("validation_loss", ORANGE, "held-out stars")):
        for k, values in enumerate(training[key]):
            axis.plot(values, color=colour, label=name if k == 0 else None)
    axis.set(xlabel="epoch", ylabel="loss: -log p (nats)")
    axis.legend(frameon=False)
    return figure
