"""Ordinary: spectra of known stars and what a model makes of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kcinn.nn.encoder import Encoding


class Ordinary(NamedTuple):
    """Spectra like those of the training, of stars that it has not seen, encoded.

    `labels` ``(n, n_targets)`` are the truth, `signs` what `Outlier.learn` takes.
    """

    labels: NDArray[np.float32]
    encoding: Encoding
    signs: dict[str, NDArray[np.float32]]
