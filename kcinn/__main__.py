"""``python -m kcinn``."""

from kcinn.cli import main

main(prog_name="kcinn")
