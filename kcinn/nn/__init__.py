"""Keras layers that know nothing of stars: couplings, mixings, base distributions and the conditional flow.

Names are resolved on first use, so that importing one of them does not load the others.
"""

from importlib import import_module
from typing import Any

import keras  # noqa: F401  (before the modules below: its first import registers kcinn's classes, which are made of them)

_HOMES = {
    "ConditionalFlow": "flow",
    "AffineCoupling": "couplings",
    "SplineCoupling": "couplings",
    "FixedPermutation": "mixing",
    "OrthogonalMixing": "mixing",
    "ActNorm": "mixing",
    "NormalBase": "base",
    "StudentTBase": "base",
    "ConditionalBase": "base",
    "Compiled": "compiled",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. Valid names: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
