"""summarise: samples -> moments, quantiles and modes, inside a compiled step and without sorting."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kcinn.marginals import QUANTILES, Summary, smoothing

HALVINGS = 22  # of the interval in which a quantile lies: to 2e-7 of the range of the samples


def summarise(labels: Any) -> Summary:
    """The summaries of `kcinn.marginals.summarise` for a tensor ``(n, n_samples, n_labels)``.

    A quantile is found by halving an interval and counting: on a GPU that costs next to nothing beside the samples.
    """
    n_samples = labels.shape[1]
    offset = labels[:, :1]
    deviation = labels - offset
    mean = ops.mean(deviation, axis=1, keepdims=True)
    centred = deviation - mean
    covariance = ops.matmul(ops.transpose(centred, (0, 2, 1)), centred) / max(n_samples - 1, 1)
    samples = ops.transpose(labels, (0, 2, 1))[:, :, None]  # (n, n_labels, 1, n_samples)
    quantiles = _quantiles(samples)
    mode = _mode(samples, quantiles)
    return Summary(ops.transpose(quantiles, (0, 2, 1)), mode, (offset + mean)[:, 0], covariance)


def _count(samples: Any, threshold: Any) -> Any:
    """Number of samples ``(n, n_labels, 1, n_samples)`` up to each threshold ``(n, n_labels, n_thresholds)``."""
    return ops.sum(ops.cast(samples <= threshold[..., None], "int32"), axis=-1)


def _quantiles(samples: Any) -> Any:
    """Linear interpolation between order statistics, ``(n, n_labels, 3)``."""
    position = np.array(QUANTILES) * (samples.shape[-1] - 1)
    rank = ops.convert_to_tensor(position.astype(np.int32))
    fraction = ops.convert_to_tensor((position - position.astype(np.int32)).astype(np.float32))
    smallest, largest = ops.min(samples, axis=-1), ops.max(samples, axis=-1)

    def halve(_: Any, interval: tuple[Any, Any]) -> tuple[Any, Any]:
        lower, upper = interval
        middle = 0.5 * (lower + upper)
        enough = _count(samples, middle) > rank
        return ops.where(enough, lower, middle), ops.where(enough, middle, upper)

    start = (ops.repeat(smallest, len(QUANTILES), axis=-1), ops.repeat(largest, len(QUANTILES), axis=-1))
    _, upper = ops.fori_loop(0, HALVINGS, halve, start)
    far = (largest - smallest)[..., None] + 1.0
    at_rank = ops.max(ops.where(samples <= upper[..., None], samples, samples - far), axis=-1)
    above = ops.min(ops.where(samples > at_rank[..., None], samples, samples + far), axis=-1)
    above = ops.where(_count(samples, at_rank) > rank + 1, at_rank, ops.minimum(above, largest))
    return at_rank + fraction * (above - at_rank)


def _mode(samples: Any, quantiles: Any) -> Any:
    """Maximum of a smoothed histogram, ``(n, n_labels)``."""
    edges, points, kernel = (ops.convert_to_tensor(array) for array in smoothing(samples.shape[-1]))
    low, middle, high = (quantiles[..., k] for k in range(len(QUANTILES)))
    scatter = ops.maximum(0.5 * (high - low), 1e-6 * ops.abs(middle) + 1e-12)
    below = ops.cast(_count(samples, middle[..., None] + scatter[..., None] * edges), "float32")
    best = ops.argmax(ops.matmul(below[..., 1:] - below[..., :-1], kernel), axis=-1)
    return middle + scatter * ops.take(points, best)
