"""Files of trained networks: written whole or not at all, and loaded only after they were checked."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import keras

from kcinn.errors import KcinnError, ModelError
from kcinn.model_file import CINN_FILE, Kind, check_sha256, find_model, read_config
from kcinn.replacing import check_folder, replacing


def write(network: keras.layers.Layer, path: str | os.PathLike[str], **kwargs: Any) -> None:
    """Write one ``.keras`` file; an existing one is replaced only once the new one is whole."""
    path = Path(path)
    if path.suffix != ".keras":
        raise ModelError(f"A model file must end in .keras. Received: {path}")
    check_folder(path, ModelError)
    with replacing(path) as partial:
        keras.saving.save_model(network, partial, overwrite=True, **kwargs)
        _deflate(partial)


def read(path: str | os.PathLike[str], kind: Kind = CINN_FILE, *, expected_sha256: str | None = None) -> Any:
    """Read what a ``.keras`` file of `kind` holds, after checking it.

    Raises
    ------
    ModelError
        As `read_config`, or if the checksum differs or the weights do not fit.
    """
    path = find_model(path)
    if expected_sha256 is not None:
        check_sha256(path, expected_sha256)
    read_config(path, kind)
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except KcinnError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: cannot be loaded ({type(error).__name__}: {error})") from error


def _deflate(path: Path) -> None:
    """Compress the members of a file in place: Keras stores them as they are."""
    with (
        replacing(path) as packed,
        zipfile.ZipFile(path) as stored,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
