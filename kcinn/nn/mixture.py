"""FlowMixture: several flows as one density."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kcinn.nn.flow import ConditionalFlow
from kcinn.nn.tensor import Shape, Tensor


@keras.saving.register_keras_serializable(package="kcinn")
class FlowMixture(keras.layers.Layer):
    """The mean of the densities of its members.

    Members differ in their initial weights; where they disagree, the mixture is wider than each. Samples are shared out
    among the members, so that drawing costs no more than from one flow.

    Parameters
    ----------
    n_labels : int
    members : int
    seed : int
        Of the first member's mixings; the others follow.
    **flow
        Of every member, see `ConditionalFlow`.
    """

    def __init__(self, n_labels: int, *, members: int = 1, seed: int = 0, **flow: Any) -> None:
        super().__init__(autocast=False)
        self.members = [ConditionalFlow(n_labels, seed=seed + 1000 * k, **flow) for k in range(members)]

    def build(self, input_shape: dict[str, Shape]) -> None:
        for member in self.members:
            member.build(input_shape)
        self.built = True

    def log_density(self, theta: Tensor, context: Tensor) -> Tensor:
        """``log p(theta | context)``, as `ConditionalFlow.log_density`."""
        densities = ops.stack([member.log_density(theta, context) for member in self.members])
        return ops.logsumexp(densities, axis=0) - math.log(len(self.members))

    def transform(self, noise: Tensor, context: Tensor) -> Tensor:
        """Turn noise ``(n, n_samples, n_labels)`` into samples, every k-th of which is of the k-th member's making."""
        n = len(self.members)
        if n == 1:
            return self.members[0].transform(noise, context)
        parts = [member.transform(noise[:, k::n], context) for k, member in enumerate(self.members)]
        # each back to its place: any stretch of samples is then of all members
        n_samples = ops.shape(noise)[1]
        sample = ops.arange(n_samples, dtype="int32")
        k, place = sample % n, sample // n
        begin = k * (n_samples // n) + ops.minimum(k, n_samples % n)
        return ops.take(ops.concatenate(parts, axis=1), begin + place, axis=1)

    def draw_noise(
        self, rows: Iterable[int], n_samples: int, seed: int = 0, *, quasi: bool = False
    ) -> NDArray[np.float32]:
        """Noise for `transform`, as `ConditionalFlow.draw_noise`; every member gets consecutive quasi-random points."""
        noise = self.members[0].draw_noise(rows, n_samples, seed, quasi=quasi)
        if quasi and len(self.members) > 1:  # every other point of a Sobol set lies in one half of the cube
            order = np.argsort(np.arange(n_samples) % len(self.members), kind="stable")
            noise[:, order] = noise.copy()
        return noise
