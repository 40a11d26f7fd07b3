"""Where the data lie that come with kcinn."""

from __future__ import annotations

from pathlib import Path

from kcinn.errors import KcinnError

COMPACT_GRID = "compact-grid.h5"
MODELS = "models"


def shipped(name: str) -> Path:
    """Path of a shipped file: inside an installed package, or in the top-level `data/` of a source tree.

    Raises
    ------
    KcinnError
        If there is no such file.
    """
    for folder in _folders():
        if (folder / name).is_file():
            return folder / name
    raise KcinnError(
        f"{name} is not part of this installation; install kcinn from its wheel or run it from its source tree."
    )


def shipped_models() -> tuple[str, ...]:
    """Names under which `kcinn.load` finds the models that come with kcinn."""
    return tuple(sorted({path.stem for folder in _folders() for path in (folder / MODELS).glob("*.keras")}))


def _folders() -> tuple[Path, Path]:
    package = Path(__file__).parent
    return package / "data", package.parent / "data"
