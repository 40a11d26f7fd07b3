"""Portable: from pixels to samples, summaries, densities and flags, all in tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kcinn.flag import Flag
from kcinn.inference import MEASURED, conditions
from kcinn.model.cinn import CINN
from kcinn.nn.encoder import Encoding
from kcinn.nn.summarise import summarise_by_sorting
from kcinn.outlier import NOISE, NOISE_PEAK, Outlier
from kcinn.preparation import NORMALISED
from kcinn.spectra import Spectra


class Portable:
    """What `kcinn.predict` does for spectra on the model's pixels, as functions of tensors of any number of rows.

    Rows with flag 256 have no usable pixel, or are not normalised: their results are NaN.

    Parameters
    ----------
    model : CINN
    shared : callable, optional
        Makes of a function of flux, error and mask one that all others call, instead of each having its own copy.
    """

    def __init__(self, model: CINN, shared: Callable[[Any], Any] = lambda function: function) -> None:
        self.model, self._encode = model, shared(model.encode_and_measure)
        instrument = model.instrument
        pixels = Spectra(instrument.wavelength, np.ones(instrument.n_pixels), error=1.0, medium=instrument.medium)
        self._root_width = np.sqrt(pixels.pixel_width).astype(np.float32)
        self._has_gap = bool(np.any(ops.convert_to_numpy(model.gap)))

    def sample(self, flux: Any, error: Any, mask: Any, noise: Any) -> dict[str, Any]:
        """Posterior samples.

        Parameters
        ----------
        flux, error, mask : tensors, shape (n, n_pixels)
            Error 1 sigma, mask true where a pixel is bad.
        noise : tensor, shape (n, n_samples, n_labels)

        Returns
        -------
        dict
            `samples` ``(n, n_samples, n_labels)`` in the units of the labels, and of every spectrum `snr`, `n_pixels`,
            `chi_square`, `velocity`, `velocity_error`, `outlier` and `flag` ``(n,)``, as in the catalogue.
        """
        drawn, measured, usable = self._drawn(flux, error, mask, noise)
        middle = summarise_by_sorting(drawn).quantiles[:, 1]
        return {"samples": _or_nan(usable, drawn), **self._said(middle, measured, usable)}

    def summary(self, flux: Any, error: Any, mask: Any, noise: Any) -> dict[str, Any]:
        """Summaries of the samples that `sample` makes of the same input.

        Returns
        -------
        dict
            `p16`, `p50`, `p84`, `map` (mode of the marginal), `mean` ``(n, n_labels)``, `covariance`
            ``(n, n_labels, n_labels)``, and of every spectrum what `sample` says.
        """
        drawn, measured, usable = self._drawn(flux, error, mask, noise)
        summary = summarise_by_sorting(drawn)
        found = {name: summary.quantiles[:, k] for k, name in enumerate(("p16", "p50", "p84"))}
        found |= {"map": summary.mode, "mean": summary.mean, "covariance": summary.covariance}
        said = self._said(found["p50"], measured, usable)
        return {**{name: _or_nan(usable, value) for name, value in found.items()}, **said}

    def log_prob(self, flux: Any, error: Any, mask: Any, labels: Any) -> dict[str, Any]:
        """`log_prob` ``(n, n_samples)``, the posterior density of labels ``(n, n_samples, n_labels)`` in their units.

        Minus infinity outside the training box.
        """
        spectra, usable = self._prepared(flux, error, mask)
        encoding, _ = self._encoded(spectra)
        return {"log_prob": _or_nan(usable, self.model.density_of(labels, encoding))}

    def _prepared(self, flux: Any, error: Any, mask: Any) -> tuple[dict[str, Any], Any]:
        """Spectra with finite numbers at bad pixels, errors that the model trusts; which rows are usable."""
        good = ~ops.cast(mask, "bool") & ops.isfinite(flux) & ops.isfinite(error) & (error > 0.0)
        flux, error = ops.where(good, flux, 1.0), ops.where(good, error, 1.0)
        used = good & ops.convert_to_tensor(~self.model.ignored)
        level = _median(flux, good)
        usable = ops.any(used, axis=1) & (level > NORMALISED[0]) & (level < NORMALISED[1])
        mask = 1.0 - ops.cast(good & usable[:, None], "float32")
        spectra = {
            "flux": flux,
            "error": self.model.trusted(error, mask),
            "mask": mask,
            "snr": _median(flux / error / ops.convert_to_tensor(self._root_width), good),
            "n_pixels": ops.sum(ops.cast(used, "int32"), axis=1),
        }
        return spectra, usable

    def _encoded(self, spectra: dict[str, Any]) -> tuple[Encoding, dict[str, Any]]:
        """As `CINN.encoded`: anew with the synthetic gap in the errors, where the best fit misses a spectrum."""
        flux, error, mask = (spectra[key] for key in ("flux", "error", "mask"))
        encoding, signs = self._encode(flux, error, mask)
        missed = self.model.missed(signs)
        if self._has_gap:
            wider = ops.sqrt(ops.square(error) + ops.square(self.model.gap))

            def choose(a: Any, b: Any) -> Any:
                return ops.where(ops.reshape(missed, (-1, *[1] * (len(a.shape) - 1))), b, a)

            anew, signs_anew = self._encode(flux, wider, mask)
            encoding = Encoding(*(choose(a, b) for a, b in zip(encoding, anew, strict=True)))
            signs = {key: choose(signs[key], signs_anew[key]) for key in signs}
        score = 0.0 * signs["snr"] if self.model.outlier is None else outlier_score(self.model.outlier, signs)
        return encoding, {"gap": missed, "outlier": score}

    def _drawn(self, flux: Any, error: Any, mask: Any, noise: Any) -> tuple[Any, dict[str, Any], Any]:
        spectra, usable = self._prepared(flux, error, mask)
        encoding, said = self._encoded(spectra)
        drawn = self.model.draw_encoded(noise, encoding)
        measured = {key: drawn[key] for key in ("chi_square", "velocity", "velocity_error", "extrapolation")}
        labels = ops.where(usable[:, None, None], drawn["labels"], 0.0)  # runtimes sort and count NaN each in its way
        return labels, {**measured, **said, "snr": spectra["snr"], "n_pixels": spectra["n_pixels"]}, usable

    def _said(self, middle: Any, measured: dict[str, Any], usable: Any) -> dict[str, Any]:
        bits = conditions(self.model, middle, {**measured, "n_pixels": ops.cast(measured["n_pixels"], "float32")})
        flag = sum(ops.cast(condition, "int32") * int(bit) for bit, condition in bits.items())
        said = {key: _or_nan(usable, measured[key]) for key in ("snr", *MEASURED)}
        return {
            **said,
            "n_pixels": measured["n_pixels"],
            "flag": ops.where(usable, flag, int(Flag.UNUSABLE)),
        }


def outlier_score(outlier: Outlier, signs: dict[str, Any]) -> Any:
    """The score of `Outlier`, of tensors."""
    mean, whitening = outlier.mean.astype(np.float32), outlier.whitening.astype(np.float32)
    deviation = signs["context"] - mean
    white = ops.matmul(deviation, whitening) if whitening.ndim == 2 else deviation * whitening
    snr = signs["snr"]
    noise = NOISE * ops.sqrt(2.0 / ops.maximum(signs["n_pixels"], 1.0))
    distance = ops.sqrt(ops.mean(ops.square(white), axis=1)) / outlier.distance
    chi_square = (signs["chi_square"] - 1.0) / (noise + outlier.chi_square * ops.square(snr))
    peak = signs["peak"] / (NOISE_PEAK + outlier.peak * snr)
    return ops.maximum(ops.maximum(distance, chi_square), peak)


def _median(values: Any, good: Any) -> Any:
    """Median of the good ones among values ``(n, n_pixels)``; zero where none is good."""
    n = ops.sum(ops.cast(good, "int32"), axis=1, keepdims=True)
    ordered = ops.sort(ops.where(good, values, np.inf), axis=1)
    ranks = ops.concatenate([ops.maximum(n - 1, 0) // 2, n // 2], axis=1)
    middle = 0.5 * ops.sum(ops.take_along_axis(ordered, ops.minimum(ranks, values.shape[1] - 1), axis=1), axis=1)
    return ops.where(n[:, 0] > 0, middle, 0.0)


def _or_nan(usable: Any, values: Any) -> Any:
    return ops.where(ops.reshape(usable, (-1, *[1] * (len(values.shape) - 1))), values, np.nan)
