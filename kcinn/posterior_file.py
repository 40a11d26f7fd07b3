"""Posterior file: all samples of a posterior, on HDF5."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kcinn.catalogue import ENDINGS
from kcinn.errors import KcinnError
from kcinn.labels import LabelSpace

FORMAT = "kcinn-posterior/1"


def check_ending(path: str | os.PathLike[str]) -> None:
    """Raise KcinnError unless `path` has an ending that a posterior can be written to, in a folder that exists."""
    path = Path(path)
    if path.suffix not in [*ENDINGS, ".h5"]:
        raise KcinnError(f"A posterior is written to {', '.join([*ENDINGS, '.h5'])}. Received: {path.name}")
    if not path.parent.is_dir():
        raise KcinnError(f"{path.parent}: no such folder")


def write_samples(
    path: str | os.PathLike[str],
    samples: NDArray[Any],
    space: LabelSpace,
    ids: NDArray[Any],
    flag: NDArray[Any],
    diagnostics: Mapping[str, NDArray[Any]],
) -> None:
    """Write a file of the format "kcinn-posterior/1" from the attributes of a `Posterior`."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["labels"] = list(space.names)
        file.attrs["units"] = [label.unit for label in space]
        file["samples"], file["flag"] = samples, flag
        file["id"] = np.char.encode(ids, "utf-8") if ids.dtype.kind == "U" else ids
        for key, value in diagnostics.items():
            file[key] = value
