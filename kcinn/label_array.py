"""label_array: labels as users hold them -> an array in the order and units of a label space."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units
from numpy.typing import NDArray

from kcinn.errors import LabelError
from kcinn.labels import LabelSpace

SHOWN = 3  # labels outside the box that an error names


def label_array(labels: Any, space: LabelSpace) -> NDArray[np.float64]:
    """Labels inside the box of `space`, in its order and units.

    Parameters
    ----------
    labels : array_like, shape (..., n_labels), or a mapping or table of label names to values
        Columns with units are converted; logarithmic units have one scale only.
    space : LabelSpace

    Returns
    -------
    ndarray, shape (..., n_labels)

    Raises
    ------
    LabelError
        If a label is missing, in another kind of unit, not a number, or outside the box.
    """
    values = _by_name(labels, space) if hasattr(labels, "keys") else np.asarray(labels, dtype=np.float64)
    if values.shape[-1:] != (len(space),) or not values.size:
        raise LabelError(
            f"labels must have shape (..., {len(space)}): {', '.join(space.names)}. Received: {values.shape}"
        )
    exact = np.float32 if getattr(labels, "dtype", None) == np.float32 else np.float64  # samples end at rounded edges
    outside = ~((values >= space.lower.astype(exact)) & (values <= space.upper.astype(exact)))
    if outside.any():
        said = []
        for *row, k in np.argwhere(outside)[:SHOWN]:
            label = space.labels[k]
            where = f" in row {', '.join(map(str, row))}" if row else ""
            said.append(f"{label.name}={values[(*row, k)]:g}{where} ({label.lower:g} to {label.upper:g})")
        more = outside.sum() - len(said)
        raise LabelError(
            f"Outside the training box: {'; '.join(said)}{f'; and {more} more' if more else ''}. "
            "Take labels inside it, or train on a wider grid."
        )
    return values


def _by_name(labels: Any, space: LabelSpace) -> NDArray[np.float64]:
    given = list(labels.keys())
    missing = [name for name in space.names if name not in given]
    if missing:
        raise LabelError(
            f"Needed are all of {', '.join(space.names)}. Missing: {', '.join(missing)}. "
            f"Received: {', '.join(map(str, given))}"
        )
    columns = [numbers(labels[label.name], label.unit, label.name) for label in space]
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def numbers(column: Any, unit: str, name: str) -> NDArray[np.float64]:
    """The numbers of a column, or the one of a cell, in `unit`; masked ones are NaN."""
    given = getattr(column, "unit", None)
    try:
        factor = 1.0 if given is None or unit.startswith("dex") else units.Unit(given).to(unit)
    except units.UnitConversionError as error:
        raise LabelError(f"{name} must be in {unit}: {error}") from None
    return factor * np.ma.filled(np.ma.asarray(getattr(column, "value", column), dtype=np.float64), np.nan)
