"""Posterior file: all samples of a posterior, on HDF5."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kcinn.catalogue import ENDINGS
from kcinn.errors import KcinnError
from kcinn.hdf5 import opened
from kcinn.labels import LabelSpace
from kcinn.replacing import check_folder

FORMAT = "kcinn-posterior/1"


def check_ending(path: str | os.PathLike[str]) -> None:
    """Raise KcinnError unless `path` has an ending that a posterior can be written to, in a folder that exists."""
    path = Path(path)
    if path.suffix not in [*ENDINGS, ".h5"]:
        raise KcinnError(f"A posterior is written to {', '.join([*ENDINGS, '.h5'])}. Received: {path.name}")
    check_folder(path)


def write_samples(path: str | os.PathLike[str], arrays: Mapping[str, Any], space: LabelSpace) -> None:
    """Write a file of the format "kcinn-posterior/1" from a label space and the arrays of a `Posterior`."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["labels"] = list(space.names)
        file.attrs["units"] = [label.unit for label in space]
        file.attrs["label_space"] = json.dumps(space.get_config())
        for key, value in arrays.items():
            file[key] = np.char.encode(value, "utf-8") if value.dtype.kind == "U" else value


def read_samples(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], LabelSpace]:
    """The arrays of a file of the format "kcinn-posterior/1" by name, and its label space.

    Raises
    ------
    KcinnError
        If the file is missing, damaged or of another format.
    """
    with opened(path, FORMAT, what="file of samples") as file:
        space = LabelSpace.from_config(json.loads(file.attrs["label_space"]))
        arrays = {key: np.asarray(file[key][()]) for key in dict.fromkeys(("samples", "id", "flag", *file))}
    if arrays["id"].dtype.kind in "SO":
        arrays["id"] = np.char.decode(arrays["id"].astype("S"), "utf-8")
    return arrays, space
