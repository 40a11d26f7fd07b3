"""Write ``atmosphere.npz``: T(log tau5000) of ATLAS9 models on the optical-depth scale of the embedded engine.

    python tools/build_atmosphere.py DIRECTORY [--without-overshooting] [-o FILE.npz]

DIRECTORY holds the grid of Kurucz (1993, ATLAS9, CD-ROM 13), vmic = 2 km/s, one file per metallicity named
``a[mp]NNk2.dat.gz``. tau5000 is integrated over column mass with the engine's own opacity and ionisation, so that table
and synthesis share one scale, but with the composition in which the models are in radiative equilibrium: that of
Anders & Grevesse (1989), which has a quarter more electron donors than today's solar abundances. Missing models are
filled from their neighbours in Teff, models that do not reach the ends of the depth scale are continued: isothermally
outwards, with their last gradient inwards.

In these models convection overshoots, which flattens T(tau) where the wings of the Balmer lines of F and G stars form
(Castelli, Gratton & Kurucz 1997, A&A 318, 841). With --without-overshooting it is taken out (`convection.py`), and the
table is ``atmosphere_without_overshooting.npz``.
"""

from __future__ import annotations

import argparse
import gzip
import re
from pathlib import Path

import numpy as np
from convection import (
    CONVECTIVE,
    MASS,
    PRESSURE,
    TEMPERATURE,
    VELOCITY,
    Gas,
    convective_velocity,
    without_overshooting,
)

from kcinn.synthesis.nlte.equation_of_state import EquationOfState
from kcinn.synthesis.nlte.opacity import continuum

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
TEFF = np.arange(4000.0, 7001.0, 250.0)
LOGG = np.arange(0.5, 5.01, 0.5)
FE_H = np.array([-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5])
LOG_TAU = np.linspace(-5.0, 1.75, 46)


def composition(text: str) -> np.ndarray:
    """Atoms per hydrogen atom, shape (93,), from the heading of the first model of a file."""
    heading = text[: text.index("EAD DECK")]
    scale = float(re.search(r"SCALE\s+([\d.]+)", heading)[1])
    relative = np.zeros(93)
    # hydrogen and helium are given as fractions of all atoms, the rest as their logarithm before scaling
    for number, value in re.findall(r"\b(\d+)\s+(-?\d+\.\d+)", heading[heading.index("CHANGE") :]):
        if int(number) < len(relative):
            relative[int(number)] = float(value) if int(number) <= 2 else scale * 10.0 ** float(value)
    return relative / relative[1]


def read(path: Path) -> tuple[dict[tuple[float, float], np.ndarray], np.ndarray]:
    """Models of one file, (Teff, logg) -> (n_depth, n_columns), hot ones with fewer columns; and their composition."""
    models: dict[tuple[float, float], np.ndarray] = {}
    with gzip.open(path, "rt") as file:
        text = file.read()
    lines = iter(text.splitlines())
    key = (0.0, 0.0)
    for line in lines:
        if found := re.match(r"\s*T?EFF\s+([\d.]+)\s+GRAVITY\s+([\d.]+)", line):
            key = (float(found[1]), round(float(found[2]), 2))
        elif found := re.match(r"\s*R?EAD DECK6\s+(\d+)", line):
            # a few numbers touch: an exponent followed by a digit starts the next one
            rows = [re.sub(r"(E[+-]\d\d)(?=[\d.-])", r"\1 ", next(lines)).split() for _ in range(int(found[1]))]
            models[key] = np.array([[float(x) for x in row] for row in rows])
    return models, composition(text)


def take_out_overshooting(
    models: dict[tuple[float, float], np.ndarray], relative: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the models within `TEFF` and `LOGG`, in place.

    Returns their surface flux over that before, and, where a model carries most of its flux by convection, the velocity
    that belongs to its gradient over its own.
    """
    gas = Gas.of(relative, np.array([model for model in models.values() if model.shape[1] > CONVECTIVE]))
    keys = [key for key in models if TEFF[0] <= key[0] <= TEFF[-1] and LOGG[0] <= key[1] <= LOGG[-1]]
    before = np.array([models[key] for key in keys])
    strong = (before[..., CONVECTIVE] > 0.5) & (before[..., VELOCITY] > 0.0)
    velocity = convective_velocity(before, gas)[strong] / before[..., VELOCITY][strong]
    after, flux = without_overshooting(before, np.array([teff for teff, _ in keys]), gas)
    models.update(zip(keys, after, strict=True))
    return flux, velocity


def on_optical_depth(model: np.ndarray, relative: np.ndarray) -> np.ndarray:
    """Temperature at `LOG_TAU`."""
    mass, temperature, pressure = (model[:, column] for column in (MASS, TEMPERATURE, PRESSURE))
    plasma = EquationOfState(temperature, relative).solve(pressure)
    kappa = np.add(*continuum(5000.0, plasma))[0] / plasma.density
    tau = kappa[0] * mass[0] + np.concatenate([[0.0], np.cumsum(0.5 * (kappa[1:] + kappa[:-1]) * np.diff(mass))])
    log_tau = np.log10(tau)
    inside = np.interp(LOG_TAU, log_tau, temperature)
    gradient = (temperature[-1] - temperature[-4]) / (log_tau[-1] - log_tau[-4])
    return inside + gradient * np.maximum(LOG_TAU - log_tau[-1], 0.0)


def fill(cube: np.ndarray) -> int:
    """Fill missing models, in place, from the next two in Teff; return how many were missing."""
    missing = np.argwhere(np.isnan(cube[..., 0]))
    for i, j, k in missing:
        there = np.flatnonzero(np.isfinite(cube[:, j, k, 0]))
        below, above = there[there < i], there[there > i]
        a, b = (below[-1], above[0]) if len(below) and len(above) else (there[:2] if len(above) else there[-2:])
        weight = (TEFF[i] - TEFF[a]) / (TEFF[b] - TEFF[a])
        cube[i, j, k] = np.exp((1.0 - weight) * np.log(cube[a, j, k]) + weight * np.log(cube[b, j, k]))
    return len(missing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--without-overshooting", action="store_true", help="take overshooting out of the models")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    suffix = "_without_overshooting" if options.without_overshooting else ""
    output = options.output or DATA / f"atmosphere{suffix}.npz"
    cube = np.full((len(TEFF), len(LOGG), len(FE_H), len(LOG_TAU)), np.nan)
    ratios: list[tuple[np.ndarray, np.ndarray]] = []
    for k, fe_h in enumerate(FE_H):
        name = f"a{'m' if fe_h < 0 else 'p'}{round(abs(fe_h) * 10):02d}k2.dat.gz"
        models, relative = read(options.directory / name)
        if options.without_overshooting:
            ratios.append(take_out_overshooting(models, relative))
        for i, teff in enumerate(TEFF):
            for j, logg in enumerate(LOGG):
                if (teff, logg) in models:
                    cube[i, j, k] = on_optical_depth(models[teff, logg], relative)
    if ratios:
        flux, velocity = (np.concatenate(x) for x in zip(*ratios, strict=True))
        off = np.abs(flux - 1.0)
        print(
            f"surface flux without overshooting: off by {np.median(off):.4f} in the median model, "
            f"in {np.sum(off > 0.03)} of {len(off)} by more than 0.03, at most by {off.max():.3f}\n"
            "velocity of convection, that of the models' gradient over theirs: 16, 50, 84 % "
            + ", ".join(f"{x:.3f}" for x in np.quantile(velocity, [0.16, 0.5, 0.84]))
        )
    print(f"{fill(cube)} of {cube[..., 0].size} models filled from neighbours")
    np.savez_compressed(output, teff=TEFF, logg=LOGG, fe_h=FE_H, log_tau=LOG_TAU, temperature=cube.astype(np.float32))


if __name__ == "__main__":
    main()
