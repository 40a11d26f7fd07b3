"""What the contract tests run on: every step and every kind of flow, small, with weights away from their start."""

import numpy as np

from kcinn.nn import (
    ActNorm,
    AffineCoupling,
    ConditionalBase,
    ConditionalFlow,
    FixedPermutation,
    NormalBase,
    OrthogonalMixing,
    SplineCoupling,
    StudentTBase,
)

N_CONTEXT = 3

STEPS = {
    "affine-even": lambda: AffineCoupling(4, width=16),
    "affine-odd": lambda: AffineCoupling(5, width=16),
    "affine-one": lambda: AffineCoupling(1, width=16),
    "spline-even": lambda: SplineCoupling(4, width=16),
    "spline-odd": lambda: SplineCoupling(5, width=16, bins=5, bound=3.0),
    "spline-one": lambda: SplineCoupling(1, width=16),
    "permutation": lambda: FixedPermutation(5, seed=3),
    "orthogonal": lambda: OrthogonalMixing(5, seed=3),
    "actnorm": lambda: ActNorm(5),
}

BASES = {
    "normal": lambda: NormalBase(4),
    "student_t": lambda: StudentTBase(4, degrees_of_freedom=3.0),
    "conditional": lambda: ConditionalBase(4, width=16),
}

FLOWS = {  # every coupling with every mixing, and every base
    "affine-permutation": {"base": "normal"},
    "affine-orthogonal": {"mixing": "orthogonal", "base": "student_t"},
    "spline-permutation": {"transform": "spline", "base": "conditional"},
    "spline-orthogonal": {"transform": "spline", "mixing": "orthogonal", "base": "normal"},
    "affine-actnorm": {"actnorm": True, "base": "conditional"},
    "affine-one-label": {"n_labels": 1, "base": "conditional"},
    "spline-one-label": {"n_labels": 1, "transform": "spline"},
}


def perturb(layer, seed=0, size=0.2):
    """Move every trainable weight away from where it starts, so that nothing is an identity."""
    rng = np.random.default_rng(seed)
    for weight in layer.trainable_variables:
        weight.assign(np.asarray(weight) + size * rng.normal(size=weight.shape).astype("float32"))
    return layer


def make_step(name):
    step = STEPS[name]() if name in STEPS else BASES[name]()
    step.build((None, step.n_labels))
    return perturb(step)


def make_flow(name="affine-permutation", **options):
    flow = ConditionalFlow(**{"n_labels": 4, "depth": 2, "width": 16, **FLOWS[name], **options})
    flow.build({"theta": (None, flow.n_labels), "context": (None, N_CONTEXT)})
    return perturb(flow, size=0.1)


def draw(n, n_labels, n_context=N_CONTEXT, scale=1.0):
    rng = np.random.default_rng(1)
    theta, context = rng.normal(size=(n, n_labels)), rng.normal(size=(n, n_context))
    return (scale * theta).astype("float32"), (scale * context).astype("float32")
