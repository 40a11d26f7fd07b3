"""Panels: what the plots of kcinn share."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kcinn.labels import LabelSpace

BLUE, ORANGE, GREY = "#2b6ca3", "#d1662c", "#8a8a8a"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # apart for the colour-blind: Okabe & Ito


def short_name(space: LabelSpace, k: int) -> str:
    """How a plot writes a label."""
    return f"${space.labels[k].latex}$" if space.labels[k].latex else space.labels[k].name


def axis_title(space: LabelSpace, k: int) -> str:
    """The same with its unit."""
    unit = space.labels[k].unit
    return f"{short_name(space, k)} [{unit}]" if unit and unit != "dex" else short_name(space, k)


def panels(n: int, *, size: tuple[float, float] = (2.7, 2.5), columns: int = 5) -> tuple[Figure, NDArray[Any]]:
    """A figure with `n` axes, `size` inches each, in rows of at most `columns`."""
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes[n:]:
        axis.set_axis_off()
    for axis in axes:
        axis.tick_params(labelsize=8)
    return figure, axes[:n]
