"""The command line, run as a user runs it: one clear line and exit status 2 for every kind of bad input."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import toy
from astropy.table import Table
from click.testing import CliRunner

from kcinn.cli import main
from kcinn.spectra import Spectra


def kcinn(*arguments):
    command = [sys.executable, "-m", "kcinn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def spectrum_file(tmp_path_factory):
    flux, error, _ = toy.observed(np.array([[5500.0, -0.5, 0.1]]), 150.0)
    path = tmp_path_factory.mktemp("spectra") / "star.h5"
    Spectra(toy.INSTRUMENT.wavelength, flux, error=error, medium="air").write(path)
    return path


def test_predict_twice_gives_the_same_bits(toy_model_file, spectrum_file, tmp_path):
    """In a process of its own and in this one."""
    options = ["--samples", "500"]
    done = kcinn("predict", toy_model_file, spectrum_file, "-o", tmp_path / "one.fits", *options)
    assert done.returncode == 0, done.stderr
    arguments = ["predict", toy_model_file, spectrum_file, "-o", tmp_path / "two.fits", *options]
    assert CliRunner().invoke(main, [str(argument) for argument in arguments]).exit_code == 0
    assert (tmp_path / "one.fits").read_bytes() == (tmp_path / "two.fits").read_bytes()
    table = Table.read(tmp_path / "one.fits")
    assert abs(table["teff"][0] - 5500.0) < 5 * table["e_teff"][0]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backend_that_is_not_installed_is_named(backend, spectrum_file, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    absent = (
        "import sys\nfrom importlib.abc import MetaPathFinder\n"
        "class Absent(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {backend!r}:\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from kcinn.cli import main\n"
        f"main(['predict', '4most-hrs', {str(spectrum_file)!r}, '-o', {str(tmp_path / 'out.fits')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", absent], capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert f'pip install "kcinn[{backend}]"' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_bad_files_end_with_status_2_and_one_line(toy_model_file, spectrum_file, tmp_path):
    wavelength = toy.INSTRUMENT.wavelength
    bad = {}
    for name, text in {
        "empty.txt": "",
        "words.txt": "hello world\n",
        "mixed.txt": "\n".join(f"{w} 1.0 0.01" for w in np.roll(wavelength, 9)),
        "allnan.txt": "\n".join(f"{w} nan 0.01" for w in wavelength),
        "noerror.txt": "\n".join(f"{w} 1.0 0.0" for w in wavelength),
        "elsewhere.txt": "\n".join(f"{w + 2000} 1.0 0.01" for w in wavelength),
    }.items():
        (tmp_path / name).write_text(text)
        bad[name] = ["--medium", "air"]
    (tmp_path / "nomedium.txt").write_text("\n".join(f"{w} 1.0 0.01" for w in wavelength))
    bad |= {"nomedium.txt": [], "absent.txt": [], ".": []}
    for name, options in bad.items():
        output = tmp_path / "out.fits"
        done = kcinn("predict", toy_model_file, tmp_path / name, "-o", output, *options)
        assert done.returncode == 2, (name, done.stdout, done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.startswith("kcinn:")]
        assert len(lines) == 1 and "Traceback" not in done.stderr, (name, done.stderr)
        assert not output.exists()


def test_bad_models_end_with_status_2(toy_model_file, spectrum_file, tmp_path):
    whole = toy_model_file.read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    other = tmp_path / "other.keras"
    with zipfile.ZipFile(toy_model_file) as source, zipfile.ZipFile(other, "w") as target:
        for item in source.namelist():
            content = source.read(item)
            if item == "config.json":
                content = content.replace(b"kcinn-model/4", b"kcinn-model/9")
            target.writestr(item, content)
    for path, reason in (
        (tmp_path / "half.keras", "readable"),
        (other, "kcinn-model/9"),
        (tmp_path / "no.keras", "no such"),
    ):
        done = kcinn("predict", path, spectrum_file, "-o", tmp_path / "out.fits")
        assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert kcinn("info", path).returncode == 2


def test_info(toy_model_file, tmp_path):
    shown = json.loads(kcinn("info", toy_model_file).stdout)
    assert shown["targets"] == ["teff", "fe_h", "mg_fe"] and shown["labels"]["teff"] == "4000 to 7000 K"
    toy.grid(50).write(tmp_path / "grid.h5")
    assert "50 spectra" in kcinn("info", tmp_path / "grid.h5").stdout


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["synthesize", "--n", "4", "--instrument", "hubble", "-o", "{}/g.h5"], "4most-hrs"),
        (["synthesize", "--n", "0", "-o", "{}/g.h5"], "range"),
        (["synthesize", "--n", "4", "--without", "overshoot", "-o", "{}/g.h5"], "teff, logg, fe_h"),
        (["synthesize", "--n", "4", "--within", "teff", "3000", "4800", "-o", "{}/g.h5"], "4000 to 7000 K"),
        (["fit", "{}/none.h5", "-o", "{}/m.keras"], "no such"),
        (["fit", "{}/none.h5", "-o", "{}/m.pkl"], ".keras"),
        (["predcit"], "No such command"),
        (["synthesize", "--n", "4", "-o", "{}/none/g.h5"], "no such folder"),
        (["fit", "{}/none.h5", "-o", "{}/none/m.keras"], "no such folder"),
        (["pack", "{}/a.txt", "-o", "{}/a.h5", "--processes", "0"], "-1, for one per core"),
        (["survey", "m.keras", "{}/a.h5", "-o", "{}/out", "--num-gpus", "1"], "--engine ray"),
    ],
)
def test_bad_arguments(tmp_path, arguments, reason):
    done = kcinn(*(argument.format(tmp_path) for argument in arguments))
    assert done.returncode == 2 and reason in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
