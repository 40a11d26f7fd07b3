"""Documentation: it describes all that is public, notebooks are committed clean, the examples for contributors run."""

import inspect
import json
import pydoc
import re
from pathlib import Path

import pytest

import kcinn
from kcinn.survey import readers

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
REFERENCE = re.findall(r"^   (kcinn\.[\w.]+)$", (ROOT / "docs/api.rst").read_text(encoding="utf-8"), re.MULTILINE)
EXAMPLES = CODE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_every_public_name_is_in_the_reference():
    documented = (ROOT / "docs/api.rst").read_text(encoding="utf-8").split()
    modules = {"__version__", "nn", "plot", "survey", "synthesis"}
    assert {f"kcinn.{name}" for name in set(kcinn.__all__) - modules} <= set(documented)
    assert {f"kcinn.plot.{name}" for name in kcinn.plot.__all__} <= set(documented)


def sections(docstring):
    """The sections of a docstring of numpydoc's kind by their headings, and under "" what stands above them."""
    parts = re.split(r"^(\w[\w ]*)\n-+$", docstring, flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


def parameters(described):
    """Names of the parameters that a docstring's sections describe."""
    entries = re.findall(r"^(\*{0,2}\w[\w, ]*?)(?: : .+)?$", described.get("Parameters", ""), re.MULTILINE)
    return {parameter.strip("*") for entry in entries for parameter in entry.split(", ")}


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_describes_parameters_and_results(name):
    found = pydoc.locate(name)
    described = sections(inspect.getdoc(found))
    assert described[""].strip().split("\n\n")[0].endswith(".")
    if inspect.isfunction(found):
        returns_nothing = inspect.signature(found).return_annotation in ("None", None)
        assert ("Returns" in described) != returns_nothing
    elif found in (kcinn.CINN, kcinn.Emulator) or "__init__" not in vars(found):
        return  # `fit` makes it; or there is nothing to tell it
    assert parameters(described) == set(inspect.signature(found).parameters), "parameters, and those that are described"


def methods(name):
    """The public methods that a class of kcinn defines, but for those that Keras calls."""
    cls = pydoc.locate(name)
    found = {key: getattr(cls, key) for key in vars(cls) if not key.startswith("_")} if inspect.isclass(cls) else {}
    by_keras = {"build", "call", "compute_loss", "get_config"}
    ours = {key for key, value in found.items() if getattr(value, "__module__", "").startswith("kcinn.")}
    return [f"{name}.{key}" for key in sorted(ours - by_keras) if inspect.isroutine(found[key])]


@pytest.mark.parametrize("name", [method for name in REFERENCE for method in methods(name)])
def test_the_reference_describes_methods(name):
    found = pydoc.locate(name)
    described, signature = sections(inspect.getdoc(found)), inspect.signature(found)
    assert described[""].strip().split("\n\n")[0].endswith(".")
    assert parameters(described) == set(signature.parameters) - {"self"}, "parameters, and those that are described"
    assert ("Returns" in described) == (signature.return_annotation not in ("None", None))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_for_contributors_run(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readers, "_registered", [])
    exec(compile(EXAMPLES[number], f"CONTRIBUTING.md, example {number}", "exec"), {"__name__": "example"})
