"""What a model file says about itself, read without loading the model."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcinn.errors import ModelError
from kcinn.model_check import Suspicious, check_members, check_sizes
from kcinn.shipped import MODELS, shipped, shipped_models

DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, KeyError, OSError, EOFError, ValueError, RuntimeError)


@dataclass(frozen=True)
class Kind:
    """A kind of file: the class that it holds, its format, its networks, and what loads it."""

    class_name: str
    format: str
    networks: tuple[str, ...]
    loader: str


CINN_FILE = Kind("kcinn>CINN", "kcinn-model/4", ("emulator", "encoder", "flow"), "kcinn.load")
EMULATOR_FILE = Kind("kcinn>Emulator", "kcinn-emulator/1", ("emulator",), "kcinn.Emulator.load")


def check_format(format: str | None, where: str = "model", kind: Kind = CINN_FILE) -> None:
    """Raise ModelError unless `format` is the one that this version reads."""
    if format != kind.format:
        raise ModelError(
            f"{where}: this version of kcinn reads models of format {kind.format}. Received: {format}. Train it anew."
        )


def find_model(name: str | os.PathLike[str]) -> Path:
    """The file `name`, or the model of that name that comes with kcinn.

    Raises
    ------
    ModelError
        If there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if str(name) in shipped_models():
        return shipped(f"{MODELS}/{name}.keras")
    raise ModelError(f"{path}: no such model file. With kcinn come: {', '.join(shipped_models()) or 'none'}")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Raise ModelError unless the file has the SHA-256 `expected`, in hexadecimal."""
    found = sha256(path)
    if found != expected.strip().lower():
        raise ModelError(f"{path}: SHA-256 is {found}, expected {expected}. Someone altered the file; get it anew.")


def read_config(path: str | os.PathLike[str], kind: Kind = CINN_FILE) -> dict[str, Any]:
    """The configuration of a model file: labels, instrument, architecture, training summary.

    Raises
    ------
    ModelError
        As `find_model`, or if the file is damaged (every checksum is tested), not of this kind, or of another format.
    """
    path = find_model(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive)
            damaged = archive.testzip()
            if damaged:
                raise ModelError(f"{path}: damaged ({damaged} fails its checksum). Copy the file anew.")
            config, weights = json.loads(archive.read("config.json")), archive.read("model.weights.h5")
    except ModelError:
        raise
    except Suspicious as error:
        raise ModelError(f"{path}: is not built: {error}. Use files of people you trust.") from None
    except DAMAGE as error:
        raise ModelError(f"{path}: not a readable model file ({error}). Copy the file anew.") from error
    found = config.get("registered_name") if isinstance(config, dict) else None
    if found != kind.class_name:
        others = [f"; {other.loader} loads it" for other in (CINN_FILE, EMULATOR_FILE) if found == other.class_name]
        raise ModelError(f"{path}: not a file of a {kind.class_name.replace('>', '.')}{''.join(others)}")
    try:
        check_format(config["config"].get("format"), str(path), kind)
        check_sizes(config["config"], weights, kind.networks)
    except ModelError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{path}: is not built: {error}. Use files of people you trust.") from None
    return config["config"]
