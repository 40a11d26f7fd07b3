"""Commands for millions of spectra: pack, run, join, verify."""

from __future__ import annotations

from pathlib import Path

import click

from kcinn.cli.options import CHECKSUM, MEDIUM, NORMALISE, POWER, PROCESSES, QUASI, QUIET, SEED
from kcinn.errors import KcinnError

INCOMPLETE = 1  # exit status of a run that went on without some shards


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="An HDF5 file.")
@click.option("--instrument", help="Onto whose pixels; built-in name or TOML file.  [default: grid of the first file]")
@click.option("--snr", type=float, help="Per angstrom, for spectra that come without errors.")
@click.option(
    "--velocities",
    type=click.Path(path_type=Path),
    help="Table of id and rv (km/s unless it has units) to bring stars to rest.",
)
@click.option("--join-by", metavar="KEYWORD", help="Files that agree in this FITS keyword are arms of one star.")
@CHECKSUM
@click.option("--resume", is_flag=True, help="Go on with the pieces of a call that was killed.")
@click.option("--strict", is_flag=True, help="Refuse all if any file is refused.")
@PROCESSES
@MEDIUM
@POWER
@NORMALISE
@QUIET
def pack(
    files: tuple[Path, ...], output: Path, instrument: str | None, snr: float | None, velocities: Path | None,
    join_by: str | None, checksum: bool, resume: bool, strict: bool, processes: int, medium: str | None,
    resolving_power: float | None, normalise: bool, quiet: bool,
) -> None:  # fmt: skip
    """Pack spectra of many files and kinds into one file, with a line for every one that is refused."""
    from kcinn.survey import pack as run

    report = run(
        files, output, instrument=instrument, medium=medium, snr=snr, velocities=velocities, join_by=join_by,
        normalise=normalise, resolving_power=resolving_power, checksum=checksum, resume=resume, strict=strict,
        processes=processes, verbose=not quiet,
    )  # fmt: skip
    for reason in report.refused:
        click.echo(f"refused: {' '.join(reason.split())}", err=True)
    click.echo(f"{output}: {report.n_spectra} spectra, {len(report.refused)} of them refused")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("spectra", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of parts."
)
@click.option("--n-samples", type=click.IntRange(min=2), default=4096, show_default=True)
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--address", help="Of a Ray cluster; auto: that of this machine.")
@click.option("--num-gpus", type=float, help="Of every Ray worker.  [default: 1 if there are any]")
@click.option("--shard", metavar="I/N", help="Every N-th shard from the I-th on; for N jobs that share the folder.")
@click.option("--keep-samples", is_flag=True, help="Keep all samples beside the rows.")
@click.option("--resume", is_flag=True, help="Go on with what is in the folder.")
@click.option("--strict", is_flag=True, help="Stop at the first unusable spectrum.")
@click.option("--gap/--no-gap", default=True, show_default=True, help="As for predict.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--shard-size", type=click.IntRange(min=1), default=2048, show_default=True)
@QUASI
@POWER
@NORMALISE
@SEED
@QUIET
@click.pass_context
def survey(
    context: click.Context, model: Path, spectra: tuple[Path, ...], output: Path, n_samples: int, engine: str,
    address: str | None, num_gpus: float | None, shard: str | None, keep_samples: bool, resume: bool, strict: bool,
    gap: bool, quasi: bool, batch_size: int, shard_size: int, resolving_power: float | None, normalise: bool, seed: int,
    quiet: bool,
) -> None:  # fmt: skip
    """Posteriors of all spectra of packed files, in parts that survive whatever ends the run.

    Exit status 1 says that some shards failed and were left out.
    """
    if engine != "ray" and (address is not None or num_gpus is not None):
        raise KcinnError("--address and --num-gpus are of a Ray cluster: pass --engine ray.")
    from kcinn.survey import run

    report = run(
        model, spectra, output, n_samples=n_samples, seed=seed, engine=engine, address=address, num_gpus=num_gpus,
        shard=shard, keep_samples=keep_samples, resume=resume, strict=strict, gap=gap, quasi=quasi, normalise=normalise,
        resolving_power=resolving_power, batch_size=batch_size, shard_size=shard_size, verbose=not quiet,
    )  # fmt: skip
    click.echo(str(report))
    if not report.complete:
        context.exit(INCOMPLETE)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help=".fits, .parquet or .vot"
)
@click.option("--partial", is_flag=True, help="Leave out what is not done.")
@QUIET
def merge(folder: Path, output: Path, partial: bool, quiet: bool) -> None:
    """Join the parts of a survey run into one catalogue."""
    from kcinn.survey import merge as join

    click.echo(f"{output}: {join(folder, output, partial=partial, verbose=not quiet)} rows")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@QUIET
@click.pass_context
def verify(context: click.Context, folder: Path, quiet: bool) -> None:
    """Check every part of a survey run; exit status 1 if anything is missing or damaged."""
    from kcinn.survey import verify as check

    found = check(folder, verbose=not quiet)
    click.echo(str(found))
    if not found.complete:
        context.exit(INCOMPLETE)
