"""Sphinx: `sphinx-build -W docs docs/_build/html`. Notebooks of `docs/tutorials/`, if executed, or `tutorials/`."""

import shutil
from pathlib import Path

import kcinn

HERE = Path(__file__).parent
(HERE / "tutorials").mkdir(exist_ok=True)
for notebook in (HERE.parent / "tutorials").glob("*.ipynb"):
    executed = HERE / "tutorials" / notebook.name
    if not executed.exists() or executed.stat().st_mtime < notebook.stat().st_mtime:
        shutil.copy(notebook, executed)

project, author, copyright = "kcinn", "The kcinn developers", "The kcinn developers"
release = kcinn.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_click"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_output_stderr = "remove"  # what TensorFlow says of the machine
autosummary_generate = True
autodoc_default_options = {"exclude-members": "kl_divergence"}  # TensorFlow Probability's, in markup of its own
autodoc_typehints = "none"  # they are in the signature and in the docstring's words
numpydoc_show_class_members = False  # the class template lists them
numpydoc_validation_checks = {"GL08", "PR02", "SS01"}  # a docstring, with a summary, of parameters that exist
numpydoc_validation_exclude = {r"\.__\w+__$", r"Engine\.metadata$", r"Turbospectrum\.metadata$"}  # as that of Engine
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"kcinn {release}"
