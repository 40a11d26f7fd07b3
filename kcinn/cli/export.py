"""The command that writes a model for pipelines without kcinn."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="A new folder.")
@click.option("--format", type=click.Choice(["savedmodel", "onnx"]), default="savedmodel", show_default=True)
def export(model: Path, output: Path, format: str) -> None:
    """Write a model as TensorFlow SavedModel or ONNX, with a description, for pipelines without kcinn."""
    from kcinn.model_file import read_config

    read_config(model)
    from kcinn.export import export_model
    from kcinn.model import load

    export_model(load(model), output, format=format)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    click.echo(f"{output}: {format}, {size / 2**20:.0f} MiB")
