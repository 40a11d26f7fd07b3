"""The columns of a survey's catalogue, as its manifest fixes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcinn.catalogue import DIAGNOSTICS, FLAG, ID, Column, covariance_columns, label_columns
from kcinn.survey.manifest import Manifest


def columns(manifest: Manifest) -> list[Column]:
    """Name, statistics of every label, covariance, diagnostics, flag."""
    space = manifest.label_space
    identity = Column(ID.name, ID.unit, ID.description, ID.ucd, manifest.id_type)
    return [identity, *label_columns(space), *covariance_columns(space), *DIAGNOSTICS.values(), FLAG]


def row_type(manifest: Manifest) -> np.dtype[Any]:
    """The NumPy type of a row."""
    return np.dtype([(column.name, column.dtype) for column in columns(manifest)])
