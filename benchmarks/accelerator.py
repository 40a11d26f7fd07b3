"""Time, operations and bytes of a model on the device that Keras computes on, and what four million spectra would take.

    KERAS_BACKEND=jax python benchmarks/accelerator.py [MODEL ...] [--precision float32 tf32 bfloat16]
        [--batch 256] [--n-samples 4096] [--repeats 5] [--json FILE]

A model is a file, the name of one that comes with kcinn, or "paper", the published kind of architecture, untrained, for
the labels and pixels of the shipped model. From spectra in memory to summaries of their samples, compiled;
bfloat16 is that of the flow's subnets alone. Reading and writing are not in it. It runs on JAX and torch without
TensorFlow, and on TensorFlow.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from flow_speed import operations
from stages import timed

from kcinn.config import Config
from kcinn.model import CINN, load
from kcinn.nn.compiled import Compiled
from kcinn.nn.summarise import summarise

SURVEY = 4_000_000
SHIPPED = "4most-hrs"
PRECISIONS = ("float32", "tf32", "bfloat16")
SIDE = 4096  # of the square matrices whose product is the yardstick


def set_precision(precision: str) -> None:
    """What products of float32 are computed in."""
    rounded, backend = precision != "float32", keras.backend.backend()
    if backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if rounded else "highest")
    elif backend == "torch":
        import torch

        torch.set_float32_matmul_precision("high" if rounded else "highest")
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(rounded)


def made(name: str, precision: str) -> CINN:
    """The model, its subnets in bfloat16 if that is wanted."""
    model = load(SHIPPED if name == "paper" else name)
    if name == "paper":
        paper = asdict(Config.paper())
        flow = {key: paper[key] for key in ("members", "depth", "width", "hidden", "transform", "base")}
        model = CINN.from_config({**model.get_config(), "encoder": {"kind": "dense"}, "flow": flow})
    return model.in_bfloat16() if precision == "bfloat16" else model


def spectra(model: CINN, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux, error and mask of noisy spectra of the model's own emulator."""
    rng, instrument = np.random.default_rng(0), model.instrument
    phi = 0.5 * rng.standard_normal((n, len(model.full_space))).astype("float32")
    flux = keras.ops.convert_to_numpy(model.emulator.flux(model.emulator(phi)))
    error = np.broadcast_to(1.0 / (100.0 * np.sqrt(instrument.pixel_width)), flux.shape).astype("float32")
    noisy = flux + error * rng.standard_normal(flux.shape, dtype="float32")
    return noisy.astype("float32"), error, np.zeros_like(error)


def product_rate(model: CINN, precision: str, repeats: int) -> float:
    """Operations per second of a product of large square matrices; many in a row, so that fetching does not count."""
    n_products, dtype = 8, "bfloat16" if precision == "bfloat16" else "float32"

    def products(a):
        a, b = keras.ops.cast(a, dtype), keras.ops.cast(a, dtype)
        for _ in range(n_products):
            a = keras.ops.matmul(a, b)
        return keras.ops.cast(keras.ops.sum(a, axis=1), "float32")

    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype="float32") / SIDE**0.5
    return n_products * 2.0 * SIDE**3 / timed(products, model, [(matrix,)], repeats)


def measure(name: str, precision: str, batch: int, n_samples: int, repeats: int) -> dict[str, float]:
    set_precision(precision)
    model = made(name, precision)
    arrays = spectra(model, batch)
    noise = model.flow.draw_noise(range(batch), n_samples)
    encoding = Compiled(model.encode, model)(*arrays)

    def draw(noise, encoding):
        drawn = model.draw_encoded(noise, encoding)
        return summarise(drawn["labels"])

    def whole(flux, error, mask, noise):
        return draw(noise, model.encode(flux, error, mask))

    stages = {
        "encode": timed(model.encode, model, [arrays], repeats),
        "draw": timed(draw, model, [(noise, encoding)], repeats),
        "whole": timed(whole, model, [(*arrays, noise)], repeats),
    }
    rate, count = product_rate(model, precision, repeats), operations(model.flow.members[0], 1, n_samples)
    return {
        **{f"{stage}_ms_per_spectrum": 1e3 * taken / batch for stage, taken in stages.items()},
        "spectra_per_second": batch / stages["whole"],
        "minutes_for_four_million": SURVEY * stages["whole"] / batch / 60.0,
        "flow_gflop_per_spectrum": count / 1e9,
        "spectrum_kilobytes": 3 * 4 * model.instrument.n_pixels / 1e3,
        "samples_kilobytes": 4 * n_samples * len(model.label_space) / 1e3,
        "product_tflops": rate / 1e12,
        "flow_share_of_product_rate": count * batch / stages["draw"] / rate,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[SHIPPED, "paper"])
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--n-samples", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report = {}
    for name in options.models:
        for precision in options.precision:
            row = measure(name, precision, options.batch, options.n_samples, options.repeats)
            report[f"{name}, {precision}"] = row
            print(f"{name}, {precision}, backend {keras.backend.backend()}")
            for key, value in row.items():
                print(f"  {value:12.4g}  {key.replace('_', ' ')}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
