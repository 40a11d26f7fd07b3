"""Options that several commands share."""

import click

MEDIUM = click.option(
    "--medium", type=click.Choice(["air", "vacuum"]), help="Of the wavelengths, if the file does not say."
)
POWER = click.option("--resolving-power", type=float, help="Of the spectra, if higher than the instrument's.")
NORMALISE = click.option("--normalise", is_flag=True, help="Divide spectra by their continuum first.")
QUASI = click.option(
    "--quasi", is_flag=True, help="Quasi-random samples, of which fewer summarise a posterior as exactly."
)
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
QUIET = click.option("--quiet", is_flag=True, help="No progress bars.")
