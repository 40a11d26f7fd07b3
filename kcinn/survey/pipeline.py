"""Pipeline: shards -> parts, while one thread reads, one computes and one writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn.flag import Flag
from kcinn.inference import BATCHES
from kcinn.survey.ahead import ahead
from kcinn.survey.files import WholeFile
from kcinn.survey.manifest import Manifest
from kcinn.survey.shard import Result, Shard, npy_header, write_checksum, write_part
from kcinn.survey.spectra_file import SpectraFile
from kcinn.survey.summariser import Batch, Summariser

AHEAD = 1  # batches that wait between two threads
NAMES = 20  # of unusable spectra that a result lists


@dataclass
class _Piece:
    """A batch on its way, the last of its shard or not; without a batch, the shard failed for a reason."""

    shard: Shard
    batch: Batch | None
    last: bool
    reason: str = ""


class Pipeline:
    """Compute shards one after another, reading ahead and writing behind.

    Parameters
    ----------
    summariser : Summariser
    manifest : Manifest
    folder : Path
    progress : callable, optional
        Called with the number of spectra of every batch that was computed.
    begin : callable, optional
        Called with every shard before it is computed.

    Attributes
    ----------
    compiled_at : float or None
        When the first compiled call ended, which compiles.
    compute_seconds : float
        Time spent in compiled calls since then.
    """

    def __init__(
        self,
        summariser: Summariser,
        manifest: Manifest,
        folder: Path,
        progress: Callable[[int], Any] = lambda n: None,
        begin: Callable[[Shard], Any] = lambda shard: None,
    ) -> None:
        self.summariser, self.manifest, self.folder, self.progress = summariser, manifest, folder, progress
        self.begin = begin
        self.compute_seconds = 0.0
        self.compiled_at: float | None = None

    def run(self, shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield the result of every shard once its part is on the disk, in order.

        Raises
        ------
        SurveyError
            If a part cannot be written: that is no fault of a shard, and the run cannot go on.
        """
        yield from self._write(ahead(self._compute(ahead(self._read(shards), AHEAD)), AHEAD))

    def _read(self, shards: Iterable[Shard]) -> Iterator[_Piece]:
        with ExitStack() as stack:
            files: dict[int, SpectraFile] = {}
            for shard in shards:
                try:
                    if shard.source not in files:
                        path = self.manifest.sources[shard.source].path
                        files[shard.source] = stack.enter_context(SpectraFile(path))
                    for start, stop in shard.batches(BATCHES * self.manifest.options.batch_size):
                        first = shard.first + start - shard.start
                        batch = self.summariser.prepare(files[shard.source], start, stop, first)
                        yield _Piece(shard, batch, last=stop == shard.stop)
                except Exception as error:  # whatever is wrong with one shard must not end the run
                    yield _Piece(shard, None, last=True, reason=_reason(error))

    def _compute(self, pieces: Iterable[_Piece]) -> Iterator[_Piece]:
        current = None
        for piece in pieces:
            if piece.shard is not current:
                current = piece.shard
                self.begin(current)
            if piece.batch is not None:
                start = time.perf_counter()
                try:
                    self.summariser.compute(piece.batch)
                except Exception as error:  # as above; the rest of the shard is read and thrown away
                    piece = _Piece(piece.shard, None, piece.last, reason=_reason(error))
                end = time.perf_counter()
                if self.compiled_at is None:
                    self.compiled_at = end
                else:
                    self.compute_seconds += end - start
            yield piece

    def _write(self, pieces: Iterable[_Piece]) -> Iterator[Result]:
        rows: list[NDArray[Any]] = []
        reason = ""
        with ExitStack() as stack:
            samples: WholeFile | None = None
            for piece in pieces:
                reason = reason or piece.reason
                if piece.batch is not None and not reason:
                    if self.manifest.options.keep_samples:
                        samples = samples or stack.enter_context(self._samples_file(piece.shard))
                        samples.write(self.summariser.samples(piece.batch).tobytes())
                    rows.append(self.summariser.rows(piece.batch))
                    self.progress(len(rows[-1]))
                if piece.last:
                    if reason:
                        self.progress(-sum(map(len, rows)))
                        yield Result(piece.shard, reason=reason)
                    else:
                        yield self._finished(piece.shard, np.concatenate(rows), samples)
                    stack.close()
                    rows, reason, samples = [], "", None

    def _samples_file(self, shard: Shard) -> WholeFile:
        shape = (len(shard), self.manifest.options.n_samples, len(self.manifest.labels))
        file = WholeFile(shard.samples(self.folder))
        file.write(npy_header(np.dtype("<f4"), shape))
        return file

    def _finished(self, shard: Shard, rows: NDArray[Any], samples: WholeFile | None) -> Result:
        if samples is not None:
            write_checksum(samples.path, samples.finish())
        write_part(shard.part(self.folder), rows)
        unusable = rows["id"][rows["flag"] & int(Flag.UNUSABLE) > 0]
        names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in unusable[:NAMES])
        return Result(shard, len(rows), len(unusable), names)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
