"""Write the golden files: ``KERAS_BACKEND=<backend> python tests/nn/make_golden.py``, once for each backend.

Run anew only when the file format changes on purpose; the files are how a later version proves that it reads old ones.
"""

from pathlib import Path

import keras
import numpy as np
from cases import draw, perturb

from kcinn.nn import ConditionalFlow

FOLDER = Path(__file__).parent / "golden"
N_LABELS, N_CONTEXT = 3, 5
FLOWS = {
    "affine": {"transform": "affine", "mixing": "permutation", "base": "normal"},
    "spline": {"transform": "spline", "mixing": "orthogonal", "base": "conditional", "actnorm": True},
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    backend = keras.backend.backend()
    theta, context = draw(20, N_LABELS, N_CONTEXT)
    expected = {}
    for kind, options in FLOWS.items():
        flow = ConditionalFlow(N_LABELS, depth=3, width=16, **options)
        flow.build({"theta": (None, N_LABELS), "context": (None, N_CONTEXT)})
        perturb(flow, seed=7, size=0.1)
        flow.save(FOLDER / f"{kind}_{backend}.keras")
        expected[kind] = flow.log_prob(theta, context)
    np.savez(FOLDER / f"expected_{backend}.npz", theta=theta, context=context, **expected)


if __name__ == "__main__":
    main()
