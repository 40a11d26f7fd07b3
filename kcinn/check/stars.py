"""Test stars: synthetic ones that the training has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from kcinn.errors import GridError, KcinnError
from kcinn.grid import SyntheticGrid
from kcinn.model import CINN
from kcinn.posterior import Posterior
from kcinn.spectra import Spectra

SAME = 1e-5  # in unbounded labels: nearer than this is the same star


@dataclass(frozen=True)
class Stars:
    """Test stars of one model.

    `grid` holds their spectra; `truth` ``(n, n_targets)`` and `all_labels` ``(n, n_labels)`` their labels in the order
    of the model's targets and of all its labels; `provenance` says in a sentence whether the training has seen them.
    """

    grid: SyntheticGrid
    truth: NDArray[np.float64]
    all_labels: NDArray[np.float64]
    provenance: str

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True)
class Sample:
    """The test stars observed in one way, and their posteriors."""

    spectra: Spectra
    posterior: Posterior


def test_stars(model: CINN, grid: SyntheticGrid, n: int, held_out: float | None, seed: int) -> Stars:
    """At most `n` stars of a grid, from the part that ``grid.split(1 - held_out, held_out, seed=seed)`` holds back.

    Stars outside the model's box are left out. A model keeps no list of its training stars, but the Fisher encoder
    keeps some of their labels as starts of its fit: test stars among these give a wrong `held_out` or `seed` away.

    Raises
    ------
    GridError
        If the grid lacks a label or an arm of the model, or no star is left.
    KcinnError
        If `held_out` is not a share.
    """
    names = grid.label_space.names
    missing = [name for name in model.full_space.names if name not in names]
    if missing:
        raise GridError(f"The grid has no {', '.join(missing)}, which the model knows. Its labels: {', '.join(names)}")
    if held_out is not None and not 0 < held_out < 1:
        raise KcinnError(f"The held-out share of the stars lies between 0 and 1. Received: {held_out}")
    if grid.instrument.get_config() != model.instrument.get_config():
        grid = grid.on(model.instrument)
    if held_out is not None:
        grid = grid.split(1.0 - held_out, held_out, seed=seed)[1]
    columns = [names.index(name) for name in model.full_space.names]
    inside = np.flatnonzero(model.full_space.contains(grid.labels[:, columns]))
    if not len(inside):
        raise GridError(f"No star of the grid lies in the model's box, {model.full_space!r}")
    # one row per star: tests take spectra as independent
    shuffled = np.random.default_rng(seed).permutation(inside)
    first = np.unique(grid.star[shuffled], return_index=True)[1]
    rows = np.sort(shuffled[np.sort(first)[:n]])
    grid = grid.subset(rows)
    all_labels = grid.labels[:, columns]
    truth = all_labels[:, [model.full_space.index(name) for name in model.label_space.names]]
    return Stars(grid, truth, all_labels, _provenance(model, all_labels, held_out, seed))


def _provenance(model: CINN, labels: NDArray[np.float64], held_out: float | None, seed: int) -> str:
    n = len(labels)
    if held_out is None:
        chosen = f"{n} stars of the whole grid: nothing was held back, so the training may have seen them."
    else:
        chosen = (
            f"{n} stars of the share {held_out:.4g} that a split with seed {seed} holds back: unseen, if the training "
            "split its grid in the same way."
        )
    start = getattr(model.encoder, "start_phi", None)
    if start is None:
        return f"{chosen} This model keeps no trace of its training stars, so that cannot be verified."
    known = keras.ops.convert_to_numpy(start)
    phi = np.clip(model.full_space.to_unbounded(labels), known.min(), known.max())
    seen = sum(bool(np.any(np.max(np.abs(known - row), axis=1) < SAME)) for row in phi)
    if seen:
        return (
            f"{chosen} {seen} of them WERE in the training: they are among the {len(known)} stars that the encoder "
            "remembers. The figures are too good."
        )
    return f"{chosen} None of them is among the {len(known)} training stars that the encoder remembers."
