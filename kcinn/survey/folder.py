"""Folder: where a run keeps its manifest, parts, quarantine, locks and logs, and who may write there."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kcinn.errors import SurveyError
from kcinn.survey.files import PARTIAL, locked, write_whole
from kcinn.survey.manifest import NAME, Manifest
from kcinn.survey.shard import PARTS, Shard, is_there, is_whole, parse_choice, remove_leftovers, shards

QUARANTINE, LOCKS = "quarantine", "locks"
FOLDERS = {PARTS, QUARANTINE, LOCKS}


class Folder:
    """The folder of a run, claimed for some of its shards; made by `claimed`.

    Attributes
    ----------
    path : Path
    manifest : Manifest
    mine : list of Shard
    """

    def __init__(self, path: Path, manifest: Manifest, choice: tuple[int, int]) -> None:
        self.path, self.manifest = path, manifest
        self.mine = shards(manifest)[choice[0] - 1 :: choice[1]]
        self._log = path / ("log.jsonl" if choice == (1, 1) else f"log-{choice[0]}-of-{choice[1]}.jsonl")

    @classmethod
    @contextmanager
    def claimed(cls, path: Path, manifest: Manifest, shard: str | None, resume: bool) -> Iterator[Folder]:
        """The folder `path`, while no other run may write the same shards.

        Raises
        ------
        SurveyError
            If it holds something else, another run, or parts of this one without `resume`, or another run is writing.
        """
        choice = (1, 1) if shard is None else parse_choice(shard)
        if path.exists() and not (path / NAME).exists() and not _is_bare(path):
            raise SurveyError(f"{path} exists and holds no survey run. Pass another folder.")
        try:
            for name in FOLDERS:
                (path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SurveyError(f"{path}: cannot be made ({error.strerror})") from None
        with ExitStack() as stack:
            with locked(path / LOCKS / "gate", wait=True):
                stack.enter_context(_lock_of(path / LOCKS, choice))
                if (path / NAME).exists():
                    manifest.check(Manifest.read(path), path)
                else:
                    for leftover in path.glob(f".*{PARTIAL}"):
                        leftover.unlink()
                    manifest.write(path)
            place = cls(path, manifest, choice)
            if not resume and any(is_there(shard.part(path)) for shard in place.mine):
                raise SurveyError(f"{path} holds parts of an earlier run. Pass --resume to go on, or another folder.")
            remove_leftovers(path, place.mine)
            try:
                yield place
            finally:  # not reached if the process dies, which is what the notes are to tell
                for mine in place.mine:
                    place._begun(mine).unlink(missing_ok=True)

    def todo(self) -> list[Shard]:
        """Shards of `mine` without a part that agrees with its checksum."""
        return [shard for shard in self.mine if not self.is_done(shard)]

    def is_done(self, shard: Shard) -> bool:
        """Whether a shard's rows, and its samples if they are kept, are whole."""
        samples = not self.manifest.options.keep_samples or is_whole(shard.samples(self.path))
        return samples and is_whole(shard.part(self.path))

    def log(self, event: str, **values: Any) -> None:
        """Append a line of JSON to the log."""
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": time, "event": event, **values}) + "\n"
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise SurveyError(f"{self._log}: cannot be written ({error.strerror})") from None

    def begin(self, shard: Shard) -> None:
        """Note that a shard is being computed: the note stays only if the process dies."""
        try:
            with self._begun(shard).open("a", encoding="utf-8") as file:
                file.write(".")
        except OSError as error:
            raise SurveyError(f"{self._begun(shard)}: cannot be written ({error.strerror})") from None

    def n_deaths(self, shard: Shard) -> int:
        """How many processes died while they computed a shard."""
        return self._begun(shard).stat().st_size if self._begun(shard).exists() else 0

    def quarantine(self, shard: Shard, reason: str) -> None:
        """Note why a shard was given up."""
        note = {"shard": shard.number, "source": self.manifest.sources[shard.source].path}
        note |= {"start": shard.start, "stop": shard.stop, "reason": reason}
        write_whole(self._quarantined(shard), json.dumps(note, indent=1).encode())
        self._begun(shard).unlink(missing_ok=True)

    def release(self, shard: Shard) -> None:
        """Forget what was noted about a shard: it is done."""
        self._quarantined(shard).unlink(missing_ok=True)
        self._begun(shard).unlink(missing_ok=True)

    def _begun(self, shard: Shard) -> Path:
        return self.path / QUARANTINE / f"part-{shard.number:07d}.begun"

    def _quarantined(self, shard: Shard) -> Path:
        return self.path / QUARANTINE / f"part-{shard.number:07d}.json"


def quarantined(path: Path) -> dict[int, str]:
    """Numbers of the shards that a run gave up, and why."""
    found = {}
    for file in sorted((path / QUARANTINE).glob("part-*.json")):
        try:
            reason = str(json.loads(file.read_bytes())["reason"])
        except (ValueError, KeyError, TypeError):
            reason = f"{file} is not readable"
        found[int(file.stem.removeprefix("part-"))] = reason
    return found


def _is_bare(path: Path) -> bool:
    """Whether a folder holds nothing, or what a run has made that was killed before it wrote its manifest."""
    return path.is_dir() and all(entry.name in FOLDERS or entry.name.endswith(PARTIAL) for entry in path.iterdir())


@contextmanager
def _lock_of(folder: Path, choice: tuple[int, int]) -> Iterator[None]:
    """Hold the lock of ``i/n``, sure that nobody holds one of another n, whose shards would overlap."""
    for other in sorted(folder.glob("*-of-*")):
        if other.name.split("-of-")[1] != str(choice[1]):
            with locked(other):
                pass
    with locked(folder / f"{choice[0]}-of-{choice[1]}"):
        yield
