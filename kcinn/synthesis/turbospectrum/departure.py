"""Departure: the files of an element out of LTE, and whether they reach a star."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path

from kcinn.errors import KcinnError
from kcinn.synthesis.nlte.elements import SOLAR
from kcinn.synthesis.turbospectrum.marcs import node

FILES = ("grid", "index", "atom")
# How the NLTE interpolator finds an entry of its index. What it does not find makes it read at random.
ABUNDANCE_REACH = 0.099  # dex
SMALL = 20_000  # entries of a grid that it takes for one of iron, with one abundance per metallicity
IRON_SUN = 7.50  # A(Fe) of the Sun in such grids


@dataclass(frozen=True)
class Departure:
    """Files of an element out of LTE.

    Parameters
    ----------
    symbol : str
    grid : Path
        Departure coefficients, binary.
    index : Path
        Text: after a header, a line per entry with model, teff, logg, fe_h, alpha, mass, vmic, A(X), place in the grid.
    atom : Path
        Model atom.

    Raises
    ------
    KcinnError
        If the element is unknown or a file is missing.
    """

    symbol: str
    grid: Path
    index: Path
    atom: Path

    def __post_init__(self) -> None:
        if self.symbol not in SOLAR:
            raise KcinnError(f"departures: unknown element {self.symbol!r}. Valid: {', '.join(SOLAR)}")
        for name in FILES:
            path: Path = getattr(self, name)
            if not path.is_file():
                raise KcinnError(f"departures of {self.symbol}: no file {path}. Give the path of its {name}.")

    @classmethod
    def of(cls, symbol: str, files: Mapping[str, str | PathLike[str]]) -> Departure:
        """Build from the paths of the three files."""
        if set(files) != set(FILES):
            raise KcinnError(f"departures of {symbol}: expected the files {', '.join(FILES)}. Received: {list(files)}")
        return cls(symbol, **{name: Path(path).absolute() for name, path in files.items()})

    @property
    def n_entries(self) -> int:
        """Of the grid."""
        return sum(map(len, _entries(self.index).values()))

    def check(self, models: Iterable[Path], abundance: float) -> None:
        """Refuse a star whose models the grid lacks, or lacks near its abundance."""
        entries, iron = _entries(self.index), self.n_entries <= SMALL and abundance < SOLAR["H"]
        for path in models:
            held = entries.get(path.stem)
            if held is None:
                raise KcinnError(
                    f"{self.index}: no departures of {self.symbol} for the model {path.name}. Give the grid that was "
                    "computed for the models of `atmospheres`, or take the model out of that folder."
                )
            wanted = node(path)[2] + IRON_SUN if iron else abundance
            wanted = min(max(wanted, min(held)), max(held))
            if min(abs(wanted - value) for value in held) > ABUNDANCE_REACH:
                listed = ", ".join(f"{value:.2f}" for value in sorted(set(held)))
                raise KcinnError(
                    f"{self.index}: no departures for A({self.symbol})={wanted:.2f} with the model {path.name}, only "
                    f"for {listed}. Narrow the label, or give a finer grid."
                )


@lru_cache(maxsize=32)
def _entries(index: Path) -> dict[str, list[float]]:
    """A(X) of the entries of every model."""
    entries: dict[str, list[float]] = {}
    with index.open(encoding="latin-1") as file:
        next(file, None)  # names of the columns
        for number, line in enumerate(file, start=2):
            fields = line.split()
            if not fields:
                continue
            try:
                entries.setdefault(fields[0].strip("'\""), []).append(float(fields[7]))
            except (IndexError, ValueError):
                raise KcinnError(
                    f"{index}, line {number}: expected model, six numbers, A(X), place. Received: {line.strip()[:80]!r}"
                ) from None
    return entries
