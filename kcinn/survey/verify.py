"""verify: is a run complete, and are its parts what they were when they were written?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kcinn.errors import SurveyError
from kcinn.flag import Flag
from kcinn.survey.columns import row_type
from kcinn.survey.files import PARTIAL
from kcinn.survey.folder import quarantined
from kcinn.survey.manifest import Manifest
from kcinn.survey.shard import PARTS, is_there, is_whole, read_part, shards


@dataclass
class Verification:
    """What stands in the folder of a run.

    Attributes
    ----------
    n_spectra, n_rows : int
        Spectra of the input, and rows of whole parts.
    n_missing, n_unusable : int
        Shards without a part, and rows without labels.
    problems : list of str
        Damaged parts, quarantined shards, and files that belong to nothing.
    """

    n_spectra: int
    n_rows: int = 0
    n_missing: int = 0
    n_unusable: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every spectrum has its row, and nothing is wrong."""
        return self.n_rows == self.n_spectra and not self.problems

    def __str__(self) -> str:
        lines = [f"{self.n_rows} of {self.n_spectra} spectra are done, {self.n_unusable} of them unusable"]
        if self.n_missing:
            lines.append(f"{self.n_missing} shards are missing")
        return "\n".join([*lines, *self.problems])


def verify(folder: str | os.PathLike[str], *, verbose: int = 0) -> Verification:
    """Read every part of a run and check it against its checksum and the manifest.

    Parameters
    ----------
    folder : path
        Of the run.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    Verification
        What is there, what is missing, and what is wrong.

    Raises
    ------
    SurveyError
        If the folder has no manifest.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    found, known = Verification(manifest.n_spectra), set()
    for shard in tqdm(shards(manifest), unit="part", disable=None if verbose else True):
        path = shard.part(folder)
        known |= {path.name, shard.samples(folder).name}
        if not is_there(path):
            found.n_missing += 1
            continue
        try:
            rows = read_part(path, row_type(manifest), len(shard))
        except SurveyError as error:
            found.problems.append(str(error))
            continue
        if manifest.options.keep_samples and not is_whole(shard.samples(folder)):
            found.problems.append(f"{shard.samples(folder)}: missing, or does not agree with its checksum")
        found.n_rows += len(rows)
        found.n_unusable += int(np.count_nonzero(rows["flag"] & int(Flag.UNUSABLE)))
    found.problems += [f"shard {number} is in quarantine: {reason}" for number, reason in quarantined(folder).items()]
    for path in sorted((folder / PARTS).iterdir()):
        if path.name.endswith(PARTIAL):
            found.problems.append(f"{path}: left by a run that was killed; --resume removes it")
        elif path.name.removesuffix(".sha256") not in known:
            found.problems.append(f"{path}: belongs to no shard")
    return found
