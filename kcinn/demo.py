"""demo: train a small cINN on the grid that comes with the package, and show what it can do."""

from __future__ import annotations

import json
import platform
import resource
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn import plot
from kcinn.config import Config
from kcinn.diagnostics import Recovery, recovery
from kcinn.grid import SyntheticGrid
from kcinn.inference import predict
from kcinn.model import CINN
from kcinn.model.cinn import ROWS_OF_MANY
from kcinn.model.mock import mock_spectra
from kcinn.posterior import Posterior
from kcinn.shipped import COMPACT_GRID, shipped
from kcinn.spectra import Spectra
from kcinn.training import fit

QUICK = Config(emulator_steps=4000, draws=12288)  # sooner done than the default, and a few percent less sharp
SNR = (25.0, 50.0, 100.0, 250.0)
SHOWN_SNR = 250.0
N_TEST = 1000
FEWER = 2  # at the other S/N every second spectrum is predicted
N_SAMPLES = 1024
WINDOWS = ((5160.0, 5200.0), (6140.0, 6180.0), (6540.0, 6585.0))
PACKAGES = ("kcinn", "keras", "tensorflow", "tensorflow-probability", "numpy", "scipy", "numba", "astropy", "h5py")


def demo(
    output: str | Path,
    *,
    grid: SyntheticGrid | None = None,
    spectra: Sequence[tuple[str, Spectra]] = (),
    resolving_power: float | None = None,
    normalise: bool = False,
    config: Config | None = None,
    epochs: int = 80,
    seed: int = 0,
    verbose: int = 1,
) -> dict[str, Any]:
    """Train on the shipped grid, predict held-out synthetic spectra at several S/N, and spectra of the user's.

    Writes `model.keras`, `catalogue.fits`, `report.json` and pictures into `output`.

    Parameters
    ----------
    output : path
        Folder, made if need be.
    grid : SyntheticGrid, optional
        By default the one that comes with kcinn.
    spectra : sequence of (name, Spectra)
        Shown apart: `catalogue-<name>.fits` and a corner plot of each.
    resolving_power, normalise
        Of these spectra, see `predict`.
    config : Config, optional
        By default `QUICK`.
    epochs, seed, verbose
        See `fit`.

    Returns
    -------
    dict
        What `report.json` holds.
    """
    output, begin, config = Path(output), time.perf_counter(), config or QUICK
    output.mkdir(parents=True, exist_ok=True)
    grid = grid or SyntheticGrid.open(shipped(COMPACT_GRID))
    share = min(0.1, N_TEST / len(grid))
    training, test = grid.split(1.0 - share, share, seed=seed)
    model = fit(training, config=config, epochs=epochs, seed=seed, verbose=verbose)
    model.save(output / "model.keras")
    trained = time.perf_counter()

    results, shown, first = _predicted(model, test, seed, verbose)
    predicted = time.perf_counter()
    shown.write(output / "catalogue.fits", covariance=True)
    figures = _figures(model, test, results, shown, first)
    users = {}
    for name, own in spectra:
        posterior = predict(
            model, own, n_samples=N_SAMPLES, resolving_power=resolving_power, normalise=normalise, seed=seed
        )
        posterior.write(output / f"catalogue-{name}.fits", covariance=True)
        figures[f"corner-{name}"] = plot.corner(posterior, 0, labels=_main_labels(model))
        users[name] = _user_row(posterior)
    for name, figure in figures.items():
        figure.savefig(output / f"{name}.png", dpi=130)

    report = {
        "labels": {
            label.name: {f"{snr:g}": _of_label(result, k) for snr, result in results.items()}
            for k, label in enumerate(model.label_space)
        },
        "user_spectra": users,
        "encoder": config.encoder,
        "test_spectra": len(test),
        "training": model.summary_of_training,
        "seconds": {
            "train": trained - begin,
            "predict": predicted - trained,
            "total": time.perf_counter() - begin,
        },
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    (output / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


def _predicted(
    model: CINN, test: SyntheticGrid, seed: int, verbose: int
) -> tuple[dict[float, Recovery], Posterior, Spectra]:
    """How well truths are recovered at every S/N; posteriors at `SHOWN_SNR`, and the first of their spectra."""
    results = {}
    for k, snr in enumerate(tqdm(SNR, desc="predict", disable=None if verbose else True)):
        stars = test if snr == SHOWN_SNR else test.subset(slice(None, None, FEWER))
        observed = mock_spectra(stars, model.observation.at(snr), seed=seed + k + 1)
        # the synthesis that made them has no gap to them
        posterior = predict(model, observed, n_samples=N_SAMPLES, batch_size=ROWS_OF_MANY, gap=False, seed=seed)
        results[snr] = recovery(posterior.samples, _truth(model, stars))
        if snr == SHOWN_SNR:
            shown, first = posterior, observed[:1]
        del posterior, observed  # before the next ones are made: they are the largest arrays here
    return results, shown, first


def _truth(model: CINN, stars: SyntheticGrid) -> NDArray[np.float64]:
    return stars.labels[:, [stars.label_space.index(name) for name in model.label_space.names]]


def _figures(
    model: CINN, test: SyntheticGrid, results: dict[float, Recovery], shown: Posterior, first: Spectra
) -> dict[str, Any]:
    truth, title = _truth(model, test), f"S/N {SHOWN_SNR:g} per angstrom"
    return {
        "recovery": plot.recovery(shown, truth, title=f"held-out synthetic stars, {title}"),
        "residual-snr": plot.residual_against_snr(results, model.label_space),
        "coverage": plot.calibration(shown.samples, truth, model.label_space, title=title),
        "corner": plot.corner(shown, 0, truth=truth[0], labels=_main_labels(model)),
        "loss": plot.loss(model.summary_of_training),
        "spectrum": _spectrum_figure(model, first, shown, "a held-out synthetic star"),
    }


def table(report: dict[str, Any], snr: float = SHOWN_SNR) -> str:
    """The report's truth against posterior as text."""
    lines = [
        f"{report['test_spectra']} held-out synthetic spectra, S/N {snr:g} per angstrom, encoder {report['encoder']}",
        f"{'label':8s} {'rms':>9s} {'robust':>9s} {'bias':>9s} {'width':>9s} {'in 68 %':>8s} {'in 95 %':>8s}",
    ]
    for name, at in report["labels"].items():
        row = at[f"{snr:g}"]
        numbers = " ".join(f"{row[key]:9.3g}" for key in ("rms", "scatter", "bias", "width"))
        lines.append(f"{name:8s} {numbers} {row['coverage68']:8.1%} {row['coverage95']:8.1%}")
    for name, row in report["user_spectra"].items():
        main = ", ".join(
            f"{key} {value:.4g} +- {row['e_' + key]:.2g}" for key, value in row.items() if "e_" + key in row
        )
        lines.append(f"{name}: {main}; chi-square {row['chi_square']:.3g}, flag {row['flag']}")
    return "\n".join(lines)


def _spectrum_figure(model: CINN, observed: Spectra, posterior: Posterior, title: str) -> Any:
    wavelength = model.instrument.wavelength
    return plot.spectrum(
        wavelength,
        observed.flux[0],
        model.spectrum(posterior.samples[0, :64], velocity=posterior.diagnostics["velocity"][0]),
        mask=observed.mask[0] | model.ignored,
        windows=[(a, b) for a, b in WINDOWS if np.any((wavelength > a) & (wavelength < b))],
        title=title,
    )


def _main_labels(model: CINN) -> list[str]:
    return [
        name for name in model.label_space.names if name in ("teff", "logg", "fe_h", "vmic", "mg_fe", "ca_fe", "li_fe")
    ]


def _of_label(result: Recovery, k: int) -> dict[str, float]:
    return {key: float(values[k]) for key, values in result._asdict().items()}


def _user_row(posterior: Posterior) -> dict[str, float]:
    row = posterior.summary()[0]
    names = [key for name in posterior.label_space.names for key in (name, f"e_{name}")]
    return {key: float(getattr(row[key], "value", row[key])) for key in [*names, *posterior.diagnostics, "flag"]}
