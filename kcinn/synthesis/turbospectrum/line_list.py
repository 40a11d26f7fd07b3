"""Line lists in Turbospectrum's format: what they cover, and the part of them that a window needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from kcinn.errors import KcinnError
from kcinn.synthesis.engine import Window

HYDROGEN = 1.0
# 'species' ionisation-stage number-of-lines, then a comment, then the lines; 3.007 is lithium 7, 607.012014 a CN
_HEADER = re.compile(r"\s*'\s*(?P<species>[\d.]+)\s*'\s+(?P<stage>\d+)\s+(?P<count>\d+)")


def coverage(path: Path) -> Window:
    """First and last wavelength of a line list, air angstrom; hydrogen does not count.

    Raises
    ------
    KcinnError
        If the file cannot be read, is no line list or ends early; the message names file and line.
    """
    return _scan(path, _stamp(path), None)[0]


def cut(path: Path, window: Window) -> str:
    """The line list with the lines inside `window` only; empty if there are none.

    Hydrogen is left out: its lines reach far, and Turbospectrum has them in a list of its own. The text is kept, as all
    stars of a grid need the same.
    """
    return _scan(path, _stamp(path), window)[1]


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise KcinnError(f"{path}: {error.strerror}. Give the path of a line list in Turbospectrum's format.") from None


@lru_cache(maxsize=64)
def _scan(path: Path, stamp: int, window: Window | None) -> tuple[Window, str]:
    """Coverage, and the text of the lines inside `window`; `stamp` tells a changed file from the one that was read."""
    pieces: list[str] = []
    first, last = float("inf"), float("-inf")
    with path.open(encoding="latin-1") as file:
        lines = enumerate(file, start=1)
        for number, header in lines:
            if not header.strip():
                continue
            match = _HEADER.match(header)
            if match is None:
                raise _broken(path, number, header, "the header 'species' ionisation-stage number-of-lines")
            _, comment = _next(path, lines, "a comment after the header")
            hydrogen = float(match["species"]) == HYDROGEN
            kept = []
            for _ in range(int(match["count"])):
                number, line = _next(path, lines, f"{match['count']} lines of species {match['species']}")
                try:
                    wavelength = float(line.split(None, 1)[0])
                except (ValueError, IndexError):
                    raise _broken(path, number, line, f"a line of species {match['species']}") from None
                if hydrogen:
                    continue
                first, last = min(first, wavelength), max(last, wavelength)
                if window is not None and window[0] <= wavelength <= window[1]:
                    kept.append(line)
            if kept:
                pieces += [f"'{match['species']}' {match['stage']} {len(kept)}\n", comment, *kept]
    if first > last:
        raise KcinnError(f"{path}: no lines in it. Give a line list in Turbospectrum's format.")
    return (first, last), "".join(pieces)


def _next(path: Path, lines: Iterator[tuple[int, str]], expected: str) -> tuple[int, str]:
    try:
        return next(lines)
    except StopIteration:
        raise KcinnError(f"{path}: the line list ends early; expected {expected}. Copy it anew.") from None


def _broken(path: Path, number: int, received: str, expected: str) -> KcinnError:
    return KcinnError(
        f"{path}, line {number}: expected {expected}. Received: {received.strip()[:60]!r}. Give a line list in "
        "Turbospectrum's format, or copy this one anew."
    )
