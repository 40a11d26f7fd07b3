"""PosteriorDistribution: what a model says of spectra, as a distribution of TensorFlow Probability."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kcinn.model.cinn import CINN
from kcinn.nn.encoder import Encoding
from kcinn.preparation import check_continuum, prepared
from kcinn.spectra import Spectra


class PosteriorDistribution(tfd.Distribution):
    """The posterior of labels in their units, given spectra, for models written in TensorFlow Probability.

    `sample` and `log_prob` are those of `kcinn.predict`, from any seed and at any labels, and gradients flow through
    both. The batch shape is ``(n_spectra,)``, the event shape ``(n_labels,)``. Spectra are encoded once. Made by
    `CINN.distribution`.

    Parameters
    ----------
    model : CINN
        On the TensorFlow backend.
    spectra : Spectra
        Continuum-normalised, in the rest frame, as for `kcinn.predict`.
    resolving_power : float, optional
        Of the spectra, if it is higher than the instrument's.
    name : str
        Of the distribution.

    Raises
    ------
    SpectraError
        If the spectra cannot be used, or one of them is not normalised.
    """

    def __init__(
        self, model: CINN, spectra: Spectra, *, resolving_power: float | None = None, name: str = "posterior"
    ) -> None:
        parameters = {"model": model, "spectra": spectra, "resolving_power": resolving_power, "name": name}
        spectra = prepared(spectra, model.instrument, resolving_power=resolving_power)
        check_continuum(spectra)
        assert spectra.error is not None
        encoded, _ = model.encoded(spectra.flux, spectra.error, spectra.mask)
        self.model, self.encoding = model, Encoding(*(tf.constant(part) for part in encoded))
        super().__init__(
            dtype=tf.float32, reparameterization_type=tfd.FULLY_REPARAMETERIZED, validate_args=False,
            allow_nan_stats=True, parameters=parameters, name=name,
        )  # fmt: skip

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.encoding.location.shape[0]])

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([len(self.model.label_space)])

    def _sample_n(self, n: Any, seed: Any = None) -> Any:
        base = self.model.flow.members[0].base
        freedom = getattr(base, "degrees_of_freedom", None)
        noise = tfd.Normal(0.0, 1.0) if freedom is None else tfd.StudentT(np.float32(freedom), 0.0, 1.0)
        shape = tf.concat([self.batch_shape, [n], self.event_shape], axis=0)
        drawn = self.model.draw_encoded(noise.sample(shape, seed=seed), self.encoding)
        return tf.transpose(drawn["labels"], [1, 0, 2])

    def _log_prob(self, value: Any) -> Any:
        one = tf.concat([self.batch_shape, self.event_shape], axis=0)
        value = tf.broadcast_to(value, tf.broadcast_dynamic_shape(tf.shape(value), one))
        samples = tf.transpose(tf.reshape(value, tf.concat([[-1], one], axis=0)), [1, 0, 2])
        found = self.model.density_of(samples, self.encoding)
        return tf.reshape(tf.transpose(found), tf.shape(value)[:-1])
