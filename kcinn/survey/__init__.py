"""Millions of spectra: packed into one file, summarised in parts, joined into a catalogue."""

from kcinn.survey.merge import merge
from kcinn.survey.pack import PackReport, pack
from kcinn.survey.run import SurveyReport, run
from kcinn.survey.verify import verify

__all__ = ["PackReport", "SurveyReport", "merge", "pack", "run", "verify"]
