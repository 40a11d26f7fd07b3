"""Instruments: the pixel grid and resolving power of every arm, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.errors import InstrumentError
from kcinn.wavelength import SPEED_OF_LIGHT, pixel_edges

MEDIA = ("air", "vacuum")
BUILT_IN = resources.files("kcinn") / "instruments"
ARM_KEYS = ("name", "pixel", "wavelength", "start", "step", "log_step", "n_pixels", "resolving_power", "telluric")
INSTRUMENT_KEYS = ("name", "description", "medium", "arm")


@dataclass(frozen=True)
class Arm:
    """One arm of a spectrograph.

    Parameters
    ----------
    name : str
    pixel : tuple of float
        Pixel numbers, from 0 to ``n_pixels - 1``, at which the wavelength is known; two suffice for a linear grid.
    knots : tuple of float, angstrom
        Wavelengths at those pixel numbers; between them the wavelength (or its logarithm) is linear.
    resolving_power : tuple of two floats
        ``wavelength / FWHM`` of the Gaussian line-spread function at the first and the last pixel, linear in between.
    log : bool, optional
        Whether the logarithm of the wavelength is linear in the pixel number.
    telluric : tuple of (lower, upper), angstrom, optional
        Windows with strong telluric lines.

    Raises
    ------
    InstrumentError
        If pixels or wavelengths do not ascend, or a resolving power is not positive.
    """

    name: str
    pixel: tuple[float, ...]
    knots: tuple[float, ...]
    resolving_power: tuple[float, float]
    log: bool = False
    telluric: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        problem = None
        if len(self.pixel) != len(self.knots) or len(self.pixel) < 2:
            problem = f"pixel and wavelength need one length >= 2; they have {len(self.pixel)}, {len(self.knots)}"
        elif self.pixel[0] != 0 or self.pixel[-1] != round(self.pixel[-1]) or not np.all(np.diff(self.pixel) > 0):
            problem = f"pixel must ascend from 0 to a whole number; it goes {self.pixel[0]} to {self.pixel[-1]}"
        elif self.knots[0] <= 0 or not np.all(np.diff(self.knots) > 0):
            problem = f"wavelengths must be positive and ascend; received {self.knots[0]} to {self.knots[-1]}"
        elif self.log and len(self.knots) != 2:
            problem = f"a logarithmic grid has two wavelengths, its ends; received {len(self.knots)}"
        elif len(self.resolving_power) != 2 or not all(0 < r < np.inf for r in self.resolving_power):
            problem = f"resolving_power must be one or two positive numbers; received {self.resolving_power}"
        elif not all(len(w) == 2 and w[0] < w[1] for w in self.telluric):
            problem = f"telluric must be a list of [lower, upper]; received {self.telluric}"
        if problem:
            raise InstrumentError(f"Arm {self.name!r}: {problem}")

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return int(self.pixel[-1]) + 1

    @cached_property
    def wavelength(self) -> NDArray[np.float64]:
        """Pixel centres, shape ``(n_pixels,)``, angstrom."""
        if self.log:
            return np.exp(np.interp(np.arange(self.n_pixels), self.pixel, np.log(self.knots)))
        return np.interp(np.arange(self.n_pixels), self.pixel, self.knots)

    @property
    def edges(self) -> tuple[float, float]:
        """Lower edge of the first pixel and upper edge of the last, angstrom."""
        w = self.wavelength
        return float(1.5 * w[0] - 0.5 * w[1]), float(1.5 * w[-1] - 0.5 * w[-2])

    def resolving_power_at(self, wavelength: ArrayLike) -> NDArray[np.float64]:
        """Resolving power at `wavelength` (angstrom), constant beyond the ends of the arm."""
        ends = (self.knots[0], self.knots[-1])
        return np.interp(np.asarray(wavelength, dtype=np.float64), ends, self.resolving_power)

    def get_config(self) -> dict[str, Any]:
        """The arm as plain data, accepted by `from_config`."""
        grid: dict[str, Any] = {"pixel": list(self.pixel), "wavelength": list(self.knots)}
        if self.log:
            step = float(np.log(self.knots[1] / self.knots[0]) / self.pixel[1])
            grid = {"start": self.knots[0], "log_step": step, "n_pixels": self.n_pixels}
        resolving_power, telluric = list(self.resolving_power), [list(window) for window in self.telluric]
        return {"name": self.name, **grid, "resolving_power": resolving_power, "telluric": telluric}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Arm:
        """Build from the keys of an ``[[arm]]`` table.

        The pixel grid is ``start, step, n_pixels`` (angstrom), or ``start, log_step, n_pixels`` (`log_step` is the
        step of the natural logarithm), or the lists ``pixel, wavelength``.

        Raises
        ------
        InstrumentError
            If a key is unknown, missing, or its value is not of the right kind.
        """
        unknown = set(config) - set(ARM_KEYS)
        if unknown:
            raise InstrumentError(f"Unknown arm key {sorted(unknown)}. Valid keys: {', '.join(ARM_KEYS)}")
        try:
            log = "log_step" in config
            if "pixel" in config:
                pixel, knots = config["pixel"], config["wavelength"]
            else:
                last = int(config["n_pixels"]) - 1
                start = float(config["start"])
                end = start * np.exp(config["log_step"] * last) if log else start + config["step"] * last
                pixel, knots = (0.0, last), (start, end)
            power = config["resolving_power"]
            power = (power, power) if isinstance(power, int | float) else power
            return cls(
                name=str(config["name"]),
                pixel=tuple(float(value) for value in pixel),
                knots=tuple(float(value) for value in knots),
                resolving_power=tuple(float(value) for value in power),  # type: ignore[arg-type]
                log=log,
                telluric=tuple((float(lower), float(upper)) for lower, upper in config.get("telluric", ())),
            )
        except KeyError as error:
            raise InstrumentError(
                f"Arm {config.get('name')!r} lacks the key {error}. Valid keys: {', '.join(ARM_KEYS)}"
            ) from None
        except (TypeError, ValueError) as error:
            if isinstance(error, InstrumentError):
                raise
            raise InstrumentError(f"Arm {config.get('name')!r}: {error}") from None


class Instrument:
    """A spectrograph: arms in ascending, separate wavelength ranges, with one medium.

    Parameters
    ----------
    name : str
    arms : iterable of Arm
    medium : {"air", "vacuum"}
        What the arms' wavelengths are measured in.
    description : str, optional

    Raises
    ------
    InstrumentError
        If there is no arm, arms overlap or share a name, or the medium is neither "air" nor "vacuum".
    """

    def __init__(self, name: str, arms: Iterable[Arm], *, medium: str, description: str = "") -> None:
        self.name, self.arms, self.medium, self.description = name, tuple(arms), medium, description
        if medium not in MEDIA:
            raise InstrumentError(f"Instrument {name!r}: medium must be 'air' or 'vacuum'. Received: {medium!r}")
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise InstrumentError(f"Instrument {name!r} needs arms with distinct names. Received: {names}")
        for left, right in pairwise(self.arms):
            if left.edges[1] > right.edges[0]:
                raise InstrumentError(
                    f"Instrument {name!r}: arms must ascend without overlap; {left.name}, {right.name} do not"
                )

    def __repr__(self) -> str:
        arms = ", ".join(f"{a.name} {a.knots[0]:.1f}-{a.knots[-1]:.1f} A x {a.n_pixels}" for a in self.arms)
        return f"Instrument({self.name!r}, {self.medium}: {arms})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instrument) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self.name, self.medium, self.arms))

    @property
    def n_pixels(self) -> int:
        """Number of pixels of all arms."""
        return sum(arm.n_pixels for arm in self.arms)

    @cached_property
    def wavelength(self) -> NDArray[np.float64]:
        """Pixel centres of all arms, shape ``(n_pixels,)``, angstrom."""
        return np.concatenate([arm.wavelength for arm in self.arms])

    @cached_property
    def pixel_width(self) -> NDArray[np.float64]:
        """Width of every pixel, shape ``(n_pixels,)``, angstrom."""
        return np.concatenate([np.subtract(*pixel_edges(arm.wavelength)[::-1]) for arm in self.arms])

    @property
    def arm_slices(self) -> tuple[slice, ...]:
        """Where each arm lies in `wavelength`."""
        ends = np.cumsum([0, *(arm.n_pixels for arm in self.arms)])
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))

    @property
    def telluric_mask(self) -> NDArray[np.bool_]:
        """True for pixels in a telluric window, shape ``(n_pixels,)``."""
        inside = np.zeros(self.n_pixels, dtype=bool)
        for lower, upper in (window for arm in self.arms for window in arm.telluric):
            inside |= (self.wavelength > lower) & (self.wavelength < upper)
        return inside

    def resolving_power(self, wavelength: ArrayLike) -> NDArray[np.float64]:
        """Resolving power at `wavelength` (angstrom), of the arm that covers it or else the nearest arm.

        Parameters
        ----------
        wavelength : array_like, angstrom

        Returns
        -------
        ndarray, shape of wavelength
        """
        wavelength = np.asarray(wavelength, dtype=np.float64)
        middles = [0.5 * (a.edges[1] + b.edges[0]) for a, b in pairwise(self.arms)]
        nearest = np.searchsorted(middles, wavelength)
        return np.choose(nearest, [arm.resolving_power_at(wavelength) for arm in self.arms])

    def windows(self, margin: float = 150.0) -> list[tuple[float, float]]:
        """Wavelength windows to synthesise: each arm and `margin` km/s on both sides, merged where they touch.

        Parameters
        ----------
        margin : float, km/s

        Returns
        -------
        list of (lower, upper), angstrom
        """
        merged: list[tuple[float, float]] = []
        for arm in self.arms:
            lower, upper = arm.edges[0] * (1 - margin / SPEED_OF_LIGHT), arm.edges[1] * (1 + margin / SPEED_OF_LIGHT)
            if merged and lower <= merged[-1][1]:
                lower, _ = merged.pop()
            merged.append((lower, upper))
        return merged

    def get_config(self) -> dict[str, Any]:
        """The instrument as plain data, for model and grid files."""
        arms = [arm.get_config() for arm in self.arms]
        return {"name": self.name, "description": self.description, "medium": self.medium, "arm": arms}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Instrument:
        """Rebuild from `get_config` or a parsed TOML file; InstrumentError names what is wrong.

        Parameters
        ----------
        config : mapping

        Returns
        -------
        Instrument
        """
        unknown, missing = sorted(set(config) - set(INSTRUMENT_KEYS)), sorted({"name", "medium", "arm"} - set(config))
        if unknown or missing:
            valid = ", ".join(INSTRUMENT_KEYS)
            raise InstrumentError(f"An instrument has the keys {valid}. Unknown: {unknown}; missing: {missing}")
        if not isinstance(config["arm"], list) or not all(isinstance(arm, Mapping) for arm in config["arm"]):
            raise InstrumentError(f"Instrument {config['name']!r}: arm must be a list of tables, [[arm]]")
        arms = [Arm.from_config(arm) for arm in config["arm"]]
        return cls(config["name"], arms, medium=config["medium"], description=config.get("description", ""))

    @staticmethod
    def available() -> list[str]:
        """Names of the built-in instruments.

        Returns
        -------
        list of str
        """
        return sorted(entry.name.removesuffix(".toml") for entry in BUILT_IN.iterdir() if entry.name.endswith(".toml"))

    @classmethod
    def load(cls, name_or_path: str | Path) -> Instrument:
        """Load a built-in instrument by its name, or any from a TOML file.

        Parameters
        ----------
        name_or_path : str or path

        Returns
        -------
        Instrument

        Raises
        ------
        InstrumentError
            If there is no such instrument or file, or the file is not a valid description.
        """
        if str(name_or_path) in cls.available():
            text = (BUILT_IN / f"{name_or_path}.toml").read_text(encoding="utf-8")
        else:
            try:
                text = Path(name_or_path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InstrumentError(
                    f"{str(name_or_path)!r} is neither a built-in instrument ({', '.join(cls.available())}) "
                    f"nor a readable TOML file ({type(error).__name__})"
                ) from None
        try:
            config = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InstrumentError(f"{name_or_path}: not valid TOML: {error}") from None
        return cls.from_config(config)
