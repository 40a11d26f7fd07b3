"""At which number of quasi-random samples are summaries as exact as those of 4096 random ones?

    python benchmarks/quasi_random.py MODEL [--spectra 128] [--reference 65536] [--json FILE]

Noisy spectra of the model's own emulator are encoded once. For every number of samples, mean, 16th and 84th percentile
and covariance are compared with those of a very large random set; errors are in standard deviations of the posterior
(of the covariance: of the product of two), the root of the mean square over stars and labels. The time is that of flow
and summaries alone.
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
        pieces, rows = [], max(1, 2**17 // n_samples)
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
        rms = {kind: float(np.sqrt(np.mean(((found[kind] - truth[kind]) / scale[kind]) ** 2))) for kind in KINDS}
        return {**rms, "milliseconds": 1e3 * seconds}

    table = {f"random {RANDOM}": errors(RANDOM, False)}
    table |= {f"quasi-random {2**k}": errors(2**k, True) for k in range(7, 13)}
    print(f"{n} spectra; the reference's own error of the mean is {options.reference**-0.5:.4f}")
    print(f"{'samples':20s} " + " ".join(f"{kind:>12s}" for kind in KINDS) + "   ms per spectrum")
    for name, row in table.items():
        print(f"{name:20s} " + " ".join(f"{row[kind]:12.4f}" for kind in KINDS) + f"   {row['milliseconds']:8.2f}")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
