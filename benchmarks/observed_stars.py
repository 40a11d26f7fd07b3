"""Posterior of a model against reference labels for observed stars.

python benchmarks/observed_stars.py model.keras labels.csv FOLDER [--power NAME=R ...] [--normalise NAME ...]
"""

from __future__ import annotations

import argparse

import numpy as np
from stars import REFERENCE, add_arguments, observed

import kcinn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    add_arguments(parser)
    options = parser.parse_args()
    model = kcinn.load(options.model)
    shown = [name for name in ("vmic", "mg_fe", "ca_fe", "li_fe") if name in model.label_space.names]
    print(f"{'star':22s} pixels    chi2  value +- error (minus reference) of teff, logg, fe_h, then {', '.join(shown)}")
    differences = []
    for star, spectra, reference in observed(options, model.instrument):
        posterior = kcinn.predict(model, spectra)
        row = posterior.summary()[0]
        columns = [model.label_space.index(name) for name in REFERENCE]
        difference = posterior.median[0, columns] - reference
        differences.append(difference)
        number = {name: (float(row[name].value), float(row[f"e_{name}"].value)) for name in model.label_space.names}
        print(
            f"{star:22s} {row['n_pixels']:6d} {row['chi_square']:7.1f}  "
            f"{number['teff'][0]:5.0f} +-{number['teff'][1]:4.0f} ({difference[0]:+5.0f})  "
            f"{number['logg'][0]:5.2f} +-{number['logg'][1]:5.2f} ({difference[1]:+5.2f})  "
            f"{number['fe_h'][0]:+5.2f} +-{number['fe_h'][1]:5.2f} ({difference[2]:+5.2f})  "
            + " ".join(f"{number[name][0]:+.2f}" for name in shown)
        )
    differences = np.array(differences)
    print("mean", differences.mean(axis=0).round(3), "rms", np.sqrt((differences**2).mean(axis=0)).round(3))


if __name__ == "__main__":
    main()
