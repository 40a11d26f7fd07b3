"""MARCS model atmospheres: which files of a folder surround a star, found by their names."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np

from kcinn.errors import KcinnError

# p5750_g+4.5_m0.0_t01_st_z-0.25_a+0.10_c+0.00_n+0.00_o+0.10_r+0.00_s+0.00.mod
_NAME = re.compile(
    r"(?P<geometry>[ps])(?P<teff>\d+)_g(?P<logg>[+-][\d.]+)_m(?P<mass>[\d.]+)_t(?P<vmic>\d+)_(?P<composition>\w\w)"
    r"_z(?P<fe_h>[+-][\d.]+)_a.*\.mod"
)
PLANE, SPHERICAL = "p", "s"
SPHERICAL_BELOW = 3.5  # log g below which MARCS spheres are preferred to planes
STANDARD_MASS, STANDARD_VMIC = 1.0, 2.0  # solar masses, km/s: preferred where a node has several models
REACH = 3  # nodes on either side of a star among which a complete cube is sought

Node = tuple[float, float, float]


class MarcsGrid:
    """The models of standard composition in a folder of MARCS files.

    Parameters
    ----------
    folder : Path
        Files as named on the MARCS site, unpacked, ending in ``.mod``.

    Raises
    ------
    KcinnError
        If there is no such model in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found: dict[str, dict[Node, tuple[float, Path]]] = {PLANE: {}, SPHERICAL: {}}
        for path in sorted(folder.glob("*.mod")):
            match = _NAME.fullmatch(path.name)
            if match is None or match["composition"] != "st":
                continue
            where = node(path)
            oddity = abs(float(match["mass"]) - STANDARD_MASS) + abs(float(match["vmic"]) - STANDARD_VMIC)
            models = found[match["geometry"]]
            if where not in models or oddity < models[where][0]:
                models[where] = oddity, path
        self.models = {
            geometry: {where: path for where, (_, path) in models.items()} for geometry, models in found.items()
        }
        if len(self) == 0:
            raise KcinnError(
                f"{folder}: no MARCS models of standard composition, such as p5750_g+4.5_m0.0_t01_st_z+0.00_a+0.00_"
                "c+0.00_n+0.00_o+0.00_r+0.00_s+0.00.mod. Unpack them there, or leave atmospheres out for ATLAS9."
            )

    def __len__(self) -> int:
        return sum(map(len, self.models.values()))

    @property
    def validity(self) -> dict[str, tuple[float, float]]:
        """Range of teff (K), logg and fe_h of the models."""
        nodes = np.array([where for models in self.models.values() for where in models])
        ends = zip(nodes.min(axis=0).tolist(), nodes.max(axis=0).tolist(), strict=True)
        return dict(zip(("teff", "logg", "fe_h"), ends, strict=True))

    def cube(self, teff: float, logg: float, fe_h: float) -> list[Path]:
        """The eight models around a star: lower and upper teff, in each logg, in each fe_h, the last varying fastest.

        All are planes or all are spheres. Where models are missing, the next wider cube is taken.

        Raises
        ------
        KcinnError
            If no complete set of models surrounds the star.
        """
        star = (teff, logg, fe_h)
        for geometry in (SPHERICAL, PLANE) if logg < SPHERICAL_BELOW else (PLANE, SPHERICAL):
            models = self.models[geometry]
            if not models:
                continue
            axes = [np.unique(axis) for axis in np.array(list(models)).T]
            edges = [_pairs(axis, value) for axis, value in zip(axes, star, strict=True)]
            spans = [np.ptp(axis) or 1.0 for axis in axes]
            for cube in sorted(
                product(*edges), key=lambda c: sum((b - a) / s for (a, b), s in zip(c, spans, strict=True))
            ):
                corners: list[Node] = list(product(*cube))  # type: ignore[arg-type]
                if all(corner in models for corner in corners):
                    return [models[corner] for corner in corners]
        covered = ", ".join(f"{name} {lower:g} to {upper:g}" for name, (lower, upper) in self.validity.items())
        raise KcinnError(
            f"{self.folder}: no complete cube of MARCS models surrounds teff={teff:g}, logg={logg:g}, fe_h={fe_h:g}. "
            f"The {len(self)} models there reach over {covered}, with gaps. Add models, or narrow labels or region."
        )


def node(path: Path) -> Node:
    """teff, logg and fe_h of a model, from its name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise KcinnError(f"{path} is not named like a MARCS model")
    return float(match["teff"]), float(match["logg"]), float(match["fe_h"])


def _pairs(axis: np.ndarray, value: float) -> list[tuple[float, float]]:
    """Nodes below and above a value, any of the nearest; a value on a node is its own lower and upper edge."""
    if value in axis:
        return [(value, value)]
    below, above = axis[axis < value][::-1][:REACH], axis[axis > value][:REACH]
    return [(float(lower), float(upper)) for lower, upper in product(below, above)]
