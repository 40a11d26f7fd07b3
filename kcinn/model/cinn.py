"""CINN: the trained model, on NumPy arrays, and its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from kcinn import keras_file
from kcinn.continuum import divided
from kcinn.devices import check_tensorflow
from kcinn.errors import ModelError
from kcinn.label_array import label_array
from kcinn.model.likelihood import Likelihood
from kcinn.model.network import Network
from kcinn.nn.compiled import Compiled, rows_in_cache
from kcinn.nn.encoder import Encoding
from kcinn.nn.pixels import move
from kcinn.preparation import check_continuum, prepared
from kcinn.region import Region
from kcinn.spectra import Spectra

ROWS_PER_CALL = 32
ROWS_OF_MANY = 128  # where there are thousands: a third faster, but one spectrum would wait for them
REFERENCE_SAMPLES = 64  # whose mean is where a likelihood is expanded
CONTINUUM_ROUNDS = 3


@keras.saving.register_keras_serializable(package="kcinn")
class CINN(Network):
    """The posterior of stellar labels given a spectrum.

    Made by `kcinn.fit`; loaded by `kcinn.load`. Its parameters are those of `Network`, and its methods take and return
    NumPy arrays.
    """

    def log_prob(self, labels: ArrayLike, flux: ArrayLike, error: ArrayLike, mask: ArrayLike) -> NDArray[np.float32]:
        """``log p(labels | spectrum)`` in the units of the labels, shape ``(n,)``; minus infinity outside the box.

        Parameters
        ----------
        labels : array_like, shape (n, n_targets)
        flux, error, mask : array_like, shape (n, n_pixels)
            On the model's pixels, see `instrument`.

        Returns
        -------
        ndarray, shape (n,)

        Raises
        ------
        ModelError
            If labels or spectra have another shape.
        """
        inputs = self._checked_labels(labels, flux, error, mask)
        density = self._compiled_call.in_chunks(ROWS_PER_CALL, inputs)
        return np.where(self.label_space.contains(inputs["labels"]), density, -np.inf)

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
        quasi: bool = False,
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
        quasi : bool
            Whether samples come from quasi-random noise, which fills the posterior more evenly; see `predict`.

        Returns
        -------
        dict
            `labels` ``(n, n_samples, n_targets)``; `chi_square`, `velocity` and `velocity_error` (km/s),
            `extrapolation`, `gap`, whether it was added, and `outlier`, above 1 for spectra unlike those of the
            training, ``(n,)``; if asked for, `log_prob` ``(n, n_samples)`` in the units of the labels.
        """
        encoding, said = self.encoded(flux, error, mask, batch_size=batch_size, gap=gap)
        noise = self.flow.draw_noise(range(first, first + len(said["gap"])), n_samples, seed, quasi=quasi)
        return {**self.drawn(noise, encoding, batch_size=batch_size, log_prob=log_prob), **said}

    def drawn(
        self, noise: NDArray[Any], encoding: Encoding, *, batch_size: int = ROWS_PER_CALL, log_prob: bool = False
    ) -> dict[str, NDArray[np.float32]]:
        """What noise becomes in the posteriors of spectra that are encoded already.

        Parameters
        ----------
        noise : ndarray, shape (n, n_samples, n_targets)
            Of the flow's `draw_noise`.
        encoding : Encoding
            Of `encoded` or `measured`.
        batch_size : int
            Spectra per compiled call.
        log_prob : bool
            Whether to evaluate the posterior density of every sample.

        Returns
        -------
        dict
            Of `sample`, but for `gap` and `outlier`.
        """
        compiled = self._compiled_draw_with_density if log_prob else self._compiled_draw
        return compiled.in_chunks(rows_in_cache(noise.shape[1], batch_size), noise, encoding)

    def encoded(
        self, flux: ArrayLike, error: ArrayLike, mask: ArrayLike, *, batch_size: int = ROWS_PER_CALL, gap: bool = True
    ) -> tuple[Encoding, dict[str, NDArray[Any]]]:
        """What the encoder makes of spectra, and of each `gap` and `outlier` as `sample` gives them.

        Parameters
        ----------
        flux, error, mask : array_like, shape (n, n_pixels)
            On the model's pixels, see `instrument`.
        batch_size : int
            Spectra per compiled call.
        gap : bool
            Whether the synthetic gap may be added, see `sample`.

        Returns
        -------
        encoding : Encoding
        said : dict
            `gap` and `outlier`, ``(n,)`` each.
        """
        spectra = self._checked(flux, error, mask)
        encoding, signs = self._measured(spectra, batch_size)
        missed = gap & ops.convert_to_numpy(self.missed(signs))
        if missed.any():
            again = {key: value[missed] for key, value in spectra.items()}
            again["error"] = np.hypot(again["error"], ops.convert_to_numpy(self.gap))
            wider = self._measured(again, batch_size)
            # what comes of a row does not depend on the rows beside it, not even in its last bit
            for whole, part in zip(keras.tree.flatten((encoding, signs)), keras.tree.flatten(wider), strict=True):
                whole[missed] = part
        score = np.zeros(len(missed)) if self.outlier is None else self.outlier(**signs)
        return encoding, {"gap": missed, "outlier": score.astype(np.float32)}

    def measured(
        self, flux: ArrayLike, error: ArrayLike, mask: ArrayLike, *, batch_size: int = ROWS_PER_CALL
    ) -> tuple[Encoding, dict[str, NDArray[np.float32]]]:
        """What the encoder makes of spectra whose errors are as they are, and how far each is from the training's.

        Parameters
        ----------
        flux, error, mask : array_like, shape (n, n_pixels)
            On the model's pixels, see `instrument`.
        batch_size : int
            Spectra per compiled call.

        Returns
        -------
        encoding : Encoding
        signs : dict
            What `Outlier` takes, ``(n,)`` each.
        """
        return self._measured(self._checked(flux, error, mask), batch_size)

    def _measured(
        self, spectra: dict[str, NDArray[np.float32]], batch_size: int
    ) -> tuple[Encoding, dict[str, NDArray[np.float32]]]:
        return self._compiled_encode.in_chunks(batch_size, spectra["flux"], spectra["error"], spectra["mask"])

    def spectrum(self, labels: ArrayLike, *, velocity: float = 0.0) -> NDArray[np.float32]:
        """The emulator's noiseless spectra for labels ``(n, n_labels)``, shape ``(n, n_pixels)``.

        Parameters
        ----------
        labels : array_like, shape (n, n_labels), or a mapping or table of label names to values
        velocity : float, km/s
            Of the stars, such as the residual velocity of a spectrum with which these are compared.

        Returns
        -------
        ndarray, shape (n, n_pixels)

        Raises
        ------
        ModelError
            If the model marginalises some of the emulator's labels, so that these alone do not make a spectrum.
        LabelError
            If a label is missing, or outside the training box.
        """
        self._check_all_labels()
        order = [self.label_space.index(name) for name in self.full_space.names]
        values = np.atleast_2d(label_array(labels, self.label_space))
        phi = self.full_space.to_unbounded(values[:, order]).astype(np.float32)
        flux = self.emulator.flux(self.emulator(phi))
        distance = np.float32(velocity) * self.observe.pixels_per_velocity + ops.zeros_like(flux)
        return ops.convert_to_numpy(move(flux, distance, self.observe.edges)[0])

    def normalised(self, spectra: Spectra, *, resolving_power: float | None = None, gap: bool = True) -> Spectra:
        """Spectra on the model's pixels, divided by their continuum, as `predict` with ``normalise=True`` sees them.

        A smooth envelope (`kcinn.continuum.normalised`) is the start. Three times the best fit of the model is then
        re-simulated, and a spline per arm drawn through the ratio of the spectrum to it.

        Parameters
        ----------
        spectra : Spectra
            In any unit, in the rest frame.
        resolving_power : float, optional
            Of the spectra, if it is higher than the instrument's.
        gap : bool
            Whether the synthetic gap may be added, see `sample`.

        Returns
        -------
        Spectra
            On the model's pixels.

        Raises
        ------
        SpectraError
            As `predict`.
        """
        return self.refined(
            prepared(spectra, self.instrument, resolving_power=resolving_power, normalise=True), gap=gap
        )

    def refined(self, spectra: Spectra, *, gap: bool = True, batch_size: int = ROWS_PER_CALL) -> Spectra:
        """Spectra on the model's pixels, divided by what is smooth in their ratio to the best fit, see `normalised`.

        Parameters
        ----------
        spectra : Spectra
            On the model's pixels, near one.
        gap : bool
            Whether the synthetic gap may be added, see `sample`.
        batch_size : int
            Spectra per compiled call.

        Returns
        -------
        Spectra
        """
        for _ in range(CONTINUUM_ROUNDS):
            assert spectra.error is not None
            arrays = self._checked(spectra.flux, spectra.error, spectra.mask)
            encoding, said = self.encoded(**arrays, batch_size=batch_size, gap=gap)
            arrays["error"] = np.hypot(arrays["error"], said["gap"][:, None] * ops.convert_to_numpy(self.gap))
            level = self._compiled_continuum.in_chunks(batch_size, encoding, *arrays.values())
            spectra = divided(spectra, level)
        return spectra

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

        Raises
        ------
        ModelError
            If labels or spectra have another shape.
        """
        return self._compiled_latent.in_chunks(ROWS_PER_CALL, self._checked_labels(labels, flux, error, mask))

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

        Returns
        -------
        Likelihood

        Raises
        ------
        ModelError
            If the model marginalises some of the emulator's labels, so that the others alone do not make a spectrum.
        SpectraError
            If the flux is not normalised.
        """
        self._check_all_labels()
        spectra = prepared(spectra, self.instrument, resolving_power=resolving_power)
        check_continuum(spectra)
        assert spectra.error is not None
        arrays = self._checked(spectra.flux, spectra.error, spectra.mask)
        drawn = self.sample(arrays["flux"], arrays["error"], arrays["mask"], n_samples=REFERENCE_SAMPLES, gap=gap)
        gaps = drawn["gap"][:, None] * ops.convert_to_numpy(self.gap)
        inverse_variance = (arrays["mask"] == 0) * self.usable / (arrays["error"] ** 2 + gaps**2)
        return Likelihood(
            self.emulator, self.observe, self.full_space, self.label_space.names, arrays["flux"], inverse_variance,
            drawn["labels"].mean(axis=1), drawn["velocity"],
        )  # fmt: skip

    def distribution(self, spectra: Spectra, *, resolving_power: float | None = None) -> Any:
        """The posterior of spectra as a distribution of TensorFlow Probability, for models that are written in it.

        Parameters
        ----------
        spectra : Spectra
            Continuum-normalised, in the rest frame.
        resolving_power : float, optional
            Of the spectra, if it is higher than the instrument's.

        Returns
        -------
        PosteriorDistribution
            A `tfp.distributions.Distribution` of batch shape ``(n_spectra,)`` and event shape ``(n_targets,)``.

        Raises
        ------
        ModelError
            If Keras does not compute with TensorFlow.
        SpectraError
            As `predict`.
        """
        check_tensorflow("A distribution of TensorFlow Probability")
        from kcinn.model.distribution import PosteriorDistribution

        return PosteriorDistribution(self, spectra, resolving_power=resolving_power)

    def log_prior(self, labels: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Logarithm of the training's prior, up to a constant: zero where a star is plausible, else minus infinity.

        For `Posterior.reweight`, whose weights with a likelihood alone are for a prior that fills the whole box.

        Parameters
        ----------
        labels : mapping of str to ndarray
            Arrays of one shape, for every label.

        Returns
        -------
        ndarray, of that shape
        """
        values = np.stack([np.asarray(labels[name], dtype=np.float64) for name in self.label_space.names], axis=-1)
        inside = self.label_space.contains(values)
        if self.metadata.get("region"):
            region = Region.from_config(self.metadata["region"])
            flat = values.reshape(-1, values.shape[-1])
            inside &= region.contains(flat, self.label_space).reshape(inside.shape)
        return np.where(inside, 0.0, -np.inf)

    @property
    def marginalised(self) -> list[str]:
        """Names of the emulator's labels that the model does not infer, so that its labels alone make no spectrum."""
        return [name for name in self.full_space.names if name not in self.label_space.names]

    def _check_all_labels(self) -> None:
        if self.marginalised:
            raise ModelError(f"A spectrum needs all labels; this model marginalises {', '.join(self.marginalised)}")

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
        spectra = {key: np.where(bad, filling[key], value).astype(np.float32) for key, value in spectra.items()}
        spectra["error"] = ops.convert_to_numpy(self.trusted(spectra["error"], spectra["mask"]))
        return spectra

    def _checked_labels(
        self, labels: ArrayLike, flux: ArrayLike, error: ArrayLike, mask: ArrayLike
    ) -> dict[str, NDArray[np.float32]]:
        """Labels beside spectra, a row each."""
        spectra = self._checked(flux, error, mask)
        labels, expected = np.asarray(labels, dtype=np.float32), (len(spectra["flux"]), len(self.label_space))
        if labels.shape != expected:
            raise ModelError(
                f"labels must have shape {expected}, a row per spectrum. For many labels of one spectrum repeat that, "
                f"np.repeat(flux, n, axis=0). Received: {labels.shape}"
            )
        return {"labels": labels, **spectra}

    @cached_property
    def _compiled_encode(self) -> Compiled:
        return Compiled(self.encode_and_measure, self)

    @cached_property
    def _compiled_continuum(self) -> Compiled:
        return Compiled(self.continuum, self)

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

    def in_bfloat16(self) -> CINN:
        """The same model with the products inside the flow's subnets in bfloat16, for hardware that is faster in it.

        Affine steps, log-determinants and the encoder stay in float32, and samples move by less than a hundredth of
        their scatter. A CPU gains nothing. `save` keeps it so.

        Returns
        -------
        CINN
            With weights of its own.
        """
        config = self.get_config()
        model = CINN.from_config({**config, "flow": {**config["flow"], "dtype": "mixed_bfloat16"}})
        model.set_weights(self.get_weights())
        return model

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, **kwargs: Any) -> None:
        """Write one ``.keras`` file; an existing one is replaced only once the new one is whole.

        Parameters
        ----------
        filepath : path
        overwrite : bool
            Whether an existing file may be replaced.
        **kwargs
            As `keras.Model.save` takes them.

        Raises
        ------
        ModelError
            If the name does not end in ``.keras``, or the file exists and must not be replaced.
        """
        if not overwrite and os.path.exists(filepath):
            raise ModelError(f"{filepath} exists. Choose another name, or pass overwrite=True.")
        keras_file.write(self, filepath, **kwargs)


def load(path: str | os.PathLike[str], *, expected_sha256: str | None = None) -> CINN:
    """Load a model, from its file or by the name of one that comes with kcinn, after checking it.

    Parameters
    ----------
    path : path or str
    expected_sha256 : str, optional
        Refuse the file unless this is its SHA-256, for files that others could have altered.

    Returns
    -------
    CINN
        Ready for `kcinn.predict`, on whichever backend is active.

    Raises
    ------
    ModelError
        As `read_config`, or if the checksum differs or the weights do not fit.
    """
    return keras_file.read(path, expected_sha256=expected_sha256)
