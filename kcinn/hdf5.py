"""HDF5 files that say their format: opened for reading, or one clear error."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from kcinn.errors import KcinnError


@contextmanager
def opened(
    path: str | os.PathLike[str], expected: str, *, what: str, error: type[KcinnError] = KcinnError
) -> Iterator[h5py.File]:
    """A file of the format `expected`; `what` and `error` are what an error calls it and is.

    Raises
    ------
    KcinnError
        An `error`, if the file is missing, damaged or of another format, or lacks what is read from it.
    """
    if not Path(path).is_file():
        raise error(f"{path}: no such {what}")
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format", "no format")
            if found != expected:
                raise error(f"{path}: expected a {what} of format {expected}. Received: {found}")
            yield file
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as reason:
        raise error(f"{path}: not a readable {what} ({reason}). Make or copy it anew.") from reason
