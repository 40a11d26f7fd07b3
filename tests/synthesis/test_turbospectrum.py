"""Turbospectrum as an engine, against the real programs in the folder that KCINN_TURBOSPECTRUM names."""

import io
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kcinn.cli import main
from kcinn.errors import KcinnError, LabelError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Arm, Instrument
from kcinn.labels import Label, LabelSpace
from kcinn.synthesis.nlte import NLTEEngine, atmosphere
from kcinn.synthesis.nlte.constants import BOLTZMANN
from kcinn.synthesis.nlte.elements import abundances
from kcinn.synthesis.turbospectrum import Turbospectrum
from kcinn.synthesis.turbospectrum.departure import Departure
from kcinn.synthesis.turbospectrum.line_list import coverage, cut
from kcinn.synthesis.turbospectrum.marcs import MarcsGrid

ROOT = os.environ.get("KCINN_TURBOSPECTRUM")
needs_programs = pytest.mark.skipif(not ROOT, reason="KCINN_TURBOSPECTRUM does not name a compiled Turbospectrum")
SUN = {"teff": 5772.0, "logg": 4.44, "fe_h": 0.0}
WINDOW = [(6155.0, 6175.0)]
LIST = """'   3.007            '    1         2
'Li I    LTE'
  6707.764  0.000 -0.002  346.236    4.0  3.63E+07 's' 'p'   0.0    1.0 'Li I'
  6707.915  0.000 -0.303  346.236    2.0  3.63E+07 's' 'p'   0.0    1.0 'Li I'
'  26.000            '    1         1
'Fe I    LTE'
  6100.312  2.608 -2.437  350.237    7.0  1.03E+08 'p' 's'   0.0    1.0 'Fe I'
"""
SPACE = LabelSpace([Label(*row) for row in (("teff", "K", 5e3, 6e3), ("logg", "", 4.0, 4.6), ("fe_h", "", -0.5, 0.5))])
INSTRUMENT = Instrument("narrow", [Arm("red", (0.0, 59.0), (6160.0, 6165.9), (20000.0, 20000.0))], medium="air")


@pytest.fixture(scope="module")
def folder():
    return Path(ROOT) / "src" / "exec-gf"


@pytest.fixture(scope="module")
def line_list():
    return next((Path(ROOT) / "COM" / "linelists").iterdir())


@pytest.fixture(scope="module")
def engine(folder, line_list):
    return Turbospectrum(folder, [line_list])


@pytest.fixture
def stand_in(tmp_path):
    """Programs that keep their standard input in a file and give the result and the exit status they are told."""

    def make(spectrum="", status=0):
        programs, data = tmp_path / "bin", tmp_path / "DATA"
        programs.mkdir()
        data.mkdir()
        for name in ("jonabs_vac_v19.2.dat", "Hlinedata"):
            (data / name).write_text("x")
        for name, result, text in (("babsma_lu", "opacity", "x"), ("bsyn_lu", "spectrum", spectrum)):
            program = programs / name
            program.write_text(
                f"#!/bin/sh\necho ' * BSYN version 20.1 *'\ncat > {tmp_path}/{name}.in\n"
                f"printf '{text}' > {result}\necho 'STOP at line 42'\nexit {status if name == 'bsyn_lu' else 0}\n"
            )
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "list").write_text(LIST)
        return Turbospectrum(programs, [tmp_path / "list"])

    return make


def run(engine, labels=SUN, windows=WINDOW, step=0.03):
    return engine.spectrum(labels, windows=windows, step=step)[1]


# the line list


def test_line_list_is_cut_to_a_window_without_hydrogen(tmp_path):
    path = tmp_path / "list"
    path.write_text("'01.000000 ' 1 1\n'H I'\n 6562.797 2 3\n" + LIST)
    assert coverage(path) == (6100.312, 6707.915)
    assert cut(path, (6707.8, 6710.0)) == "'3.007' 1 1\n'Li I    LTE'\n" + LIST.splitlines(keepends=True)[3]
    assert cut(path, (6500.0, 6600.0)) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LIST[:-90], "ends early; expected 1 lines of species 26.000. Copy it anew"),
        (LIST.replace("6707.915", "wavelength"), "line 4: expected a line of species 3.007. Received: .wavelength"),
        ("wavelength flux\n", "line 1: expected the header.*'wavelength flux'"),
        ("", "no lines in it"),
        (None, "No such file"),
    ],
)
def test_broken_line_lists_are_named(tmp_path, text, message):
    path = tmp_path / "list"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KcinnError, match=f"{path}.*{message}"):
        coverage(path)


# model atmospheres


def marcs_name(teff, logg, fe_h, geometry="p", mass="0.0", vmic="02"):
    zeros = "_".join(f"{letter}+0.00" for letter in "acnors")
    return f"{geometry}{teff:.0f}_g{logg:+.1f}_m{mass}_t{vmic}_st_z{fe_h:+.2f}_{zeros}.mod"


def test_models_around_a_star(tmp_path):
    for node in product((5000.0, 5500.0, 6000.0), (4.0, 4.5), (-0.5, 0.0)):
        if node != (5500.0, 4.5, -0.5):  # a hole: the cube around 5250 K has to be wider
            (tmp_path / marcs_name(*node)).touch()
    (tmp_path / marcs_name(5500.0, 4.0, 0.0, vmic="05")).touch()
    (tmp_path / "readme.mod").touch()
    grid = MarcsGrid(tmp_path)
    assert len(grid) == 11 and grid.validity["teff"] == (5000.0, 6000.0)
    cube = product((5000.0, 6000.0), (4.0, 4.5), (-0.5, 0.0))
    assert [path.name for path in grid.cube(5250.0, 4.3, -0.2)] == [marcs_name(*node) for node in cube]
    assert {path.name for path in grid.cube(5500.0, 4.0, 0.0)} == {marcs_name(5500.0, 4.0, 0.0)}
    with pytest.raises(KcinnError, match=r"surrounds teff=5250, logg=3, fe_h=0.*logg 4 to 4.5.*narrow"):
        grid.cube(5250.0, 3.0, 0.0)
    with pytest.raises(KcinnError, match=r"no MARCS models.*leave atmospheres out"):
        MarcsGrid(tmp_path / "nowhere")


def test_giants_take_spheres(tmp_path):
    for geometry, mass in (("p", "0.0"), ("s", "1.0"), ("s", "5.0")):
        for node in product((4500.0, 5000.0), (2.0, 2.5), (-0.5, 0.0)):
            (tmp_path / marcs_name(*node, geometry, mass)).touch()
    assert {path.name[0] + path.name[12:16] for path in MarcsGrid(tmp_path).cube(4700.0, 2.2, -0.2)} == {"sm1.0"}


def test_departures_that_do_not_reach_a_star_are_refused(tmp_path):
    """The interpolator itself would read at random."""
    names = [marcs_name(5500.0, 4.0, fe_h) for fe_h in (-0.5, 0.0)]
    rows = [f"'{name[:-4]}' 5500.0 4.0 0.0 0.0 0.0 2.0 {value} 1" for name in names for value in (6.0, 6.5)]
    index = tmp_path / "index"
    index.write_text("\n".join(["# header", *(rows * 5001)]) + "\n")
    calcium = Departure("Ca", index, index, index)
    assert calcium.n_entries == 20004
    models = [tmp_path / name for name in names]
    calcium.check(models, 6.05)
    calcium.check(models, 5.0)  # beyond its ends the grid counts as constant
    with pytest.raises(KcinnError, match=r"no departures for A\(Ca\)=6.25.*only for 6.00, 6.50"):
        calcium.check(models, 6.25)
    with pytest.raises(KcinnError, match="no departures of Ca for the model p6000_.*atmospheres"):
        calcium.check([*models, tmp_path / marcs_name(6000.0, 4.0, 0.0)], 6.0)
    with pytest.raises(KcinnError, match="unknown element 'Xx'"):
        Departure("Xx", index, index, index)
    with pytest.raises(KcinnError, match="no file .*absent. Give the path of its atom"):
        Departure("Ca", index, index, tmp_path / "absent")
    other = tmp_path / "other"
    other.write_text("# header\nmodel 5500.0\n")
    with pytest.raises(KcinnError, match="other, line 2: expected model"):
        Departure("Ca", index, other, index).check(models, 6.0)


# what goes wrong


def test_both_programs_get_the_same_abundances(stand_in, tmp_path):
    engine = stand_in(spectrum="6200.0 0.9 1e6\\n6200.1 0.8 1e6\\n")
    flux = run(engine, {**SUN, "fe_h": -1.0, "mg_fe": 0.4}, windows=[(6200.0, 6200.1)], step=0.1)
    np.testing.assert_array_equal(flux, [0.9, 0.8])
    tables = []
    for program in ("babsma_lu", "bsyn_lu"):
        lines = (tmp_path / f"{program}.in").read_text().splitlines()
        start = next(k for k, line in enumerate(lines) if line.startswith("'INDIVIDUAL ABUNDANCES:'"))
        number = int(lines[start].split("'")[3])
        tables.append(dict(line.split() for line in lines[start + 1 : start + 1 + number]))
    assert tables[0] == tables[1] and len(tables[0]) > 80
    assert tables[0]["12"] == "6.9500" and tables[0]["26"] == "6.4600" and tables[0]["2"] == "10.9140"


def test_an_empty_result_is_an_error_with_the_end_of_the_log(stand_in):
    with pytest.raises(
        KcinnError, match=r"teff=5772.*bsyn_lu gave no result \(exit status 0\).*line lists.*STOP at line"
    ):
        run(stand_in())


def test_a_failed_program_is_an_error(stand_in):
    with pytest.raises(KcinnError, match="exit status 3"):
        run(stand_in(spectrum="6200.0 0.9 1e6\\n", status=3))


def test_too_few_or_bad_fluxes_are_an_error(stand_in):
    with pytest.raises(KcinnError, match="expected 667 finite fluxes.*Received: 1, of which 1"):
        run(stand_in(spectrum="6155.0 ********** 1e6\\n"))


def test_labels_and_windows_outside_are_refused(stand_in):
    engine = stand_in()
    with pytest.raises(LabelError, match="valid for teff from .* to 7000"):
        run(engine, {**SUN, "teff": 9000.0})
    with pytest.raises(KcinnError, match="covers 6100.31-6707.91.*8000-8010"):
        run(engine, windows=[(8000.0, 8010.0)])


def test_missing_parts_are_named_with_their_remedy(stand_in, tmp_path):
    programs = stand_in().bsyn.parent
    lists = [tmp_path / "list"]
    with pytest.raises(KcinnError, match="No program babsma_lu.*Compile.*executables="):
        Turbospectrum(tmp_path, lists)
    with pytest.raises(KcinnError, match="line_lists is a list"):
        Turbospectrum(programs, str(lists[0]))
    with pytest.raises(KcinnError, match="No DATA folder .* at .*bin.*data="):
        Turbospectrum(programs, lists, data=programs)
    with pytest.raises(KcinnError, match="No such file.*list in Turbospectrum's format"):
        Turbospectrum(programs, [tmp_path / "absent"])
    (tmp_path / marcs_name(5500.0, 4.0, 0.0)).touch()
    with pytest.raises(KcinnError, match="No program interpol_modeles in.*interpolators="):
        Turbospectrum(programs, lists, atmospheres=tmp_path)
    files = {key: tmp_path / "list" for key in ("grid", "index", "atom")}
    with pytest.raises(KcinnError, match="tabulated on MARCS models.*atmospheres="):
        Turbospectrum(programs, lists, departures={"Ca": files})
    with pytest.raises(KcinnError, match="departures of Ca: expected the files grid, index, atom"):
        Turbospectrum(programs, lists, departures={"Ca": {"grid": "x"}})
    with pytest.raises(KcinnError, match="unknown elements.*'Xx'"):
        Turbospectrum(programs, lists, solar_abundances={"Xx": 1.0})
    (tmp_path / "DATA" / "Hlinedata").unlink()
    with pytest.raises(KcinnError, match=r"No DATA folder of Turbospectrum beside or above.*Hlinedata.*data="):
        Turbospectrum(programs, lists)


def test_configuration_file(stand_in, tmp_path):
    stand_in()
    config = tmp_path / "ts.toml"
    config.write_text('executables = "bin"\nline_lists = ["list"]\nsolar_abundances = {Fe = 7.50}\n')
    engine = Turbospectrum.load(config)
    assert engine.coverage == ((6100.312, 6707.915),) and engine.metadata["solar_abundances"].endswith("A(Fe)=7.5")
    config.write_text('executables = "bin"\nline_list = ["list"]\n')
    with pytest.raises(KcinnError, match=r"unknown keys \['line_list'\], missing keys \['line_lists'\].*atmospheres"):
        Turbospectrum.load(config)
    config.write_text('executables = "bin"\nline_lists = 3\n')
    with pytest.raises(KcinnError, match="wrong kind"):
        Turbospectrum.load(config)
    with pytest.raises(KcinnError, match="not a readable TOML"):
        Turbospectrum.load(tmp_path / "absent.toml")


def test_command_line(stand_in, tmp_path):
    stand_in()
    config = tmp_path / "ts.toml"
    config.write_text('executables = "bin"\nline_lists = ["list"]\nlist = 1\n')
    base = ["synthesize", "--n", "1", "-o", str(tmp_path / "g.h5")]
    for options, message in (
        (["--engine", "turbospectrum"], "needs a TOML file"),
        (["--config", str(config)], "takes no configuration"),
        (["--engine", "turbospectrum", "--config", str(config), "--lte"], "--lte is for the engine nlte"),
        (["--engine", "turbospectrum", "--config", str(config)], "unknown keys ['list']"),
    ):
        done = CliRunner().invoke(main, [*base, *options])
        assert done.exit_code == 2 and message in done.output, done.output


# the real programs


@needs_programs
@pytest.mark.parametrize(
    ("labels", "bound"), [(SUN, 0.005), ({"teff": 4700.0, "logg": 2.2, "fe_h": -1.5, "vmic": 1.7, "mg_fe": 0.3}, 0.002)]
)
def test_the_same_labels_give_the_same_spectrum_in_both_engines(engine, labels, bound):
    difference = run(engine, labels) - run(NLTEEngine(), labels)
    assert np.sqrt(np.mean(difference**2)) < bound


@needs_programs
def test_metadata_and_pickle(engine):
    metadata = pickle.loads(pickle.dumps(engine)).metadata
    assert (
        metadata["engine"] == "turbospectrum" and metadata["engine_version"] == "20.1" and metadata["medium"] == "air"
    )
    assert metadata["nlte_species"] == [] and any(a < 4861.3 < b for a, b, _ in metadata["unreliable_windows"])
    assert engine.coverage == ((4200.02, 9199.985),)


@needs_programs
def test_a_killed_run_goes_on_where_it_stopped(folder, line_list, tmp_path):
    arguments = f"n=4, draws=1, instrument=t.INSTRUMENT, label_space=t.SPACE, engine=t.Turbospectrum({str(folder)!r}, "
    arguments += f"[{str(line_list)!r}]), processes=1, verbose=0"
    script = (
        "import sys, importlib\nsys.path.insert(0, sys.argv[2])\nimport test_turbospectrum as t\n"
        "module = importlib.import_module('kcinn.synthesis.synthesize')\nmodule.STARS_PER_PART = 1\n"
        f"module.synthesize(sys.argv[1], {arguments})\n"
    )
    path, parts = tmp_path / "grid.h5", tmp_path / "grid.h5.parts"
    command = [sys.executable, "-c", script, str(path), os.path.dirname(__file__)]
    # killed, it leaves its temporary folder behind
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + 120
    while not list(parts.glob("*.npy")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {part: part.stat().st_mtime_ns for part in parts.glob("*.npy")}
    assert 1 <= len(kept) < 4 and not path.exists()
    copies = {part: part.read_bytes() for part in kept}
    subprocess.run(command, check=True)
    assert path.exists() and not parts.exists()
    grid = SyntheticGrid.open(path)
    np.testing.assert_array_equal(grid.flux(slice(0, 1)), np.load(io.BytesIO(copies[min(copies)])))
    assert grid.metadata["engine"] == "turbospectrum"


@pytest.fixture(scope="module")
def marcs(tmp_path_factory):
    """Eight plane-parallel models in the MARCS format, with the structures of the embedded engine."""
    target = tmp_path_factory.mktemp("marcs")
    for teff, logg, fe_h in product((5500.0, 6000.0), (4.0, 4.5), (-0.5, 0.0)):
        model = atmosphere.model(teff, logg, fe_h, abundances(fe_h, {}))
        plasma = model.plasma
        pressure = plasma.electrons * BOLTZMANN * plasma.temperature
        name = marcs_name(teff, logg, fe_h)
        head = [name[:-4], teff, 0.0, 10.0**logg, 2.0, 0.0, f"{fe_h} 0.0", 1.0]
        structure = zip(model.log_tau, plasma.temperature, pressure, model.gas_pressure, strict=True)
        rows = [f"{k} {t:.5f} {t:.5f} 0. {T:.3f} {e:.6e} {g:.6e} 0. 0." for k, (t, T, e, g) in enumerate(structure, 1)]
        opacity = model.opacity_5000 / plasma.density
        more = [
            f"{k} 0. {x:.5e} {rho:.5e} 1.3 0. 0."
            for k, (x, rho) in enumerate(zip(opacity, plasma.density, strict=True))
        ]
        depths = f"{len(rows)} Number of depth points"
        text = [
            *map(str, head),
            depths,
            "Model structure",
            " k lgTauR lgTau5 ...",
            *rows,
            " k lgTauR KappaRoss ...",
            *more,
        ]
        (target / name).write_text("\n".join(text) + "\n")
    return target


@needs_programs
def test_marcs_models_are_interpolated(folder, line_list, engine, marcs):
    other = Turbospectrum(folder, [line_list], atmospheres=marcs)
    assert other.validity["teff"] == (5500.0, 6000.0) and other.metadata["atmospheres"] == "8 MARCS models"
    for labels, bound in (({"teff": 5500.0, "logg": 4.5, "fe_h": 0.0}, 1e-4), (SUN, 5e-3)):
        difference = run(other, labels) - run(engine, labels)
        assert np.max(np.abs(difference)) < bound
    with pytest.raises(KcinnError, match="no complete cube"):
        (marcs / marcs_name(6000.0, 4.5, 0.0)).rename(marcs / "kept")
        try:
            run(Turbospectrum(folder, [line_list], atmospheres=marcs), SUN)
        finally:
            (marcs / "kept").rename(marcs / marcs_name(6000.0, 4.5, 0.0))


@pytest.fixture
def calcium(marcs, line_list, tmp_path):
    """A made-up NLTE world: Ca I lines between two levels whose departures from LTE are the same at every depth."""
    lines = cut(line_list, (6150.0, 6180.0)).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("'20.000' 1"))
    block = lines[start : start + 2 + int(lines[start].split()[-1])]
    plain = ["'".join(line.split("'")[:6]) + "'" for line in block[2:]]  # without the level numbers of a real atom
    numbered = [*block[:2], *(f"{line}  1 2 'lower' 'upper'" for line in plain)]
    (tmp_path / "calcium").write_text("\n".join(numbered) + "\n")
    (tmp_path / "atom.ca").write_text("CA\n 6.30 40.08\n 2 1 0 0\n 0.0 1.0 'lower' 1\n 15000.0 3.0 'upper' 1\n")

    def make(lower, upper):
        n_depth = len(atmosphere.LOG_TAU)
        table = np.stack([np.full(n_depth, lower), np.full(n_depth, upper)])  # depth varies fastest
        grid, index, position = (
            [b"made up".ljust(1000)],
            ["# id teff logg fe_h alpha mass vmic abundance position"],
            1001,
        )
        for path in sorted(marcs.glob("*.mod")):
            teff, logg, fe_h = float(path.name[1:5]), float(path.name[7:11]), float(path.name.split("_z")[1][:5])
            shape = np.array([n_depth, 2], dtype="<i4").tobytes()
            record = path.stem.encode().ljust(500) + shape + (10.0**atmosphere.LOG_TAU).astype("<f8").tobytes()
            grid.append(record + table.astype("<f8").tobytes())
            index.append(f"'{path.stem}' {teff} {logg} {fe_h} 0.0 0.0 2.0 {6.3 + fe_h:.2f} {position}")
            position += len(grid[-1])
        (tmp_path / "grid.bin").write_bytes(b"".join(grid))
        (tmp_path / "index.dat").write_text("\n".join(index) + "\n")
        return {"Ca": {"grid": tmp_path / "grid.bin", "index": tmp_path / "index.dat", "atom": tmp_path / "atom.ca"}}

    return make


@needs_programs
def test_departures_change_the_lines_as_they_must(folder, marcs, calcium, tmp_path):
    window, step = [(6160.0, 6164.0)], 0.02
    lists, labels = [tmp_path / "calcium"], {"teff": 5713.0, "logg": 4.31, "fe_h": -0.123}
    files = calcium(1.0, 1.0)
    lte = run(Turbospectrum(folder, lists, atmospheres=marcs), labels, window, step)
    none = run(Turbospectrum(folder, lists, atmospheres=marcs, departures=files), labels, window, step)
    np.testing.assert_allclose(none, lte, atol=2e-5)
    calcium(0.5, 0.5)  # half the absorbers, the same source function
    engine = Turbospectrum(folder, lists, atmospheres=marcs, departures=files)
    assert engine.metadata["nlte_species"] == ["Ca"]
    less = run(engine, {**labels}, window, step)
    halved = run(Turbospectrum(folder, lists, atmospheres=marcs), {**labels, "ca_fe": np.log10(0.5)}, window, step)
    assert np.min(less - lte) > -2e-4 and np.max(less - lte) > 0.03
    np.testing.assert_allclose(less, halved, atol=3e-3)
    with pytest.raises(KcinnError, match="do not number the levels of Ca"):
        plain = tmp_path / "plain"
        plain.write_text((tmp_path / "calcium").read_text().replace("  1 2 'lower' 'upper'", ""))
        run(Turbospectrum(folder, [plain], atmospheres=marcs, departures=files), labels, window, step)
