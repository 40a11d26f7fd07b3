"""Samples per second of the compiled sampler, as a share of the machine's matrix-product rate.

``python benchmarks/flow_speed.py [--depth 12 --width 512 ...]``: both are measured in turn in the same run, and the
medians of the repeats are printed.
"""

import argparse
import time

import keras
import numpy as np

from kcinn.nn import Compiled, ConditionalFlow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--transform", default="affine")
    parser.add_argument("--spectra", type=int, default=16)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()

    flow = ConditionalFlow(options.labels, depth=options.depth, width=options.width, transform=options.transform)
    flow.build({"theta": (None, options.labels), "context": (None, options.context)})
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(options.spectra, options.samples, options.labels)).astype("float32")
    context = rng.normal(size=(options.spectra, options.context)).astype("float32")
    n_rows = options.spectra * options.samples
    left, right = rng.normal(size=(n_rows, 512)).astype("float32"), rng.normal(size=(512, 512)).astype("float32")

    sampler = Compiled(flow.transform, flow)
    product = Compiled(lambda left, right: keras.ops.sum(keras.ops.matmul(left, right), axis=-1), flow)
    sampler(noise, context), product(left, right)  # compile
    sampling, multiplying = [], []
    for _ in range(options.repeats):
        sampling.append(seconds(sampler, noise, context))
        multiplying.append(seconds(product, left, right))

    flow_rate = operations(flow, options.spectra, options.samples) / np.median(sampling)
    product_rate = 2.0 * n_rows * 512 * 512 / np.median(multiplying)
    print(f"backend {keras.backend.backend()}, {options.transform}, {options.labels} labels, depth {options.depth}, ")
    print(f"width {options.width}, {options.spectra} spectra x {options.samples} samples, {options.repeats} repeats")
    print(f"samples per second    {n_rows / np.median(sampling):12.0f}")
    print(f"sampler GFLOP/s       {flow_rate / 1e9:12.1f}")
    print(f"matrix product GFLOP/s{product_rate / 1e9:12.1f}")
    print(f"share                 {flow_rate / product_rate:12.2f}")


def operations(flow: ConditionalFlow, n_spectra: int, n_samples: int) -> float:
    """Multiplications and additions in the products that sampling takes."""
    kernels = [weight for weight in flow.trainable_variables if len(weight.shape) == 2]
    once = int(np.prod(flow.conditioner.kernel.shape))  # per spectrum, all other products per sample
    each = sum(int(np.prod(kernel.shape)) for kernel in kernels) - once
    return 2.0 * n_spectra * (once + n_samples * each)


def seconds(function, *arrays) -> float:
    start = time.perf_counter()
    function(*arrays)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
