"""What the pages show can be typed: Python blocks run, commands parse, the names that stand in backticks exist."""

import inspect
import json
import logging
import re
import shlex
import shutil
import tomllib
from functools import partial, reduce
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
import toy
from astropy import units as u
from astropy.table import Table

import kcinn
import kcinn.inference
from kcinn.cli import main
from kcinn.model_file import find_model
from kcinn.synthesis import Engine

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
FENCE = re.compile(r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<kind>[^\n]*)\n(?P<code>.*?)^```$", re.M | re.S)
SHELL = {"", "sh", "bash"}
MODEL = ROOT / "tests" / "golden" / "cinn.keras"


def text_of(path):
    """What a page or the text between a notebook's cells says."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def blocks(path, *kinds):
    return [match for match in FENCE.finditer(text_of(path)) if match["kind"] in kinds and not match["reason"]]


def inline(path):
    """What stands in single backticks, on one line."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCE.sub("", text_of(path)))]


def identity(path):
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------------------------------------- Python


class Flat(Engine):
    """In the place of an engine that takes hours, or is not installed."""

    name, version = "flat", "1"

    def __init__(self, engine):
        self.validity, self.defaults, self.coverage = engine.validity, engine.defaults, engine.coverage

    @property
    def metadata(self):
        return {"engine": self.name, "engine_version": self.version, "nlte_species": [], "solar_abundances": "none",
                "medium": "air", "unreliable_windows": []}  # fmt: skip

    def _synthesize(self, labels, windows, wavelengths):
        return [np.ones_like(wavelength) for wavelength in wavelengths]


def turbospectrum(folder, line_list):
    """Programs that say their version, and a line list from 4200 to 9200 angstrom."""
    programs = folder / "src" / "exec-gf"
    for path in (programs / "babsma_lu", programs / "bsyn_lu"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\necho ' * BSYN version 20.1 *'\n")
        path.chmod(0o755)
    (folder / "DATA").mkdir()
    for name in ("jonabs_vac_v19.2.dat", "Hlinedata"):
        (folder / "DATA" / name).touch()
    line_list.parent.mkdir(parents=True)
    line = "  {}  2.608 -2.437  350.237    7.0  1.03E+08 'p' 's'   0.0    1.0 'Fe I'\n"
    line_list.write_text(
        "'  26.000            '    1         2\n'Fe I    LTE'\n" + line.format(4200) + line.format(9200)
    )


def tsfitpy_grid(folder):
    folder.mkdir()
    wavelength = np.arange(3900.0, 6810.0, 0.05)
    rows = ["specname,rv,teff,logg,feh,vmic,rotation"]
    for k, teff in enumerate((5000.0, 6000.0)):
        rows.append(f"{k}.spec,0.0,{teff},{4.0 + 0.2 * k},{-0.1 * k},{1.0 + k},0.0")
        head = f"#teff: {teff}\n#resolution: 0.0\n#nlte_flag: False\n#Wavelength Normalised_flux Unnormalised_flux\n"
        lines = [f"{w:.2f} 1.0 1.0\n" for w in wavelength]
        (folder / f"{k}.spec").write_text(head + "".join(lines))
    (folder / "spectra_parameters.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def model():
    """One for all pages, so that each of its functions is compiled once."""
    return kcinn.load(MODEL)


@pytest.fixture
def world(tmp_path, monkeypatch, model):
    """A folder with the files that the pages take for granted; grids are of two stars, and trained has been before."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(MODEL, "model.keras")
    toy.grid(300).write("grid.h5")
    flux, error, _ = toy.observed([[5500.0, -0.7, 0.1]], 150.0)
    columns = {"wavelength": toy.INSTRUMENT.wavelength * u.AA, "flux": flux[0], "error": error[0]}
    Table(columns).write("stars.fits")
    turbospectrum(
        tmp_path / "turbospectrum", tmp_path / "turbospectrum/COM/linelists/nlte_ges_linelist_jmg17feb2022_I_II"
    )
    tsfitpy_grid(tmp_path / "synthetic_spectra")
    monkeypatch.setattr(kcinn, "read_grid", partial(kcinn.read_grid, processes=1, verbose=0))
    fit, learn, synthesize = kcinn.fit, kcinn.Emulator.fit, kcinn.synthesize

    def fitted(*arguments, **options):
        inspect.signature(fit).bind(*arguments, **options)
        return model

    def learnt(*arguments, **options):
        inspect.signature(learn).bind(*arguments, **options)
        return model.emulator

    def loaded(path):
        assert find_model(path).is_file()
        return model

    def synthesized(*arguments, **options):
        inspect.signature(synthesize).bind(*arguments, **options)
        few = {"n": 2, "draws": 1, "engine": Flat(options["engine"]), "processes": 1, "verbose": 0}
        return synthesize(*arguments, **{**options, **few})

    monkeypatch.setattr(kcinn, "load", loaded)
    monkeypatch.setattr(kcinn.inference, "load", loaded)
    monkeypatch.setattr(kcinn, "fit", fitted)
    monkeypatch.setattr(kcinn.Emulator, "fit", learnt)
    monkeypatch.setattr(kcinn, "synthesize", synthesized)
    monkeypatch.setattr(logging.root, "handlers", [])
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES[:1] + PAGES[3:] if blocks(page, "python")], ids=identity)
def test_python_runs_from_the_top_of_a_page_to_its_end(page, world):
    for block in blocks(page, "toml"):
        if name := re.match(r"# (\S+\.toml)\n", block["code"]):
            (world / name[1]).write_text(block["code"])
    names = {"__name__": "page"}
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block["code"], f"{identity(page)}, block {number}", "exec"), names)


def test_every_block_is_of_a_kind_that_is_checked_and_few_are_not_run():
    matches = [match for page in PAGES for match in FENCE.finditer(text_of(page))]
    kinds = {match["kind"] for match in matches if not match["kind"].startswith("{")}
    assert kinds <= {"python", "toml", "text", *SHELL}
    assert sum(match["reason"] is not None for match in matches) <= 2


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=identity)
def test_toml_is_toml(page):
    for block in blocks(page, "toml"):
        assert tomllib.loads(block["code"])


# ---------------------------------------------------------------------------------------------- commands


def commands(code):
    """The words after every `kcinn` of a shell script."""
    code = re.sub(r"\$\{?\w+\}?", "1", code.replace("\\\n", " "))
    for line in code.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
        lexer.whitespace_split = True
        words = list(lexer)
        if "kcinn" in words and words[0] in ("kcinn", "pip", "srun"):
            rest = words[words.index("kcinn") + 1 :]
            yield rest[: next((k for k, word in enumerate(rest) if set(word) <= set("&;|")), len(rest))]


def parse(words):
    """Let click look at a command's options and arguments, without running it; nothing has to be on disk."""
    if not words or words[0].startswith("-"):
        return main.make_context("kcinn", list(words) or ["info"], resilient_parsing=True)
    assert words[0] in main.commands, f"kcinn {words[0]}: no such command"
    return main.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=identity)
def test_commands_exist_with_their_options(path):
    for block in blocks(path, *SHELL):
        for words in commands(block["code"]):
            parse(words)
    for code in inline(path):
        if re.match(r"kcinn [a-z]", code):
            words = shlex.split(code)[1:]
            try:
                parse(words)
            except click.NoSuchOption:
                raise
            except click.UsageError:  # `kcinn fit`, or `--mcmc N`: named, not typed
                pass


def test_commands_that_do_not_exist_are_seen():
    assert list(commands("pip install . && kcinn demo --out demo")) == [["demo", "--out", "demo"]]
    assert list(commands("kcinn info m.keras   # what is it?\nlabels -> kcinn")) == [["info", "m.keras"]]
    assert list(commands("srun kcinn survey m s \\\n --shard ${ID}/16")) == [["survey", "m", "s", "--shard", "1/16"]]
    with pytest.raises(click.NoSuchOption):
        parse(["demo", "--outt", "demo"])
    with pytest.raises(click.MissingParameter):
        parse(["survey", "model.keras"])
    with pytest.raises(AssertionError):
        parse(["surveys"])


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=identity)
def test_options_extras_scripts_and_names_exist(path):
    options = {option for command in main.commands.values() for param in command.params
               for option in (*param.opts, *param.secondary_opts)}  # fmt: skip
    scripts = "".join(
        script.read_text() for folder in ("benchmarks", "tools") for script in (ROOT / folder).glob("*.py")
    )
    options |= set(re.findall(r'"(--[a-z-]+)"', scripts))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for code in inline(path):
        if match := re.match(r"(--[a-z-]+)( |$)", code):
            assert match[1] in options, f"nothing has the option {match[1]}"
        if match := re.match(r"python ((?:benchmarks|tools|tests)/\S+)", code):
            assert (ROOT / match[1]).exists(), match[1]
        if (match := re.match(r"kcinn((?:\.\w+)+)", code)) and match[1] != ".json":
            assert exists(match[1][1:].split(".")), code
    for names in re.findall(r"(?:kcinn|\"\.|`\.)\[([\w,]+)\]", text_of(path)):
        assert set(names.split(",")) <= set(extras), names


def exists(names):
    """Whether ``kcinn.a.b`` is a module or is in one."""

    def step(found, name):
        try:
            return getattr(found, name)
        except AttributeError:
            return import_module(f"{found.__name__}.{name}")

    try:
        reduce(step, names, kcinn)
    except (ImportError, AttributeError):
        return False
    return True
