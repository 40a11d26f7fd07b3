"""Commands that train a model and show what it holds and can do."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kcinn.cli.options import CHECKSUM, MEDIUM, NORMALISE, POWER, QUIET, SEED, in_a_folder
from kcinn.errors import KcinnError


@click.command()
@click.argument("grid", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="model.keras", show_default=True,
    callback=in_a_folder,
)  # fmt: skip
@click.option(
    "--emulator-grid", "emulator_grids", multiple=True, type=click.Path(path_type=Path),
    help="Further spectra for the emulator alone; repeat.",
)  # fmt: skip
@click.option(
    "--flow-grid", "flow_grids", multiple=True, type=click.Path(path_type=Path),
    help="Further draws from the grid's prior for the flow alone, of another --seed; repeat.",
)  # fmt: skip
@click.option("--instrument", help="Built-in name or TOML file, if other than the grid's.")
@click.option("--label", "labels", multiple=True, help="Infer this label; repeat. By default all of the grid.")
@click.option("--encoder", type=click.Choice(["fisher", "dense", "conv"]), default="fisher", show_default=True)
@click.option("--snr", nargs=2, type=float, default=(10.0, 1000.0), show_default=True, help="Range per angstrom.")
@click.option("--epochs", type=click.IntRange(min=1), default=80, show_default=True)
@click.option("--checkpoint", type=click.Path(file_okay=False, path_type=Path), help="Folder for intermediate results.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint.")
@SEED
@QUIET
def fit(
    grid: Path, output: Path, emulator_grids: tuple[Path, ...], flow_grids: tuple[Path, ...], instrument: str | None,
    labels: tuple[str, ...], encoder: str, snr: tuple[float, float], epochs: int, checkpoint: Path | None, resume: bool,
    seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Train a model on a grid of synthetic spectra."""
    from kcinn.grid import SyntheticGrid

    if output.suffix != ".keras":
        raise KcinnError(f"The output must end in .keras. Received: {output}")
    synthetic = SyntheticGrid.open(grid)
    from kcinn.config import Config
    from kcinn.nn.observe import Observation
    from kcinn.training import fit as run

    model = run(
        synthetic,
        emulator_grids=[SyntheticGrid.open(path) for path in emulator_grids],
        flow_grids=[SyntheticGrid.open(path) for path in flow_grids],
        instrument=instrument,
        labels=labels or None,
        observation=Observation(snr=snr),
        config=Config.preset(encoder),
        epochs=epochs,
        checkpoint=checkpoint,
        resume=resume,
        seed=seed,
        verbose=not quiet,
    )
    model.save(output)
    click.echo(f"{output}: {', '.join(model.label_space.names)}, {model.summary_of_training['seconds']:.0f} s")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def info(path: Path) -> None:
    """What a model or grid file holds, or a model that comes with kcinn."""
    from kcinn.shipped import shipped_models

    if path.suffix == ".keras" or str(path) in shipped_models():
        from kcinn.model_file import read_config

        config = read_config(path)
        parts = ("format", "targets", "emulator", "encoder", "flow", "observation", "summary")
        shown = {key: config.get(key) for key in parts}
        shown["instrument"] = config["instrument"]["name"]
        shown["labels"] = {
            item["name"]: f"{item['lower']:g} to {item['upper']:g} {item['unit']}" for item in config["label_space"]
        }
        shown["grid"] = config.get("metadata")
        click.echo(json.dumps(shown, indent=1))
    else:
        from kcinn.grid import SyntheticGrid

        grid = SyntheticGrid.open(path)
        click.echo(f"{grid}\n{json.dumps(grid.metadata, indent=1)}")


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="demo", show_default=True)
@click.option("--encoder", type=click.Choice(["fisher", "dense", "conv"]), default="fisher", show_default=True)
@click.option(
    "--spectrum", "spectra", multiple=True, type=click.Path(path_type=Path), help="A spectrum of yours; repeat."
)
@MEDIUM
@POWER
@NORMALISE
@CHECKSUM
@SEED
@QUIET
def demo(
    out: Path, encoder: str, spectra: tuple[Path, ...], medium: str | None, resolving_power: float | None,
    normalise: bool, checksum: bool, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Train a small model on the shipped grid and show what it can do: table, catalogue, pictures."""
    from kcinn.survey.readers import read

    own = [(path.name.split(".")[0], read(path, medium=medium, checksum=checksum)) for path in spectra]
    from kcinn.config import Config
    from kcinn.demo import demo as run
    from kcinn.demo import table

    report = run(
        out,
        spectra=own,
        resolving_power=resolving_power,
        normalise=normalise,
        config=None if encoder == "fisher" else Config.preset(encoder),
        seed=seed,
        verbose=not quiet,
    )
    click.echo(table(report))
    click.echo(f"{report['seconds']['total']:.0f} s, {report['peak_memory_gib']:.1f} GiB; see {out}")
