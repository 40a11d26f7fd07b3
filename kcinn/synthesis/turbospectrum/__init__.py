"""The second engine: an installed Turbospectrum."""

from kcinn.synthesis.turbospectrum.turbospectrum_engine import Turbospectrum

__all__ = ["Turbospectrum"]
