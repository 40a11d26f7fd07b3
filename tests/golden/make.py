"""Write the golden model: ``python tests/golden/make.py``. Anew only when the file format changes on purpose."""

import dataclasses
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))
import toy  # noqa: E402

from kcinn.training import fit  # noqa: E402

if __name__ == "__main__":
    config = dataclasses.replace(toy.CONFIG, emulator_steps=1500, draws=4096)
    model = fit(toy.grid(700), observation=toy.OBSERVATION, config=config, epochs=8, batch_size=256, verbose=0)
    model.save(FOLDER / "cinn.keras")
    labels = toy.grid(6, seed=3).labels
    spectra = toy.observed(labels, 100.0)
    drawn = model.sample(*spectra, n_samples=20)
    np.savez(
        FOLDER / "expected.npz",
        labels=labels,
        log_prob=model.log_prob(labels, *spectra),
        samples=drawn["labels"],
        flux=model.emulator.spectrum(labels[:2]),
        jacobian=model.emulator.jacobian(labels[:2]),
    )
