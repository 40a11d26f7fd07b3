"""Tensor: what layers compute with."""

from __future__ import annotations

from typing import Any, TypeAlias

# each backend has a type of its own, and Keras has no name for all of them
Tensor: TypeAlias = Any
Shape: TypeAlias = tuple[int | None, ...]
