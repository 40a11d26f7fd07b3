"""The embedded synthesis engine: ATLAS9 structures, atomic lines and CH, departures from LTE by table."""

from kcinn.synthesis.nlte.nlte_engine import NLTEEngine

__all__ = ["NLTEEngine"]
