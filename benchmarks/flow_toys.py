"""How far trained flows stay from exact posteriors, in nats: ``python benchmarks/flow_toys.py [--steps 1000]``."""

import argparse
import sys
import time
from pathlib import Path

import keras
import numpy as np

from kcinn.nn import ConditionalFlow

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nn"))
import toys

BATCH = 256
PROBLEMS = {
    "linear-gaussian": (toys.linear_gaussian, toys.linear_gaussian_log_posterior),
    "two-moons": (toys.two_moons, toys.two_moons_log_posterior),
}
FLOWS = [("affine", "normal"), ("affine", "student_t"), ("affine", "conditional"), ("spline", "normal")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="training steps of 256 fresh simulations")
    steps = parser.parse_args().steps
    print(f"backend {keras.backend.backend()}, {steps} steps, depth 4, width 64, Adam, cosine schedule")
    print("gap: mean of log p(exact) - log p(flow) over 500 unseen pairs, with its standard error")
    for problem, (simulate, log_posterior) in PROBLEMS.items():
        theta, context = simulate(500, seed=2)
        exact = log_posterior(theta, context)
        for transform, base in FLOWS:
            start = time.perf_counter()
            flow = train(simulate, steps, transform, base)
            seconds = time.perf_counter() - start
            gap = exact - flow.log_prob(theta, context)
            error = gap.std() / np.sqrt(len(gap))
            print(f"{problem:16s} {transform:7s} {base:12s} gap {gap.mean():7.4f} +- {error:.4f}  {seconds:5.1f} s")


def train(simulate, steps: int, transform: str, base: str) -> ConditionalFlow:
    keras.utils.set_random_seed(0)
    flow = ConditionalFlow(toys.N_LABELS, depth=4, width=64, transform=transform, base=base)
    theta, context = simulate(BATCH * steps, seed=1)
    schedule = keras.optimizers.schedules.CosineDecay(4e-3, steps)
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
    flow.compile(optimizer=optimizer, jit_compile=False, steps_per_execution=25)
    flow.fit({"theta": theta, "context": context}, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    return flow


if __name__ == "__main__":
    main()
