"""Milliseconds per spectrum against the number of samples, of spectra in a call, of labels and of pixels.

    python benchmarks/scaling.py [MODEL] [--repeats 5] [--json FILE] [--plot PNG]

From spectra in memory to summaries of their samples, compiled, on the device that Keras computes on. Labels and pixels
are those of the model, fewer of them: the first labels, and the last arms, in models that are like it but untrained.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from accelerator import SHIPPED, spectra
from matplotlib.figure import Figure
from stages import timed

from kcinn.model import CINN, load
from kcinn.nn.summarise import summarise

SAMPLES, SPECTRA, LABELS = (256, 1024, 4096, 16384), (1, 4, 16, 64, 256), (2, 4, 8, 16)
BATCH, N_SAMPLES = 32, 4096  # where they are not what is varied


def milliseconds(model: CINN, repeats: int, *, batch: int = BATCH, n_samples: int = N_SAMPLES) -> float:
    """Per spectrum."""

    def whole(flux, error, mask, noise):
        return summarise(model.draw_encoded(noise, model.encode(flux, error, mask))["labels"])

    inputs = (*spectra(model, batch), model.flow.draw_noise(range(batch), n_samples))
    return 1e3 * timed(whole, model, [inputs], repeats) / batch


def with_labels(model: CINN, n: int) -> CINN:
    """A model of the first labels; the others are marginalised."""
    config = model.get_config()
    encoder = {key: value for key, value in config["encoder"].items() if key != "order"}
    return CINN.from_config({**config, "targets": config["targets"][:n], "encoder": encoder, "outlier": None})


def with_arms(model: CINN, n: int) -> CINN:
    """A model of the last arms of the instrument."""
    config = model.get_config()
    instrument = {**config["instrument"], "arm": config["instrument"]["arm"][-n:]}
    smaller = CINN.from_config({**config, "instrument": instrument, "outlier": None})
    kept = np.isin(model.instrument.wavelength, smaller.instrument.wavelength)
    smaller.emulator.set_weights(
        [weight[..., kept] if weight.shape[-1:] == kept.shape else weight for weight in model.emulator.get_weights()]
    )
    return smaller


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=SHIPPED)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    model, repeats = load(options.model), options.repeats
    arms = [with_arms(model, n) for n in range(1, len(model.instrument.arms) + 1)]
    report = {
        "samples": {n: milliseconds(model, repeats, n_samples=n) for n in SAMPLES},
        "spectra in a call": {n: milliseconds(model, repeats, batch=n) for n in SPECTRA},
        "labels": {n: milliseconds(with_labels(model, n), repeats) for n in LABELS if n <= len(model.label_space)},
        "pixels": {arm.instrument.n_pixels: milliseconds(arm, repeats) for arm in arms},
    }
    print(f"backend {keras.backend.backend()}; {BATCH} spectra and {N_SAMPLES} samples unless said; ms per spectrum")
    for name, row in report.items():
        print(f"{name}: " + ", ".join(f"{n}: {value:.2f}" for n, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    if options.plot:
        figure = Figure(figsize=(10, 2.8), layout="constrained")
        for axis, (name, row) in zip(figure.subplots(1, len(report), sharey=True), report.items(), strict=True):
            axis.plot(list(row), list(row.values()), "o-", color="#2b6ca3")
            axis.set(xlabel=name, xscale="log", yscale="log")
            axis.set_xticks(list(row), [str(n) for n in row])
            axis.minorticks_off()
        figure.axes[0].set_ylabel("ms per spectrum")
        figure.savefig(options.plot, dpi=120)


if __name__ == "__main__":
    main()
