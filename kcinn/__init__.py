"""Posteriors of stellar labels for every spectrum of a survey."""

import logging
from importlib import import_module
from typing import Any

from kcinn.registration import register

__version__ = "0.1.0"

# name -> module; resolved on first use, so that `import kcinn` imports neither keras nor matplotlib
_PUBLIC = {
    "CINN": "kcinn.model",
    "Config": "kcinn.config",
    "Emulator": "kcinn.emulator",
    "Instrument": "kcinn.instrument",
    "KcinnError": "kcinn.errors",
    "Label": "kcinn.labels",
    "LabelSpace": "kcinn.labels",
    "Observation": "kcinn.nn.observe",
    "Posterior": "kcinn.posterior",
    "Spectra": "kcinn.spectra",
    "SyntheticGrid": "kcinn.grid",
    "export_model": "kcinn.export",
    "fit": "kcinn.training",
    "load": "kcinn.model",
    "predict": "kcinn.inference",
    "read": "kcinn.survey.readers",
    "register_reader": "kcinn.survey.readers",
    "read_grid": "kcinn.foreign_grid",
    "synthesize": "kcinn.synthesis.synthesize",
}

__all__ = ["__version__", "nn", "plot", "survey", "synthesis", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in ("nn", "plot", "survey", "synthesis"):
        return import_module(f"kcinn.{name}")
    raise AttributeError(f"module 'kcinn' has no attribute {name!r}. It has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)


logging.getLogger("kcinn").addHandler(logging.NullHandler())
register()
