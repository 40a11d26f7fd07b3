"""Bounds: what the spectra of test stars can say about their labels at best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from kcinn.check.stars import Stars
from kcinn.diagnostics import bound, saliency
from kcinn.model import CINN
from kcinn.nn.pixels import shift
from kcinn.noise import Noise
from kcinn.spectra import Spectra

BATCH = 64


def bounds(model: CINN, stars: Stars, seen: Mapping[str, Spectra]) -> dict[str, NDArray[np.float64]]:
    """Cramer-Rao bound of every star in every set of spectra, ``(n_stars, n_targets)`` each, at the true labels.

    From the emulator's Jacobian, with velocity and continuum marginalised under their priors, and the variance of the
    box as that of the labels' prior.
    """
    targets = [model.full_space.index(name) for name in model.label_space.names]
    result: dict[str, list[NDArray[np.float64]]] = {name: [] for name in seen}
    for i, (jacobian, nuisances) in enumerate(_linearised(model, stars)):
        for name, spectra in seen.items():
            noise = Noise(_inverse_variance(model, spectra, i), nuisances)
            result[name].append(bound(jacobian, noise, _prior(model))[targets])
    return {name: np.array(rows) for name, rows in result.items()}


def mean_saliency(model: CINN, stars: Stars, spectra: Spectra, n: int) -> NDArray[np.float64]:
    """Share of the information on every target that each pixel holds, mean of the first `n` stars."""
    targets = [model.full_space.index(name) for name in model.label_space.names]
    total = np.zeros((len(targets), model.instrument.n_pixels))
    rows = min(n, len(stars))
    for i, (jacobian, nuisances) in zip(range(rows), _linearised(model, stars), strict=False):
        noise = Noise(_inverse_variance(model, spectra, i), nuisances)
        total += saliency(jacobian, noise, _prior(model))[targets]
    return total / rows


def _inverse_variance(model: CINN, spectra: Spectra, i: int) -> NDArray[np.float64]:
    assert spectra.error is not None
    return ~spectra.mask[i] * model.usable / spectra.error[i].astype(np.float64) ** 2


def _prior(model: CINN) -> NDArray[np.float64]:
    return (model.full_space.upper - model.full_space.lower) / np.sqrt(12.0)


def _linearised(model: CINN, stars: Stars) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Of every star the derivatives of its spectrum, with respect to labels, and to nuisances of unit prior."""
    space, observe, emulator = model.full_space, model.observe, model.emulator
    basis = keras.ops.convert_to_numpy(emulator.basis)
    per_unit = (observe.observation.velocity_scatter * observe.pixels_per_velocity).astype(np.float32)
    for start in range(0, len(stars), BATCH):
        phi = space.to_unbounded(stars.all_labels[start : start + BATCH])
        coefficients, tangents = emulator.linearise(phi.astype(np.float32))
        flux = emulator.flux(coefficients)
        _, slope = shift(flux, keras.ops.zeros_like(flux), observe.edges)
        flux, slope, tangents = (keras.ops.convert_to_numpy(x) for x in (flux, slope, tangents))
        stretch = (space.upper - space.lower) * norm.pdf(phi)
        for k in range(len(phi)):
            continuum = observe.curves * flux[k]
            yield tangents[k] @ basis / stretch[k][:, None], np.vstack([continuum, slope[k] * per_unit])
