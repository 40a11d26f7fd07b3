"""Plots of posteriors, their calibration and the spectra behind them; every function returns a matplotlib Figure."""

from kcinn.plot.honesty import calibration, chi_squares, information, joint_coverage, latent, ranks
from kcinn.plot.residuals import (
    against_reference,
    bias_against_snr,
    ratio_to_bound,
    recovery,
    residual_against_snr,
)
from kcinn.plot.spectra import corner, loss, spectrum

__all__ = [
    "against_reference",
    "bias_against_snr",
    "calibration",
    "chi_squares",
    "corner",
    "information",
    "joint_coverage",
    "latent",
    "loss",
    "ranks",
    "ratio_to_bound",
    "recovery",
    "residual_against_snr",
    "spectrum",
]
