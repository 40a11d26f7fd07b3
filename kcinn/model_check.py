"""What a model file must be before anything in it is built: no strange members, links or sizes."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import h5py

MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
MAX_BYTES = 2**31  # of a member, unpacked: a hundred times a large model
MAX_EXPANSION = 200  # unpacked over packed
SIZES = ("width", "depth", "hidden", "members", "n_components", "n_start")
OF_ELEMENTS = ("element_width", "depth", "n_components")  # of every element's part of an emulator


class Suspicious(ValueError):
    """Why a file is not built."""


def check_members(archive: zipfile.ZipFile) -> None:
    """Raise Suspicious unless the archive holds the three files of a Keras model and they are of a plausible size."""
    names = archive.namelist()
    strange = sorted(set(names) - MEMBERS)
    if strange or len(names) != len(set(names)):
        raise Suspicious(f"it holds {strange[0] if strange else 'a file twice'}, which a model does not")
    missing = MEMBERS - set(names)
    if missing:
        raise Suspicious(f"{sorted(missing)[0]} is missing")
    for item in archive.infolist():
        if item.file_size > min(MAX_BYTES, MAX_EXPANSION * max(item.compress_size, 1024)):
            raise Suspicious(f"{item.filename} claims {item.file_size} bytes, packed into {item.compress_size}")


def check_sizes(config: dict[str, Any], weights: bytes, networks: Iterable[str]) -> None:
    """Raise Suspicious if the weights are not plain arrays, or fewer than the `networks` in `config` ask for."""
    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            n_weights = sum(dataset.size for dataset in _datasets(file))
    except (OSError, RuntimeError, KeyError) as error:
        raise Suspicious(f"its weights cannot be read ({error})") from None
    for part in networks:
        _check_product({key: config[part][key] for key in SIZES if key in config[part]}, part, n_weights)
        if elements := config[part].get("elements"):
            sizes = {key: config[part][key] for key in OF_ELEMENTS if key in config[part]}
            _check_product({**sizes, "elements": len(elements)}, part, n_weights)
    pixels = sum(float(arm.get("n_pixels", max(arm.get("pixel", [0.0])))) for arm in config["instrument"]["arm"])
    if not pixels <= n_weights:
        raise Suspicious(f"its instrument has more pixels ({pixels:g}) than its {n_weights} weights allow")


def _check_product(sizes: dict[str, Any], part: str, n_weights: int) -> None:
    if not all(isinstance(size, int) and size > 0 for size in sizes.values()):
        raise Suspicious(f"the sizes of its {part} are no positive integers: {sizes}")
    if math.prod(sizes.values()) > max(n_weights, 1024):
        raise Suspicious(f"its {part} is larger ({sizes}) than its {n_weights} weights allow")


def _datasets(group: h5py.Group) -> Iterator[h5py.Dataset]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise Suspicious(f"its weights hold a link ({name})")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _datasets(item)
        elif item.external or item.is_virtual or item.chunks or item.id.get_storage_size() != item.nbytes:
            raise Suspicious(f"its weights {item.name} are not stored in the file as they are")
        else:
            yield item
