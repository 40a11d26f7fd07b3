"""At which number of quasi-random samples are summaries as exact as those of 4096 random ones?

    python benchmarks/quasi_random.py MODEL [--spectra 128] [--reference 65536] [--json FILE]

Noisy spectra of the model's own emulator are encoded once. For every number of samples, mean, 16th and 84th percentile
and covariance are compared with those of a very large random set; errors are in standard deviations of the posterior
(of the covariance: of the product of two), the root of their mean square over the labels, of the median star, and in
brackets over all stars: a sample in ten thousand lies far outside, and then decides the covariance of its star. The
time is that of noise, flow and summaries.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from survey_speed import make

import kcinn
from kcinn import marginals
from kcinn.nn.compiled import Compiled
from kcinn.survey.spectra_file import SpectraFile

KINDS = ("mean", "percentiles", "covariance")
RANDOM = 4096


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--spectra", type=int, default=128)
    parser.add_argument("--reference", type=int, default=65536)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, n = kcinn.load(options.model), options.spectra
    with tempfile.TemporaryDirectory() as folder:
        make(model, Path(folder) / "spectra.h5", n)
        with SpectraFile(Path(folder) / "spectra.h5") as file:
            spectra = file.rows(0, n)
    encoding, _ = model.encoded(spectra.flux, spectra.error, spectra.mask)
    draw = Compiled(lambda noise, encoding: model.draw_encoded(noise, encoding)["labels"], model)

    def summaries(n_samples, quasi, seed):
        """Mean, percentiles, covariance, and seconds per spectrum."""
        pieces, rows = [], max(1, min(n, 2**13 // n_samples))
        draw.in_chunks(
            rows,
            model.flow.draw_noise(range(rows), n_samples, seed, quasi=quasi),
            type(encoding)(*(part[:rows] for part in encoding)),
        )
        start = time.perf_counter()
        for first in range(0, n, rows):
            part = slice(first, min(first + rows, n))
            noise = model.flow.draw_noise(range(part.start, part.stop), n_samples, seed, quasi=quasi)
            labels = draw.in_chunks(rows, noise, type(encoding)(*(item[part] for item in encoding)))
            pieces.append(marginals.summarise(labels))
        seconds = (time.perf_counter() - start) / n
        joined = {
            name: np.concatenate([getattr(piece, name) for piece in pieces])
            for name in ("mean", "quantiles", "covariance")
        }
        return {
            "mean": joined["mean"],
            "percentiles": joined["quantiles"][:, [0, 2]],
            "covariance": joined["covariance"],
        }, seconds

    truth, _ = summaries(options.reference, False, seed=1)
    width = np.sqrt(np.diagonal(truth["covariance"], axis1=1, axis2=2))
    scale = {"mean": width, "percentiles": width[:, None], "covariance": width[:, :, None] * width[:, None]}

    def errors(n_samples, quasi):
        found, seconds = summaries(n_samples, quasi, seed=2)
        squares = {kind: ((found[kind] - truth[kind]) / scale[kind]) ** 2 for kind in KINDS}
        stars = {kind: np.sqrt(square.reshape(n, -1).mean(axis=1)) for kind, square in squares.items()}
        typical = {kind: float(np.median(values)) for kind, values in stars.items()}
        overall = {f"{kind}, all": float(np.sqrt(np.mean(values**2))) for kind, values in stars.items()}
        return {**typical, **overall, "milliseconds": 1e3 * seconds}

    table = {f"random {RANDOM}": errors(RANDOM, False)}
    table |= {f"quasi-random {2**k}": errors(2**k, True) for k in range(7, 13)}
    print(f"{n} spectra; the reference's own error of the mean is {options.reference**-0.5:.4f}")
    print(f"{'samples':20s} " + " ".join(f"{kind:>17s}" for kind in KINDS) + "   ms per spectrum")
    for name, row in table.items():
        shown = " ".join(f"{row[kind]:8.4f} ({row[f'{kind}, all']:.4f})" for kind in KINDS)
        print(f"{name:20s} {shown}   {row['milliseconds']:8.2f}")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
