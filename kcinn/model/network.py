"""Network: emulator, encoder and flow as one Keras model, on tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from kcinn.continuum import smooth_curves
from kcinn.devices import mean_loss
from kcinn.emulator import Emulator
from kcinn.instrument import Instrument
from kcinn.labels import UNIT_MARGIN, LabelSpace
from kcinn.model.continuum import continuum
from kcinn.model_file import CINN_FILE, check_format
from kcinn.nn.conv_encoder import ConvEncoder
from kcinn.nn.dense_encoder import DenseEncoder
from kcinn.nn.encoder import Encoding
from kcinn.nn.fisher_encoder import FisherEncoder
from kcinn.nn.levenberg_marquardt import LIMIT
from kcinn.nn.mixture import FlowMixture
from kcinn.nn.observe import Observation, Observe
from kcinn.nn.resimulation import largest_misfit
from kcinn.nn.tensor import Tensor
from kcinn.nn.widths import Widths
from kcinn.outlier import Outlier

ENCODERS = {"fisher": FisherEncoder, "dense": DenseEncoder, "conv": ConvEncoder}
FARTHEST = 30.0  # in the frame of the flow: far outside the box, yet finite beyond the sinh
TAIL = 3.0  # beyond this many standard deviations the frame of the flow is logarithmic
MISSED = 5.0  # standard deviations of chi-square that noise alone is allowed
FINEST = 0.2  # smallest error of a pixel, over what is typical of its spectrum
CONTEXT_LIMIT = 6.0  # standardised context is cut here: what lies beyond was never seen in training


class Network(keras.Model):
    """The density of labels given a spectrum, and draws from it.

    Labels live in a box; inside, the network works on `phi`, in which the uniform prior of the box is a standard
    normal, so that no sample can leave the box. An encoder turns a spectrum into a context and a frame (location and
    scale triangle); the flow models the labels in that frame, its far tails compressed:
    ``u = 3 asinh(factor^T (phi - location) / 3)``. Last, `Widths` stretch the posterior about its centre, the image of
    no noise.

    Parameters
    ----------
    label_space : list
        `LabelSpace.get_config` of all labels of the grid.
    targets : list of str
        The labels that are inferred; the others are marginalised.
    instrument : dict
        `Instrument.get_config`.
    emulator, encoder, flow : dict
        Sizes; `encoder` has a key `kind`, "fisher", "dense" or "conv".
    observation : dict
        `Observation.get_config`.
    unreliable : list of (lower, upper, reason), angstrom
        Windows in which the synthesis is known to be wrong; these pixels are never used.
    metadata, summary : dict, optional
        Of the grid, and of the training.
    outlier : dict, optional
        `Outlier.get_config`; without it no spectrum is called an outlier.

    Input shape
        ``{"labels": (n, n_targets), "flux": ..., "error": ..., "mask": (n, n_pixels)}``.
    Output shape
        ``log p(labels | spectrum)``, ``(n,)``.
    """

    def __init__(
        self,
        label_space: list[dict[str, Any]],
        targets: list[str],
        instrument: dict[str, Any],
        emulator: dict[str, Any],
        encoder: dict[str, Any],
        flow: dict[str, Any],
        observation: dict[str, Any],
        unreliable: Iterable[Any] = (),
        metadata: dict[str, Any] | None = None,
        summary: dict[str, Any] | None = None,
        outlier: dict[str, Any] | None = None,
        format: str = CINN_FILE.format,
        **kwargs: Any,
    ) -> None:
        check_format(format)
        super().__init__(autocast=False, **kwargs)
        self.full_space = LabelSpace.from_config(label_space)
        self.label_space = self.full_space.subset(targets)
        self.instrument = Instrument.from_config(instrument)
        self.observation = Observation.from_config(observation)
        self.metadata, self.summary_of_training = dict(metadata or {}), dict(summary or {})
        self.outlier = None if outlier is None else Outlier.from_config(outlier)
        self._specification = {"emulator": dict(emulator), "encoder": dict(encoder), "flow": dict(flow)}
        self.unreliable = [list(window) for window in unreliable]
        wavelength, arm_pixels = self.instrument.wavelength, [arm.n_pixels for arm in self.instrument.arms]
        self.ignored = self.instrument.telluric_mask.copy()
        for lower, upper, *_ in self.unreliable:
            self.ignored |= (wavelength > lower) & (wavelength < upper)
        self.usable = (~self.ignored).astype(np.float32)
        self.emulator = Emulator(label_space, instrument, emulator, metadata)
        options = {key: value for key, value in encoder.items() if key != "kind"}
        indices = [self.full_space.index(name) for name in targets]
        self.encoder = ENCODERS[encoder["kind"]](self.emulator, wavelength, arm_pixels, indices, **options)
        self.observe = Observe(self.observation, wavelength, arm_pixels)
        self.flow = FlowMixture(len(targets), **flow)
        self.widths = Widths(len(targets))
        n_context = self.encoder.n_context
        self.context_mean = self.add_weight(
            shape=(n_context,), name="context_mean", initializer="zeros", trainable=False
        )
        self.context_scale = self.add_weight(
            shape=(n_context,), name="context_scale", initializer="ones", trainable=False
        )
        self.gap = self.add_weight(shape=(len(wavelength),), name="gap", initializer="zeros", trainable=False)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        self.encoder.build((None, self.instrument.n_pixels), (None, self.instrument.n_pixels))
        self.observe.build((None, self.instrument.n_pixels))
        self.flow.build({"theta": (None, len(self.label_space)), "context": (None, self.encoder.n_context)})
        self.built = True

    def encode(self, flux: Tensor, error: Tensor, mask: Tensor) -> Encoding:
        """Encode spectra ``(n, n_pixels)``; the context is as the encoder gives it."""
        return self.encoder(flux, self._weight(error, mask))

    def encode_and_measure(self, flux: Tensor, error: Tensor, mask: Tensor) -> tuple[Encoding, dict[str, Tensor]]:
        """Encode spectra, and measure what `Outlier` takes: how far each is from spectra of the training."""
        encoding, weight = self.encode(flux, error, mask), self._weight(error, mask)
        n_pixels = ops.sum(ops.cast(weight > 0, "float32"), axis=-1)
        peak, best_fit = ops.zeros_like(n_pixels), self.encoder.best_fit(encoding)
        if best_fit is not None:
            peak = largest_misfit(self.emulator, self.observe, best_fit, encoding.velocity, flux, weight)
        return encoding, {
            "context": (encoding.context - self.context_mean) / self.context_scale,
            "chi_square": encoding.chi_square,
            "peak": peak,
            "snr": encoding.snr,
            "n_pixels": n_pixels,
        }

    def missed(self, signs: dict[str, Tensor]) -> Tensor:
        """Whether spectra are to get the synthetic gap, of what `encode_and_measure` measured, ``(n,)``.

        They are if their reduced chi-square is larger than noise and three times the emulator's typical error allow.
        """
        emulator = float(self.summary_of_training.get("emulator_rms", 0.0))
        noise = MISSED * ops.sqrt(2.0 / ops.maximum(signs["n_pixels"], 1.0))
        allowed = 1.0 + noise + ops.square(3.0 * emulator * signs["snr"])
        return ops.logical_and(ops.greater(signs["chi_square"], allowed), ops.max(self.gap) > 0.0)

    def trusted(self, error: Tensor, mask: Tensor) -> Tensor:
        """Errors of spectra that are no better than those of the training, ``(n, n_pixels)``.

        Those of better ones grow as a whole, until the spectrum counts as the best of the training. From pixel to pixel
        they may differ: in lines there are fewer photons. But a pixel that is far better than the others has a wrong
        error, and is not to count for the whole spectrum.

        Parameters
        ----------
        error, mask : tensors or arrays, shape (n, n_pixels)
            Positive; one where a pixel is missing.
        """
        low_noise = self.observation.snr[1] * math.exp(2.0 * self.observation.arm_contrast)
        error, good = ops.convert_to_tensor(error), 1.0 - ops.cast(mask, "float32")
        per_angstrom = ops.convert_to_tensor(np.sqrt(self.instrument.pixel_width), dtype="float32")
        n_good = ops.maximum(ops.sum(good, axis=1), 1.0)
        # the mean of roots, in which few pixels hardly count
        root = ops.maximum(ops.sum(good / ops.sqrt(error * per_angstrom), axis=1) / n_good, 1e-6)
        error = ops.maximum(error, FINEST / (ops.square(root)[:, None] * per_angstrom) * good)
        square = ops.sum(good / ops.square(error * per_angstrom), axis=1) / n_good
        return error * ops.maximum(1.0, ops.sqrt(square) / low_noise)[:, None]

    def best_fit(self, encoding: Encoding) -> Tensor:
        """Unbounded labels of the best fit ``(n, n_labels)``, in the emulator's order.

        Of an encoder that makes no fit they are what the members of the flow make of no noise, on average; labels that
        it marginalises are at the middle of their prior.
        """
        best = self.encoder.best_fit(encoding)
        if best is None:
            centre = ops.clip(self._centre(encoding), -LIMIT, LIMIT)
            middle = ops.zeros_like(centre[:, :1])
            columns = dict(zip(self.label_space.names, ops.unstack(centre, axis=1), strict=True))
            best = ops.concatenate(
                [columns[name][:, None] if name in columns else middle for name in self.full_space.names], axis=1
            )
        return best

    def continuum(self, encoding: Encoding, flux: Tensor, error: Tensor, mask: Tensor) -> Tensor:
        """Continuum ``(n, n_pixels)`` of spectra near one, of which `encoding` is what the encoder made."""
        curves = smooth_curves(self.instrument.wavelength, self.instrument.arm_slices)
        return continuum(
            self.emulator, self.observe, curves, self.best_fit(encoding), encoding.velocity, flux,
            self._weight(error, mask),
        )  # fmt: skip

    def _weight(self, error: Tensor, mask: Tensor) -> Tensor:
        """Inverse variance of the pixels, zero where they are not used."""
        good = (1.0 - ops.cast(mask, "float32")) * ops.convert_to_tensor(self.usable)
        return good / ops.square(ops.maximum(error, 1e-6))

    def standardise(self, context: Tensor) -> Tensor:
        """Context with the mean and scatter of the training spectra taken out, and bounded."""
        return ops.clip(ops.subtract(context, self.context_mean) / self.context_scale, -CONTEXT_LIMIT, CONTEXT_LIMIT)

    def to_frame(self, phi: Tensor, encoding: Encoding) -> tuple[Tensor, Tensor]:
        """Unbounded labels ``(n, n_targets)`` in the frame of the flow, and the log-determinant ``(n,)``.

        Labels may have an axis of samples in the middle, and then the log-determinant has it too.
        """
        if len(phi.shape) == 2:
            u, log_det = self.to_frame(phi[:, None], encoding)
            return u[:, 0], log_det[:, 0]
        place = self.encoder.place
        offset = ops.subtract(phi, ops.take(encoding.location, place, axis=1)[:, None])
        z = ops.matmul(offset, ops.take(encoding.factor, place, axis=1)) / TAIL
        stretch = ops.log(ops.diagonal(encoding.factor, axis1=1, axis2=2))[:, None]
        return TAIL * ops.arcsinh(z), ops.sum(stretch - 0.5 * ops.log1p(ops.square(z)), axis=-1)

    def log_density(self, phi: Tensor, flux: Tensor, error: Tensor, mask: Tensor) -> Tensor:
        """``log p(phi | spectrum)`` of the unbounded labels, ``(n,)``."""
        return self.density_encoded(phi[:, None], self.encode(flux, error, mask))[:, 0]

    def density_encoded(self, phi: Tensor, encoding: Encoding) -> Tensor:
        """The same of unbounded labels ``(n, n_samples, n_targets)``, given what the encoder made of spectra."""
        u, log_det = self.to_frame(self._unstretched(phi, encoding), encoding)
        stretch = ops.sum(ops.log(self.widths(encoding.snr)), axis=-1, keepdims=True)
        return self.flow.log_density(u, self.standardise(encoding.context)) + log_det - stretch

    def draw_encoded(self, noise: Tensor, encoding: Encoding, density: bool = False) -> dict[str, Tensor]:
        """Turn noise ``(n, n_samples, n_targets)`` into labels inside the box, given what the encoder made of spectra.

        With `density`, `log_prob` ``(n, n_samples)`` is the logarithm of the posterior density of every draw.
        """
        centre = self._centre(encoding)[:, None]
        phi = centre + self.widths(encoding.snr)[:, None] * (self._from_noise(noise, encoding) - centre)
        unit = 0.5 * (1.0 + ops.erf(phi / math.sqrt(2.0)))
        lower, upper = self._edges()
        drawn = {
            "labels": ops.clip(lower + (upper - lower) * unit, lower, upper),
            "chi_square": encoding.chi_square,
            "velocity": encoding.velocity,
            "velocity_error": encoding.velocity_error,
            "extrapolation": ops.max(ops.abs(self.standardise(encoding.context)), axis=-1),
        }
        if density:
            phi = self._to_unbounded(drawn["labels"])  # where a label was cut at the edge, its density is that there
            drawn["log_prob"] = self.density_encoded(phi, encoding) + self._log_stretch(phi)
        return drawn

    def _from_noise(self, noise: Tensor, encoding: Encoding) -> Tensor:
        """Unbounded labels that the flow makes of noise ``(n, n_samples, n_targets)``."""
        u = self.flow.transform(noise, self.standardise(encoding.context))
        growth = ops.exp(ops.clip(u, -FARTHEST, FARTHEST) / TAIL)
        z = 0.5 * TAIL * (growth - 1.0 / growth)  # a sinh in half of its time
        place = self.encoder.place
        location, inverse = ops.take(encoding.location, place, axis=1), ops.take(encoding.inverse, place, axis=2)
        return location[:, None] + ops.matmul(z, inverse)

    def _centre(self, encoding: Encoding) -> Tensor:
        """What the members of the flow make of no noise, on average: unbounded labels ``(n, n_targets)``."""
        quiet = ops.repeat(ops.zeros_like(encoding.location)[:, None], len(self.flow.members), axis=1)
        return ops.mean(self._from_noise(quiet, encoding), axis=1)

    def _unstretched(self, phi: Tensor, encoding: Encoding) -> Tensor:
        """Unbounded labels ``(n, n_samples, n_targets)`` as they are without `Widths`."""
        centre = self._centre(encoding)[:, None]
        return centre + ops.subtract(phi, centre) / self.widths(encoding.snr)[:, None]

    def density_of(self, labels: Tensor, encoding: Encoding) -> Tensor:
        """Log density of labels ``(n, n_samples, n_targets)`` in their units; minus infinity outside the box."""
        phi = self._to_unbounded(labels)
        lower, upper = self._edges()
        inside = ops.all((labels >= lower) & (labels <= upper), axis=-1)
        return ops.where(inside, self.density_encoded(phi, encoding) + self._log_stretch(phi), -np.inf)

    def call(self, inputs: dict[str, Tensor]) -> Tensor:
        phi = self._to_unbounded(inputs["labels"])
        return self.log_density(phi, inputs["flux"], inputs["error"], inputs["mask"]) + self._log_stretch(phi)

    def latent_of(self, inputs: dict[str, Tensor]) -> Tensor:
        """The noise of which the flow's members make the labels, ``(n, n_members, n_targets)``."""
        return self.latent_encoded(inputs["labels"], self.encode(inputs["flux"], inputs["error"], inputs["mask"]))

    def latent_encoded(self, labels: Tensor, encoding: Encoding) -> Tensor:
        """The same, given what the encoder made of spectra."""
        phi = self._unstretched(self._to_unbounded(labels)[:, None], encoding)[:, 0]
        u, _ = self.to_frame(phi, encoding)
        context = self.standardise(encoding.context)
        return ops.stack([member.noise_of(u, context) for member in self.flow.members], axis=1)

    def _log_stretch(self, phi: Tensor) -> Tensor:
        """Logarithm of ``d phi / d labels``, summed over the labels."""
        lower, upper = self._edges()
        scale = ops.log(upper - lower) - 0.5 * math.log(2.0 * math.pi)
        return ops.sum(0.5 * ops.square(phi) - scale, axis=-1)

    def _edges(self) -> tuple[Tensor, Tensor]:
        space = self.label_space
        return ops.convert_to_tensor(space.lower, "float32"), ops.convert_to_tensor(space.upper, "float32")

    def _to_unbounded(self, labels: Tensor) -> Tensor:
        lower, upper = self._edges()
        unit = ops.clip((labels - lower) / (upper - lower), UNIT_MARGIN, 1.0 - UNIT_MARGIN)
        return math.sqrt(2.0) * ops.erfinv(2.0 * unit - 1.0)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        return -mean_loss(y_pred)

    def get_config(self) -> dict[str, Any]:
        return {
            "format": CINN_FILE.format,
            "label_space": self.full_space.get_config(),
            "targets": list(self.label_space.names),
            "instrument": self.instrument.get_config(),
            **self._specification,
            "encoder": {**self._specification["encoder"], "order": list(self.encoder.order)},
            "observation": self.observation.get_config(),
            "unreliable": self.unreliable,
            "metadata": self.metadata,
            "summary": self.summary_of_training,
            "outlier": None if self.outlier is None else self.outlier.get_config(),
            "name": self.name,
        }
