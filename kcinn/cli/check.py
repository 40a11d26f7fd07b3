"""The command that measures a model."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from kcinn.cli.options import CHECKSUM, QUIET, SEED
from kcinn.errors import KcinnError

OF_GRIDS, OF_OBSERVED = ("n", "snr", "held_out", "mcmc"), ("estimate_errors", "checksum")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("grid", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), default="check", show_default=True,
    help="Folder for the page and report.json.",
)  # fmt: skip
@click.option("--n", type=click.IntRange(min=10), default=1000, show_default=True, help="Largest number of stars.")
@click.option("--snr", multiple=True, type=float, help="Per angstrom; repeat. By default 20 to 1000 in five steps.")
@click.option(
    "--held-out", type=float,
    help="Share of the grid's stars that training left out by a split with --seed. By default all stars are used.",
)  # fmt: skip
@click.option("--mcmc", type=click.IntRange(min=0), default=0, show_default=True, help="Stars to compare with emcee.")
@click.option("--observed", type=click.Path(path_type=Path), help="Folder of observed spectra, instead of a grid.")
@click.option("--labels", type=click.Path(path_type=Path), help="Table of these spectra and their reference labels.")
@click.option("--estimate-errors", is_flag=True, help="Of observed spectra, from the scatter of the pixels.")
@CHECKSUM
@SEED
@QUIET
@click.pass_context
def check(
    context: click.Context, model: Path, grid: Path | None, output: Path, n: int, snr: tuple[float, ...],
    held_out: float | None, mcmc: int, observed: Path | None, labels: Path | None, estimate_errors: bool,
    checksum: bool, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Measure a model: accuracy, calibration, information; on a grid, or on observed stars with known labels."""
    if (grid is None) == (observed is None):
        raise KcinnError("Give a grid of synthetic spectra, or --observed FOLDER with --labels TABLE.")
    if (observed is None) != (labels is None):
        raise KcinnError("--observed FOLDER and --labels TABLE belong together. Give both, or neither.")
    others, what = (OF_OBSERVED, "a grid") if observed is None else (OF_GRIDS, "observed spectra")
    given = [name for name in others if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise KcinnError(f"{options}: not an option for {what}.")
    from kcinn.model_file import read_config

    read_config(model)
    if observed is not None and labels is not None:
        from kcinn.check.observed import check_observed

        result = check_observed(
            model, observed, labels, estimate_errors=estimate_errors, checksum=checksum, seed=seed, verbose=not quiet
        )
        result.write(output)
        click.echo(result.text())
    else:
        from kcinn.grid import SyntheticGrid

        assert grid is not None
        synthetic = SyntheticGrid.open(grid)
        from kcinn.check import report
        from kcinn.check.synthetic import check as run

        done = run(model, synthetic, n=n, snr=snr, held_out=held_out, mcmc=mcmc, seed=seed, verbose=not quiet)
        report.write(done, output)
        click.echo(report.text(done))
    click.echo(f"see {output / 'index.html'}")
