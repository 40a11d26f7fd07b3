"""Where the data lie that come with kcinn."""

from __future__ import annotations

from pathlib import Path

from kcinn.errors import KcinnError

COMPACT_GRID = "compact-grid.h5"


def shipped(name: str) -> Path:
    """Path of a shipped file: inside an installed package, or in the top-level `data/` of a source tree.

    Raises
    ------
    KcinnError
        If there is no such file.
    """
    package = Path(__file__).parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).is_file():
            return folder / name
    raise KcinnError(
        f"{name} is not part of this installation; install kcinn from its wheel or run it from its source tree."
    )
