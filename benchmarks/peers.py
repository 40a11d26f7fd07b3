"""Sampling and training of one flow in kcinn and in other packages, on this machine, in turn in one run.

    pip install ".[peers]"
    python benchmarks/peers.py [-o peers] [--rounds 7] [--only kcinn-tensorflow freia ...]

Affine couplings of one size everywhere: eight blocks that change both halves of eight labels (sixteen that change one
half, where a package has only those), subnets of three hidden layers of 512, 256 numbers of context. Every package is
used as its users would, bayesflow's sampler is compiled besides. Each runs in a process of its own; they take turns,
and medians of the rounds are written to ``<o>.json`` and ``<o>.png``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

LABELS, BLOCKS, HIDDEN, WIDTH, CONTEXT = 8, 8, 3, 512, 256
SPECTRA, SAMPLES = 16, 1024
BATCH, STEPS = 512, 8

Job = Callable[[], Any]


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and context to train on, and context to sample for."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(BATCH * STEPS, LABELS)).astype("float32")
    context = rng.normal(size=(BATCH * STEPS, CONTEXT)).astype("float32")
    return theta, context, context[:SPECTRA]


def kcinn() -> tuple[Job, Job]:
    import keras

    from kcinn.nn import ConditionalFlow

    theta, context, observed = data()
    flow = ConditionalFlow(LABELS, depth=BLOCKS, width=WIDTH, hidden=HIDDEN)
    flow.compile(optimizer=keras.optimizers.Adam(1e-4))
    examples = {"theta": theta, "context": context}
    return (
        lambda: flow.sample(observed, n_samples=SAMPLES),
        lambda: flow.fit(examples, batch_size=BATCH, epochs=1, verbose=0),
    )


def bayesflow() -> tuple[Job, Job]:
    import bayesflow as bf
    import keras

    theta, context, observed = data()
    subnet = {"widths": (WIDTH,) * HIDDEN, "activation": "relu", "residual": False, "dropout": None}
    network = bf.networks.CouplingFlow(depth=BLOCKS, subnet_kwargs=subnet, use_actnorm=False)
    adapter = bf.Adapter().rename("theta", "inference_variables").rename("context", "inference_conditions")
    approximator = bf.approximators.ContinuousApproximator(inference_network=network, adapter=adapter, standardize=None)
    approximator.compile(optimizer=keras.optimizers.Adam(1e-4))
    examples = bf.datasets.OfflineDataset({"theta": theta, "context": context}, batch_size=BATCH, adapter=adapter)
    approximator.fit(dataset=examples, epochs=1, verbose=0)
    every = np.repeat(observed, SAMPLES, axis=0)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        draw = tf.function(lambda z, context: network(z, conditions=context, inverse=True), jit_compile=True)
    else:
        import jax

        def inverse(weights, z, context):
            with keras.StatelessScope(state_mapping=list(zip(network.variables, weights, strict=True))):
                return network(z, conditions=context, inverse=True)

        compiled = jax.jit(inverse)

        def draw(z, context):  # training donates the weights of before
            return compiled([variable.value for variable in network.variables], z, context)

    rng = np.random.default_rng(0)
    return (
        lambda: np.asarray(draw(rng.standard_normal((len(every), LABELS), dtype="float32"), every)),
        lambda: approximator.fit(dataset=examples, epochs=1, verbose=0),
    )


def flowjax() -> tuple[Job, Job]:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    from flowjax.bijections import Affine
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow

    theta, context, observed = map(jnp.asarray, data())
    flow = coupling_flow(
        jax.random.key(0), base_dist=Normal(jnp.zeros(LABELS)), transformer=Affine(), cond_dim=CONTEXT,
        flow_layers=2 * BLOCKS, nn_width=WIDTH, nn_depth=HIDDEN, invert=False,
    )  # fmt: skip
    draw = eqx.filter_jit(lambda flow, key, context: flow.sample(key, (SAMPLES,), context))
    optimizer = optax.adam(1e-4)
    state = optimizer.init(eqx.filter(flow, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(flow, state, theta, context):
        _, slope = eqx.filter_value_and_grad(lambda flow: -flow.log_prob(theta, context).mean())(flow)
        change, state = optimizer.update(slope, state)
        return eqx.apply_updates(flow, change), state

    def train():
        trained, last = flow, state
        for start in range(0, len(theta), BATCH):
            trained, last = step(trained, last, theta[start : start + BATCH], context[start : start + BATCH])
        return jax.block_until_ready(eqx.filter(trained, eqx.is_inexact_array))

    return lambda: jax.block_until_ready(draw(flow, jax.random.key(1), observed)), train


def freia() -> tuple[Job, Job]:
    import FrEIA.framework as framework
    import FrEIA.modules as modules
    import torch

    def subnet(n_in, n_out):
        return _mlp(n_in, n_out)

    flow = framework.SequenceINN(LABELS)
    for k in range(BLOCKS):
        flow.append(modules.GLOWCouplingBlock, cond=0, cond_shape=(CONTEXT,), subnet_constructor=subnet)
        flow.append(modules.PermuteRandom, seed=k)

    def loss(theta, context):
        z, log_det = flow(theta, c=[context])
        return (0.5 * z.square().sum(dim=1) - log_det).mean()

    every = torch.as_tensor(np.repeat(data()[2], SAMPLES, axis=0))

    def sample():
        with torch.inference_mode():
            return flow(torch.randn(len(every), LABELS), c=[every], rev=True, jac=False)[0]

    return sample, _torch_training(flow, loss)


def nflows() -> tuple[Job, Job]:
    import torch
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import AffineCouplingTransform, CompositeTransform

    class Subnet(torch.nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.layers = _mlp(n_in + CONTEXT, n_out)

        def forward(self, x, context):
            return self.layers(torch.cat([x, context], dim=1))

    mask = np.where(np.arange(LABELS) % 2, 1, -1)
    steps = [AffineCouplingTransform(mask * (-1) ** k, Subnet) for k in range(2 * BLOCKS)]
    flow = Flow(CompositeTransform(steps), StandardNormal([LABELS]))
    observed = torch.as_tensor(data()[2])

    def sample():
        with torch.inference_mode():
            return flow.sample(SAMPLES, context=observed)

    return sample, _torch_training(flow, lambda theta, context: -flow.log_prob(theta, context=context).mean())


def zuko() -> tuple[Job, Job]:
    import torch
    from zuko.flows import NICE

    flow = NICE(LABELS, CONTEXT, transforms=2 * BLOCKS, hidden_features=(WIDTH,) * HIDDEN)
    observed = torch.as_tensor(data()[2])

    def sample():
        with torch.inference_mode():
            return flow(observed).sample((SAMPLES,))

    return sample, _torch_training(flow, lambda theta, context: -flow(context).log_prob(theta).mean())


def sbi() -> tuple[Job, Job]:
    import torch
    from sbi.neural_nets.net_builders import build_zuko_nice

    theta, context, observed = map(torch.as_tensor, data())
    flow = build_zuko_nice(
        theta, context, z_score_x="none", z_score_y="none", hidden_features=(WIDTH,) * HIDDEN, num_transforms=2 * BLOCKS
    )

    def sample():
        with torch.inference_mode():
            return flow.sample((SAMPLES,), observed)

    return sample, _torch_training(flow, lambda theta, context: flow.loss(theta, context).mean())


PACKAGES: dict[str, tuple[Callable[[], tuple[Job, Job]], str]] = {
    "kcinn-tensorflow": (kcinn, "tensorflow"),
    "bayesflow-tensorflow": (bayesflow, "tensorflow"),
    "kcinn-jax": (kcinn, "jax"),
    "bayesflow-jax": (bayesflow, "jax"),
    "flowjax": (flowjax, "jax"),
    "freia": (freia, "torch"),
    "nflows": (nflows, "torch"),
    "zuko": (zuko, "torch"),
    "sbi": (sbi, "torch"),
}


def _mlp(n_in: int, n_out: int) -> Any:
    import torch

    sizes = [n_in, *[WIDTH] * HIDDEN]
    layers = [part for pair in pairwise(sizes) for part in (torch.nn.Linear(*pair), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, n_out))


def _torch_training(flow: Any, loss: Callable[..., Any]) -> Job:
    import torch

    theta, context, _ = map(torch.as_tensor, data())
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-4)

    def train():
        for start in range(0, len(theta), BATCH):
            optimizer.zero_grad()
            loss(theta[start : start + BATCH], context[start : start + BATCH]).backward()
            optimizer.step()

    return train


def worker(name: str) -> None:
    """Do what is asked for on standard input, and answer with its seconds."""
    sample, train = PACKAGES[name][0]()
    jobs = {"sample": sample, "train": train}
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the packages print is no answer
    for line in sys.stdin:
        start = time.perf_counter()
        jobs[line.strip()]()
        print(time.perf_counter() - start, file=answers, flush=True)


class Package:
    """A package in its own process."""

    def __init__(self, name: str) -> None:
        environment = {**os.environ, "KERAS_BACKEND": PACKAGES[name][1], "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.name, self.said = name, tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - for as long as the process; a pipe would fill
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said,
        )  # fmt: skip

    def seconds(self, job: str) -> float:
        assert self.process.stdin and self.process.stdout
        try:
            print(job, file=self.process.stdin, flush=True)
            return float(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):  # it has ended: no answer
            self.process.wait()
            self.said.seek(0)
            sys.exit(f"{self.name} ended:\n{self.said.read()[-2000:]}")


def sgemm() -> float:
    """Rate of NumPy's matrix product of the size that sampling needs, operations per second."""
    left = np.ones((SPECTRA * SAMPLES, WIDTH), np.float32)
    right = np.ones((WIDTH, WIDTH), np.float32)
    start = time.perf_counter()
    for _ in range(8):
        left @ right
    return 8 * 2 * left.shape[0] * WIDTH**2 / (time.perf_counter() - start)


def operations() -> float:
    """Multiplications and additions that sampling takes where the context's half is done once per spectrum."""
    per_sample = WIDTH * (LABELS // 2) + (HIDDEN - 1) * WIDTH**2 + WIDTH * LABELS
    return 2.0 * 2 * BLOCKS * (SPECTRA * SAMPLES * per_sample + SPECTRA * CONTEXT * WIDTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("peers"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES), metavar="PACKAGE")
    parser.add_argument("--worker", choices=PACKAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return

    packages = [Package(name) for name in options.only]
    for package in tqdm(packages, desc="compile", disable=None):
        for job in ("sample", "train", "sample", "train"):
            package.seconds(job)
    taken: dict[str, dict[str, list[float]]] = {package.name: {"sample": [], "train": []} for package in packages}
    rates = []
    for _ in tqdm(range(options.rounds), desc="rounds", disable=None):
        rates.append(sgemm())
        for job in ("sample", "train"):
            for package in packages:
                taken[package.name][job].append(package.seconds(job))

    medians = {name: {job: float(np.median(seconds)) for job, seconds in jobs.items()} for name, jobs in taken.items()}
    rate = float(np.median(rates))
    report = {
        "flow": {"labels": LABELS, "blocks": BLOCKS, "hidden": HIDDEN, "width": WIDTH, "context": CONTEXT},
        "sgemm_gflops": rate / 1e9,
        "packages": {
            name: {
                "samples_per_second": SPECTRA * SAMPLES / seconds["sample"],
                "share_of_sgemm": operations() / seconds["sample"] / rate,
                "milliseconds_per_training_step": 1e3 * seconds["train"] / STEPS,
            }
            for name, seconds in medians.items()
        },
        "seconds": taken,
    }
    options.output.with_suffix(".json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    plot(report, options.output.with_suffix(".png"))
    print(f"matrix product of NumPy: {rate / 1e9:.0f} GFLOP/s; sampling takes {operations() / 1e9:.0f} GFLOP")
    print(f"{'package':22s} {'samples/s':>10s} {'of sgemm':>9s} {'ms per training step':>21s}")
    for name, row in report["packages"].items():
        print(
            f"{name:22s} {row['samples_per_second']:10.0f} {row['share_of_sgemm']:9.2f} "
            f"{row['milliseconds_per_training_step']:21.0f}"
        )


def plot(report: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    names = list(report["packages"])[::-1]
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colours = ["#0072b2" if name.startswith("kcinn") else "#999999" for name in names]
    left.barh(names, [report["packages"][name]["samples_per_second"] for name in names], color=colours)
    left.set_xlabel("samples per second")
    right.barh(names, [report["packages"][name]["milliseconds_per_training_step"] for name in names], color=colours)
    right.set_xlabel(f"ms per training step of {BATCH}")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
