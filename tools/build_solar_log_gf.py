"""Write ``solar_log_gf.npz``: the change of every line's log gf that gives it the strength it has in the Sun.

    python tools/build_solar_log_gf.py SUN[=R] ... [-o kcinn/synthesis/nlte/data/solar_log_gf.npz]

Each SUN is an observed spectrum, at rest, of resolving power R, higher than `RESOLVING_POWER`. Gauss-Newton steps on
the engine's NLTE spectrum of the Sun (labels `SUN` of `build_gap.py`), with a continuum that is free every few
angstrom, robust weights, and a prior of `PRIOR` dex on every change, so that blends share it and lines that the Sun
hardly shows keep what is listed. Components of one line (hyperfine structure, isotopes) change together. Windows that
the engine calls unreliable are left out, and with them the lines that the list has altogether wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from build_gap import DATA, MACROTURBULENCE, SUN, observed
from scipy.sparse import csr_array, diags_array, hstack, vstack
from scipy.sparse.linalg import spsolve

from kcinn.broaden import degrade
from kcinn.instrument import Arm, Instrument
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.nlte.atmosphere import model
from kcinn.synthesis.nlte.departures import available
from kcinn.synthesis.nlte.elements import abundances
from kcinn.synthesis.nlte.lines import MARGIN, WINDOWS, atomic_lines, line_list
from kcinn.synthesis.nlte.opacity import continuum
from kcinn.synthesis.nlte.unreliable import UNRELIABLE_WINDOWS

RESOLVING_POWER = 45000.0  # at which spectra are compared: macroturbulence matters less than at a higher one
PIXEL, STEP, EDGE = 0.05, 0.02, 6.0  # angstrom: of the comparison, of the synthesis, left out at a window's ends
TELLURIC = ((6274.0, 6325.0), (6466.0, 6500.0))  # oxygen, water
LOG_TAU = -0.7  # where a line's opacity is compared with the continuum's
FAINTEST = 0.02  # of that ratio, of lines that are changed
COMPONENT = 0.05  # of the faintest line, faintest component that changes with it
SAME_ENERGY, SAME_LINE = 0.002, 0.6  # eV, angstrom: components of one line
PRIOR, LARGEST = 0.15, 1.0  # dex
MODEL_ERROR = 0.01  # of the continuum; what is missed by more counts less
HALF, APART = 0.35, 0.8  # angstrom: reach of a line's derivative, distance of lines that are changed at once
KNOTS, CONTINUUM_PRIOR = 12.0, 0.01  # of the continuum: angstrom, relative
CHANGE = 0.1  # dex, of the numerical derivative
ROUNDS = 5


def lines_that_change(table: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Indices into the line list, one array for every line whose strength the Sun can tell, by wavelength."""
    sun = model(SUN["teff"], SUN["logg"], SUN["fe_h"], abundances(SUN["fe_h"], {}))
    depth = np.argmin(np.abs(sun.log_tau - LOG_TAU))
    strength = np.zeros(len(table["wavelength"]))  # central opacity over that of the continuum
    for lower, upper in WINDOWS:
        opacity = np.sum(continuum(np.array([0.5 * (lower + upper)]), sun.plasma), axis=0)[0]
        lines = atomic_lines(table, sun, SUN["vmic"], (lower, upper), opacity, {}, faintest=0.0, wing=1e-3)
        first = np.searchsorted(table["wavelength"], lower - MARGIN)
        strength[first : first + len(lines.peak)] = lines.peak[:, depth] / opacity[depth]
    found: list[list[int]] = []
    latest: dict[tuple, list[int]] = {}  # line of every lower level that was seen last
    for i in np.flatnonzero(strength > COMPONENT * FAINTEST):
        level = int(table["atomic_number"][i]), int(table["ion"][i]), round(float(table["energy"][i]) / SAME_ENERGY)
        line = latest.get(level)
        if line is None or table["wavelength"][i] - table["wavelength"][line[0]] > SAME_LINE:
            line = latest[level] = []
            found.append(line)
        line.append(i)
    return [np.array(line) for line in found if strength[line].sum() > FAINTEST]


def comparison() -> Instrument:
    """A spectrograph with an arm for every window of the list."""
    arms = []
    for lower, upper in WINDOWS:
        n = int((upper - lower - 2.0 * EDGE) / PIXEL)
        knots = (lower + EDGE, lower + EDGE + n * PIXEL)
        arms.append(Arm(f"{lower:.0f}", (0.0, float(n)), knots, (RESOLVING_POWER, RESOLVING_POWER)))
    return Instrument("comparison", arms, medium="air")


def observed_sun(file: str, instrument: Instrument) -> tuple[np.ndarray, np.ndarray]:
    """Flux on the pixels, about one in every arm, and which pixels are good."""
    spectra = observed(file, instrument)
    flux, good = spectra.flux[0].copy(), ~spectra.mask[0]
    for lower, upper, *_ in (*UNRELIABLE_WINDOWS, *TELLURIC):
        good &= ~((instrument.wavelength > lower) & (instrument.wavelength < upper))
    for arm in instrument.arm_slices:
        if good[arm].any():
            flux[arm] /= np.percentile(flux[arm][good[arm]], 95.0)
    return flux, good


class SolarLines:
    """The engine's Sun as a function of the changes of log gf."""

    def __init__(self, instrument: Instrument) -> None:
        self.engine, self.instrument = NLTEEngine(available()), instrument
        self.listed = line_list()
        self.lines = lines_that_change(self.listed)
        self.centre = np.array([np.mean(self.listed["wavelength"][line]) for line in self.lines])
        self.turn = turns(self.centre)

    def flux(self, change: np.ndarray) -> np.ndarray:
        log_gf = self.listed["log_gf"].copy()
        for line, value in zip(self.lines, change, strict=True):
            log_gf[line] += value
        self.engine.lines = {**self.listed, "log_gf": log_gf}
        wavelength, flux = self.engine.spectrum(SUN, windows=WINDOWS, step=STEP)
        return degrade(wavelength, flux, self.instrument, vmac=MACROTURBULENCE["Sun"])

    def derivative(self, change: np.ndarray) -> csr_array:
        """Of the flux with every change, shape (n_pixels, n_lines): lines far from each other are changed at once."""
        wavelength, parts = self.instrument.wavelength, []
        for turn in range(self.turn.max() + 1):
            step = np.where(self.turn == turn, CHANGE, 0.0)
            slope = (self.flux(change + step) - self.flux(change - step)) / (2.0 * CHANGE)
            for k in np.flatnonzero(self.turn == turn):
                pixels = np.arange(*np.searchsorted(wavelength, [self.centre[k] - HALF, self.centre[k] + HALF]))
                parts.append((slope[pixels], pixels, np.full(len(pixels), k)))
        values, pixels, lines = (np.concatenate(part) for part in zip(*parts, strict=True))
        return csr_array((values, (pixels, lines)), shape=(len(wavelength), len(self.lines)))


def turns(centre: np.ndarray) -> np.ndarray:
    """Numbers of the runs in which lines are changed, such that no two of one run are closer than `APART`."""
    last: list[float] = []
    result = np.empty(len(centre), dtype=int)
    for k in np.argsort(centre):
        run = next((run for run, end in enumerate(last) if centre[k] - end > APART), len(last))
        last[run : run + 1] = [centre[k]]
        result[k] = run
    return result


def continuum_columns(instrument: Instrument) -> csr_array:
    """Hat functions every `KNOTS` angstrom, shape (n_pixels, n_knots)."""
    wavelength = instrument.wavelength
    knots = np.concatenate([np.arange(a.edges[0], a.edges[1] + KNOTS, KNOTS) for a in instrument.arms])
    return csr_array(np.clip(1.0 - np.abs(wavelength[:, None] - knots) / KNOTS, 0.0, None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sun", nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=DATA / "solar_log_gf.npz")
    options = parser.parse_args()
    instrument = comparison()
    suns = [observed_sun(file, instrument) for file in options.sun]
    lines, hats = SolarLines(instrument), continuum_columns(instrument)
    n_lines, n_knots = len(lines.lines), hats.shape[1]
    print(f"{n_lines} lines change, in {lines.turn.max() + 1} runs", flush=True)
    prior = np.concatenate([np.full(n_lines, PRIOR**-2), np.full(n_knots * len(suns), CONTINUUM_PRIOR**-2)])
    change, level = np.zeros(n_lines), np.zeros((len(suns), n_knots))
    for k in range(ROUNDS):
        flux, slope = lines.flux(change), lines.derivative(change)
        residuals = [sun - flux * (1.0 + hats @ own) for (sun, _), own in zip(suns, level, strict=True)]
        for file, residual, (_, good) in zip(options.sun, residuals, suns, strict=True):
            rms = [np.sqrt(np.mean(residual[arm][good[arm]] ** 2)) for arm in instrument.arm_slices if good[arm].any()]
            print(f"round {k}, {Path(file).name}: rms {' '.join(f'{x:.4f}' for x in rms)}", flush=True)
        weights = [
            np.where(good, MODEL_ERROR**-2 / (1.0 + (residual / (2.0 * MODEL_ERROR)) ** 2), 0.0)
            for residual, (_, good) in zip(residuals, suns, strict=True)
        ]
        blocks = [
            hstack([slope, *(diags_array(flux) @ hats * float(i == j) for j in range(len(suns)))])
            for i in range(len(suns))
        ]
        jacobian, weight = vstack(blocks).tocsr(), diags_array(np.concatenate(weights))
        normal = jacobian.T @ weight @ jacobian + diags_array(prior)
        pull = jacobian.T @ (weight @ np.concatenate(residuals)) - prior * np.concatenate([change, level.ravel()])
        move = spsolve(normal.tocsc(), pull)
        change = np.clip(change + np.clip(move[:n_lines], -0.3, 0.3), -LARGEST, LARGEST)
        level += move[n_lines:].reshape(level.shape)
        print(f"  changes: rms {np.sqrt(np.mean(change**2)):.3f}, largest {np.abs(change).max():.2f}", flush=True)
    table = np.zeros(len(lines.listed["wavelength"]), dtype=np.float32)
    for line, value in zip(lines.lines, change, strict=True):
        table[line] = value
    np.savez_compressed(options.output, change=np.round(table, 3).astype(np.float16))


if __name__ == "__main__":
    main()
