"""Posteriors of spectra that another code computed: labels of a model against those Turbospectrum was given.

    python benchmarks/model_turbospectrum.py MODEL FILE.npz [--snr 250] [--gap] [--train]

FILE.npz is that of `engine_turbospectrum.py`. The spectra are seen by the model's instrument with noise; arms that the
file lacks are masked. They are in LTE and have no molecules and listed oscillator strengths, which the model may not:
bias and scatter are those of the physics. Prints, per label, the median difference, its robust scatter and its rms.

With `--train` MODEL is made first, of spectra with the same physics: the embedded engine in LTE, atoms alone, listed
oscillator strengths, the ATLAS9 models as they are, and the labels that Turbospectrum was given. It takes half an hour.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import kcinn
from kcinn.broaden import match
from kcinn.spectra import Spectra
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.synthesize import LABELS


def observed(data: dict[str, np.ndarray], instrument: kcinn.Instrument, snr: float) -> Spectra:
    """The spectra on the instrument's pixels, with noise of `snr` per angstrom."""
    wavelength = np.concatenate([data["wave_green"], data["wave_red"]])
    flux = np.concatenate([data["flux_green"], data["flux_red"]], axis=1).astype(np.float64)
    perfect = Spectra(wavelength, flux, error=np.full_like(flux, 1e-4), medium="air")
    spectra = match(perfect, instrument, resolving_power=float(data["resolving_power"]))
    error = np.broadcast_to(1.0 / (snr * np.sqrt(instrument.pixel_width)), spectra.flux.shape)
    noise = np.random.default_rng(0).normal(size=error.shape) * error
    return Spectra(spectra.wavelength, spectra.flux + noise, error=error, mask=spectra.mask, medium=spectra.medium)


def train(path: Path, instrument: str, n: int) -> None:
    """A model of spectra with the physics of the file's, on a grid of `n` beside it."""
    labels = LABELS.without(["overshooting", "c_fe", "sc_fe", "v_fe", "co_fe", "y_fe", "nd_fe"])
    engine = NLTEEngine(molecules=())
    grid = kcinn.synthesize(
        path.with_suffix(".h5"), n=n, instrument=instrument, engine=engine, label_space=labels, seed=5
    )
    model = kcinn.fit(
        grid, config=kcinn.Config(emulator_steps=12000), checkpoint=path.with_suffix(".training"), resume=True
    )
    model.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    parser.add_argument("--snr", type=float, default=250.0)
    parser.add_argument("--gap", action="store_true", help="allow for the synthetic gap, as for observed stars")
    parser.add_argument("--train", action="store_true", help="make the model first, of LTE spectra of atoms")
    parser.add_argument("-n", type=int, default=16000, help="spectra of that training")
    options = parser.parse_args()
    if options.train:
        train(Path(options.model), "4most-hrs-green-red", options.n)
    model = kcinn.load(options.model)
    with np.load(options.file, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    posterior = kcinn.predict(model, observed(data, model.instrument, options.snr), n_samples=1024, gap=options.gap)
    print(f"S/N {options.snr:g}, {len(data['labels'])} spectra, flagged: {np.count_nonzero(posterior.flag)}")
    for k, name in enumerate(map(str, data["label_names"])):
        if name in posterior.label_space.names:
            difference = posterior.label(name).T - data["labels"][:, k]
            difference = np.median(difference, axis=0)
            scatter = 1.4826 * np.median(np.abs(difference - np.median(difference)))
            print(f"{name:6s} bias {np.median(difference):+9.4f}  scatter {scatter:8.4f}  rms "
                  f"{np.sqrt(np.mean(difference**2)):8.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
