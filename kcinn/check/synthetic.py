"""check: measure a model on synthetic stars whose labels are known."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn.check.bounds import bounds, mean_saliency
from kcinn.check.mcmc import compare, emcee_for
from kcinn.check.stars import Sample, Stars, test_stars
from kcinn.diagnostics import calibration, coverage, normality, recovery, sbc, tarp
from kcinn.errors import KcinnError
from kcinn.grid import SyntheticGrid
from kcinn.inference import predict
from kcinn.model import CINN, load
from kcinn.model.mock import mock_spectra
from kcinn.spectra import Spectra

N_SAMPLES = 1024
SNR = (20.0, 50.0, 100.0, 250.0, 1000.0)
AS_TRAINED = "as in training"
METAL_POOR = -1.0
GIANT = 3.5
N_RESIMULATED = 100
N_SALIENCY = 50
RESIMULATED_DRAWS = 4


class Check:
    """What a check has measured: test stars, their spectra and posteriors, and the figures that follow.

    `results` holds plain data, as the report's JSON does; the other attributes are what the pictures are made of.
    """

    def __init__(self, model: CINN, stars: Stars, samples: dict[str, Sample], seed: int) -> None:
        self.model, self.stars, self.samples, self.seed = model, stars, samples, seed
        self.space = model.label_space
        fixed = [name for name in samples if name != AS_TRAINED]
        self.shown = fixed[min(len(fixed) - 1, len(fixed) // 2 + 1)]  # the set that most pictures show
        self.recovery = {name: recovery(one.posterior.samples, stars.truth) for name, one in samples.items()}
        self.calibration = {name: calibration(one.posterior.samples, stars.truth) for name, one in samples.items()}
        trained = samples[AS_TRAINED].posterior.samples
        self.sbc = sbc(trained, stars.truth, seed=seed)
        self.tarp = tarp(trained, stars.truth, self.space, seed=seed)
        self.results: dict[str, Any] = {
            "stars": len(stars),
            "provenance": stars.provenance,
            "recovery": {name: self._by_label(result._asdict()) for name, result in self.recovery.items()},
            "calibration": {
                name: self._by_label({"e_cal": result.error, "u68": result.width68})
                for name, result in self.calibration.items()
            },
            "splits": self._splits(),
            "sbc": self._by_label({"statistic": self.sbc.statistic, "p_value": self.sbc.corrected}),
            "tarp": self.tarp.p_value,
        }

    def _by_label(self, columns: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
        return {
            name: {key: float(values[k]) for key, values in columns.items()} for k, name in enumerate(self.space.names)
        }

    def _splits(self) -> dict[str, Any]:
        """Coverage of parts of the spectra."""
        spectra, posterior = self.samples[AS_TRAINED].spectra, self.samples[AS_TRAINED].posterior
        snr, everything = posterior.diagnostics["snr"], np.ones(len(self.stars), dtype=bool)
        arms = [~spectra.mask[:, arm].all(axis=1) for arm in self.model.instrument.arm_slices]
        parts = {
            "all": everything,
            "S/N < 30": snr < 30.0,
            "S/N 30-100": (snr >= 30.0) & (snr < 100.0),
            "S/N 100-300": (snr >= 100.0) & (snr < 300.0),
            "S/N > 300": snr >= 300.0,
            "an arm missing": ~np.all(arms, axis=0),
            **self._kinds(),
        }
        splits = {f"{AS_TRAINED}, {name}": self._coverage(AS_TRAINED, part) for name, part in parts.items()}
        for name in self.samples:
            if name != AS_TRAINED:
                kinds = {"all": everything, **self._kinds()}
                splits |= {f"{name}, {kind}": self._coverage(name, part) for kind, part in kinds.items()}
        return {name: result for name, result in splits.items() if result is not None}

    def _kinds(self) -> dict[str, NDArray[np.bool_]]:
        """Stars by metallicity and by gravity, as far as these are labels."""
        column = dict(zip(self.model.full_space.names, self.stars.all_labels.T, strict=True))
        kinds: dict[str, NDArray[np.bool_]] = {}
        if "fe_h" in column:
            poor = column["fe_h"] < METAL_POOR
            kinds |= {f"[Fe/H] < {METAL_POOR:g}": poor, f"[Fe/H] >= {METAL_POOR:g}": ~poor}
        if "logg" in column:
            giant = column["logg"] < GIANT
            kinds |= {f"giants (log g < {GIANT:g})": giant, f"dwarfs (log g >= {GIANT:g})": ~giant}
        return kinds

    def _coverage(self, name: str, part: NDArray[np.bool_]) -> dict[str, Any] | None:
        n = int(part.sum())
        if not n:
            return None
        inside = coverage(self.samples[name].posterior.samples[part], self.stars.truth[part], [0.6827, 0.9545])
        return {"spectra": n, "coverage": self._by_label({"68": inside[0], "95": inside[1]})}

    def measure_bounds(self) -> None:
        """Width and rms over the Cramer-Rao bound, and where the information sits."""
        seen = {name: one.spectra for name, one in self.samples.items() if name != AS_TRAINED}
        limit = bounds(self.model, self.stars, seen)
        self.ratios: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        for name, sigma in limit.items():
            low, middle, high = self.samples[name].posterior.quantile([0.16, 0.5, 0.84])
            pull = (middle - self.stars.truth) / sigma
            width = np.median(0.5 * (high - low) / sigma, axis=0)
            rms, robust = np.sqrt(np.mean(pull**2, axis=0)), 1.4826 * np.median(np.abs(pull), axis=0)
            self.ratios[name] = (width, robust)
            bound = np.median(sigma, axis=0)
            self.results.setdefault("bound", {})[name] = self._by_label(
                {"bound": bound, "width": width, "rms": rms, "robust": robust}
            )
        self.saliency = mean_saliency(self.model, self.stars, self.samples[self.shown].spectra, N_SALIENCY)
        self.results["information"] = self._strongest()

    def _strongest(self, n: int = 5) -> dict[str, list[dict[str, float]]]:
        """The angstroms that hold most of the information on every label."""
        wavelength = self.model.instrument.wavelength
        angstrom, place = np.unique(np.floor(wavelength), return_inverse=True)
        strongest = {}
        for name, share in zip(self.space.names, self.saliency, strict=True):
            total = np.bincount(place, share)
            best = np.argsort(total)[::-1][:n]
            strongest[name] = [{"from": float(angstrom[i]), "share": float(total[i])} for i in best]
        return strongest

    def measure_latent(self) -> None:
        """Normality of the latent variables of the truths."""
        spectra = self.samples[AS_TRAINED].spectra
        assert spectra.error is not None
        self.latent = self.model.latent(self.stars.truth, spectra.flux, spectra.error, spectra.mask)[:, 0]
        result = normality(self.latent)
        self.results["latent"] = {
            "mean": result.mean.tolist(),
            "standard_deviation": result.standard_deviation.tolist(),
            "p_value": result.corrected.tolist(),
            "largest_correlation": result.correlation,
        }

    def resimulate(self) -> None:
        """Chi-square of spectra re-simulated from posterior samples, beside that at the true labels."""
        rows = slice(0, min(N_RESIMULATED, len(self.stars)))
        spectra, posterior = self.samples[self.shown].spectra[rows], self.samples[self.shown].posterior[rows]
        likelihood = self.model.likelihood(spectra, gap=False)
        self.chi_square = np.array([likelihood.chi_square(posterior.samples[:, k]) for k in range(RESIMULATED_DRAWS)])
        self.chi_square_truth = likelihood.chi_square(self.stars.truth[rows])
        self.results["resimulation"] = {
            "spectra": self.shown,
            "n": len(posterior),
            "samples": float(np.median(self.chi_square)),
            "mean": float(np.median(likelihood.chi_square(posterior.mean))),
            "joint_mode": float(np.median(likelihood.chi_square(posterior.joint_mode))),
            "truth": float(np.median(self.chi_square_truth)),
        }

    def compare_with_mcmc(self, n: int, verbose: int) -> None:
        """Means and widths against those of a long Markov chain, for `n` stars."""
        rows = slice(0, min(n, len(self.stars)))
        shown = self.samples[self.shown]
        result = compare(self.model, shown.spectra[rows], shown.posterior[rows], seed=self.seed, verbose=verbose)
        self.results["mcmc"] = {
            "spectra": self.shown,
            "steps": result["steps"],
            "correlation_time": result["correlation_time"].tolist(),
            "shift": [dict(zip(self.space.names, map(float, row), strict=True)) for row in result["shift"]],
            "width": [dict(zip(self.space.names, map(float, row), strict=True)) for row in result["width"]],
        }


def check(
    model: CINN | str | os.PathLike[str],
    grid: SyntheticGrid | str | os.PathLike[str],
    *,
    n: int = 1000,
    snr: Sequence[float] | None = None,
    held_out: float | None = None,
    mcmc: int = 0,
    seed: int = 0,
    verbose: int = 0,
) -> Check:
    """Measure a model on synthetic stars: accuracy, calibration, information, latent variables, re-simulation.

    Every star is observed once as in the training (any S/N, missing pixels, missing arms) for the tests of calibration,
    and once at each S/N, all pixels there, with velocity and continuum error.

    Parameters
    ----------
    model : CINN or path
    grid : SyntheticGrid or path
        With all labels and arms of the model.
    n : int
        Largest number of stars.
    snr : sequence of float, optional
        Per angstrom. By default 20, 50, 100, 250 and 1000, as far as they lie in the range of the training.
    held_out : float, optional
        Share of the stars that was kept from the training by ``grid.split(1 - held_out, held_out, seed=seed)``. By
        default all stars are used, also those that the training has seen.
    mcmc : int
        Number of stars that are compared with a long Markov chain (needs emcee).
    seed : int
        Of the split, and of everything that is drawn.
    verbose : int
        1 shows progress bars.

    Returns
    -------
    Check

    Raises
    ------
    KcinnError
        If a signal-to-noise ratio lies outside the range of the training, or there can be no Markov chain.
    GridError
        If the grid lacks labels or arms of the model.
    """
    model = model if isinstance(model, CINN) else load(model)
    grid = grid if isinstance(grid, SyntheticGrid) else SyntheticGrid.open(grid)
    lowest, highest = model.observation.snr
    usual = [value for value in SNR if lowest <= value <= highest] or [(lowest * highest) ** 0.5]
    ratios = sorted(set(snr)) if snr else usual
    wrong = [value for value in ratios if not lowest <= value <= highest]
    if wrong:
        raise KcinnError(f"The model was trained for S/N {lowest:g} to {highest:g} per angstrom. Received: {wrong}")
    if mcmc:
        emcee_for(model)  # before the long work
    stars = test_stars(model, grid, n, held_out, seed)
    settings = {AS_TRAINED: model.observation, **{f"S/N {value:g}": model.observation.at(value) for value in ratios}}
    samples = {}
    for k, (name, observation) in enumerate(
        tqdm(settings.items(), desc="predict", unit="set", disable=None if verbose else True)
    ):
        spectra = mock_spectra(stars.grid, observation, seed=seed + k + 1)
        samples[name] = Sample(spectra, _posterior(model, spectra, seed + k))
    result = Check(model, stars, samples, seed)
    result.results["snr"] = ratios
    result.measure_bounds()
    result.measure_latent()
    if not model.marginalised:
        result.resimulate()
        if mcmc:
            result.compare_with_mcmc(mcmc, verbose)
    return result


def _posterior(model: CINN, spectra: Spectra, seed: int) -> Any:
    # without the gap between synthesis and real stars: here the spectra are those of the synthesis
    return predict(model, spectra, n_samples=N_SAMPLES, gap=False, log_prob=True, seed=seed)
