"""ray: the shards of a run on the machines of a Ray cluster, which share a file system."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from kcinn.errors import SurveyError
from kcinn.survey.folder import Folder
from kcinn.survey.manifest import Manifest
from kcinn.survey.shard import Result, Shard

PATIENCE = 2.0  # seconds between looks at how large the cluster is


class Worker:
    """What runs in a process of its own; loads the model with its first shard."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.manifest, self.folder = manifest, folder
        self._pipeline: Any = None

    def ready(self) -> None:
        """Return once the worker runs."""

    def run(self, shard: Shard) -> Result:
        """The same as in a local run, for one shard."""
        if self._pipeline is None:
            from kcinn.survey.pipeline import Pipeline
            from kcinn.survey.summariser import Summariser

            summariser = Summariser(self.manifest)
            summariser.check_sources()
            self._pipeline = Pipeline(summariser, self.manifest, self.folder)
        return next(self._pipeline.run([shard]))


def results(
    place: Folder,
    todo: list[Shard],
    progress: Callable[[int], Any],
    *,
    attempts: int,
    address: str | None = None,
    num_gpus: float | None = None,
) -> Generator[Result, None, None]:
    """Results of the shards as they come; a shard fails if its worker dies, and is tried again.

    Parameters
    ----------
    place : Folder
        On a file system that all machines share.
    todo : list of Shard
    progress : callable
        Called with the number of spectra of every shard that is done.
    attempts : int
        How often a shard is tried.
    address : str, optional
        Of the cluster; by default one is started on this machine.
    num_gpus : float, optional
        GPUs of a worker: 1 by default if the cluster has any. Without GPUs a worker takes one CPU.

    Raises
    ------
    SurveyError
        If Ray is missing, the cluster cannot be reached, or has no room for a worker.
    """
    ray = _started(address)
    needs = {"num_cpus": 1.0, "num_gpus": num_gpus if num_gpus is not None else float("GPU" in ray.cluster_resources())}
    make = ray.remote(**needs)(Worker)
    waiting, tried = deque(todo), Counter[int]()
    starting: dict[Any, Any] = {}  # a worker gets its first shard once it runs: a shrunken cluster may never start it
    idle: list[Any] = []
    running: dict[Any, tuple[Any, Shard]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                worker, shard = idle.pop(), waiting.popleft()
                running[worker.run.remote(shard)] = worker, shard
            room = _room(ray.cluster_resources(), needs)
            if not room:
                raise SurveyError(
                    f"The Ray cluster has no room for a worker ({needs}). Add machines or lower num_gpus."
                )
            for _ in range(min(len(waiting), room - len(running)) - len(starting)):
                worker = make.remote(place.manifest, place.path)
                starting[worker.ready.remote()] = worker
            for task in ray.wait([*running, *starting], timeout=PATIENCE)[0]:
                worker, assigned = running.pop(task) if task in running else (starting.pop(task), None)
                result = None
                try:
                    result = ray.get(task)
                    idle.append(worker)
                except ray.exceptions.RayActorError as error:
                    ray.kill(worker)
                    if assigned is not None:
                        result = Result(assigned, reason=f"its worker died: {' '.join(str(error).split())}")
                if result is not None:
                    tried[result.shard.number] += 1
                    result.attempt = tried[result.shard.number]
                    if result.reason and result.attempt < attempts:
                        waiting.append(result.shard)
                    progress(result.n_rows)
                    yield result
    finally:
        for worker in [*idle, *starting.values(), *(worker for worker, _ in running.values())]:
            ray.kill(worker)
        if address is None:
            ray.shutdown()


def _started(address: str | None) -> Any:
    """The module ray, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about the user's cluster leaves it
    try:
        import ray
    except ImportError:
        raise SurveyError('The engine ray needs Ray: pip install "kcinn[ray]"') from None
    try:
        if not ray.is_initialized():
            options = {"include_dashboard": False} if address is None else {"address": address}
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SurveyError(f"The Ray cluster at {address} cannot be reached: {error}") from None
    return ray


def _room(resources: dict[str, float], needs: dict[str, float]) -> int:
    """Number of workers that a cluster can hold."""
    have = {"num_cpus": resources.get("CPU", 0.0), "num_gpus": resources.get("GPU", 0.0)}
    return int(min(have[name] // amount for name, amount in needs.items() if amount))
