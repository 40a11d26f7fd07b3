"""Plugins: readers and engines that other packages bring, found by their entry points."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kcinn.errors import KcinnError

READERS, ENGINES = "kcinn.readers", "kcinn.engines"
logger = logging.getLogger("kcinn")


def plugins(group: str) -> dict[str, EntryPoint]:
    """What installed packages offer in a group of entry points, by name; nothing is imported yet."""
    return {entry.name: entry for entry in entry_points(group=group)}


def load_plugin(entry: EntryPoint) -> Any:
    """The object that an entry point names.

    Raises
    ------
    KcinnError
        If it cannot be imported; the message names its package.
    """
    try:
        return entry.load()
    except Exception as error:  # somebody else's code
        package = entry.dist.name if entry.dist else entry.value
        raise KcinnError(f"{entry.group} {entry.name!r} of {package}: {type(error).__name__}: {error}") from error


def load_plugins(group: str) -> list[Any]:
    """All objects of a group; one that cannot be imported is left out with a warning, so that the others still work."""
    loaded = []
    for entry in plugins(group).values():
        try:
            loaded.append(load_plugin(entry))
        except KcinnError as error:
            logger.warning("%s; it is left out", error)
    return loaded
