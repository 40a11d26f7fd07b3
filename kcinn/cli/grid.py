"""Commands that make grids of synthetic spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kcinn.cli.options import MEDIUM, POWER, PROCESSES, QUIET, SEED, in_a_folder
from kcinn.errors import KcinnError


@click.command()
@click.option("--n", type=click.IntRange(min=1), required=True, help="Number of spectra.")
@click.option("--instrument", default="4most-hrs", show_default=True, help="Built-in name or TOML file.")
@click.option("--draws", type=click.IntRange(min=1), default=2, show_default=True, help="Broadening draws per star.")
@click.option(
    "--components", type=click.IntRange(min=1), help="Store this many principal components instead of pixels."
)
@click.option(
    "--nlte/--lte",
    default=True,
    show_default=True,
    help="With departures from LTE and solar oscillator strengths, or without and with listed ones.",
)
@click.option(
    "--engine", default="nlte", show_default=True, help="nlte, turbospectrum, or one that another package brings."
)
@click.option("--config", type=click.Path(path_type=Path), help="File of an engine that needs one, as turbospectrum.")
@click.option(
    "--without", multiple=True, metavar="LABEL", help="Leave a label out; the engine has a value for it. Repeat."
)
@click.option(
    "--within", nargs=3, type=(str, float, float), multiple=True, metavar="LABEL LOWER UPPER",
    help="Only stars of this part of a label's box. Repeat.",
)  # fmt: skip
@PROCESSES
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, callback=in_a_folder)
@SEED
@QUIET
def synthesize(
    n: int, instrument: str, draws: int, components: int | None, nlte: bool, engine: str, config: Path | None,
    without: tuple[str, ...], within: tuple[tuple[str, float, float], ...], processes: int, output: Path, seed: int,
    quiet: bool,
) -> None:  # fmt: skip
    """Compute a grid of synthetic spectra. Started again after a kill, it goes on where it stopped."""
    from kcinn.synthesis.synthesize import known_labels
    from kcinn.synthesis.synthesize import synthesize as run

    made_by = _engine(engine, config, nlte)
    space = known_labels(made_by).without(without)
    for name, lower, upper in within:
        space = space.within(name, lower, upper)
    grid = run(
        output,
        n=n,
        instrument=instrument,
        engine=made_by,
        label_space=space,
        draws=draws,
        components=components,
        processes=processes,
        seed=seed,
        verbose=not quiet,
    )
    click.echo(f"{output}: {grid}")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, callback=in_a_folder)
@click.option("--instrument", default="4most-hrs", show_default=True, help="Built-in name or TOML file.")
@click.option("--label", "labels", multiple=True, help="Name of a column of labels, if the file names none; repeat.")
@click.option("--vsini", nargs=2, type=float, help="Add rotation from this range, km/s.")
@click.option("--vmac", nargs=2, type=float, help="Add macroturbulence from this range, km/s.")
@click.option(
    "--draws", type=click.IntRange(min=1), default=1, show_default=True, help="Broadening draws per spectrum."
)
@click.option("--skip", is_flag=True, help="Leave out bad spectra instead of refusing the grid.")
@PROCESSES
@MEDIUM
@POWER
@SEED
@QUIET
def convert(
    path: Path, output: Path, instrument: str, labels: tuple[str, ...], vsini: tuple[float, float] | None,
    vmac: tuple[float, float] | None, draws: int, skip: bool, processes: int, medium: str | None,
    resolving_power: float | None, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Make a grid of what another program wrote: a folder of TSFitPy, npz of The Payne's kind, plain HDF5."""
    from kcinn.foreign_grid import read_grid
    from kcinn.labels import Label, LabelSpace

    broadening = [Label.standard(name, *ends) for name, ends in (("vsini", vsini), ("vmac", vmac)) if ends]
    grid = read_grid(
        path, instrument=instrument, medium=medium, label_names=labels or None, resolving_power=resolving_power,
        broadening=LabelSpace(broadening) if broadening else None, draws=draws, skip=skip, seed=seed,
        processes=processes, verbose=not quiet,
    )  # fmt: skip
    grid.write(output)
    left_out = ", ".join(f"{count} {reason}" for reason, count in grid.metadata["left_out"].items())
    click.echo(f"{output}: {grid}" + (f"; left out: {left_out}" if left_out else ""))


def _engine(name: str, config: Path | None, nlte: bool) -> Any:
    """The engine that the options ask for."""
    from kcinn.synthesis.named import engine_named

    if not nlte and name != "nlte":
        raise KcinnError("--lte is for the engine nlte. Leave the departures out of the configuration of others.")
    return engine_named(name if nlte else "lte", config)
