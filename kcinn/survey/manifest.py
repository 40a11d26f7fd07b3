"""Manifest: what a survey run computes, so that nobody can go on with another model, seed or input."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kcinn.errors import SurveyError
from kcinn.labels import LabelSpace
from kcinn.model_file import find_model, read_config, sha256
from kcinn.survey.files import write_whole
from kcinn.survey.spectra_file import SpectraFile

FORMAT = "kcinn-survey/1"
NAME = "manifest.json"
PROBES = 256  # spectra whose pixels enter the fingerprint of a file
NAMES_AT_ONCE = 65536
DIGITS = 20  # of the longest integer
PACKAGES = ("kcinn", "keras", "tensorflow", "jax", "torch", "numpy")


@dataclass(frozen=True)
class Options:
    """What decides the numbers in the catalogue, beside model and spectra.

    Parameters
    ----------
    seed, n_samples : int
    batch_size : int
        Spectra per compiled call.
    shard_size : int
        Spectra per part file; a multiple of `batch_size`.
    gap, normalise : bool
    resolving_power : float, optional
        As for `kcinn.predict`.
    keep_samples : bool
        Whether samples are kept beside their summaries.
    quasi : bool
        As for `kcinn.predict`.
    """

    seed: int = 0
    n_samples: int = 4096
    batch_size: int = 32
    shard_size: int = 2048
    gap: bool = True
    normalise: bool = False
    resolving_power: float | None = None
    keep_samples: bool = False
    quasi: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.shard_size < 1 or self.shard_size % self.batch_size:
            raise SurveyError(
                "shard_size must be a multiple of batch_size, so that every batch has one shape. "
                f"Received: shard_size={self.shard_size}, batch_size={self.batch_size}"
            )
        if self.n_samples < 2:
            raise SurveyError(f"n_samples must be at least 2. Received: {self.n_samples}")
        if self.quasi and self.n_samples & (self.n_samples - 1):
            raise SurveyError(f"Quasi-random samples come in powers of two. Received: n_samples={self.n_samples}")


@dataclass(frozen=True)
class Source:
    """A file of spectra: where it is, and what identifies its content."""

    path: str
    n_spectra: int
    fingerprint: str
    id_type: str


@dataclass(frozen=True)
class Manifest:
    """Model, input, options and versions of a survey run; kept as ``manifest.json``."""

    model: dict[str, str]
    sources: tuple[Source, ...]
    options: Options
    labels: list[dict[str, Any]]
    versions: dict[str, str]
    format: str = FORMAT

    @classmethod
    def of(cls, model: str | os.PathLike[str], spectra: Sequence[str | os.PathLike[str]], options: Options) -> Manifest:
        """The manifest of a run that is to be made.

        Raises
        ------
        ModelError, SpectraError
            If the model or a file of spectra cannot be used.
        """
        config, path = read_config(model), find_model(model)
        space = LabelSpace.from_config(config["label_space"]).subset(config["targets"])
        return cls(
            {"path": str(path.resolve()), "sha256": sha256(path)},
            tuple(source(path) for path in spectra),
            options,
            space.get_config(),
            versions(),
        )

    @property
    def label_space(self) -> LabelSpace:
        """The labels of the run's model."""
        return LabelSpace.from_config(self.labels)

    @property
    def n_spectra(self) -> int:
        """Of all sources."""
        return sum(source.n_spectra for source in self.sources)

    @property
    def id_type(self) -> str:
        """NumPy type of names that holds those of every file."""
        return widest([source.id_type for source in self.sources])

    def identity(self) -> dict[str, Any]:
        """What two runs must share for their parts to fit together: all but where the files lie."""
        data = json.loads(json.dumps(asdict(self)))
        for item in (data["model"], *data["sources"]):
            del item["path"]
        return data

    def write(self, folder: Path) -> None:
        """Write it into the run's folder."""
        write_whole(folder / NAME, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Manifest:
        """The manifest of a folder; SurveyError if there is none, or it is damaged or of another format."""
        path = Path(folder) / NAME
        try:
            data = json.loads(path.read_bytes())
            if data["format"] != FORMAT:
                raise SurveyError(f"{path}: format is {data['format']!r}, expected {FORMAT!r}")
            data["sources"] = tuple(Source(**item) for item in data["sources"])
            data["options"] = Options(**data["options"])
            return cls(**data)
        except FileNotFoundError:
            raise SurveyError(f"{folder}: no {NAME}; this is no folder of `kcinn survey`") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, SurveyError):
                raise
            raise SurveyError(f"{path}: damaged ({error})") from None

    def check(self, other: Manifest, folder: Path) -> None:
        """Raise SurveyError unless `other`, which lies in `folder`, is of the same run."""
        mine, theirs = self.identity(), other.identity()
        different = [key for key in mine if mine[key] != theirs[key]]
        if different:
            key = different[0]
            raise SurveyError(
                f"{folder} holds a run that differs in {', '.join(different)}: {_difference(theirs[key], mine[key])}. "
                "Pass what that run was started with, or another folder."
            )


def _difference(theirs: Any, mine: Any) -> str:
    if isinstance(theirs, dict) and isinstance(mine, dict):
        keys = [key for key in sorted(theirs.keys() | mine.keys()) if theirs.get(key) != mine.get(key)]
        return "; ".join(f"{key} was {theirs.get(key)}, is {mine.get(key)}" for key in keys)
    return "the files of spectra have changed" if isinstance(theirs, list) else f"was {theirs}, is {mine}"


def versions() -> dict[str, str]:
    """Of the packages that the numbers may depend on, with the active backend."""
    keras = sys.modules.get("keras")
    backend = keras.backend.backend() if keras else os.environ.get("KERAS_BACKEND", "tensorflow")
    found = {"backend": backend}
    for name in PACKAGES:
        if name in ("tensorflow", "jax", "torch") and name != backend:
            continue
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def source(path: str | os.PathLike[str]) -> Source:
    """Describe a file of spectra.

    Its fingerprint is the SHA-256 of its wavelengths, names, and the pixels of up to 256 spectra spread over it: to
    read all pixels of a survey twice would take too long.
    """
    digest = hashlib.sha256()
    with SpectraFile(path) as file:
        digest.update(json.dumps([*file.data["flux"].shape, file.medium, sorted(file.data)]).encode())
        digest.update(np.asarray(file.wavelength, dtype="<f8").tobytes())
        id_types = []
        for start in range(0, len(file), NAMES_AT_ONCE):
            ids = file.ids(start, start + NAMES_AT_ONCE)
            id_types.append(ids.dtype.str)
            digest.update(np.ascontiguousarray(ids).tobytes())
        for row in np.unique(np.linspace(0, len(file) - 1, PROBES).astype(int)):
            for name in ("flux", "error", "mask"):
                if name in file.data:
                    digest.update(np.ascontiguousarray(file.data[name][row]).tobytes())
        return Source(str(Path(path).resolve()), len(file), digest.hexdigest(), widest(id_types))


def widest(types: Sequence[str]) -> str:
    """NumPy type that holds names of all `types`: integers, or strings if any is one."""
    kinds = [np.dtype(type_) for type_ in types]
    if all(kind.kind == "i" for kind in kinds):
        return "i8"
    return f"S{max(kind.itemsize if kind.kind == 'S' else DIGITS for kind in kinds)}"
