"""Load an exported model without kcinn: ``python load_export.py FOLDER`` prints the posterior of a flat spectrum."""

import json
import sys
from pathlib import Path

import numpy as np


def load(folder):
    """The description of an exported model and its functions, from ``kcinn export``."""
    folder = Path(folder)
    description = json.loads((folder / "kcinn.json").read_text(encoding="utf-8"))
    if description["kind"] == "savedmodel":
        import tensorflow as tf

        model = tf.saved_model.load(str(folder))
        return description, {name: getattr(model, name) for name in description["functions"]}, model

    import onnxruntime

    sessions = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in description["functions"]}

    def function(name):
        outputs = [output.name for output in sessions[name].get_outputs()]
        inputs = list(description["functions"][name]["inputs"])

        def call(*arrays):
            return dict(zip(outputs, sessions[name].run(None, dict(zip(inputs, arrays, strict=True))), strict=True))

        return call

    return description, {name: function(name) for name in sessions}, sessions


def noise(description, rows, n_samples, seed=0):
    """Noise of the samples of spectra number `rows`; the same as kcinn's own, so that samples are the same, too."""
    shape = (n_samples, len(description["labels"]))
    generators = [np.random.Generator(np.random.Philox(key=np.array([seed, row], np.uint64))) for row in rows]
    if description["noise"]["distribution"] == "student_t":
        freedom = description["noise"]["degrees_of_freedom"]
        return np.stack([generator.standard_t(freedom, shape) for generator in generators]).astype(np.float32)
    return np.stack([generator.standard_normal(shape, dtype=np.float32) for generator in generators])


if __name__ == "__main__":
    description, functions, _ = load(sys.argv[1])
    n_pixels = len(description["spectra"]["wavelength"])
    flux, error = np.ones((1, n_pixels), np.float32), np.full((1, n_pixels), 0.01, np.float32)
    found = functions["summary"](flux, error, np.zeros((1, n_pixels), bool), noise(description, range(1), 1024))
    for label, low, middle, high in zip(
        description["labels"], *(found[key][0] for key in ("p16", "p50", "p84")), strict=True
    ):
        print(f"{label['name']:8s} {middle:10.3f}  {low:10.3f} .. {high:10.3f} {label['unit']}")
    print("flag", int(found["flag"][0]))
