"""Widths: how much wider than the flow says posteriors are made, by label and signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kcinn.nn.base import ONE_SIGMA
from kcinn.nn.tensor import Tensor

KNOTS = 8  # in the logarithm of the signal-to-noise ratio
BACKFITS = 3
LEAST_SNR = 1e-6  # that of spectra without a usable pixel is zero
# how much of a gap between knots S/N can pass: knots are means of groups, and the outer groups reach on by half a gap
LEAST = np.array([-0.5] + [0.0] * (KNOTS - 2), "float32")
MOST = np.array([1.0] * (KNOTS - 2) + [1.5], "float32")


@keras.saving.register_keras_serializable(package="kcinn")
class Widths(keras.layers.Layer):
    """A factor for every label times one that is piecewise linear in log S/N; ones until they are learned.

    A flow fits all stars and all S/N at once, and is a few percent too wide here, too narrow there.

    Parameters
    ----------
    n_labels : int

    Input shape
        Signal-to-noise ratio ``(n,)``.
    Output shape
        ``(n, n_labels)``.
    """

    def __init__(self, n_labels: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        frozen = {"trainable": False, "dtype": "float32"}
        self.of_label = self.add_weight(shape=(n_labels,), name="of_label", initializer="ones", **frozen)
        self.log_snr = self.add_weight(shape=(KNOTS,), name="log_snr", initializer="zeros", **frozen)
        self.of_snr = self.add_weight(shape=(KNOTS,), name="of_snr", initializer="ones", **frozen)
        self.built = True

    def call(self, snr: Tensor) -> Tensor:
        log_snr = ops.log(ops.maximum(snr, LEAST_SNR))
        return _piecewise(log_snr, self.log_snr, self.of_snr) * ops.convert_to_tensor(self.of_label)

    def learn(self, score: NDArray[np.floating], snr: NDArray[np.floating]) -> None:
        """Change the factors so that central 68.3 percent intervals hold as many truths.

        Parameters
        ----------
        score : ndarray, shape (n, n_labels)
            How many standard deviations of a normal from the median the truths lie in posteriors of the present widths.
        snr : ndarray, shape (n,)
            Of these spectra.
        """
        size, log_snr = np.abs(score), np.log(np.maximum(snr, LEAST_SNR))
        groups = np.array_split(np.argsort(log_snr, kind="stable"), KNOTS)
        knots = np.array([log_snr[group].mean() for group in groups])
        of_label, of_snr = np.ones(size.shape[1]), np.ones(KNOTS)
        for _ in range(BACKFITS):
            at = ops.convert_to_numpy(_piecewise(log_snr, knots, of_snr))
            of_label = np.quantile(size / at, ONE_SIGMA, axis=0)
            of_snr = np.array([np.quantile(size[group] / of_label, ONE_SIGMA) for group in groups])
        self.log_snr.assign(knots)
        self.of_label.assign(ops.convert_to_numpy(self.of_label) * of_label)
        self.of_snr.assign(ops.convert_to_numpy(self.of_snr) * of_snr)

    def load_own_variables(self, store: Any) -> None:
        if len(store):  # files of earlier versions have none: they were ones
            super().load_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_labels": self.of_label.shape[0]}


def _piecewise(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """The linear interpolation at `x` ``(n,)``, shape ``(n, 1)``."""
    x, knots, values = (ops.cast(array, "float32") for array in (x, knots, values))
    gap = ops.maximum(knots[1:] - knots[:-1], 1e-6)
    passed = ops.clip((x[:, None] - knots[:-1]) / gap, ops.convert_to_tensor(LEAST), ops.convert_to_tensor(MOST))
    return values[:1] + ops.sum(passed * (values[1:] - values[:-1]), axis=-1, keepdims=True)
