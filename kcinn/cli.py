"""The command line, see `kcinn --help`. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from kcinn import __version__
from kcinn.errors import KcinnError

MEDIUM = click.option(
    "--medium", type=click.Choice(["air", "vacuum"]), help="Of the wavelengths, if the file does not say."
)
POWER = click.option("--resolving-power", type=float, help="Of the spectra, if higher than the instrument's.")
NORMALISE = click.option("--normalise", is_flag=True, help="Divide spectra by a running upper envelope first.")
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
QUIET = click.option("--quiet", is_flag=True, help="No progress bars.")


class _Commands(click.Group):
    """Turns bad input into one line and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KcinnError as error:
            click.echo(f"kcinn: {' '.join(str(error).split())}", err=True)
            ctx.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kcinn")
def main() -> None:
    """Posteriors of stellar parameters and abundances from spectra."""


@main.command()
@click.option("--n", type=click.IntRange(min=1), required=True, help="Number of spectra.")
@click.option("--instrument", default="4most-hrs", show_default=True, help="Built-in name or TOML file.")
@click.option("--draws", type=click.IntRange(min=1), default=2, show_default=True, help="Broadening draws per star.")
@click.option(
    "--components", type=click.IntRange(min=1), help="Store this many principal components instead of pixels."
)
@click.option(
    "--nlte/--lte", default=True, show_default=True, help="With the shipped departure coefficients, or without."
)
@click.option("--engine", type=click.Choice(["nlte", "turbospectrum"]), default="nlte", show_default=True)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of the engine turbospectrum.")
@click.option("--processes", type=int, default=-1, show_default=True, help="-1: one per core.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@SEED
@QUIET
def synthesize(
    n: int, instrument: str, draws: int, components: int | None, nlte: bool, engine: str, config: Path | None,
    processes: int, output: Path, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Compute a grid of synthetic spectra. Started again after a kill, it goes on where it stopped."""
    from kcinn.synthesis.synthesize import synthesize as run

    grid = run(
        output,
        n=n,
        instrument=instrument,
        engine=_engine(engine, config, nlte),
        draws=draws,
        components=components,
        processes=processes,
        seed=seed,
        verbose=not quiet,
    )
    click.echo(f"{output}: {grid}")


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--instrument", default="4most-hrs", show_default=True, help="Built-in name or TOML file.")
@click.option("--label", "labels", multiple=True, help="Name of a column of labels, if the file names none; repeat.")
@click.option("--vsini", nargs=2, type=float, help="Add rotation from this range, km/s.")
@click.option("--vmac", nargs=2, type=float, help="Add macroturbulence from this range, km/s.")
@click.option(
    "--draws", type=click.IntRange(min=1), default=1, show_default=True, help="Broadening draws per spectrum."
)
@click.option("--skip", is_flag=True, help="Leave out bad spectra instead of refusing the grid.")
@click.option("--processes", type=int, default=-1, show_default=True, help="-1: one per core.")
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


@main.command()
@click.argument("grid", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="model.keras", show_default=True
)
@click.option("--instrument", help="Built-in name or TOML file, if other than the grid's.")
@click.option("--label", "labels", multiple=True, help="Infer this label; repeat. By default all of the grid.")
@click.option("--encoder", type=click.Choice(["fisher", "dense"]), default="fisher", show_default=True)
@click.option("--snr", nargs=2, type=float, default=(10.0, 1000.0), show_default=True, help="Range per angstrom.")
@click.option("--epochs", type=click.IntRange(min=1), default=80, show_default=True)
@click.option("--checkpoint", type=click.Path(file_okay=False, path_type=Path), help="Folder for intermediate results.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint.")
@SEED
@QUIET
def fit(
    grid: Path, output: Path, instrument: str | None, labels: tuple[str, ...], encoder: str, snr: tuple[float, float],
    epochs: int, checkpoint: Path | None, resume: bool, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Train a model on a grid of synthetic spectra."""
    from kcinn.grid import SyntheticGrid

    _check_ending(output, ".keras")
    synthetic = SyntheticGrid.open(grid)
    from kcinn.config import Config
    from kcinn.nn.observe import Observation
    from kcinn.training import fit as run

    model = run(
        synthetic,
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


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("spectra", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="catalogue.fits", show_default=True,
    help=".fits, .ecsv, .csv, .vot: a row per spectrum; .h5: all samples.",
)  # fmt: skip
@click.option("--samples", type=click.IntRange(min=2), default=4096, show_default=True)
@click.option("--snr", type=float, help="Per angstrom, for spectra that come without errors.")
@click.option(
    "--gap/--no-gap", default=True, show_default=True,
    help="Add the typical error of the synthesis to the errors of spectra that it misses by more than noise.",
)  # fmt: skip
@MEDIUM
@POWER
@NORMALISE
@SEED
@QUIET
def predict(
    model: Path, spectra: tuple[Path, ...], output: Path, samples: int, snr: float | None, medium: str | None,
    resolving_power: float | None, normalise: bool, gap: bool, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Posteriors of the spectra in some files, on any wavelength grids, as one catalogue."""
    from kcinn.model_file import read_config
    from kcinn.posterior import Posterior, check_ending
    from kcinn.survey.readers import read

    check_ending(output)
    read_config(model)
    observed = [read(path, medium=medium, snr=snr) for path in spectra]
    from kcinn.inference import predict as run
    from kcinn.model import load

    cinn, posteriors = load(model), []
    for path, part in zip(spectra, observed, strict=True):
        posterior = run(
            cinn,
            part,
            n_samples=samples,
            resolving_power=resolving_power,
            normalise=normalise,
            gap=gap,
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


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
def info(path: Path) -> None:
    """What a model or grid file holds."""
    if path.suffix == ".keras":
        from kcinn.model_file import read_config

        config = read_config(path)
        shown = {
            key: config[key] for key in ("format", "targets", "emulator", "encoder", "flow", "observation", "summary")
        }
        shown["instrument"] = config["instrument"]["name"]
        shown["labels"] = {
            item["name"]: f"{item['lower']:g} to {item['upper']:g} {item['unit']}" for item in config["label_space"]
        }
        shown["grid"] = config["metadata"]
        click.echo(json.dumps(shown, indent=1))
    else:
        from kcinn.grid import SyntheticGrid

        grid = SyntheticGrid.open(path)
        click.echo(f"{grid}\n{json.dumps(grid.metadata, indent=1)}")


@main.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="demo", show_default=True)
@click.option("--encoder", type=click.Choice(["fisher", "dense"]), default="fisher", show_default=True)
@click.option(
    "--spectrum", "spectra", multiple=True, type=click.Path(path_type=Path), help="A spectrum of yours; repeat."
)
@MEDIUM
@POWER
@NORMALISE
@SEED
@QUIET
def demo(
    out: Path, encoder: str, spectra: tuple[Path, ...], medium: str | None, resolving_power: float | None,
    normalise: bool, seed: int, quiet: bool,
) -> None:  # fmt: skip
    """Train a small model on the shipped grid and show what it can do: table, catalogue, pictures."""
    from kcinn.survey.readers import read

    own = [(path.name.split(".")[0], read(path, medium=medium)) for path in spectra]
    from kcinn.config import Config
    from kcinn.demo import demo as run
    from kcinn.demo import table

    report = run(
        out,
        spectra=own,
        resolving_power=resolving_power,
        normalise=normalise,
        config=Config.preset(encoder),
        seed=seed,
        verbose=not quiet,
    )
    click.echo(table(report))
    click.echo(f"{report['seconds']['total']:.0f} s, {report['peak_memory_gib']:.1f} GiB; see {out}")


def _engine(name: str, config: Path | None, nlte: bool) -> Any:
    """The engine that the options ask for; None is the default of `synthesize`."""
    if (name == "turbospectrum") != (config is not None):
        raise KcinnError("--engine turbospectrum and --config FILE.toml belong together. Give both, or neither.")
    if config is not None:
        if not nlte:
            raise KcinnError("--lte is for the engine nlte. Leave the table of departures out of the configuration.")
        from kcinn.synthesis.turbospectrum import Turbospectrum

        return Turbospectrum.load(config)
    if nlte:
        return None
    from kcinn.synthesis.nlte import NLTEEngine

    return NLTEEngine(nlte=())


def _print_summary(posterior: Any) -> None:
    table = posterior.summary()
    columns = ["id", *[name for key in posterior.label_space.names for name in (key, f"e_{key}")], "chi_square", "flag"]
    for name in columns[1:-1]:
        table[name].info.format = ".4g"
    table[columns].pprint(max_lines=20, max_width=200)


def _check_ending(path: Path, ending: str) -> None:
    if path.suffix != ending:
        raise KcinnError(f"The output must end in {ending}. Received: {path}")
