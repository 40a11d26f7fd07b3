"""Posterior against reference labels for observed stars.

    python benchmarks/observed_stars.py model.keras labels.csv FOLDER [--power NAME=R ...] [--normalise NAME ...]

labels.csv has the columns file, star, and reference labels gbs21_teff or lit_teff, gbs21_logg or lit_logg, gbs21_feh.
Files of one star (arms) are put together. NAME is part of a file's name. Errors in the files are not used: they are
estimated from the scatter of the pixels.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

import kcinn
from kcinn.continuum import normalised
from kcinn.inference import on_instrument
from kcinn.spectra import Spectra


def put_together(parts: list[Spectra]) -> Spectra:
    """One spectrum from parts on the same pixels; where several have a good pixel, the first counts."""
    flux, error, mask = (np.array(x) for x in (parts[0].flux, parts[0].error, parts[0].mask))
    for part in parts[1:]:
        new = mask & ~part.mask
        flux[new], error[new], mask[new] = part.flux[new], part.error[new], False
    return Spectra(parts[0].wavelength, flux, error=error, mask=mask, medium=parts[0].medium)


def value_for(name: str, options: list[str], default: str) -> str:
    return next((option.split("=")[1] for option in options if option.split("=")[0] in name), default)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("labels", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--power", nargs="*", default=[], help="NAME=R; 80000 for the others")
    parser.add_argument("--normalise", nargs="*", default=[], help="NAME")
    options = parser.parse_args()
    model = kcinn.load(options.model)
    files, reference = defaultdict(list), {}
    with open(options.labels, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            star = f"{row['star']} ({row['file'].split('/')[-1].split('_')[0]})"
            files[star].append(options.folder / row["file"])
            teff, logg = (row[f"gbs21_{name}"] or row[f"lit_{name}"] for name in ("teff", "logg"))
            reference[star] = [float(value) for value in (teff, logg, row["gbs21_feh"])]
    shown = [name for name in ("vmic", "mg_fe", "ca_fe", "li_fe") if name in model.label_space.names]
    print(f"{'star':22s} pixels    chi2  value +- error (minus reference) of teff, logg, fe_h, then {', '.join(shown)}")
    differences = []
    for star, paths in files.items():
        parts = []
        for path in paths:
            spectra = kcinn.read(path, medium="air", checksum=False)
            spectra = Spectra(spectra.wavelength, spectra.flux, mask=spectra.mask, medium="air").with_estimated_error()
            if any(name in path.name for name in options.normalise):
                spectra = normalised(spectra)
            power = float(value_for(path.name, options.power, "80000"))
            parts.append(on_instrument(spectra, model.instrument, power))
        posterior = kcinn.predict(model, put_together(parts))
        row = posterior.summary()[0]
        columns = [model.label_space.index(name) for name in ("teff", "logg", "fe_h")]
        difference = posterior.median[0, columns] - reference[star]
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
