"""summarise: samples -> moments, quantiles and modes, in tensors."""

from __future__ import annotations

import numpy as np
from keras import ops

from kcinn.marginals import BINS, QUANTILES, REACH, Summary, distances, smoothing
from kcinn.nn.tensor import Tensor

MOST_HALVINGS = 24  # of a number of samples, to find how many lie below a threshold: up to 16 million
HALVINGS = 22  # of the interval in which a quantile lies: to 2e-7 of the range of the samples


def summarise(labels: Tensor) -> Summary:
    """The summaries of `kcinn.marginals.summarise` for a tensor ``(n, n_samples, n_labels)``.

    A quantile is found by halving an interval and counting: on a GPU that costs next to nothing beside the samples.
    """
    mean, covariance = _moments(labels)
    samples = ops.transpose(labels, (0, 2, 1))[:, :, None]  # (n, n_labels, 1, n_samples)
    quantiles = _quantiles(samples)
    mode = _mode(samples, quantiles)
    return Summary(ops.transpose(quantiles, (0, 2, 1)), mode, mean, covariance)


def summarise_by_sorting(labels: Tensor) -> Summary:
    """As `summarise`, for any number of samples, which may be unknown when the graph is made."""
    n_samples = ops.shape(labels)[1]
    mean, covariance = _moments(labels)
    ordered = ops.sort(ops.transpose(labels, (0, 2, 1)), axis=-1)
    last = ops.cast(n_samples - 1, "float32")
    position = ops.convert_to_tensor(np.array(QUANTILES, dtype=np.float32)) * last
    rank = ops.cast(position, "int32")
    lower = ops.take(ordered, rank, axis=-1)
    upper = ops.take(ordered, ops.minimum(rank + 1, n_samples - 1), axis=-1)
    quantiles = lower + (position - ops.cast(rank, "float32")) * (upper - lower)
    low, middle, high = (quantiles[..., k] for k in range(len(QUANTILES)))
    scatter = _scatter(low, middle, high)
    edges = ops.convert_to_tensor(np.linspace(-REACH, REACH, BINS + 1, dtype=np.float32))
    below = ops.cast(_count_sorted(ordered, middle[..., None] + scatter[..., None] * edges), "float32")
    distance, points = (ops.convert_to_tensor(array) for array in distances())
    bandwidth = 0.9 * ops.power(last + 1.0, -0.2)
    kernel = ops.exp(-0.5 * ops.square(distance / bandwidth))
    density = ops.matmul(below[..., 1:] - below[..., :-1], kernel)
    mode = middle + scatter * ops.take(points, ops.argmax(density, axis=-1))
    return Summary(ops.transpose(quantiles, (0, 2, 1)), mode, mean, covariance)


def _count_sorted(ordered: Tensor, thresholds: Tensor) -> Tensor:
    """Number of sorted samples ``(n, n_labels, n_samples)`` up to each threshold ``(n, n_labels, n_thresholds)``."""
    n_samples = ops.shape(ordered)[2]

    def halve(_: Tensor, interval: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        fewest, most = interval
        middle = (fewest + most) // 2
        reached = ops.take_along_axis(ordered, ops.minimum(middle, n_samples - 1), axis=2) <= thresholds
        open_ = fewest < most
        return ops.where(open_ & reached, middle + 1, fewest), ops.where(open_ & ~reached, middle, most)

    none = ops.zeros_like(thresholds, dtype="int32")
    return ops.fori_loop(0, MOST_HALVINGS, halve, (none, none + n_samples))[0]


def _moments(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(n, n_labels)`` and covariance ``(n, n_labels, n_labels)``."""
    offset = labels[:, :1]
    deviation = labels - offset
    mean = ops.mean(deviation, axis=1, keepdims=True)
    centred = deviation - mean
    n_more = ops.cast(ops.maximum(ops.shape(labels)[1] - 1, 1), "float32")
    return (offset + mean)[:, 0], ops.matmul(ops.transpose(centred, (0, 2, 1)), centred) / n_more


def _scatter(low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
    """Half the width between the outer quantiles, kept from zero."""
    return ops.maximum(0.5 * (high - low), 1e-6 * ops.abs(middle) + 1e-12)


def _count(samples: Tensor, threshold: Tensor) -> Tensor:
    """Number of samples ``(n, n_labels, 1, n_samples)`` up to each threshold ``(n, n_labels, n_thresholds)``."""
    return ops.sum(ops.cast(samples <= threshold[..., None], "int32"), axis=-1)


def _quantiles(samples: Tensor) -> Tensor:
    """Linear interpolation between order statistics, ``(n, n_labels, 3)``."""
    position = np.array(QUANTILES) * (samples.shape[-1] - 1)
    rank = ops.convert_to_tensor(position.astype(np.int32))
    fraction = ops.convert_to_tensor((position - position.astype(np.int32)).astype(np.float32))
    smallest, largest = ops.min(samples, axis=-1), ops.max(samples, axis=-1)

    def halve(_: Tensor, interval: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
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


def _mode(samples: Tensor, quantiles: Tensor) -> Tensor:
    """Maximum of a smoothed histogram, ``(n, n_labels)``."""
    edges, points, kernel = (ops.convert_to_tensor(array) for array in smoothing(samples.shape[-1]))
    low, middle, high = (quantiles[..., k] for k in range(len(QUANTILES)))
    scatter = _scatter(low, middle, high)
    below = ops.cast(_count(samples, middle[..., None] + scatter[..., None] * edges), "float32")
    best = ops.argmax(ops.matmul(below[..., 1:] - below[..., :-1], kernel), axis=-1)
    return middle + scatter * ops.take(points, best)
