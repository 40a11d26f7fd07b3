"""Let plain `keras.saving.load_model` find kcinn's classes, without importing keras before somebody else does."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from kcinn.errors import KcinnError

CLASSES = "kcinn.model"  # importing it registers every class that a model file names
BACKENDS = ("jax", "torch")  # that are extras


class _WithClasses(Loader):
    """Load keras as its own loader does, then register kcinn's classes with it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._loader.exec_module(module)
        except ModuleNotFoundError as error:
            if error.name not in BACKENDS:
                raise
            advice = (
                f'The backend {error.name} is not installed: pip install "kcinn[{error.name}]", or unset KERAS_BACKEND'
            )
            raise KcinnError(advice) from error
        import_module(CLASSES)


class _KerasFinder(MetaPathFinder):
    """Takes part in the first import of keras only."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithClasses(spec.loader)
        return spec


def register() -> None:
    """Register kcinn's classes with keras: now if it is there, else as soon as it is imported."""
    if "keras" in sys.modules:
        import_module(CLASSES)
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())
