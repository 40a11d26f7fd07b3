"""Labels: the stellar parameters and abundances that kcinn infers, with their units and prior box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from kcinn.errors import LabelError

UNITS = {"teff": "K", "logg": "dex(cm s-2)", "overshooting": ""}
UNITS |= dict.fromkeys(("vmic", "vsini", "vmac", "vbroad"), "km s-1")
LATEX = {
    "teff": r"T_{\rm eff}", "logg": r"\log g", "fe_h": r"[{\rm Fe/H}]", "vmic": r"v_{\rm mic}",
    "vsini": r"v \sin i", "vmac": r"v_{\rm mac}",
}  # fmt: skip
UNIT_MARGIN = 1e-6  # closest that a label comes to the edge of its box, as a fraction of the box


@dataclass(frozen=True)
class Label:
    """One label: name, unit, the edges of its uniform prior, and how plots write it.

    Parameters
    ----------
    name : str
        Such as `teff` or `mg_fe`; columns of catalogues are called after it.
    unit : str
        As astropy writes it.
    lower, upper : float
        Edges of the prior, in that unit.
    latex : str
        Without dollar signs; by default plots write the name.

    Raises
    ------
    LabelError
        If the edges are not finite and ascending.
    """

    name: str
    unit: str
    lower: float
    upper: float
    latex: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lower) and np.isfinite(self.upper) and self.lower < self.upper):
            raise LabelError(
                f"Label {self.name!r} needs finite lower < upper. Received: lower={self.lower}, upper={self.upper}"
            )

    @classmethod
    def standard(cls, name: str, lower: float, upper: float) -> Label:
        """A label with the unit and the typeface that go with its name; ``<element>_fe`` is an abundance in dex.

        Parameters
        ----------
        name : str
        lower, upper : float
            Edges of the prior, in the label's unit.

        Returns
        -------
        Label
        """
        element, _, base = name.partition("_")
        latex = LATEX.get(name) or (rf"[{{\rm {element.capitalize()}/Fe}}]" if base == "fe" else rf"{{\rm {name}}}")
        return cls(name, UNITS.get(name, "dex"), lower, upper, latex)


class LabelSpace:
    """An ordered set of labels with a uniform prior inside their box.

    Parameters
    ----------
    labels : iterable of Label

    Raises
    ------
    LabelError
        If there is no label or a name occurs twice.
    """

    def __init__(self, labels: Iterable[Label]) -> None:
        self.labels = tuple(labels)
        if not self.labels or len(set(self.names)) < len(self.labels):
            raise LabelError(f"A label space needs at least one label and distinct names. Received: {list(self.names)}")

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSpace) and self.labels == other.labels

    def __hash__(self) -> int:
        return hash(self.labels)

    def __repr__(self) -> str:
        return f"LabelSpace({', '.join(f'{x.name} {x.lower:g}..{x.upper:g} {x.unit}'.rstrip() for x in self)})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def elements(self) -> tuple[int, ...]:
        """Positions of the labels that are an element's abundance relative to iron, ``<element>_fe``."""
        return tuple(i for i, name in enumerate(self.names) if name.endswith("_fe"))

    @property
    def lower(self) -> NDArray[np.float64]:
        """Lower edges of the prior box, ``(n_labels,)``."""
        return np.array([label.lower for label in self.labels])

    @property
    def upper(self) -> NDArray[np.float64]:
        """Upper edges of the prior box, ``(n_labels,)``."""
        return np.array([label.upper for label in self.labels])

    @property
    def log_volume(self) -> float:
        """Logarithm of the volume of the box, by which the uniform prior is normalised."""
        return float(np.sum(np.log(self.upper - self.lower)))

    def index(self, name: str) -> int:
        """Position of the label `name`; LabelError lists the valid names.

        Parameters
        ----------
        name : str

        Returns
        -------
        int
        """
        if name not in self.names:
            raise LabelError(f"Unknown label {name!r}. Valid labels: {', '.join(self.names)}")
        return self.names.index(name)

    def subset(self, names: Iterable[str]) -> LabelSpace:
        """The label space of `names` only, in that order.

        Parameters
        ----------
        names : iterable of str

        Returns
        -------
        LabelSpace
        """
        return LabelSpace(self.labels[self.index(name)] for name in names)

    def without(self, names: Iterable[str]) -> LabelSpace:
        """The label space of all labels but `names`.

        Parameters
        ----------
        names : iterable of str

        Returns
        -------
        LabelSpace

        Raises
        ------
        LabelError
            If there is no such label, or none is left.
        """
        left_out = {self.index(name) for name in names}
        return LabelSpace(label for i, label in enumerate(self.labels) if i not in left_out)

    def within(self, name: str, lower: float, upper: float) -> LabelSpace:
        """The label space with a narrower box of one label.

        Parameters
        ----------
        name : str
        lower, upper : float
            Edges of its prior, in the label's unit.

        Returns
        -------
        LabelSpace

        Raises
        ------
        LabelError
            If there is no such label, or the edges are not ascending or lie outside its box.
        """
        labels = list(self.labels)
        label = labels[self.index(name)]
        if not label.lower <= lower < upper <= label.upper:
            raise LabelError(
                f"{name} goes from {label.lower:g} to {label.upper:g} {label.unit}; a narrower box has ascending edges "
                f"inside these. Received: {lower:g} to {upper:g}"
            )
        labels[self.index(name)] = replace(label, lower=lower, upper=upper)
        return LabelSpace(labels)

    def contains(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Whether each row of `values`, shape ``(..., n_labels)``, lies inside the box.

        Parameters
        ----------
        values : array_like, shape (..., n_labels)

        Returns
        -------
        ndarray of bool, shape (...)
        """
        values = np.asarray(values, dtype=np.float64)
        return np.all((values >= self.lower) & (values <= self.upper), axis=-1)

    def to_unbounded(self, values: ArrayLike) -> NDArray[np.float64]:
        """Map the box to the space in which its uniform prior is a standard normal.

        ``phi = ndtri((value - lower) / (upper - lower))``, shape ``(..., n_labels)``; a value on or beyond an edge
        is taken a millionth of the box inside it.

        Parameters
        ----------
        values : array_like, shape (..., n_labels)

        Returns
        -------
        ndarray, shape (..., n_labels)
        """
        unit = (np.asarray(values, dtype=np.float64) - self.lower) / (self.upper - self.lower)
        return ndtri(np.clip(unit, UNIT_MARGIN, 1.0 - UNIT_MARGIN))

    def from_unbounded(self, phi: ArrayLike) -> NDArray[np.float64]:
        """Inverse of `to_unbounded`: always inside the box.

        Parameters
        ----------
        phi : array_like, shape (..., n_labels)

        Returns
        -------
        ndarray, shape (..., n_labels)
        """
        return self.lower + (self.upper - self.lower) * ndtr(np.asarray(phi, dtype=np.float64))

    def get_config(self) -> list[dict[str, Any]]:
        """The labels as plain data, for files."""
        return [asdict(label) for label in self.labels]

    @classmethod
    def from_config(cls, config: Iterable[dict[str, Any]]) -> LabelSpace:
        """Rebuild from `get_config`.

        Parameters
        ----------
        config : iterable of dict

        Returns
        -------
        LabelSpace
        """
        return cls(Label(**item) for item in config)
