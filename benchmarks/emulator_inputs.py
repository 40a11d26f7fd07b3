"""Held-out error of the emulator with labels, and with physical combinations of them, as inputs of its network.

    python benchmarks/emulator_inputs.py [--grid data/compact-grid.h5] [--steps 3000] [--seeds 2] [--kinds ...]

Every kind is trained by the same number of steps on the same stars; a tenth of the stars are held out.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from scipy.special import ndtri

from kcinn.emulator import RATE
from kcinn.grid import SyntheticGrid
from kcinn.nn.emulator import Emulator, EmulatorTraining
from kcinn.optimisation import schedule

KINDS = ("labels", "reciprocal", "sums-added", "sums-instead", "strengths", "velocities")
BATCH = 256
WIDTH, DEPTH = 320, 3


def inputs(kind, grid):
    """Columns of inputs, each mapped to a standard normal if it is uniform over its range, ``(n_rows, n_inputs)``."""
    space = grid.label_space
    label = {name: column for name, column in zip(space.names, grid.labels.T, strict=True)}
    edges = {x.name: np.array([x.lower, x.upper]) for x in space}
    of_iron = [name for name in space.names if name.endswith("_fe")]
    columns = {name: (label[name], edges[name]) for name in space.names}
    if kind != "labels":
        columns["teff"] = (5040.0 / label["teff"], 5040.0 / edges["teff"][::-1])
    if kind in ("sums-added", "sums-instead"):
        for name in of_iron:
            key = name if kind == "sums-instead" else f"{name}+fe_h"
            columns[key] = (label[name] + label["fe_h"], edges[name] + edges["fe_h"])
    if kind == "strengths":
        for name in of_iron:
            strength = 10.0 ** (0.5 * (label[name] + label["fe_h"]))
            columns[f"strength of {name}"] = (strength, np.array([strength.min(), strength.max()]))
    if kind == "velocities":
        for name in ("vsini", "vmac"):
            columns[f"square of {name}"] = (label[name] ** 2, edges[name] ** 2)
    units = [(value - lower) / (upper - lower) for value, (lower, upper) in columns.values()]
    return ndtri(np.clip(np.stack(units, axis=1), 1e-6, 1.0 - 1e-6)).astype(np.float32)


def measure(kind, grid, steps, seed):
    keras.utils.set_random_seed(seed)
    values = inputs(kind, grid)
    stars = np.random.default_rng(0).permutation(np.unique(grid.star))
    unseen = np.isin(grid.star, stars[: len(stars) // 10])
    emulator = Emulator(values.shape[1], len(grid.wavelength), grid.coefficients.shape[1], WIDTH, DEPTH)
    emulator.set_basis(grid.mean, grid.basis, grid.coefficients.std(axis=0))
    training = EmulatorTraining(emulator)
    epochs = max(1, round(steps * BATCH / np.sum(~unseen)))
    rate = schedule(RATE, epochs * -(-int(np.sum(~unseen)) // BATCH))
    training.compile(optimizer=keras.optimizers.Adam(rate, clipnorm=5.0))
    training.fit(values[~unseen], grid.coefficients[~unseen], batch_size=BATCH, epochs=epochs, verbose=0)
    predicted = training.predict(values[unseen], batch_size=512, verbose=0)
    residuals = predicted - grid.coefficients[unseen]
    emulator.set_error(values[unseen], residuals)
    loss = float(np.mean(np.sum(residuals**2 / grid.coefficients.std(axis=0), axis=1)))
    return *(float(x) for x in keras.ops.convert_to_numpy(emulator.held_out_rms)), loss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, default=Path(__file__).parents[1] / "data/compact-grid.h5")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    grid = SyntheticGrid.open(options.grid)
    print(f"{'inputs':>14s} {'seed':>4s} {'rms':>8s} {'median':>8s} {'loss':>8s} {'seconds':>8s}")
    for seed in range(options.seeds):
        for kind in options.kinds:
            start = time.perf_counter()
            rms, median, loss = measure(kind, grid, options.steps, seed)
            print(
                f"{kind:>14s} {seed:4d} {rms:8.5f} {median:8.5f} {loss:8.4f} {time.perf_counter() - start:8.0f}",
                flush=True,
            )
