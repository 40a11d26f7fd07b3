"""predict: spectra in memory -> Posterior."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn.errors import SpectraError
from kcinn.flag import Flag
from kcinn.labels import LabelSpace
from kcinn.model import CINN, load
from kcinn.posterior import Posterior
from kcinn.preparation import prepared
from kcinn.spectra import Spectra

BATCH = 32
logger = logging.getLogger("kcinn")
FEW = 1.0 / 3.0
POOR = 4.0  # reduced chi-square
EDGE = 0.02


def predict(
    model: CINN | str | os.PathLike[str],
    spectra: Spectra,
    *,
    n_samples: int = 4096,
    batch_size: int = BATCH,
    resolving_power: float | None = None,
    normalise: bool = False,
    gap: bool = True,
    log_prob: bool = False,
    seed: int = 0,
    first: int = 0,
    verbose: int = 0,
) -> Posterior:
    """Draw from the posterior of every spectrum.

    Spectra are brought to the model's medium, resolving power and pixels; pixels that they do not cover are masked.
    Errors smaller than those of the best spectra of the training count as those, and the rows are flagged. The noise of
    a spectrum's samples depends on `seed` and its position alone, so that the same call gives the same bits.

    Parameters
    ----------
    model : CINN or path
    spectra : Spectra
        Continuum-normalised, in the rest frame. Without errors, these are estimated from the scatter of the pixels, and
        the rows are flagged.
    n_samples : int
    batch_size : int
        Spectra per compiled call; memory grows with it, results do not depend on it.
    resolving_power : float, optional
        Of the spectra, if it is higher than the instrument's. By default it is that of the instrument.
    normalise : bool
        Divide by a running upper envelope first (`kcinn.continuum.normalised`).
    gap : bool
        Add the typical error of the synthesis to the errors of spectra that it misses by more than noise; these rows
        are flagged.
    log_prob : bool
        Keep the posterior density of every sample, which `Posterior.reweight` with a likelihood and
        `Posterior.joint_mode` need.
    seed : int
    first : int
        Position of the first spectrum in a larger set: its samples are those that it has there.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    Posterior
        Diagnostics: `snr` per angstrom, `n_pixels` used, `chi_square` (reduced, of the best fit), `velocity`,
        `outlier` (above 1: unlike the spectra of the training, flagged).

    Raises
    ------
    SpectraError
        If no spectrum has a good pixel on the instrument, the resolving power is lower than the instrument's, or the
        flux is not normalised.
    ModelError
        If the model file cannot be used.
    """
    model = model if isinstance(model, CINN) else load(model)
    estimated = spectra.error is None
    spectra = prepared(spectra, model.instrument, resolving_power=resolving_power, normalise=normalise)
    if estimated:
        logger.warning("The spectra have no errors; they are estimated from the scatter of the pixels")
    wrong = ~has_continuum_at_one(spectra)
    if wrong.any():
        raise SpectraError(
            f"Flux must be divided by the continuum; {wrong.sum()} of {len(spectra)} spectra have a median flux "
            f"outside 0.2 to 1.5, the first is {spectra.ids[wrong][0]}. Normalise them, or pass normalise=True (on the "
            "command line --normalise)."
        )
    pieces = []
    for start in tqdm(range(0, len(spectra), batch_size), unit="batch", disable=None if verbose else True):
        part = spectra[start : start + batch_size]
        assert part.error is not None
        error = np.maximum(part.error, model.smallest_error)
        pieces.append(
            model.sample(
                part.flux, error, part.mask, n_samples=n_samples, seed=seed, first=first + start,
                batch_size=batch_size, gap=gap, log_prob=log_prob,
            )
        )  # fmt: skip
    drawn = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    samples = drawn.pop("labels")
    diagnostics = diagnose(model, spectra) | {key: drawn[key] for key in ("chi_square", "velocity", "outlier")}
    flag = flags(model, np.median(samples, axis=1), diagnostics, drawn, estimated)
    logger.info("%d spectra, %d of them flagged", len(flag), np.count_nonzero(flag))
    return Posterior(
        samples, model.label_space, ids=spectra.ids, flag=flag, diagnostics=diagnostics, log_prob=drawn.get("log_prob")
    )


def diagnose(model: CINN, spectra: Spectra) -> dict[str, NDArray[Any]]:
    """Signal-to-noise ratio per angstrom and number of pixels that the model uses."""
    return {"snr": spectra.snr, "n_pixels": np.sum(~spectra.mask & ~model.ignored, axis=1)}


def has_continuum_at_one(spectra: Spectra) -> NDArray[np.bool_]:
    """Whether the median flux of each spectrum is that of one divided by its continuum, or there is none."""
    wrong = np.zeros(len(spectra), dtype=bool)
    some = ~spectra.mask.all(axis=1)
    typical = np.nanmedian(np.where(spectra.mask, np.nan, spectra.flux)[some], axis=1)
    wrong[some] = ~((typical > 0.2) & (typical < 1.5))
    return ~wrong


def flags(
    model: CINN,
    median: NDArray[np.floating],
    diagnostics: Mapping[str, NDArray[Any]],
    drawn: Mapping[str, NDArray[Any]],
    estimated: bool | NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Bits of `Flag` from the medians ``(n, n_targets)``, the diagnostics and what `CINN.sample` says of its draw."""
    low, high = model.observation.snr
    conditions: dict[Flag, Any] = {
        Flag.FEW_PIXELS: diagnostics["n_pixels"] < FEW * model.instrument.n_pixels,
        Flag.POOR_FIT: diagnostics["chi_square"] > POOR,
        Flag.EDGE: _near_edge(median, model.label_space),
        Flag.SNR_RANGE: (diagnostics["snr"] < low) | (diagnostics["snr"] > high),
        Flag.VELOCITY: np.abs(diagnostics["velocity"]) > 3.0 * max(model.observation.velocity, 0.1),
        Flag.EXTRAPOLATION: drawn["extrapolation"] >= 5.0,
        Flag.ESTIMATED_ERROR: estimated,
        Flag.GAP: drawn["gap"],
        Flag.OUTLIER: drawn["outlier"] > 1.0,
    }
    flag = np.zeros(len(median), dtype=np.int32)
    for bit, condition in conditions.items():
        flag |= np.where(condition, int(bit), 0).astype(np.int32)
    return flag


def _near_edge(values: NDArray[np.floating], space: LabelSpace) -> NDArray[np.bool_]:
    unit = (values - space.lower) / (space.upper - space.lower)
    return np.any((unit < EDGE) | (unit > 1.0 - EDGE), axis=1)
