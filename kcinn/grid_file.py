"""Grid file: a grid of synthetic spectra on HDF5, format ``kcinn-grid/1``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kcinn.errors import GridError
from kcinn.hdf5 import opened
from kcinn.instrument import Instrument
from kcinn.labels import LabelSpace
from kcinn.replacing import check_folder, replacing

FORMAT = "kcinn-grid/1"
CHUNK = 16  # rows per HDF5 chunk: fast for sequential reads and for random batches
ATTRIBUTES = ("engine", "engine_version", "nlte_species", "solar_abundances")  # of the metadata, for those who look


def write_grid(
    path: str | os.PathLike[str],
    instrument: Instrument,
    label_space: LabelSpace,
    arrays: dict[str, NDArray[Any]],
    reconstruction_error: float,
    metadata: dict[str, Any],
) -> None:
    """Write the attributes of a `SyntheticGrid`; an existing file is replaced only once the new one is whole."""
    check_folder(Path(path), GridError)
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(
            format=FORMAT,
            medium=instrument.medium,
            frame="rest",
            instrument=json.dumps(instrument.get_config()),
            label_space=json.dumps(label_space.get_config()),
            metadata=json.dumps(metadata),
            reconstruction_error=reconstruction_error,
        )
        for key in ATTRIBUTES:
            value = metadata.get(key, "unknown")
            file.attrs[key] = value if isinstance(value, str) else json.dumps(value)
        file["wavelength"] = instrument.wavelength
        for key, values in arrays.items():
            if key == "flux":
                file.create_dataset(key, data=values, chunks=(min(CHUNK, len(values)), values.shape[1]))
            elif key in ("coefficients", "basis"):
                scale = values.std(axis=0) if key == "coefficients" else values.std(axis=1, keepdims=True)
                file.create_dataset(key, data=rounded(values, scale), compression="gzip", shuffle=True)
            else:
                file[key] = values


def read_grid(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `SyntheticGrid` is made from, out of a file; GridError if it is missing, damaged or not a grid."""
    with opened(path, FORMAT, what="grid file", error=GridError) as file:
        spectra = ("flux", "coefficients", "basis", "mean")
        return {
            "instrument": Instrument.from_config(json.loads(file.attrs["instrument"])),
            "label_space": LabelSpace.from_config(json.loads(file.attrs["label_space"])),
            "metadata": json.loads(file.attrs["metadata"]),
            "reconstruction_error": file.attrs.get("reconstruction_error", 0.0),
            **{key: file[key][()] for key in ("labels", "star")},
            **{key: file[key][()] for key in spectra if key in file},
        }


def rounded(values: NDArray[np.floating], scale: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values rounded to 1/4096 of their scale: far below the compression's own error, and files pack to half."""
    step = np.exp2(np.floor(np.log2(np.maximum(scale, 1e-30))) - 12).astype(np.float32)
    return np.round(values / step) * step
