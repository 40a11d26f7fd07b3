"""Fit the embedded engine itself to observed stars, in LTE and with departures from it: labels against reference.

    python benchmarks/engine_stars.py labels.csv FOLDER [--without NAME ...] [--without-overshooting] [--log-gf solar]

No network takes part: damped Gauss-Newton steps on the engine's own spectra (numerical derivatives), all labels free, a
cubic continuum per arm, robust weights, the error of the synthesis estimated from the residuals. What differs from the
reference is what the synthesis does not know. Spectra should not be
normalised by a running envelope (column normalise): it makes the wings of H alpha too shallow.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
from joblib import Parallel, delayed
from stars import REFERENCE, add_arguments, observed

from kcinn.broaden import degrade
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.nlte.departures import available
from kcinn.synthesis.nlte.lines import LOG_GF
from kcinn.synthesis.nlte.unreliable import UNRELIABLE_WINDOWS

# label: start, step of the derivative, prior standard deviation, bounds
LABELS = {
    "teff": (5500.0, 20.0, 800.0, (4000.0, 7000.0)),
    "logg": (3.5, 0.05, 1.2, (0.5, 5.0)),
    "fe_h": (-0.4, 0.03, 0.9, (-3.0, 0.5)),
    "vmic": (1.3, 0.05, 0.5, (0.3, 3.5)),
    "vsini": (4.0, 0.5, 3.0, (0.0, 20.0)),
    **{
        f"{x}_fe": (0.0, 0.05, width, (-1.5, 4.0 if x == "li" else 1.5))
        for x, width in {
            "li": 2.0, "na": 0.3, "mg": 0.3, "si": 0.3, "ca": 0.3, "sc": 0.3, "ti": 0.3, "v": 0.3, "cr": 0.3, "mn": 0.3,
            "co": 0.3, "ni": 0.2, "y": 0.4, "ba": 0.4, "nd": 0.4,
        }.items()
    },
}  # fmt: skip
OVERSHOOTING = {"overshooting": (0.5, 0.1, 0.3, (0.0, 1.0))}  # a uniform prior's standard deviation
STARTS = ((4500.0, 2.0), (5300.0, 4.2), (6200.0, 4.1))  # Teff, log g
MODEL_ERROR = (0.015, 0.003)  # of the synthesis, per pixel: at the start, and the least that is believed
ROUNDS = 10
STEP = 0.05  # angstrom
TELLURIC = ((6275.0, 6320.0),)  # oxygen, in spectra whose telluric lines were not removed


class Fit:
    """One star and one engine."""

    def __init__(
        self, spectra: Spectra, instrument: Instrument, engine: NLTEEngine, left_out: Iterable, labels: dict
    ) -> None:
        self.labels = labels
        self.instrument, self.engine, self.error = instrument, engine, MODEL_ERROR[0]
        wavelength = instrument.wavelength
        self.flux = spectra.flux[0].copy()
        good = ~spectra.mask[0]
        for arm in instrument.arm_slices:
            if good[arm].any():
                self.flux[arm] /= np.percentile(self.flux[arm][good[arm]], 95.0)
        for lower, upper, *_ in left_out:
            good &= ~((wavelength > lower) & (wavelength < upper))
        self.good = good
        seen = [(wavelength[s][good[s]].min() - 3.0, wavelength[s][good[s]].max() + 3.0) for s in self._arms()]
        self.windows = [
            (max(lower, a), min(upper, b))
            for lower, upper in seen
            for a, b in engine.coverage
            if upper > a and lower < b
        ]

    def _arms(self) -> list[slice]:
        return [s for s in self.instrument.arm_slices if self.good[s].sum() > 50]

    def spectrum(self, labels: np.ndarray) -> np.ndarray:
        values = dict(zip(self.labels, labels, strict=True))
        vsini = values.pop("vsini")
        wavelength, flux = self.engine.spectrum(values, windows=self.windows, step=STEP)
        whole = [np.arange(arm.wavelength[0] - 20, arm.wavelength[-1] + 20, STEP) for arm in self.instrument.arms]
        grid = np.concatenate(whole)
        return degrade(grid, np.interp(grid, wavelength, flux), self.instrument, vsini=vsini, vmac=2.0)

    def step(self, labels: np.ndarray, damping: float) -> tuple[np.ndarray, float, float]:
        """Labels after one step, cost before it, and rms of the residuals."""
        model = self.spectrum(labels)
        rows = [np.array([s, w]) for _, s, w, _ in self.labels.values()]
        columns = []
        for k, (size, _) in enumerate(rows):
            moved = labels.copy()
            moved[k] += size if labels[k] + size < list(self.labels.values())[k][3][1] else -size
            columns.append((self.spectrum(moved) - model) / (moved[k] - labels[k]))
        for arm in self._arms():
            x = np.linspace(-1.0, 1.0, arm.stop - arm.start)
            for degree in range(4):
                column = np.zeros_like(model)
                column[arm] = model[arm] * x**degree
                columns.append(column)
        jacobian = np.array(columns)[:, self.good]
        prior = np.concatenate([[1.0 / w**2 for _, w in rows], np.full(len(jacobian) - len(rows), 1.0 / 0.05**2)])
        centre = np.array([start for start, *_ in self.labels.values()])
        pull_prior = np.concatenate([prior[: len(labels)] * (centre - labels), np.zeros(len(jacobian) - len(labels))])
        residual = (self.flux - model)[self.good]
        weight = np.full(len(residual), self.error**-2)
        for _ in range(4):  # robust weights about the best linear fit
            normal = (jacobian * weight) @ jacobian.T + np.diag(prior)
            move = np.linalg.solve(
                normal + damping * np.diag(np.diag(normal)), jacobian @ (weight * residual) + pull_prior
            )
            left = residual - move @ jacobian
            weight = self.error**-2 / (1.0 + (left / (3.0 * self.error)) ** 2)
        limits = np.array([bounds for *_, bounds in self.labels.values()])
        largest = 1.0 * np.array([w for _, w in rows])
        new = np.clip(labels + np.clip(move[: len(labels)], -largest, largest), *limits.T)
        cost = np.sum(np.log1p((left / (3.0 * self.error)) ** 2))
        return new, float(cost), float(np.sqrt(np.mean(left**2)))

    def best(self) -> tuple[np.ndarray, float]:
        """Labels and rms of the fit from the best of `STARTS`."""
        results = []
        for teff, logg in STARTS:
            labels = np.array([start for start, *_ in self.labels.values()])
            labels[:2] = teff, logg
            labels, cost, _ = self.step(self.step(labels, 0.1)[0], 0.1)
            results.append((cost, labels))
        labels = min(results, key=lambda x: x[0])[1]
        for _ in range(ROUNDS):
            labels, _, rms = self.step(labels, 0.01)
            self.error = max(MODEL_ERROR[1], rms)
        return labels, rms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--without", nargs="*", default=[], help="elements left in LTE")
    parser.add_argument("--only", nargs="*", default=[], help="part of a star's name")
    parser.add_argument("--leave-out", nargs="*", default=[], help="LOWER-UPPER, angstrom: not fitted")
    parser.add_argument("--modes", nargs="*", default=["LTE", "NLTE"])
    parser.add_argument("--processes", type=int, default=-1)
    parser.add_argument("--without-overshooting", action="store_true", help="atmospheres without overshooting")
    parser.add_argument("--free-overshooting", action="store_true", help="fit how much convection overshoots")
    parser.add_argument("--log-gf", choices=LOG_GF, default="listed")
    options = parser.parse_args()
    instrument = Instrument.load("4most-hrs-green-red")
    left_out = [*UNRELIABLE_WINDOWS, *TELLURIC, *([float(x) for x in pair.split("-")] for pair in options.leave_out)]
    stars = [x for x in observed(options, instrument) if not options.only or any(n in x[0] for n in options.only)]
    labels = LABELS | (OVERSHOOTING if options.free_overshooting else {})
    names = list(labels)
    for mode in options.modes:
        species = () if mode == "LTE" else [x for x in available() if x not in options.without]
        engine = NLTEEngine(species, overshooting=float(not options.without_overshooting), log_gf=options.log_gf)
        fits = Parallel(n_jobs=options.processes)(
            delayed(Fit(spectra, instrument, engine, left_out, labels).best)() for _, spectra, _ in stars
        )
        print(
            f"{mode}: {', '.join(engine.nlte)}\n{'star':22s}   rms  teff, logg, fe_h (minus reference), then the rest"
        )
        differences = []
        for (star, _, reference), (labels, rms) in zip(stars, fits, strict=True):
            value = dict(zip(names, labels, strict=True))
            difference = np.array([value[name] for name in REFERENCE]) - reference
            differences.append(difference)
            print(
                f"{star:22s} {rms:.4f}  {value['teff']:5.0f} ({difference[0]:+5.0f})  {value['logg']:5.2f} "
                f"({difference[1]:+5.2f})  {value['fe_h']:+5.2f} ({difference[2]:+5.2f})  "
                + " ".join(f"{name.removesuffix('_fe')} {value[name]:+.2f}" for name in names[3:]),
                flush=True,
            )
        table = np.array(differences)
        print("mean", table.mean(axis=0).round(3), "rms", np.sqrt((table**2).mean(axis=0)).round(3), flush=True)


if __name__ == "__main__":
    main()
