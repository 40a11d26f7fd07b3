"""Imports go downwards only, and importing kcinn imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kcinn"
LAYERS = [
    {"errors"},
    {"checkpoint", "devices", "plugins", "quantity", "registration", "replacing"},
    {"detection", "flag", "labels", "marginals", "model_check", "model_file", "noise", "shipped", "wavelength"},
    {"instrument", "label_array", "hdf5", "spectra", "spectra_check", "spectra_format"},
    {"grid", "grid_file", "broaden", "continuum", "region", "catalogue", "library", "reweighting", "outlier"},
    {"foreign_grid", "keras_file", "nn", "optimisation", "synthesis", "posterior", "posterior_file", "preparation"},
    {"emulator"},
    {"model", "diagnostics"},
    {"config", "rows"},
    {"training", "inference"},
    {"survey", "plot", "export"},
    {"demo", "check"},
    {"cli"},
    {"__main__"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
NEEDS_KERAS = {"devices", "keras_file", "optimisation", "nn", "emulator", "model"}
NEEDS_KERAS |= {"rows", "training", "inference", "export", "survey", "demo", "check"}
# a file inside a layer that another file of the same layer may use
SIDEWAYS = {
    ("checkpoint", "replacing"),
    ("spectra", "spectra_check"),
    ("spectra", "spectra_format"),
    ("grid", "grid_file"),
    ("posterior", "posterior_file"),
    ("model_file", "shipped"),
    ("model_file", "model_check"),
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """Rooms of kcinn and outside packages that a file imports, at its top level or inside functions."""
    rooms, outside = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module != "kcinn" else [f"kcinn.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first == "kcinn":
                rooms |= {rest[0]} & LAYER.keys() if rest else set()
            else:
                outside.add(first)
    return rooms, outside


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    here = room(path)
    rooms, outside = imported(path)
    assert here in LAYER, f"{path.name} has no layer; give it one"
    for there in rooms - {here}:
        assert LAYER[there] < LAYER[here] or (here, there) in SIDEWAYS, f"{here} imports {there}"
    if "keras" in outside or "tensorflow" in outside:
        assert here in NEEDS_KERAS, f"{here} imports keras"


def test_import_is_light():
    code = (
        "import sys, kcinn\n"
        "heavy = {'keras', 'tensorflow', 'matplotlib', 'astropy', 'scipy', 'numpy', 'h5py', 'numba'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["fit", "--help"], ["predict", "--help"], ["survey", "--help"], ["demo", "--help"], ["--version"]],
)
def test_command_line_help_does_not_import_keras(arguments):
    code = (
        "import sys\nfrom kcinn.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_unknown_attribute_names_the_valid_ones():
    import kcinn

    with pytest.raises(AttributeError, match="predict"):
        kcinn.predcit  # noqa: B018
