"""Shard: a fixed stretch of a survey, the unit of work, of failure and of restart; a shard makes a part."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn.errors import SurveyError
from kcinn.model_file import sha256
from kcinn.survey.files import PARTIAL, WholeFile, write_whole
from kcinn.survey.manifest import Manifest

PARTS = "parts"
LONGEST_HEADER = 1_000_000  # bytes, for thousands of columns; NumPy believes no more than 10,000 unless told


@dataclass(frozen=True)
class Shard:
    """Spectra ``start`` to ``stop`` of file number `source`, of which the first is number `first` in the survey."""

    number: int
    source: int
    start: int
    stop: int
    first: int

    def __len__(self) -> int:
        return self.stop - self.start

    def batches(self, size: int) -> Iterator[tuple[int, int]]:
        """Stretches of at most `size` spectra."""
        for start in range(self.start, self.stop, size):
            yield start, min(start + size, self.stop)

    def part(self, folder: Path) -> Path:
        """The file of this shard's rows."""
        return folder / PARTS / f"part-{self.number:07d}.npy"

    def samples(self, folder: Path) -> Path:
        """The file of this shard's samples, if they are kept."""
        return folder / PARTS / f"samples-{self.number:07d}.npy"


@dataclass
class Result:
    """What came of a shard: its number of rows and of unusable spectra among them, or the reason why there are none."""

    shard: Shard
    n_rows: int = 0
    n_unusable: int = 0
    unusable: tuple[str, ...] = ()
    reason: str = ""
    attempt: int = 1


def shards(manifest: Manifest) -> list[Shard]:
    """All shards of a run, in order; they depend on the manifest alone."""
    made: list[Shard] = []
    first = 0
    for number, source in enumerate(manifest.sources):
        for start in range(0, source.n_spectra, manifest.options.shard_size):
            stop = min(start + manifest.options.shard_size, source.n_spectra)
            made.append(Shard(len(made), number, start, stop, first + start))
        first += source.n_spectra
    return made


def parse_choice(choice: str) -> tuple[int, int]:
    """``"i/n"`` as two integers; SurveyError unless 1 <= i <= n."""
    first, _, second = choice.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise SurveyError(f"shard must be i/n with i from 1 to n, such as 3/8. Received: {choice}")
    return int(first), int(second)


def write_part(path: Path, array: NDArray[Any]) -> None:
    """Write a part and, once it is safe on the disk, its checksum: a part without one does not count."""
    with WholeFile(path) as file:
        file.write(npy_header(array.dtype, array.shape))
        file.write(np.ascontiguousarray(array).tobytes())
        write_checksum(path, file.finish())


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What stands before the numbers in a ``.npy`` file."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(header, description)
    return header.getvalue()


def write_checksum(path: Path, digest: str) -> None:
    """Write the checksum of a part as ``sha256sum --check`` reads it."""
    write_whole(checksum_of(path), f"{digest}  {path.name}\n".encode())


def checksum_of(path: Path) -> Path:
    """The file in which the checksum of a part stands."""
    return path.with_name(path.name + ".sha256")


def is_there(path: Path) -> bool:
    """Whether a part was finished; its content is not looked at."""
    return path.is_file() and checksum_of(path).is_file()


def is_whole(path: Path) -> bool:
    """Whether a part was finished and agrees with its checksum."""
    return is_there(path) and _checksum(path) == sha256(path)


def _checksum(path: Path) -> str:
    """What the file beside a part says; nothing that a SHA-256 equals if it is damaged."""
    return " ".join(checksum_of(path).read_text(encoding="ascii", errors="replace").split()[:1])


def read_part(path: Path, dtype: Any, n_rows: int) -> NDArray[Any]:
    """The rows of a part.

    Raises
    ------
    SurveyError
        If it does not agree with its checksum, or is not of the type and length that the manifest asks for.
    """
    if not is_there(path):
        raise SurveyError(f"{path}: missing. Run again with --resume.")
    content = path.read_bytes()
    if _checksum(path) != hashlib.sha256(content).hexdigest():
        raise SurveyError(f"{path}: does not agree with its checksum. Run again with --resume.")
    try:
        rows = np.load(io.BytesIO(content), allow_pickle=False, max_header_size=LONGEST_HEADER)
    except (OSError, ValueError, EOFError) as error:
        raise SurveyError(f"{path}: not a part ({error})") from None
    if rows.dtype != np.dtype(dtype) or rows.shape != (n_rows,):
        raise SurveyError(f"{path}: {rows.shape} rows of another type; expected {n_rows} as the manifest says")
    return rows


def remove_leftovers(folder: Path, mine: list[Shard]) -> None:
    """Remove unfinished files of the shards `mine`, which killed runs left."""
    wanted = {path.stem for shard in mine for path in (shard.part(folder), shard.samples(folder))}
    for path in folder.rglob(f".*{PARTIAL}"):
        if path.name[1:].split(".")[0] in wanted:
            path.unlink(missing_ok=True)
