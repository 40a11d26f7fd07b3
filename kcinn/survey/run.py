"""run: files of spectra -> parts of a catalogue, whatever dies on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kcinn.errors import SurveyError
from kcinn.survey.folder import Folder
from kcinn.survey.manifest import Manifest, Options
from kcinn.survey.shard import Result, Shard

ATTEMPTS = 3
ENGINES = ("local", "ray")


@dataclass
class SurveyReport:
    """What a run did.

    Attributes
    ----------
    folder : Path
    n_spectra : int
        Of the shards that this call was to see to.
    n_before, n_computed : int
        Spectra that earlier runs had done, and that this one did.
    n_unusable : int
        Rows without labels among those that this run did.
    unusable : list of str
        The names of the first of them.
    quarantined : dict of int to str
        Shards that failed three times, and why; their spectra are not in the catalogue.
    seconds, start_seconds, compute_seconds : float
        Of this run; until its first batch was done, with loading and compiling; of compiled calls after that. The
        latter two are not known of workers on a cluster.
    """

    folder: Path
    n_spectra: int = 0
    n_before: int = 0
    n_computed: int = 0
    n_unusable: int = 0
    unusable: list[str] = field(default_factory=list)
    quarantined: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    start_seconds: float = 0.0
    compute_seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether no shard was put aside."""
        return not self.quarantined

    def __str__(self) -> str:
        text = f"{self.folder}: {self.n_computed} spectra in {self.seconds:.0f} s"
        if self.n_before:
            text += f", {self.n_before} done before"
        if self.n_unusable:
            text += f", {self.n_unusable} unusable ({', '.join(self.unusable[:3])}{', ...' * (self.n_unusable > 3)})"
        for number, reason in self.quarantined.items():
            text += f"\nquarantined shard {number}: {reason}"
        return text


def run(
    model: str | os.PathLike[str],
    spectra: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    n_samples: int = 4096,
    seed: int = 0,
    engine: str = "local",
    address: str | None = None,
    num_gpus: float | None = None,
    shard: str | None = None,
    keep_samples: bool = False,
    resume: bool = False,
    strict: bool = False,
    gap: bool = True,
    quasi: bool = False,
    normalise: bool = False,
    resolving_power: float | None = None,
    batch_size: int = 32,
    shard_size: int = 2048,
    verbose: int = 0,
) -> SurveyReport:
    """Summarise the posterior of every spectrum of a survey, in parts that survive whatever ends the run.

    Shards, batches and the noise of every star are fixed by the input: the rows do not depend on how often the run was
    killed, nor on how its shards were shared out. `kcinn.survey.merge` makes one catalogue of the parts.

    Parameters
    ----------
    model : path, or name of a model that comes with kcinn
    spectra : path or sequence of paths
        Files of the format "kcinn-spectra/1", see `kcinn pack`; their stars are numbered through.
    folder : path
        For the parts. Not a folder with anything else in it.
    n_samples, seed, gap, quasi, normalise, resolving_power
        As for `kcinn.predict`.
    engine : {"local", "ray"}
    address : str, optional
        Of a Ray cluster, "auto" for the one that this machine belongs to; by default one is started here.
    num_gpus : float, optional
        Of every worker on the cluster: 1 by default if it has any.
    shard : str, optional
        ``"i/n"``: only every n-th shard, from the i-th on; for n independent jobs that share `folder`.
    keep_samples : bool
        Keep all samples beside the rows: 4 bytes x n_samples x n_labels for every star.
    resume : bool
        Go on with what is in `folder`; parts that do not agree with their checksum are computed anew.
    strict : bool
        Stop at the first unusable spectrum or failing shard.
    batch_size, shard_size : int
        Spectra per compiled call and per part; the rounding of results may depend on `batch_size`.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    SurveyReport
        What was done, and what is in quarantine.

    Raises
    ------
    SurveyError
        If the folder holds another run or one without `resume`, another run is writing, or the disk is full.
    ModelError, SpectraError
        If model or spectra cannot be used.
    """
    if engine not in ENGINES:
        raise SurveyError(f"engine must be one of {', '.join(ENGINES)}. Received: {engine!r}")
    paths = [spectra] if isinstance(spectra, str | os.PathLike) else list(spectra)
    options = Options(seed, n_samples, batch_size, shard_size, gap, normalise, resolving_power, keep_samples, quasi)
    start = time.perf_counter()
    with ExitStack() as stack:
        place = stack.enter_context(Folder.claimed(Path(folder), Manifest.of(model, paths, options), shard, resume))
        report = SurveyReport(place.path, n_spectra=sum(map(len, place.mine)))
        todo = place.todo()
        report.n_before = report.n_spectra - sum(map(len, todo))
        bar = stack.enter_context(
            tqdm(total=report.n_spectra, initial=report.n_before, unit="spectra", disable=None if verbose else True)
        )
        if engine == "ray":
            from kcinn.survey import ray

            results = ray.results(place, todo, bar.update, attempts=ATTEMPTS, address=address, num_gpus=num_gpus)
        else:
            results = _local(place, todo, bar.update, report)
        place.log("start", n_spectra=report.n_spectra, n_before=report.n_before, engine=engine, shard=shard)
        for result in stack.enter_context(closing(results)):
            _note(result, place, report, strict)
        report.seconds = time.perf_counter() - start
        place.log("end", n_computed=report.n_computed, quarantined=len(report.quarantined), seconds=report.seconds)
    return report


def _local(place: Folder, todo: list[Shard], progress: Any, report: SurveyReport) -> Generator[Result, None, None]:
    """Results of the shards; those that fail come again, up to three times in all."""
    deadly = [shard for shard in todo if place.n_deaths(shard) >= ATTEMPTS]
    for shard in deadly:
        yield Result(shard, reason=f"{ATTEMPTS} processes died while they computed it", attempt=ATTEMPTS)
    todo = [shard for shard in todo if shard not in deadly]
    if not todo:
        return
    from kcinn.survey.pipeline import Pipeline  # imports keras: this late, so that bad input is refused at once
    from kcinn.survey.summariser import Summariser

    start = time.perf_counter()
    summariser = Summariser(place.manifest)
    summariser.check_sources()
    pipeline = Pipeline(summariser, place.manifest, place.path, progress, place.begin)
    for attempt in range(1, ATTEMPTS + 1):
        failed = []
        for result in pipeline.run(todo):
            result.attempt = attempt
            yield result
            if result.reason:
                failed.append(result.shard)
        todo = failed
    report.compute_seconds = pipeline.compute_seconds
    report.start_seconds = (pipeline.compiled_at or start) - start


def _note(result: Result, place: Folder, report: SurveyReport, strict: bool) -> None:
    """Log a result and add it to the report."""
    number = result.shard.number
    if result.reason:
        place.log("failure", shard=number, attempt=result.attempt, reason=result.reason)
        if strict:
            raise SurveyError(f"{place.path}: shard {number} failed: {result.reason}")
        if result.attempt == ATTEMPTS:
            report.quarantined[number] = result.reason
            place.quarantine(result.shard, result.reason)
        return
    place.release(result.shard)
    place.log("shard", shard=number, n_rows=result.n_rows, unusable=result.n_unusable, names=result.unusable)
    report.n_computed += result.n_rows
    report.n_unusable += result.n_unusable
    report.unusable += result.unusable
    if strict and result.n_unusable:
        raise SurveyError(f"{place.path}: shard {number} has unusable spectra, the first is {result.unusable[0]}")
