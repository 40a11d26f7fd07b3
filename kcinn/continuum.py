"""Continuum: bring a spectrum whose continuum is not at one near to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline
from scipy.stats import truncnorm

from kcinn.spectra import Spectra
from kcinn.wavelength import segments

KNOTS = 150.0  # angstrom between the knots of a continuum: longer than any line, shorter than a blaze
DEGREE = 3
BELOW, ABOVE = 1.0, 3.0  # pixels farther from the continuum than this, in standard deviations, are not part of it
ROUNDS = 25
SMALLEST = 0.05  # of its typical value: no continuum is lower
RIDGE = 1e-6


def smooth_curves(wavelength: ArrayLike, stretches: Sequence[slice] | None = None) -> NDArray[np.float64]:
    """Cubic B-splines of which a continuum is made, shape ``(n_curves, n_pixels)``; they add up to one everywhere.

    Parameters
    ----------
    wavelength : array_like, shape (n_pixels,), angstrom
    stretches : sequence of slice, optional
        Pixels that share a continuum, as those of an arm; by default those between gaps of the grid. A stretch has a
        knot about every 150 angstrom, at the least its two ends.
    """
    wavelength = np.asarray(wavelength, dtype=np.float64)
    rows = []
    for stretch in stretches or segments(wavelength):
        x = wavelength[stretch]
        n_pieces = max(1, round((x[-1] - x[0]) / KNOTS))
        degree = min(DEGREE, len(x) - 1)
        knots = np.r_[[x[0]] * degree, np.linspace(x[0], x[-1], n_pieces + 1), [x[-1]] * degree]
        part = np.zeros((n_pieces + degree, len(wavelength)))
        part[:, stretch] = BSpline.design_matrix(x, knots, degree).toarray().T
        rows.append(part)
    return np.concatenate(rows)


def normalised(spectra: Spectra, stretches: Sequence[slice] | None = None) -> Spectra:
    """Divide every spectrum by a smooth upper envelope that noise does not lift.

    A spline is fitted again and again, without pixels that lie more than one standard deviation below it, which are
    lines, or more than three above. What noise alone would do to the mean of the pixels that are left, which is known
    from their errors, is taken off. Where lines are shallower than the noise or leave no pixel between them, the
    envelope runs too low by what they take: it is a start for a model, which knows the lines (`CINN.normalised`).

    Parameters
    ----------
    spectra : Spectra
        In any unit. Without errors, these are estimated from the scatter of the pixels.
    stretches : sequence of slice, optional
        See `smooth_curves`.

    Returns
    -------
    Spectra
        A spectrum whose typical flux is not positive is left as it is.
    """
    curves = smooth_curves(spectra.wavelength, stretches)
    error = spectra.estimated_error() if spectra.error is None else spectra.error
    return divided(spectra, np.stack([
        _envelope(*row, curves, stretches or segments(spectra.wavelength))
        for row in zip(spectra.flux, error, spectra.mask, strict=True)
    ]))  # fmt: skip


def divided(spectra: Spectra, continuum: ArrayLike) -> Spectra:
    """Flux and errors over a continuum ``(n_spectra, n_pixels)``."""
    continuum = np.asarray(continuum, dtype=np.float64)
    error = None if spectra.error is None else spectra.error / continuum
    flux = np.where(spectra.mask, spectra.flux, spectra.flux / continuum)
    return Spectra(
        spectra.wavelength, flux, error=error, mask=spectra.mask, ids=spectra.ids, medium=spectra.medium,
        estimated=spectra.estimated,
    )  # fmt: skip


def _envelope(
    flux: NDArray[np.float64],
    error: NDArray[np.float64],
    mask: NDArray[np.bool_],
    curves: NDArray[np.float64],
    stretches: Sequence[slice],
) -> NDArray[np.float64]:
    """The envelope of one spectrum, stretch by stretch."""
    envelope = np.ones_like(flux)
    lift = float(truncnorm.mean(-BELOW, ABOVE))  # of the mean of noise between the two limits
    for stretch in stretches:
        good = ~mask[stretch] & np.isfinite(error[stretch]) & (error[stretch] > 0)
        level = float(np.median(flux[stretch][good])) if good.any() else 0.0
        if level <= 0:
            continue
        own = curves[np.any(curves[:, stretch] != 0, axis=1), stretch]
        y, e = flux[stretch] / level, error[stretch] / level
        kept, curve, scale = good, np.ones_like(y), np.inf
        for _ in range(ROUNDS):
            weight = kept / np.square(np.where(good, e, 1.0))
            target = np.where(good, y - (lift * e if np.isfinite(scale) else 0.0), 0.0)
            normal = (own * weight) @ own.T
            normal += RIDGE * np.trace(normal) * np.eye(len(own))
            curve = 1.0 + np.linalg.solve(normal, (own * weight) @ (target - 1.0)) @ own
            deviation = (y - curve) / np.where(good, e, 1.0)
            # lines make the first curves run far below the continuum: tolerance shrinks to the noise as they fall out
            scale = max(1.0, 1.4826 * float(np.median(np.abs(deviation[kept]))))
            before, kept = kept, good & (deviation > -BELOW * scale) & (deviation < ABOVE * scale)
            if np.array_equal(kept, before):
                break
        envelope[stretch] = level * np.maximum(curve, SMALLEST)
    return envelope
