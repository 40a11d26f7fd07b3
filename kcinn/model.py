"""CINN: label space, instrument, emulator, encoder and flow in one model and one file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from kcinn.broaden import on_instrument
from kcinn.errors import KcinnError, ModelError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Instrument
from kcinn.labels import UNIT_MARGIN, LabelSpace
from kcinn.likelihood import Likelihood
from kcinn.model_file import FORMAT, check_format, check_sha256, find_model, read_config
from kcinn.nn.compiled import Compiled
from kcinn.nn.conv_encoder import ConvEncoder
from kcinn.nn.dense_encoder import DenseEncoder
from kcinn.nn.emulator import Emulator
from kcinn.nn.encoder import Encoding
from kcinn.nn.fisher_encoder import FisherEncoder
from kcinn.nn.mixture import FlowMixture
from kcinn.nn.observe import Observation, Observe
from kcinn.nn.resimulation import largest_misfit
from kcinn.outlier import Outlier
from kcinn.region import Region
from kcinn.spectra import Spectra

ENCODERS = {"fisher": FisherEncoder, "dense": DenseEncoder, "conv": ConvEncoder}
FARTHEST = 30.0  # in the frame of the flow: far outside the box, yet finite beyond the sinh
TAIL = 3.0  # beyond this many standard deviations the frame of the flow is logarithmic
CONTEXT_LIMIT = 6.0  # standardised context is cut here: what lies beyond was never seen in training
ROWS_PER_CALL = 32
ORDINARY_SPECTRA, ORDINARY_BATCH = 2048, 256  # by which outliers are told; how many are held at a time
REFERENCE_SAMPLES = 64  # whose mean is where a likelihood is expanded
MISSED = 5.0  # standard deviations of chi-square that noise alone is allowed


@keras.saving.register_keras_serializable(package="kcinn")
class CINN(keras.Model):
    """The posterior of stellar labels given a spectrum.

    Made by `kcinn.fit`; loaded by `kcinn.load`. Labels live in a box; inside, the model works on `phi`, in which the
    uniform prior of the box is a standard normal, so that no sample can leave the box. An encoder turns a spectrum into
    a context and a frame (location and scale triangle); the flow models the labels in that frame, its far tails
    compressed: ``u = 3 asinh(factor^T (phi - location) / 3)``.

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
        format: str = FORMAT,
        **kwargs: Any,
    ):
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
        self.emulator = Emulator(len(self.full_space), len(wavelength), **emulator)
        options = {key: value for key, value in encoder.items() if key != "kind"}
        indices = [self.full_space.index(name) for name in targets]
        self.encoder = ENCODERS[encoder["kind"]](self.emulator, wavelength, arm_pixels, indices, **options)
        self.observe = Observe(self.observation, wavelength, arm_pixels)
        self.flow = FlowMixture(len(targets), **flow)
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

    # ------------------------------------------------------------------ on tensors

    def encode(self, flux: Any, error: Any, mask: Any) -> Encoding:
        """Encode spectra ``(n, n_pixels)``; the context is as the encoder gives it."""
        return self.encoder(flux, self._weight(error, mask))

    def encode_and_measure(self, flux: Any, error: Any, mask: Any) -> tuple[Encoding, dict[str, Any]]:
        """Encode spectra, and measure what `Outlier` takes: how far each is from spectra of the training."""
        encoding, weight = self.encode(flux, error, mask), self._weight(error, mask)
        n_pixels = ops.sum(ops.cast(weight > 0, "float32"), axis=-1)
        snr = ops.sqrt(ops.sum(weight, axis=-1) / ops.maximum(n_pixels, 1.0))
        peak, best_fit = ops.zeros_like(snr), self.encoder.best_fit(encoding)
        if best_fit is not None:
            peak = largest_misfit(self.emulator, self.observe, best_fit, encoding.velocity, flux, weight)
        return encoding, {
            "context": (encoding.context - self.context_mean) / self.context_scale,
            "chi_square": encoding.chi_square,
            "peak": peak,
            "snr": snr,
            "n_pixels": n_pixels,
        }

    def _weight(self, error: Any, mask: Any) -> Any:
        """Inverse variance of the pixels, zero where they are not used."""
        good = (1.0 - ops.cast(mask, "float32")) * ops.convert_to_tensor(self.usable)
        return good / ops.square(ops.maximum(error, 1e-6))

    def standardise(self, context: Any) -> Any:
        """Context with the mean and scatter of the training spectra taken out, and bounded."""
        return ops.clip((context - self.context_mean) / self.context_scale, -CONTEXT_LIMIT, CONTEXT_LIMIT)

    def to_frame(self, phi: Any, encoding: Encoding) -> tuple[Any, Any]:
        """Unbounded labels ``(n, n_targets)`` in the frame of the flow, and the log-determinant ``(n,)``.

        Labels may have an axis of samples in the middle, and then the log-determinant has it too.
        """
        if len(phi.shape) == 2:
            u, log_det = self.to_frame(phi[:, None], encoding)
            return u[:, 0], log_det[:, 0]
        offset = ops.flip(phi, axis=-1) - encoding.location[:, None]
        z = ops.matmul(offset, encoding.factor) / TAIL
        stretch = ops.log(ops.diagonal(encoding.factor, axis1=1, axis2=2))[:, None]
        return TAIL * ops.arcsinh(z), ops.sum(stretch - 0.5 * ops.log1p(ops.square(z)), axis=-1)

    def log_density(self, phi: Any, flux: Any, error: Any, mask: Any) -> Any:
        """``log p(phi | spectrum)`` of the unbounded labels, ``(n,)``."""
        encoding = self.encode(flux, error, mask)
        u, log_det = self.to_frame(phi, encoding)
        return self.flow.log_density(u, self.standardise(encoding.context)) + log_det

    def draw_encoded(self, noise: Any, encoding: Encoding, density: bool = False) -> dict[str, Any]:
        """Turn noise ``(n, n_samples, n_targets)`` into labels inside the box, given what the encoder made of spectra.

        With `density`, `log_prob` ``(n, n_samples)`` is the logarithm of the posterior density of every draw.
        """
        context = self.standardise(encoding.context)
        u = ops.clip(self.flow.transform(noise, context), -FARTHEST, FARTHEST)
        z = TAIL * ops.sinh(u / TAIL)
        n_targets = len(self.label_space)
        identity = ops.eye(n_targets) + ops.zeros_like(encoding.factor)
        inverse = ops.solve_triangular(encoding.factor, identity, lower=True)
        phi = ops.flip(encoding.location[:, None, :] + ops.matmul(z, inverse), axis=-1)
        unit = 0.5 * (1.0 + ops.erf(phi / math.sqrt(2.0)))
        lower, upper = self._edges()
        drawn = {
            "labels": ops.clip(lower + (upper - lower) * unit, lower, upper),
            "chi_square": encoding.chi_square,
            "velocity": encoding.velocity,
            "extrapolation": ops.max(ops.abs(context), axis=-1),
        }
        if density:
            phi = self._to_unbounded(drawn["labels"])  # where a label was cut at the edge, its density is that there
            u, log_det = self.to_frame(phi, encoding)
            drawn["log_prob"] = self.flow.log_density(u, context) + log_det + self._log_stretch(phi)
        return drawn

    def call(self, inputs: dict[str, Any]) -> Any:
        phi = self._to_unbounded(inputs["labels"])
        return self.log_density(phi, inputs["flux"], inputs["error"], inputs["mask"]) + self._log_stretch(phi)

    def latent_of(self, inputs: dict[str, Any]) -> Any:
        """The latent variables of labels in the flow's members, ``(n, n_members, n_targets)``."""
        encoding = self.encode(inputs["flux"], inputs["error"], inputs["mask"])
        u, _ = self.to_frame(self._to_unbounded(inputs["labels"]), encoding)
        context = self.standardise(encoding.context)
        latents = [member.to_latent(u, member.condition(context))[0] for member in self.flow.members]
        return ops.stack(latents, axis=1)

    def _log_stretch(self, phi: Any) -> Any:
        """Logarithm of ``d phi / d labels``, summed over the labels."""
        lower, upper = self._edges()
        scale = ops.log(upper - lower) - 0.5 * math.log(2.0 * math.pi)
        return ops.sum(0.5 * ops.square(phi) - scale, axis=-1)

    def _edges(self) -> tuple[Any, Any]:
        space = self.label_space
        return ops.convert_to_tensor(space.lower, "float32"), ops.convert_to_tensor(space.upper, "float32")

    def _to_unbounded(self, labels: Any) -> Any:
        lower, upper = self._edges()
        unit = ops.clip((labels - lower) / (upper - lower), UNIT_MARGIN, 1.0 - UNIT_MARGIN)
        return math.sqrt(2.0) * ops.erfinv(2.0 * unit - 1.0)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -ops.mean(y_pred)

    # ------------------------------------------------------------------ on NumPy arrays

    def log_prob(self, labels: ArrayLike, flux: ArrayLike, error: ArrayLike, mask: ArrayLike) -> NDArray[np.float32]:
        """``log p(labels | spectrum)`` in the units of the labels, shape ``(n,)``; minus infinity outside the box.

        Parameters
        ----------
        labels : array_like, shape (n, n_targets)
        flux, error, mask : array_like, shape (n, n_pixels)
            On the model's pixels, see `instrument`.
        """
        labels = np.asarray(labels, dtype=np.float32)
        inputs = {"labels": labels, **self._checked(flux, error, mask)}
        density = self._compiled_call.in_chunks(ROWS_PER_CALL, inputs)
        return np.where(self.label_space.contains(labels), density, -np.inf)

    def sample(
        self,
        flux: ArrayLike,
        error: ArrayLike,
        mask: ArrayLike,
        *,
        n_samples: int = 4096,
        seed: int = 0,
        first: int = 0,
        batch_size: int = ROWS_PER_CALL,
        gap: bool = True,
        log_prob: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        """Draw from the posterior.

        Where the best fit misses a spectrum by more than noise and emulator explain, the synthetic gap is added to the
        errors, and the row is encoded anew: spectra of real stars are not those of the synthesis.

        Parameters
        ----------
        flux, error, mask : array_like, shape (n, n_pixels)
            On the model's pixels, see `instrument`.
        n_samples, seed : int
        first : int
            Number of the first spectrum: the noise of spectrum ``first + i`` depends on that number and the seed alone.
        batch_size : int
            Spectra per compiled call.
        gap : bool
            Whether the synthetic gap may be added.
        log_prob : bool
            Whether to evaluate the posterior density of every sample, which costs about as much as drawing it.

        Returns
        -------
        dict
            `labels` ``(n, n_samples, n_targets)``; `chi_square`, `velocity` (km/s), `extrapolation`, `gap`, whether it
            was added, and `outlier`, above 1 for spectra unlike those of the training, ``(n,)``; if asked for,
            `log_prob` ``(n, n_samples)`` in the units of the labels.
        """
        encoding, said = self.encoded(flux, error, mask, batch_size=batch_size, gap=gap)
        noise = self.flow.draw_noise(range(first, first + len(said["gap"])), n_samples, seed)
        compiled = self._compiled_draw_with_density if log_prob else self._compiled_draw
        return {**compiled.in_chunks(batch_size, noise, encoding), **said}

    def encoded(
        self, flux: ArrayLike, error: ArrayLike, mask: ArrayLike, *, batch_size: int = ROWS_PER_CALL, gap: bool = True
    ) -> tuple[Encoding, dict[str, NDArray[Any]]]:
        """What the encoder makes of spectra, and of each `gap` and `outlier` as `sample` gives them."""
        spectra = self._checked(flux, error, mask)
        encoding, signs = self._measured(spectra, spectra["error"], batch_size)
        missed = gap & self._missed(encoding.chi_square, spectra)
        if missed.any():  # all rows anew: a row's rounding must not depend on how many others are missed
            widened = np.hypot(spectra["error"], ops.convert_to_numpy(self.gap))
            wider, wider_signs = self._measured(spectra, widened, batch_size)

            def choose(a, b):
                return np.where(missed.reshape(-1, *[1] * (a.ndim - 1)), b, a)

            encoding = Encoding(*(choose(a, b) for a, b in zip(encoding, wider, strict=True)))
            signs = {key: choose(signs[key], wider_signs[key]) for key in signs}
        score = np.zeros(len(missed)) if self.outlier is None else self.outlier(**signs)
        return encoding, {"gap": missed, "outlier": score.astype(np.float32)}

    def _measured(
        self, spectra: dict[str, NDArray[np.float32]], error: NDArray[np.float32], batch_size: int
    ) -> tuple[Encoding, dict[str, NDArray[np.float32]]]:
        return self._compiled_encode.in_chunks(batch_size, spectra["flux"], error, spectra["mask"])

    def learn_outliers(self, stars: SyntheticGrid, *, seed: int = 0) -> None:
        """Learn how far ordinary spectra are from those of the training, see `Outlier`.

        Parameters
        ----------
        stars : SyntheticGrid
            Stars that the training has not seen; each is observed as in the training, if need be several times.
        seed : int
        """
        observe = Observe(self.observation, self.instrument.wavelength, list(self.encoder.arm_pixels), seed=seed)
        rows, pieces = np.resize(np.arange(len(stars)), ORDINARY_SPECTRA), []
        for start in range(0, len(rows), ORDINARY_BATCH):
            seen = observe(stars.flux(rows[start : start + ORDINARY_BATCH]))
            spectra = self._checked(*(ops.convert_to_numpy(x) for x in seen))
            pieces.append(self._measured(spectra, spectra["error"], ROWS_PER_CALL)[1])
        self.outlier = Outlier.learn(**{key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]})

    def _missed(self, chi_square: NDArray[np.float32], spectra: dict[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
        """Whether a reduced chi-square is larger than noise and three times the emulator's typical error allow."""
        if not np.any(ops.convert_to_numpy(self.gap)):
            return np.zeros(len(chi_square), dtype=bool)
        used = (spectra["mask"] == 0) & (self.usable > 0)
        n_used = np.maximum(used.sum(axis=1), 1)
        inverse_variance = np.sum(used / np.square(spectra["error"]), axis=1) / n_used
        emulator = float(self.summary_of_training.get("emulator_rms", 0.0))
        allowed = MISSED * np.sqrt(2.0 / n_used) + 9.0 * emulator**2 * inverse_variance
        return chi_square > 1.0 + allowed

    def spectrum(self, labels: ArrayLike) -> NDArray[np.float32]:
        """The emulator's noiseless spectra for labels ``(n, n_labels)``, shape ``(n, n_pixels)``.

        Raises
        ------
        ModelError
            If the model marginalises some of the emulator's labels, so that these alone do not make a spectrum.
        """
        self._check_all_labels()
        order = [self.label_space.index(name) for name in self.full_space.names]
        phi = self.full_space.to_unbounded(np.atleast_2d(labels)[:, order]).astype(np.float32)
        return ops.convert_to_numpy(self.emulator.flux(self.emulator(phi)))

    def latent(self, labels: ArrayLike, flux: ArrayLike, error: ArrayLike, mask: ArrayLike) -> NDArray[np.float32]:
        """What the flow's members map labels to; of true labels it should follow the base distribution.

        Parameters
        ----------
        labels : array_like, shape (n, n_targets)
        flux, error, mask : array_like, shape (n, n_pixels)
            On the model's pixels, see `instrument`.

        Returns
        -------
        ndarray, shape (n, n_members, n_targets)
        """
        inputs = {"labels": np.asarray(labels, dtype=np.float32), **self._checked(flux, error, mask)}
        return self._compiled_latent.in_chunks(ROWS_PER_CALL, inputs)

    def likelihood(self, spectra: Spectra, *, resolving_power: float | None = None, gap: bool = True) -> Likelihood:
        """The exact Gaussian likelihood of spectra on the emulator, for `Posterior.reweight` or a sampler.

        Spectra and their errors are treated as by `predict`.

        Parameters
        ----------
        spectra : Spectra
            Continuum-normalised, in the rest frame.
        resolving_power : float, optional
            Of the spectra, if it is higher than the instrument's.
        gap : bool
            Whether the synthetic gap may be added, see `sample`.

        Raises
        ------
        ModelError
            If the model marginalises some of the emulator's labels, so that the others alone do not make a spectrum.
        """
        self._check_all_labels()
        if spectra.error is None:
            spectra = spectra.with_estimated_error()
        spectra = on_instrument(spectra, self.instrument, resolving_power)
        assert spectra.error is not None
        arrays = self._checked(spectra.flux, np.maximum(spectra.error, self.smallest_error), spectra.mask)
        drawn = self.sample(arrays["flux"], arrays["error"], arrays["mask"], n_samples=REFERENCE_SAMPLES, gap=gap)
        gaps = drawn["gap"][:, None] * ops.convert_to_numpy(self.gap)
        inverse_variance = (arrays["mask"] == 0) * self.usable / (arrays["error"] ** 2 + gaps**2)
        return Likelihood(
            self.emulator, self.observe, self.full_space, self.label_space.names, arrays["flux"], inverse_variance,
            drawn["labels"].mean(axis=1),
        )  # fmt: skip

    def log_prior(self, labels: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Logarithm of the training's prior, up to a constant: zero where a star is plausible, else minus infinity.

        For `Posterior.reweight`, whose weights with a likelihood alone are for a prior that fills the whole box.
        """
        values = np.stack([np.asarray(labels[name], dtype=np.float64) for name in self.label_space.names], axis=-1)
        inside = self.label_space.contains(values)
        if self.metadata.get("region"):
            region = Region.from_config(self.metadata["region"])
            flat = values.reshape(-1, values.shape[-1])
            inside &= region.contains(flat, self.label_space).reshape(inside.shape)
        return np.where(inside, 0.0, -np.inf)

    @property
    def smallest_error(self) -> NDArray[np.float32]:
        """Error of the best spectra of the training, ``(n_pixels,)``; smaller ones count as this."""
        return (1.0 / (self.observation.snr[1] * np.sqrt(self.instrument.pixel_width))).astype(np.float32)

    def _check_all_labels(self) -> None:
        if set(self.label_space.names) != set(self.full_space.names):
            missing = sorted(set(self.full_space.names) - set(self.label_space.names))
            raise ModelError(f"A spectrum needs all labels; this model marginalises {', '.join(missing)}")

    def _checked(self, flux: ArrayLike, error: ArrayLike, mask: ArrayLike) -> dict[str, NDArray[np.float32]]:
        arrays = {"flux": flux, "error": error, "mask": mask}
        spectra = {key: np.atleast_2d(np.asarray(value, dtype=np.float32)) for key, value in arrays.items()}
        for key, value in spectra.items():
            if value.shape != spectra["flux"].shape or value.shape[1] != self.instrument.n_pixels:
                raise ModelError(f"{key} must have shape (n, {self.instrument.n_pixels}). Received: {value.shape}")
        bad = (
            (spectra["mask"] > 0)
            | ~np.isfinite(spectra["flux"])
            | ~np.isfinite(spectra["error"])
            | (spectra["error"] <= 0)
        )
        filling = {"flux": 1.0, "error": 1.0, "mask": 1.0}
        return {key: np.where(bad, filling[key], value).astype(np.float32) for key, value in spectra.items()}

    @cached_property
    def _compiled_encode(self) -> Compiled:
        return Compiled(self.encode_and_measure, self)

    @cached_property
    def _compiled_draw(self) -> Compiled:
        return Compiled(self.draw_encoded, self)

    @cached_property
    def _compiled_draw_with_density(self) -> Compiled:
        return Compiled(partial(self.draw_encoded, density=True), self)

    @cached_property
    def _compiled_latent(self) -> Compiled:
        return Compiled(self.latent_of, self)

    @cached_property
    def _compiled_call(self) -> Compiled:
        return Compiled(self.call, self)

    # ------------------------------------------------------------------ files

    def get_config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "label_space": self.full_space.get_config(),
            "targets": list(self.label_space.names),
            "instrument": self.instrument.get_config(),
            **self._specification,
            "observation": self.observation.get_config(),
            "unreliable": self.unreliable,
            "metadata": self.metadata,
            "summary": self.summary_of_training,
            "outlier": None if self.outlier is None else self.outlier.get_config(),
            "name": self.name,
        }

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, **kwargs: Any) -> None:
        """Write one ``.keras`` file; an existing one is replaced only once the new one is whole."""
        path = Path(filepath)
        if path.suffix != ".keras":
            raise ModelError(f"A model file must end in .keras. Received: {path}")
        partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.keras")
        try:
            super().save(partial, overwrite=True, **kwargs)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], *, expected_sha256: str | None = None) -> CINN:
    """Load a model, from its file or by the name of one that comes with kcinn, after checking it.

    Parameters
    ----------
    path : path or str
    expected_sha256 : str, optional
        Refuse the file unless this is its SHA-256, for files that others could have altered.

    Raises
    ------
    ModelError
        As `read_config`, or if the checksum differs or the weights do not fit.
    """
    path = find_model(path)
    if expected_sha256 is not None:
        check_sha256(path, expected_sha256)
    read_config(path)
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except KcinnError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: cannot be loaded ({type(error).__name__}: {error})") from error
