"""Busy: how long at least one of several threads was at work."""

from __future__ import annotations

import time
from threading import Lock


class Busy:
    """Counts the seconds in which any thread is inside its ``with`` block."""

    def __init__(self) -> None:
        self._inside, self._seconds, self._since, self._lock = 0, 0.0, 0.0, Lock()

    @property
    def seconds(self) -> float:
        """Until now, since the last `restart`."""
        with self._lock:
            return self._seconds + (time.perf_counter() - self._since if self._inside else 0.0)

    def restart(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self._seconds, self._since = 0.0, time.perf_counter()

    def __enter__(self) -> Busy:
        with self._lock:
            if not self._inside:
                self._since = time.perf_counter()
            self._inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._seconds += time.perf_counter() - self._since
