"""The command line, see `kcinn --help`. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from typing import Any

import click

from kcinn import __version__
from kcinn.cli.check import check
from kcinn.cli.export import export
from kcinn.cli.grid import convert, synthesize
from kcinn.cli.model import demo, fit, info
from kcinn.cli.predict import predict
from kcinn.cli.survey import merge, pack, survey, verify
from kcinn.errors import KcinnError


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


for command in (synthesize, convert, fit, predict, check, pack, survey, merge, verify, info, export, demo):
    main.add_command(command)
