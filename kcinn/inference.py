"""predict: spectra in memory -> Posterior."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn.errors import SpectraError
from kcinn.flag import Flag
from kcinn.model import CINN, load
from kcinn.posterior import Posterior
from kcinn.preparation import check_continuum, prepared
from kcinn.spectra import Spectra

BATCH = 32
BATCHES = 8  # that the model gets at a time: some are encoded side by side, and together what needs the synthetic gap
logger = logging.getLogger("kcinn")
FEW = 1.0 / 3.0
POOR = 4.0  # reduced chi-square
EDGE = 0.02
MEASURED = ("chi_square", "velocity", "velocity_error", "outlier")  # of what `CINN.sample` says, in a catalogue


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
    quasi: bool = False,
    seed: int = 0,
    first: int = 0,
    verbose: int = 0,
) -> Posterior:
    """Draw from the posterior of every spectrum.

    Spectra are brought to the model's medium, resolving power and pixels; pixels that they do not cover are masked.
    Spectra better than the best of the training count as those, see `Network.trusted`, and are flagged. The noise of
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
        Divide by the continuum first: an envelope, refined with the model's own re-simulation (`CINN.normalised`).
    gap : bool
        Add the typical error of the synthesis to the errors of spectra that it misses by more than noise; these rows
        are flagged.
    log_prob : bool
        Keep the posterior density of every sample, which `Posterior.reweight` with a likelihood and
        `Posterior.joint_mode` need.
    quasi : bool
        Make samples from quasi-random instead of random noise (a scrambled Sobol set, shifted at random for every
        spectrum): they fill the posterior more evenly, so that a few hundred give summaries as exact as thousands of
        random ones. They are not independent of each other. `n_samples` must be a power of two.
    seed : int
    first : int
        Position of the first spectrum in a larger set: its samples are those that it has there.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    Posterior
        Diagnostics: `snr` per angstrom, `n_pixels` used, `chi_square` (reduced, of the best fit), `velocity` and its
        standard deviation `velocity_error` (km/s), `outlier` (above 1: unlike the spectra of the training, flagged).
        Samples of a spectrum without a pixel that the model could use are NaN, and its flag is 256.

    Raises
    ------
    SpectraError
        If there is no spectrum, none has a good pixel on the instrument, the resolving power is lower than the
        instrument's, or the flux is not normalised.
    ModelError
        If the model file cannot be used.
    """
    if not len(spectra):
        raise SpectraError("There are no spectra: none was selected")
    model = model if isinstance(model, CINN) else load(model)
    if spectra.error is None:
        logger.warning("The spectra have no errors; they are estimated from the scatter of the pixels")
    spectra = prepared(spectra, model.instrument, resolving_power=resolving_power, normalise=normalise)
    check_continuum(spectra)
    if normalise:
        spectra = model.refined(spectra, gap=gap, batch_size=batch_size)
    pieces = []
    step = BATCHES * batch_size
    with tqdm(total=len(spectra), unit="spectra", disable=None if verbose else True) as bar:
        for start in range(0, len(spectra), step):
            part = spectra[start : start + step]
            assert part.error is not None
            pieces.append(
                model.sample(
                    part.flux, part.error, part.mask, n_samples=n_samples, seed=seed, first=first + start,
                    batch_size=batch_size, gap=gap, log_prob=log_prob, quasi=quasi,
                )
            )  # fmt: skip
            bar.update(len(part))
    drawn = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
    samples = drawn.pop("labels")
    diagnostics = diagnose(model, spectra) | {key: drawn[key] for key in MEASURED}
    flag = flags(model, np.median(samples, axis=1), diagnostics, drawn, spectra.estimated)
    unusable = diagnostics["n_pixels"] == 0
    samples[unusable], flag[unusable] = np.nan, int(Flag.UNUSABLE)
    for name in MEASURED:
        diagnostics[name][unusable] = np.nan
    logger.info("%d spectra, %d of them flagged", len(flag), np.count_nonzero(flag))
    return Posterior(
        samples, model.label_space, ids=spectra.ids, flag=flag, diagnostics=diagnostics, log_prob=drawn.get("log_prob")
    )


def diagnose(model: CINN, spectra: Spectra) -> dict[str, NDArray[Any]]:
    """Signal-to-noise ratio per angstrom and number of pixels that the model uses."""
    return {"snr": spectra.snr, "n_pixels": np.sum(~spectra.mask & ~model.ignored, axis=1)}


def flags(
    model: CINN,
    median: NDArray[np.floating],
    diagnostics: Mapping[str, NDArray[Any]],
    drawn: Mapping[str, NDArray[Any]],
    estimated: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Bits of `Flag` from the medians ``(n, n_targets)``, the diagnostics and what `CINN.sample` says of its draw."""
    flag = np.zeros(len(median), dtype=np.int32)
    bits = conditions(model, median, {**diagnostics, **drawn})
    for bit, condition in {**bits, Flag.ESTIMATED_ERROR: estimated}.items():
        flag |= np.where(condition, int(bit), 0).astype(np.int32)
    return flag


def conditions(model: CINN, median: Any, measured: Mapping[str, Any]) -> dict[Flag, Any]:
    """Which rows deserve a flag; of arrays or tensors, so that an exported model says the same.

    Parameters
    ----------
    model : CINN
    median : array or tensor, shape (n, n_targets)
    measured : mapping of str to array or tensor (n,)
        `n_pixels`, `snr`, `chi_square`, `velocity`, `velocity_error`, `extrapolation`, `gap`, `outlier`.
    """
    low, high = model.observation.snr
    lower, upper = model.label_space.lower.astype(np.float32), model.label_space.upper.astype(np.float32)
    from_middle = abs((median - lower) / (upper - lower) - 0.5)
    return {
        Flag.FEW_PIXELS: measured["n_pixels"] < FEW * model.instrument.n_pixels,
        Flag.POOR_FIT: measured["chi_square"] > POOR,
        Flag.EDGE: reduce(or_, (from_middle[:, k] > 0.5 - EDGE for k in range(len(lower)))),
        Flag.SNR_RANGE: (measured["snr"] < low) | (measured["snr"] > high),
        Flag.VELOCITY: abs(measured["velocity"]) > model.observation.velocity + 3.0 * measured["velocity_error"],
        Flag.EXTRAPOLATION: measured["extrapolation"] >= 5.0,
        Flag.GAP: measured["gap"],
        Flag.OUTLIER: measured["outlier"] > 1.0,
    }
