"""Write ``balmer.npz``: Stark profiles of the Balmer lines.

    python tools/build_balmer.py FACTS.npz [-o kcinn/synthesis/nlte/data/balmer.npz]

FACTS.npz holds for upper levels n = 3..9 the header `h<n>` (11,) and the profiles `d<n>` (n_temperature, n_density,
n_alpha), log10 S(alpha), of Lemke (1997), A&AS 122, 285: the header gives lower and upper level, the first values of
log alpha, log n_e and log T, their steps, and the numbers of values.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("facts", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=DATA / "balmer.npz")
    options = parser.parse_args()
    table = {}
    with np.load(options.facts, allow_pickle=False) as facts:
        for upper in range(3, 10):
            header, profile = facts[f"h{upper}"], facts[f"d{upper}"]
            n_alpha, n_density, n_temperature = (int(x) for x in header[8:11])
            table[f"log_alpha_{upper}"] = header[2] + header[5] * np.arange(n_alpha)
            table[f"log_density_{upper}"] = header[3] + header[6] * np.arange(n_density)
            table[f"log_temperature_{upper}"] = header[4] + header[7] * np.arange(n_temperature)
            table[f"log_profile_{upper}"] = profile.astype(np.float32)
    np.savez_compressed(options.output, **table)


if __name__ == "__main__":
    main()
