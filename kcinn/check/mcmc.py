"""A long Markov chain on the exact likelihood, to hold posteriors against."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn.errors import KcinnError
from kcinn.model import CINN
from kcinn.model.likelihood import Likelihood
from kcinn.posterior import Posterior
from kcinn.spectra import Spectra

WALKERS = 96
STEPS = 3000
BURN_IN = 1000
IMPOSSIBLE = -1e9  # finite, so that differences are numbers, and not so large that it swallows the prior


def emcee_for(model: CINN) -> ModuleType:
    """The module emcee; KcinnError if it is missing, or the model marginalises labels that its likelihood needs."""
    if model.marginalised:
        raise KcinnError(f"A Markov chain needs all labels; this model marginalises {', '.join(model.marginalised)}")
    try:
        import emcee
    except ImportError as error:
        raise KcinnError('The comparison with a Markov chain needs emcee: pip install "kcinn[check]"') from error
    return emcee


def compare(model: CINN, spectra: Spectra, posterior: Posterior, *, seed: int = 0, verbose: int = 1) -> dict[str, Any]:
    """Means and widths of posteriors against those of emcee on the exact Gaussian likelihood of the emulator.

    The chain starts from other draws than the ones it is compared with, runs in the unbounded labels, in which the
    prior is a standard normal inside the region of plausible stars, and mixes stretch and differential-evolution moves.

    Returns
    -------
    dict
        `shift` ``(n, n_labels)``: mean of the posterior minus that of the chain, in standard deviations of the chain;
        `width` ``(n, n_labels)``: ratio of the standard deviations; `correlation_time` ``(n,)``: steps, of which
        `steps` were kept; `samples`: a list of thinned chains.

    Raises
    ------
    KcinnError
        As `emcee_for`.
    """
    emcee = emcee_for(model)
    space = model.label_space
    shift, width, times, chains = [], [], [], []
    for i in tqdm(range(len(spectra)), desc="Markov chains", disable=None if verbose else True):
        likelihood = model.likelihood(spectra[i], gap=False)
        rng = np.random.default_rng([seed, i])
        start = space.to_unbounded(posterior.samples[i][rng.permutation(posterior.samples.shape[1])[:WALKERS]])
        start += 1e-3 * rng.normal(size=start.shape)
        moves = [(emcee.moves.StretchMove(), 0.3), (emcee.moves.DEMove(), 0.6), (emcee.moves.DESnookerMove(), 0.1)]
        sampler = emcee.EnsembleSampler(
            WALKERS, len(space), _log_density, args=(model, likelihood), moves=moves, vectorize=True
        )
        begin = emcee.State(np.clip(start, -4.0, 4.0), random_state=np.random.RandomState(seed).get_state())
        sampler.run_mcmc(begin, BURN_IN + STEPS, skip_initial_state_check=True)
        chain = space.from_unbounded(sampler.get_chain(discard=BURN_IN, thin=10, flat=True))
        drawn = posterior.samples[i].astype(np.float64)
        scatter = chain.std(axis=0)
        shift.append((drawn.mean(axis=0) - chain.mean(axis=0)) / scatter)
        width.append(drawn.std(axis=0) / scatter)
        times.append(float(np.max(sampler.get_autocorr_time(discard=BURN_IN, tol=0))))
        chains.append(chain)
    return {
        "shift": np.array(shift),
        "width": np.array(width),
        "correlation_time": np.array(times),
        "steps": STEPS,
        "samples": chains,
    }


def _log_density(phi: NDArray[np.float64], model: CINN, likelihood: Likelihood) -> NDArray[np.float64]:
    """Of unbounded labels ``(n, n_labels)``, up to a constant."""
    labels = model.label_space.from_unbounded(phi)
    prior = model.log_prior(dict(zip(model.label_space.names, labels.T, strict=True)))
    density = likelihood(labels[None])[0] + prior
    # also among impossible labels the walkers are drawn back: on a plain they would wander off without end
    return np.where(np.isfinite(density), density, IMPOSSIBLE) - 0.5 * np.sum(phi**2, axis=1)
