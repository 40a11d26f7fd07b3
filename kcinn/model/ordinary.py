"""Ordinary: spectra of known stars and what a model makes of them."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from kcinn.grid import SyntheticGrid
from kcinn.model.cinn import CINN, ROWS_OF_MANY
from kcinn.model.mock import mock_batches
from kcinn.nn.encoder import Encoding

N_SPECTRA = (2048, 4096)  # two of each star within these


class Ordinary(NamedTuple):
    """Spectra like those of the training, of stars that it has not seen, encoded.

    `labels` ``(n, n_targets)`` are the truth, `signs` what `Outlier.learn` takes.
    """

    labels: NDArray[np.float32]
    encoding: Encoding
    signs: dict[str, NDArray[np.float32]]

    @classmethod
    def observed(cls, model: CINN, stars: SyntheticGrid, *, seed: int = 0) -> Ordinary:
        """Observe stars, if need be several times each, as those of the training are, and encode them.

        Parameters
        ----------
        model : CINN
        stars : SyntheticGrid
            On the model's pixels; stars that its training has not seen.
        seed : int
            Of what is drawn.

        Returns
        -------
        Ordinary
        """
        pieces, n_spectra = [], int(np.clip(2 * len(stars), *N_SPECTRA))
        for batch in mock_batches(stars, model.observation, n_spectra=n_spectra, seed=seed):
            assert batch.error is not None
            pieces.append(model.measured(batch.flux, batch.error, batch.mask, batch_size=ROWS_OF_MANY))
        encoding, signs = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *pieces)
        labels = stars.labels[np.arange(n_spectra) % len(stars)][:, list(model.encoder.targets)]
        return cls(labels.astype(np.float32), encoding, signs)
