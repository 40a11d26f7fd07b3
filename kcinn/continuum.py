"""Continuum: bring a spectrum whose continuum is not at one near to it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import percentile_filter, uniform_filter1d

from kcinn.spectra import Spectra
from kcinn.wavelength import segments

WINDOW = 30.0  # angstrom
PERCENTILE = 95.0


def normalised(spectra: Spectra) -> Spectra:
    """Divide every spectrum by a running upper envelope: the 95th percentile in 30 angstrom, smoothed over 30.

    Good to a percent or two where lines are not crowded; what is left over is what the model's own continuum error is
    for. Broad lines such as H-alpha come out too shallow: a normalisation that knows the instrument does better.
    """
    flux = np.where(spectra.mask, np.nan, spectra.flux)
    envelope = np.ones_like(flux)
    for stretch in segments(spectra.wavelength):
        wavelength = spectra.wavelength[stretch]
        n = max(5, round(WINDOW / float(np.median(np.diff(wavelength)))))
        for row, values in zip(envelope, flux, strict=True):
            level = np.nanmedian(values[stretch]) if np.isfinite(values[stretch]).any() else 1.0
            upper = percentile_filter(np.where(np.isfinite(values[stretch]), values[stretch], level), PERCENTILE, n)
            row[stretch] = uniform_filter1d(upper, n)
    envelope = np.where(envelope > 0, envelope, 1.0)
    error = None if spectra.error is None else spectra.error / envelope
    return Spectra(
        spectra.wavelength,
        spectra.flux / envelope,
        error=error,
        mask=spectra.mask,
        ids=spectra.ids,
        medium=spectra.medium,
    )
