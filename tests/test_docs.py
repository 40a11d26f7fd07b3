"""Documentation: it names all that is public, notebooks are committed clean, the examples for contributors run."""

import json
import re
from pathlib import Path

import pytest

import kcinn
from kcinn.survey import readers

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = CODE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_every_public_name_is_in_the_reference():
    documented = (ROOT / "docs/api.rst").read_text(encoding="utf-8").split()
    modules = {"__version__", "nn", "plot", "survey", "synthesis"}
    assert {f"kcinn.{name}" for name in set(kcinn.__all__) - modules} <= set(documented)
    assert {f"kcinn.plot.{name}" for name in kcinn.plot.__all__} <= set(documented)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_for_contributors_run(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readers, "_registered", [])
    exec(compile(EXAMPLES[number], f"CONTRIBUTING.md, example {number}", "exec"), {"__name__": "example"})
