"""Calibration: intervals that hold what they should, and what is out of the ordinary."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from kcinn.model.cinn import CINN
from kcinn.model.ordinary import Ordinary
from kcinn.nn.compiled import Compiled
from kcinn.outlier import Outlier

N_SAMPLES, ROUNDS = 512, 2


def calibrate(model: CINN, ordinary: Ordinary, *, seed: int = 0) -> None:
    """Make a model's intervals hold what they should; learn how far ordinary spectra are from those of the training.

    Each latent variable is scaled so that its inner 68.3 percent hold as many truths; then `Widths` are learned, so
    that central intervals of the labels do at every S/N: labels are sums of many latent variables, whose joint
    shape the flow knows less well. For the thresholds see `Outlier`.

    Parameters
    ----------
    model : CINN
        Changed in place.
    ordinary : Ordinary
    seed : int
        Of the samples.
    """
    labels, encoding, signs = ordinary
    model.outlier = Outlier.learn(**signs)
    latent = Compiled(model.latent_encoded, model).in_chunks(len(labels), labels, encoding)
    for k, member in enumerate(model.flow.members):
        member.base.calibrate(latent[:, k])
    noise = model.flow.draw_noise(range(len(labels)), N_SAMPLES, seed)
    for _ in range(ROUNDS):
        drawn = model.drawn(noise, encoding)["labels"]
        below = np.count_nonzero(drawn < labels[:, None], axis=1)
        model.widths.learn(ndtri((below + 0.5) / (N_SAMPLES + 1.0)), encoding.snr)
