"""Mock spectra: synthetic stars as a detector sees them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from keras import ops

from kcinn.grid import SyntheticGrid
from kcinn.nn.observe import Observation, Observe
from kcinn.spectra import Spectra

BATCH = 256


def mock_spectra(stars: SyntheticGrid, observation: Observation, *, seed: int = 0) -> Spectra:
    """Every star observed once: velocity, continuum, noise and missing pixels are drawn from `observation`.

    Parameters
    ----------
    stars : SyntheticGrid
        Noiseless spectra.
    observation : Observation
        Ranges of what is drawn.
    seed : int
        Of all that is drawn.

    Returns
    -------
    Spectra
        On the pixels of the stars' instrument, in the order of the stars.
    """
    return Spectra.concatenate(list(mock_batches(stars, observation, seed=seed)))


def mock_batches(
    stars: SyntheticGrid, observation: Observation, *, n_spectra: int | None = None, seed: int = 0
) -> Iterator[Spectra]:
    """The same, 256 spectra at a time.

    Parameters
    ----------
    stars : SyntheticGrid
    observation : Observation
    n_spectra : int, optional
        By default one of every star; if there are more, the stars are observed again in turn.
    seed : int

    Yields
    ------
    Spectra
        On the pixels of the stars' instrument; their names are numbers that go on from one batch to the next.
    """
    instrument = stars.instrument
    observe = Observe(observation, instrument.wavelength, [arm.n_pixels for arm in instrument.arms], seed=seed)
    number = np.arange(n_spectra or len(stars))
    for start in range(0, len(number), BATCH):
        ids = number[start : start + BATCH]
        flux, error, mask = (ops.convert_to_numpy(x) for x in observe(stars.flux(ids % len(stars))))
        yield Spectra(instrument.wavelength, flux, error=error, mask=mask > 0, ids=ids, medium=instrument.medium)
