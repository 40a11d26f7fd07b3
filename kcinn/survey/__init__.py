"""Millions of spectra: packed into one file, summarised in parts, joined into a catalogue."""

from kcinn.survey.merge import merge
from kcinn.survey.pack import PackReport, pack
from kcinn.survey.run import SurveyReport, run
from kcinn.survey.specutils import from_specutils
from kcinn.survey.verify import verify

__all__ = ["PackReport", "SurveyReport", "from_specutils", "merge", "pack", "run", "verify"]
