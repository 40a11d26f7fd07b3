"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from kcinn.replacing import check_folder


def in_a_folder(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    """Refuse, before work begins whose result it is to hold, a file whose folder is not there."""
    check_folder(path)
    return path


def _not_zero(context: click.Context, parameter: click.Parameter, n: int) -> int:
    if n == 0:
        raise click.BadParameter("expected -1, for one per core, or a number of processes. Received: 0")
    return n


MEDIUM = click.option(
    "--medium", type=click.Choice(["air", "vacuum"]), help="Of the wavelengths, if the file does not say."
)
POWER = click.option("--resolving-power", type=float, help="Of the spectra, if higher than the instrument's.")
NORMALISE = click.option("--normalise", is_flag=True, help="Divide spectra by their continuum first.")
CHECKSUM = click.option(
    "--checksum/--no-checksum", default=True, show_default=True, help="Refuse FITS data that fail theirs."
)
QUASI = click.option(
    "--quasi", is_flag=True, help="Quasi-random samples, of which fewer summarise a posterior as exactly."
)
PROCESSES = click.option(
    "--processes", type=click.IntRange(min=-1), default=-1, show_default=True, callback=_not_zero,
    help="-1: one per core.",
)  # fmt: skip
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
QUIET = click.option("--quiet", is_flag=True, help="No progress bars.")
