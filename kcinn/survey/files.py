"""Files that are whole or not there at all: written aside, synced, renamed; checked by SHA-256; locked."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kcinn.errors import SurveyError

PARTIAL = ".partial"


class WholeFile:
    """A file that is written aside piece by piece and takes its name only when `finish` is called.

    Use as a context: what was not finished at its end is removed.

    Raises
    ------
    SurveyError
        If the disk is full or the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
        self._digest = hashlib.sha256()
        with self._clear_errors():
            self._file = self._partial.open("wb")

    def __enter__(self) -> WholeFile:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):  # bytes that a full disk did not take; the file goes anyway
            self._file.close()
        self._partial.unlink(missing_ok=True)

    def write(self, content: bytes | memoryview) -> None:
        """Append `content`."""
        with self._clear_errors():
            self._file.write(content)
        self._digest.update(content)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._file.closed

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        with self._clear_errors():
            self._file.flush()

    def finish(self) -> str:
        """Give the file its name, safe on the disk; returns its SHA-256."""
        with self._clear_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return self._digest.hexdigest()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SurveyError(f"{self.path}: cannot be written ({error.strerror or error})") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that after a crash at any moment is there as a whole or not at all; errors as `WholeFile`."""
    with WholeFile(path) as file:
        file.write(content)
        file.finish()


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends.

    Raises
    ------
    SurveyError
        If another process holds it, unless told to wait.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SurveyError(f"{path.parent.parent}: another run is writing here ({path.name} is locked)") from None
        except OSError as error:
            raise SurveyError(f"{path}: this file system has no locks ({error.strerror})") from None
        yield
