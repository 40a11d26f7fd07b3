"""Engines that turn labels into noiseless spectra."""

from kcinn.synthesis.engine import Engine

__all__ = ["Engine"]
