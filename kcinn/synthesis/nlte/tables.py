"""The physics tables that ship with the engine, read on first use."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


@cache
def load(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of ``data/<name>.npz``; later calls return the same dictionary."""
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as table:
        return {key: table[key] for key in table.files}
