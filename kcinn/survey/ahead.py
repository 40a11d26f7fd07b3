"""Ahead: let an iterator run in a thread of its own, some items ahead of who takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 0.1  # seconds between looks at whether anybody still wants the items


class _End:
    """Closes the queue; carries the exception that ended the iterator, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], size: int) -> Generator[T, None, None]:
    """Yield `items`, of which up to `size` are made beforehand; what they raise is raised here."""
    made: queue.Queue[T | _End] = queue.Queue(size)
    unwanted = threading.Event()

    def put(item: T | _End) -> None:
        while not unwanted.is_set():
            try:
                return made.put(item, timeout=PATIENCE)
            except queue.Full:
                continue

    def make() -> None:
        end = _End()
        try:
            for item in items:
                put(item)
                if unwanted.is_set():
                    break
        except BaseException as error:
            end = _End(error)
        finally:
            if isinstance(items, Generator):
                items.close()
            put(end)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        unwanted.set()
        thread.join()
