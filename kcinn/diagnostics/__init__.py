"""Diagnostics: how near posteriors come to the truth and to the information in the spectra, and are they honest?"""

from kcinn.diagnostics.calibration import Calibration, calibration, coverage, rank
from kcinn.diagnostics.information import bound, saliency
from kcinn.diagnostics.normality import Normality, normality
from kcinn.diagnostics.recovery import Recovery, recovery
from kcinn.diagnostics.sbc import SBC, sbc
from kcinn.diagnostics.tarp import TARP, tarp

__all__ = [
    "SBC",
    "TARP",
    "Calibration",
    "Normality",
    "Recovery",
    "bound",
    "calibration",
    "coverage",
    "normality",
    "rank",
    "recovery",
    "saliency",
    "sbc",
    "tarp",
]
