"""Milliseconds per spectrum of every stage from packed spectra to catalogue rows, for one model on one machine.

    python benchmarks/stages.py MODEL [--spectra 64] [--n-samples 4096] [--repeats 3] [--json FILE]

Spectra are noisy ones of the model's own emulator. Every stage is compiled and timed by itself, and the median of the
repeats printed; inside the Fisher encoder, stages are differences of functions that end earlier and later.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from survey_speed import make

from kcinn import load, marginals
from kcinn.nn.compiled import Compiled
from kcinn.nn.summarise import summarise
from kcinn.survey.manifest import Manifest, Options
from kcinn.survey.shard import write_part
from kcinn.survey.spectra_file import SpectraFile
from kcinn.survey.summariser import Summariser


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--spectra", type=int, default=64)
    parser.add_argument("--n-samples", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, n = load(options.model), options.spectra
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spectra.h5"
        make(model, path, n)
        manifest = Manifest.of(options.model, [path], Options(n_samples=options.n_samples))
        summariser = Summariser(manifest)
        with SpectraFile(path) as file:
            rates = {
                "read and bring to the model's pixels": median_of(
                    lambda: [summariser.prepare(file, k, min(k + 32, n), k) for k in range(0, n, 32)], options.repeats
                )
            }
            batches = [summariser.prepare(file, k, min(k + 32, n), k) for k in range(0, n, 32)]
        rates["of that, noise"] = median_of(
            lambda: model.flow.draw_noise(range(n), options.n_samples, 0), options.repeats
        )
        rates |= encoder_stages(model, batches, options.repeats)
        encodings = [encoded(model, batch)[0] for batch in batches]
        rates |= sampling_stages(model, batches, encodings, options.repeats)
        for batch in batches:
            summariser.compute(batch)
        rates["rows of the catalogue, with summaries on the CPU"] = median_of(
            lambda: [summariser.rows(batch) for batch in batches], options.repeats
        )
        rows = np.concatenate([summariser.rows(batch) for batch in batches])
        rates["write"] = median_of(lambda: write_part(Path(folder) / "part.npy", rows), options.repeats)
        rates["whole compiled step"] = median_of(
            lambda: [summariser.compute(batch) for batch in batches], options.repeats
        )
    rates = {name: 1e3 * seconds / n for name, seconds in rates.items()}
    print(f"backend {keras.backend.backend()}, {n} spectra, {options.n_samples} samples; ms per spectrum")
    for name, milliseconds in rates.items():
        print(f"{milliseconds:9.3f}  {name}")
    if options.json:
        options.json.write_text(json.dumps(rates, indent=1))


def encoded(model, batch):
    return model.encoded(batch.spectra.flux, batch.spectra.error, batch.spectra.mask, batch_size=32)


def encoder_stages(model, batches, repeats):
    """Of the Fisher encoder; other encoders are one stage."""
    encoder, rates = model.encoder, {}
    inputs = [model._checked(batch.spectra.flux, batch.spectra.error, batch.spectra.mask) for batch in batches]
    inputs = [(spectra["flux"], spectra["error"], spectra["mask"]) for spectra in inputs]
    if hasattr(encoder, "_approach"):

        def search(flux, error, mask):
            return encoder._search(flux, model._weight(error, mask))

        def gram(flux, error, mask):
            return encoder._block_gram(encoder._block_weight(model._weight(error, mask)))

        def approach(flux, error, mask):
            return encoder._approach(flux, model._weight(error, mask))

        rates["encoder: search of velocity and start"] = timed(search, model, inputs, repeats)
        rates["encoder: normal matrices of the components"] = timed(gram, model, inputs, repeats)
        rates["encoder: search, matrices and fit to components"] = timed(approach, model, inputs, repeats)
    rates["encoder: all"] = timed(model.encode, model, inputs, repeats)
    rates["encoder and signs of outliers"] = timed(model.encode_and_measure, model, inputs, repeats)
    return rates


def sampling_stages(model, batches, encodings, repeats):
    pairs = [(batch.noise, encoding) for batch, encoding in zip(batches, encodings, strict=True)]

    def flow(noise, encoding):
        return keras.ops.sum(model.flow.transform(noise, model.standardise(encoding.context)), axis=1)

    def labels(noise, encoding):
        return keras.ops.sum(model.draw_encoded(noise, encoding)["labels"], axis=1)

    def summaries(noise, encoding):
        return summarise(model.draw_encoded(noise, encoding)["labels"])

    rates = {
        "flow, to latent sums": timed(flow, model, pairs, repeats),
        "flow and labels, to sums": timed(labels, model, pairs, repeats),
        "flow and labels, fetched": timed(model.draw_encoded, model, pairs, repeats),
        "flow, labels and compiled summaries": timed(summaries, model, pairs, repeats),
    }
    drawn = Compiled(model.draw_encoded, model)(*pairs[0])["labels"]
    seconds = median_of(lambda: marginals.summarise(drawn), repeats)
    return rates | {"summaries in NumPy": seconds * len(pairs)}


def timed(function, model, inputs, repeats):
    compiled = Compiled(function, model)
    compiled(*inputs[0])
    return median_of(lambda: [compiled(*arrays) for arrays in inputs], repeats)


def median_of(function, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


if __name__ == "__main__":
    main()
