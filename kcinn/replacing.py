"""replacing: write a file that bears its name only once all of it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kcinn.errors import KcinnError


def check_folder(path: Path, error: type[KcinnError] = KcinnError) -> None:
    """Raise `error` unless the folder that a file is to be written to is there."""
    if not path.parent.is_dir():
        raise error(f"{path.parent}: no such folder")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path of the same ending to write to, whose file takes the name of `path` at the end of the block.

    By then it is safe on the disk. If the block raises, what it wrote is removed, and an earlier file stays as it was.

    Parameters
    ----------
    path : path

    Yields
    ------
    Path
        In the same folder.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
