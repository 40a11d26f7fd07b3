"""Checkpoint: what a training has done, so that it goes on after a kill."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn.errors import KcinnError
from kcinn.replacing import replacing

CLOCK = "seconds.json"


class Checkpoint:
    """The folder of a training's intermediate results, and the time that they took; without a folder nothing is kept.

    Parameters
    ----------
    folder : Path, optional
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        clock = None if folder is None else folder / CLOCK
        self._before = 0.0 if clock is None or not clock.exists() else float(clock.read_text(encoding="utf-8"))
        self._start = time.perf_counter()

    @classmethod
    def claim(cls, folder: str | os.PathLike[str] | None, plan: dict[str, Any], resume: bool) -> Checkpoint:
        """The checkpoint in a folder, which must be empty or belong to the same plan.

        Parameters
        ----------
        folder : path or None
        plan : dict
            What the results depend on.
        resume : bool
            Whether results may be there.

        Returns
        -------
        Checkpoint

        Raises
        ------
        KcinnError
            If there are results and `resume` is false, if they belong to another plan, or if the folder holds something
            else; or if there is nothing to resume from because `folder` is None.
        """
        if folder is None:
            if resume:
                raise KcinnError("resume=True needs checkpoint=, the folder of the interrupted training.")
            return cls()
        folder, text = Path(folder), json.dumps(plan, sort_keys=True)
        file = folder / "plan.json"
        if file.exists():
            if not resume:
                raise KcinnError(
                    f"{folder} holds an earlier training. Pass resume=True to go on with it, or another folder."
                )
            if file.read_text(encoding="utf-8") != text:
                raise KcinnError(f"{folder} belongs to a training with other arguments. Pass those, or another folder.")
        elif folder.exists() and any(folder.iterdir()):
            raise KcinnError(f"{folder} is not empty and holds no training. Pass another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return cls(folder)

    @property
    def seconds(self) -> float:
        """What the training has taken: this run, and of earlier ones what they noted before they were killed."""
        return self._before + time.perf_counter() - self._start

    def note_seconds(self) -> None:
        """Write down how long the training has taken."""
        if self.folder is not None:
            with replacing(self.folder / CLOCK) as partial:
                partial.write_text(json.dumps(self.seconds), encoding="utf-8")

    def arrays(self, name: str) -> dict[str, NDArray[Any]] | None:
        """Arrays that were kept under a name, or None."""
        file = None if self.folder is None else self.folder / f"{name}.npz"
        if file is None or not file.exists():
            return None
        with np.load(file, allow_pickle=False) as saved:
            return {key: saved[key] for key in saved.files}

    def keep(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Write arrays down; their file has its name only once it is whole."""
        if self.folder is not None:
            with replacing(self.folder / f"{name}.npz") as partial:
                np.savez(partial, **arrays)  # type: ignore[arg-type]
            self.note_seconds()
