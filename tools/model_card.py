"""The card of a model: what it was trained on, and how it does on stars that the training has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import kcinn
from kcinn.diagnostics import recovery
from kcinn.grid import SyntheticGrid
from kcinn.inference import predict
from kcinn.model import CINN
from kcinn.model.mock import mock_spectra
from kcinn.model_file import sha256

MODELS = Path(__file__).parents[1] / "data/models"
SNR = (20.0, 50.0, 100.0, 250.0, 1000.0)
OFTEN_LIMITS = ("li_fe", "ba_fe")  # their lines vanish in many stars: these are told apart
FROM_TRAINING = (
    "spectra", "stars", "emulator_spectra", "emulator_rms", "emulator_rms_median", "flow_spectra", "seconds",
)  # fmt: skip
CARD = """# {name}

A conditional invertible neural network behind a Fisher encoder, trained by kcinn {version} on {spectra} synthetic
spectra of {stars} stars with `tools/train_model.py`. Load it with `kcinn.load("{name}")`.

- File: `{name}.keras`, {megabytes:.1f} MB, SHA-256 `{sha256}`.
- Synthesis: `kcinn synthesize`, engine {engine} {engine_version}, {log_gf} oscillator strengths, NLTE for {nlte}.
- Instrument: {instrument}, {n_pixels} pixels, wavelengths in {medium}.
- Labels and their prior, uniform inside the region of plausible stars: {labels}.
- What it expects: spectra normalised, continuum right to {continuum:.0%}, at rest to {velocity:g} km/s, S/N {low:g} to
  {high:g} per angstrom.
- Emulator: learned from {emulator_spectra} spectra; rms error {emulator_rms:.4f} of the continuum on stars of the prior
  that it has not seen, {emulator_rms_median:.4f} for the median star.
- Flow: learned from {flow_spectra} other spectra of the prior, each with new labels near its own.
- Training: {seconds:.0f} s.
- Calibration: on {n_calibrating} other stars.

Median of the posterior against truth, {n_test} held-out spectra: rms, and the share of truths inside the 68 % interval;
lithium and barium also where their posterior is a detection, in this part of the spectra.

| label | {heads} |
| --- | {rule} |
{rows}

Limits: what the engine lacks (`docs/engine.md`). Real spectra that it misses get the typical error of the synthesis on
top of their own. Carbon-rich cool stars, double-lined binaries and emission lines are not in the training.
"""


def write(model: CINN, test: SyntheticGrid, folder: Path, n_calibrating: int) -> None:
    """Write ``NAME.keras`` and ``NAME.md`` into a folder, and print the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    name = model.instrument.name
    file = folder / f"{name}.keras"
    model.save(file)
    cells: dict[str, list[str]] = {}
    for k, snr in enumerate(SNR):
        posterior = predict(
            model, mock_spectra(test, model.observation.at(snr), seed=k), n_samples=1000, gap=False, verbose=1
        )
        everywhere = np.full(len(test), True)
        seen = {f"{x}, where detected": (x, posterior.detection(x).detected) for x in OFTEN_LIMITS}
        for row, (label, chosen) in {**{x: (x, everywhere) for x in model.label_space.names}, **seen}.items():
            i = model.label_space.index(label)
            result = recovery(posterior.samples[chosen][:, :, i : i + 1], test.labels[chosen][:, i : i + 1])
            share = f" of {chosen.mean():.0%}" if row != label else ""
            unit = model.label_space.labels[i].unit
            cells.setdefault(f"{row} ({unit})" if unit else row, []).append(
                f"{result.rms[0]:.3g}, {result.coverage68[0]:.0%}{share}"
            )
    rows = "\n".join(f"| {' | '.join([head, *row])} |" for head, row in cells.items())
    card = CARD.format(
        name=name,
        version=kcinn.__version__,
        megabytes=file.stat().st_size / 1e6,
        sha256=sha256(file),
        log_gf=model.metadata["log_gf"],
        engine=model.metadata["engine"],
        engine_version=model.metadata["engine_version"],
        nlte=", ".join(model.metadata["nlte_species"]),
        instrument=name,
        n_pixels=model.instrument.n_pixels,
        medium=model.instrument.medium,
        labels=", ".join(f"{x.name} {x.lower:g} to {x.upper:g} {x.unit}".strip() for x in model.label_space),
        velocity=model.observation.velocity,
        low=model.observation.snr[0],
        high=model.observation.snr[1],
        continuum=model.observation.continuum,
        n_test=len(test),
        n_calibrating=n_calibrating,
        heads=" | ".join(f"S/N {snr:g}" for snr in SNR),
        rule=" | ".join("---" for _ in SNR),
        rows=rows,
        **{key: model.summary_of_training[key] for key in FROM_TRAINING},
    )
    (folder / f"{name}.md").write_text(card, encoding="utf-8")
    print(card)
