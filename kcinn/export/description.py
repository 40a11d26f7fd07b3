"""The description beside an exported model: what its functions take and give, and what the numbers mean."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from kcinn.flag import MEANINGS
from kcinn.model import CINN
from kcinn.model_file import sha256

FORMAT = "kcinn-export/1"

_ROW = ["n_spectra"]
_PIXELS = ["n_spectra", "n_pixels"]
_LABELS = ["n_spectra", "n_labels"]
_SAMPLES = ["n_spectra", "n_samples", "n_labels"]


def _entry(shape: list[str], description: str, dtype: str = "float32") -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "description": description}


SPECTRUM = {
    "flux": _entry(_PIXELS, "divided by the continuum, in the rest frame"),
    "error": _entry(_PIXELS, "1 sigma"),
    "mask": _entry(_PIXELS, "true where a pixel is not to be used", "bool"),
}
SAID = {
    "snr": _entry(_ROW, "signal-to-noise ratio per angstrom, median over good pixels"),
    "n_pixels": _entry(_ROW, "number of pixels used", "int32"),
    "chi_square": _entry(_ROW, "reduced chi-square of the best fit"),
    "velocity": _entry(_ROW, "km/s, shift of the best fit"),
    "velocity_error": _entry(_ROW, "km/s, 1 sigma of velocity"),
    "outlier": _entry(_ROW, "how unlike the spectra of the training; above 1 is flagged"),
    "flag": _entry(_ROW, "sum of bits, see flags; 0 is clean", "int32"),
}
NOISE = {"noise": _entry(_SAMPLES, "independent draws from the distribution under noise")}
FUNCTIONS: dict[str, dict[str, Any]] = {
    "sample": {
        "inputs": {**SPECTRUM, **NOISE},
        "outputs": {"samples": _entry(_SAMPLES, "samples of the posterior"), **SAID},
    },
    "summary": {
        "inputs": {**SPECTRUM, **NOISE},
        "outputs": {
            "p16": _entry(_LABELS, "16th percentile of the samples"),
            "p50": _entry(_LABELS, "50th percentile of the samples"),
            "p84": _entry(_LABELS, "84th percentile of the samples"),
            "map": _entry(_LABELS, "mode of the marginal posterior"),
            "mean": _entry(_LABELS, "mean of the samples"),
            "covariance": _entry(["n_spectra", "n_labels", "n_labels"], "covariance of the samples"),
            **SAID,
        },
    },
    "log_prob": {
        "inputs": {**SPECTRUM, "labels": _entry(_SAMPLES, "at which the density is wanted")},
        "outputs": {
            "log_prob": _entry(["n_spectra", "n_samples"], "log of the posterior density, in the units of the labels")
        },
    },
}
PACKAGES = ("kcinn", "keras", "tensorflow", "numpy")


def describe(model: CINN, folder: Path, format: str) -> dict[str, Any]:
    """The content of ``kcinn.json`` for a model whose files lie in `folder`; ``docs/kcinn-export.schema.json``."""
    instrument, base = model.instrument, model.flow.members[0].base
    noise: dict[str, Any] = {"distribution": "normal"}
    if hasattr(base, "degrees_of_freedom"):
        noise = {"distribution": "student_t", "degrees_of_freedom": base.degrees_of_freedom}
    names = ("sample", "summary") if format == "onnx" else tuple(FUNCTIONS)
    packages = (*PACKAGES, "tf2onnx", "onnx") if format == "onnx" else PACKAGES
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "format": FORMAT,
        "kind": format,
        "labels": [
            {key: value for key, value in label.items() if key != "latex"} for label in model.label_space.get_config()
        ],
        "spectra": {
            "instrument": instrument.name,
            "medium": instrument.medium,
            "wavelength": instrument.wavelength.tolist(),
            "arms": [
                {"name": arm.name, "n_pixels": arm.n_pixels, "resolving_power": list(arm.resolving_power)}
                for arm in instrument.arms
            ],
            "snr": list(model.observation.snr),
        },
        "noise": noise,
        "functions": {name: FUNCTIONS[name] for name in names},
        "flags": {key.removeprefix("FLAG"): meaning for key, meaning in MEANINGS.items()},
        "versions": {package: version(package) for package in packages},
        "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
    }
