"""The command that draws posteriors of the spectra in some files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from kcinn.cli.options import CHECKSUM, MEDIUM, NORMALISE, POWER, QUASI, QUIET, SEED


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("spectra", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="catalogue.fits", show_default=True,
    help=".fits, .ecsv, .csv, .vot: a row per spectrum; .h5: all samples.",
)  # fmt: skip
@click.option("--n-samples", "--samples", "n_samples", type=click.IntRange(min=2), default=4096, show_default=True)
@click.option("--snr", type=float, help="Per angstrom, for spectra that come without errors.")
@click.option(
    "--gap/--no-gap", default=True, show_default=True,
    help="Add the typical error of the synthesis to the errors of spectra that it misses by more than noise.",
)  # fmt: skip
@QUASI
@MEDIUM
@POWER
@NORMALISE
@CHECKSUM
@SEED
@QUIET
def predict(
    model: Path, spectra: tuple[Path, ...], output: Path, n_samples: int, snr: float | None, medium: str | None,
    resolving_power: float | None, normalise: bool, checksum: bool, gap: bool, quasi: bool, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Posteriors of the spectra in some files, on any wavelength grids, as one catalogue."""
    from kcinn.model_file import read_config
    from kcinn.posterior import Posterior
    from kcinn.posterior_file import check_ending
    from kcinn.survey.readers import read

    check_ending(output)
    read_config(model)
    observed = [read(path, medium=medium, snr=snr, checksum=checksum) for path in spectra]
    from kcinn.inference import predict as run
    from kcinn.model import load

    cinn, posteriors = load(model), []
    for path, part in zip(spectra, observed, strict=True):
        posterior = run(
            cinn,
            part,
            n_samples=n_samples,
            resolving_power=resolving_power,
            normalise=normalise,
            gap=gap,
            quasi=quasi,
            seed=seed,
            verbose=not quiet,
        )
        if len(spectra) > 1:
            posterior.ids = np.array([path.name if len(part) == 1 else f"{path.name}:{name}" for name in part.ids])
        posteriors.append(posterior)
    posterior = Posterior.concatenate(posteriors)
    posterior.write(output)
    if not quiet:
        _print_summary(posterior)
    click.echo(f"{output}: {len(posterior)} spectra")


def _print_summary(posterior: Any) -> None:
    table = posterior.summary()
    columns = ["id", *[name for key in posterior.label_space.names for name in (key, f"e_{key}")], "chi_square", "flag"]
    for name in columns[1:-1]:
        table[name].info.format = ".4g"
    table[columns].pprint(max_lines=20, max_width=200)
