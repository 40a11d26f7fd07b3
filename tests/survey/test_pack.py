"""pack: many files of many kinds -> one file, every star of the input with a row."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import toy
from astropy.io import fits
from astropy.table import Table
from survey_toy import OPTIONS, write_l1

from kcinn.errors import SpectraError, SurveyError
from kcinn.flag import Flag
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra
from kcinn.survey import merge, pack, run
from kcinn.wavelength import air_to_vacuum, doppler_shift

LABELS = np.array([[5500.0, -0.5, 0.1], [4800.0, -1.2, 0.3], [6200.0, 0.1, 0.0]])


@pytest.fixture
def files(tmp_path):
    """Three stars in three kinds of file and one that is cut off."""
    flux, error, _ = toy.observed(LABELS, 150.0)
    wavelength = toy.INSTRUMENT.wavelength
    vacuum = air_to_vacuum(wavelength)
    write_l1(tmp_path / "star-0.fits", vacuum, flux[0], error[0], tucd="em.wl", OBJ_UID="A")
    np.savetxt(tmp_path / "star-1.txt", np.column_stack([wavelength, flux[1], error[1]]))
    Spectra(wavelength, flux[2:], error=error[2:], ids=["C"], medium="air").write(tmp_path / "star-2.h5")
    content = (tmp_path / "star-0.fits").read_bytes()
    (tmp_path / "star-3.fits").write_bytes(content[: len(content) - 6000])
    return [tmp_path / name for name in ("star-0.fits", "star-1.txt", "star-3.fits", "star-2.h5")], flux, error


def test_every_file_has_its_row(files, tmp_path):
    paths, flux, error = files
    report = pack(paths[1:], tmp_path / "packed.h5", medium="air", processes=1)
    assert report.n_spectra == 3 and len(report.refused) == 1 and "star-3.fits: damaged FITS" in report.refused[0]
    packed = Spectra.read(tmp_path / "packed.h5")
    assert list(packed.ids) == ["star-1", "star-3.fits", "C"] and packed.mask[1].all() and not packed.mask[[0, 2]].any()
    np.testing.assert_allclose(packed.flux[[0, 2]], flux[1:], rtol=1e-6)
    np.testing.assert_allclose(packed.error[[0, 2]], error[1:], rtol=1e-6)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "packed.h5."))]


def test_other_grids_need_an_instrument(files, tmp_path):
    paths, flux, _ = files
    report = pack(paths[::-1], tmp_path / "packed.h5", processes=1)
    assert (
        len(report.refused) == 3 and "pass medium=" in report.refused[1] and "name an instrument" in report.refused[2]
    )
    with pytest.raises(SurveyError, match=r"2 spectra are refused; the first: .*medium"):
        pack(paths, tmp_path / "strict.h5", instrument=toy.INSTRUMENT, strict=True, processes=1)
    assert not (tmp_path / "strict.h5").exists()
    report = pack(paths, tmp_path / "strict.h5", instrument=toy.INSTRUMENT, processes=1, resume=True)
    packed = Spectra.read(tmp_path / "strict.h5")
    assert list(packed.ids) == ["A", "star-1.txt", "star-3.fits", "C"] and packed.medium == "air"
    np.testing.assert_allclose(packed.flux[0], flux[0], atol=1e-3)


def test_what_was_mended_after_a_refusal_is_read_again(files, tmp_path):
    paths, *_ = files
    options = {"instrument": toy.INSTRUMENT, "medium": "air", "processes": 1}
    with pytest.raises(SurveyError, match="1 spectra are refused"):
        pack(paths[1:3], tmp_path / "packed.h5", strict=True, **options)
    paths[2].write_bytes(paths[0].read_bytes())
    assert not pack(paths[1:3], tmp_path / "packed.h5", strict=True, resume=True, **options).refused
    with pytest.raises(SpectraError, match="None of the files"):
        pack(paths[1:2], tmp_path / "none.h5", instrument=toy.INSTRUMENT, processes=1)
    pack(paths[1:2], tmp_path / "none.h5", **options)  # with the medium that was missing, and no word of pieces


def test_pieces_of_another_treatment_are_not_mixed_in(files, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["kcinn.survey.pack"], "_joined", lambda *_: 1 / 0)
    options = {"instrument": toy.INSTRUMENT, "medium": "air", "processes": 1, "resume": True}
    packing = partial(pack, files[0][1:2], tmp_path / "packed.h5")
    with pytest.raises(ZeroDivisionError):
        packing(**options)
    changed = toy.INSTRUMENT.get_config()
    changed["arm"][0]["resolving_power"] = [9000.0, 9000.0]
    for other in ({"velocities": {"star-1": 200.0}}, {"instrument": Instrument.from_config(changed)}):
        with pytest.raises(SurveyError, match="other files or options"):
            packing(**{**options, **other})
    with pytest.raises(ZeroDivisionError):
        packing(**options)


def test_only_stars_without_a_velocity_are_refused(tmp_path):
    """Of a file of many stars, two are not in the table: missing, and not a number."""
    flux, error, _ = toy.observed(LABELS, 150.0)
    moving = doppler_shift(toy.INSTRUMENT.wavelength, 25.0)
    Spectra(moving, flux, error=error, ids=["A", "B", "C"], medium="air").write(tmp_path / "stars.h5")
    table = Table({"id": ["B", "C"], "rv": [25000.0, np.nan]})
    table["rv"].unit = "m / s"
    table.write(tmp_path / "rv.ecsv")
    options = {"instrument": toy.INSTRUMENT, "velocities": tmp_path / "rv.ecsv", "processes": 1}
    report = pack([tmp_path / "stars.h5"], tmp_path / "packed.h5", **options)
    packed = Spectra.read(tmp_path / "packed.h5")
    assert list(packed.ids) == ["A", "B", "C"] and list(packed.mask.all(axis=1)) == [True, False, True]
    assert len(report.refused) == 2 and "no velocity is given for A" in report.refused[0]
    good = ~packed.mask[1]
    np.testing.assert_allclose(packed.flux[1, good], flux[1, good], atol=1e-3)


def test_arms_are_joined_by_name_and_stars_brought_to_rest(tmp_path):
    flux, error, _ = toy.observed(LABELS[:1], 150.0)
    moving = doppler_shift(toy.INSTRUMENT.wavelength, 25.0)
    for arm, pixels in zip(("blue", "red"), toy.INSTRUMENT.arm_slices, strict=True):
        write_l1(
            tmp_path / f"{arm}.fits", moving[pixels], flux[0, pixels], error[0, pixels], tucd="em.wl;obs.atmos",
            OBJ_UID="A", SPECSYS="BARYCENT",
        )  # fmt: skip
    paths = [tmp_path / "blue.fits", tmp_path / "red.fits"]
    options = {"instrument": toy.INSTRUMENT, "join_by": "OBJ_UID", "processes": 1}
    (tmp_path / "rv.csv").write_text("id,rv\nA,25.0\n")
    pack(paths, tmp_path / "packed.h5", velocities=tmp_path / "rv.csv", **options)
    packed = Spectra.read(tmp_path / "packed.h5")
    assert list(packed.ids) == ["A"] and packed.mask.mean() < 0.02
    good = ~packed.mask[0]
    np.testing.assert_allclose(packed.flux[0, good], flux[0, good], atol=1e-3)
    with pytest.raises(SpectraError, match="no velocity is given for A"):
        pack(paths, tmp_path / "none.h5", velocities={"B": 3.0}, **options)
    with fits.open(paths[0], mode="update") as hdus:
        hdus[1].header["SPECSYS"] = "TOPOCENT"
    with pytest.raises(SpectraError, match="TOPOCENT"):
        pack(paths, tmp_path / "topo.h5", velocities={"A": 25.0}, checksum=False, **options)


KILL = """
import os, signal, sys
from kcinn.survey import pack
replace = os.replace
def killing(source, target):
    if str(target).endswith("piece-000001.h5"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killing
import kcinn.survey.pack
sys.modules["kcinn.survey.pack"].PIECE = 2
pack(sys.argv[1:-1], sys.argv[-1], medium="air", processes=1)
"""


def test_killed_packing_is_resumed(files, tmp_path, monkeypatch):
    paths = files[0][1:] * 2
    monkeypatch.setattr(sys.modules["kcinn.survey.pack"], "PIECE", 2)
    pack(paths, tmp_path / "whole.h5", medium="air", processes=1)
    done = subprocess.run([sys.executable, "-c", KILL, *map(str, paths), str(tmp_path / "killed.h5")], check=False)
    assert done.returncode == -9 and not (tmp_path / "killed.h5").exists()
    with pytest.raises(SurveyError, match="--resume"):
        pack(paths, tmp_path / "killed.h5", medium="air", processes=1)
    with pytest.raises(SurveyError, match="other files or options"):
        pack(paths, tmp_path / "killed.h5", medium="air", snr=100.0, resume=True, processes=1)
    os.utime(tmp_path / "killed.h5.pieces" / "piece-000000.h5", (0, 0))
    pack(paths, tmp_path / "killed.h5", medium="air", resume=True, processes=1)
    whole, killed = (Spectra.read(tmp_path / name) for name in ("whole.h5", "killed.h5"))
    np.testing.assert_array_equal(whole.flux, killed.flux)
    assert list(whole.ids) == list(killed.ids)
    assert not [path for path in tmp_path.iterdir() if "pieces" in path.name or path.name.startswith(".")]


def test_refused_and_estimated_spectra_are_flagged_in_the_catalogue(files, toy_model_file, tmp_path):
    paths, flux, _ = files
    np.savetxt(tmp_path / "bare.txt", np.column_stack([toy.INSTRUMENT.wavelength, flux[1]]))
    pack([*paths[1:], tmp_path / "bare.txt"], tmp_path / "packed.h5", medium="air", processes=1)
    run(toy_model_file, tmp_path / "packed.h5", tmp_path / "out", **OPTIONS)
    merge(tmp_path / "out", tmp_path / "catalogue.fits")
    table = Table.read(tmp_path / "catalogue.fits")
    assert list(table["id"]) == ["star-1", "star-3.fits", "C", "bare"]
    estimated, unusable = (table["flag"] & int(flag) > 0 for flag in (Flag.ESTIMATED_ERROR, Flag.UNUSABLE))
    assert list(unusable) == [False, True, False, False] and list(estimated) == [False, False, False, True]
    assert np.all(np.abs(np.asarray(table["teff"][[0, 2]]) - LABELS[1:, 0]) < 200.0)
