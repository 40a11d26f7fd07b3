"""Flag: bits that say what a user should know before using a row of a catalogue."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """What a user should know before using a row; 0 is a clean one."""

    FEW_PIXELS = 1  # less than a third of the pixels could be used
    POOR_FIT = 2  # the best fit misses the spectrum by more than twice its errors
    EDGE = 4  # a median lies within two percent of the edge of the training box
    SNR_RANGE = 8  # signal-to-noise ratio outside the range of the training
    VELOCITY = 16  # the velocity of the fit lies outside that of the training by more than three sigma
    EXTRAPOLATION = 32  # the encoder's summary lies outside that of the training spectra
    ESTIMATED_ERROR = 64  # no errors came with the spectrum; they were estimated from its scatter
    GAP = 128  # the synthesis misses the spectrum by more than noise: its typical error was added to the errors
    UNUSABLE = 256  # no usable pixel, or not normalised: no labels
    OUTLIER = 512  # unlike the spectra of the training, at a false-alarm rate of about 1 percent
    FEW_SAMPLES = 1024  # weights leave fewer than a hundred effective samples


MEANINGS = {
    f"FLAG{int(flag)}": meaning
    for flag, meaning in {
        Flag.FEW_PIXELS: "less than a third of the pixels usable",
        Flag.POOR_FIT: "best fit misses the spectrum by more than twice its errors",
        Flag.EDGE: "a median within 2 % of the edge of the training box",
        Flag.SNR_RANGE: "S/N outside the training range",
        Flag.VELOCITY: "residual velocity outside that of the training by 3 sigma",
        Flag.EXTRAPOLATION: "summary of the spectrum outside that of the training",
        Flag.ESTIMATED_ERROR: "errors estimated from the scatter of the pixels",
        Flag.GAP: "typical error of the synthesis added to the errors",
        Flag.UNUSABLE: "no usable pixel, or not normalised: no labels",
        Flag.OUTLIER: "unlike the spectra of the training",
        Flag.FEW_SAMPLES: "fewer than 100 effective samples after re-weighting",
    }.items()
}
