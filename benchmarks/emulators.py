"""Held-out error of the emulator: what its network is fed, networks of elements beside it, and two optimizers.

    python benchmarks/emulators.py [--grid data/compact-grid.h5] [--steps 3000] [--seeds 2] [--kinds ...]

Every kind is trained by the same number of steps on the same stars; a tenth of the stars are held out. "labels" to
"velocities" are one network of 3 x 320 with these inputs; "elements" is the emulator as it is: 3 x 192 on all labels,
temperature as its reciprocal, and 3 x 64 for every element.
"""

import argparse
import itertools
import time
from pathlib import Path

import keras
import numpy as np
from scipy.special import ndtri

from kcinn.emulator import RATE
from kcinn.grid import SyntheticGrid
from kcinn.nn.emulator import Emulator, EmulatorTraining
from kcinn.optimisation import Muon, schedule

KINDS = ("labels", "reciprocal", "sums-added", "sums-instead", "strengths", "velocities", "elements")
OPTIMIZERS = {"adam": lambda rate: keras.optimizers.Adam(rate, clipnorm=5.0), "muon": Muon}
BATCH = 256
WIDTH = 320


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


def measure(kind, optimizer, grid, steps, seed):
    keras.utils.set_random_seed(seed)
    values = inputs(kind, grid)
    stars = np.random.default_rng(0).permutation(np.unique(grid.star))
    unseen = np.isin(grid.star, stars[: len(stars) // 10])
    sizes = {"width": 192, "elements": grid.label_space.elements} if kind == "elements" else {"width": WIDTH}
    emulator = Emulator(values.shape[1], len(grid.wavelength), grid.coefficients.shape[1], **sizes)
    emulator.set_basis(grid.mean, grid.basis, grid.coefficients.std(axis=0))
    training = EmulatorTraining(emulator)
    epochs = max(1, round(steps * BATCH / np.sum(~unseen)))
    rate = schedule(RATE, epochs * -(-int(np.sum(~unseen)) // BATCH))
    training.compile(optimizer=OPTIMIZERS[optimizer](rate), jit_compile=True)
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
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    options = parser.parse_args()
    grid = SyntheticGrid.open(options.grid)
    print(f"{'inputs':>14s} {'optimizer':>10s} {'seed':>4s} {'rms':>8s} {'median':>8s} {'loss':>8s} {'seconds':>8s}")
    for seed, kind, optimizer in itertools.product(range(options.seeds), options.kinds, options.optimizers):
        start = time.perf_counter()
        rms, median, loss = measure(kind, optimizer, grid, options.steps, seed)
        seconds = time.perf_counter() - start
        row = f"{kind:>14s} {optimizer:>10s} {seed:4d} {rms:8.5f} {median:8.5f} {loss:8.4f} {seconds:8.0f}"
        print(row, flush=True)
