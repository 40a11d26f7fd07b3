"""A survey run: the rows of `kcinn.predict`, however the work was shared out and whatever ended it."""

import json
import os
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from astropy.table import Table
from survey_toy import BAD, OPTIONS, N, pack_stars

import kcinn
from kcinn import marginals
from kcinn.errors import ModelError, SpectraError, SurveyError
from kcinn.flag import Flag
from kcinn.spectra import Spectra
from kcinn.survey import merge, run, verify
from kcinn.survey.files import locked


def catalogue(folder, name="catalogue.fits"):
    merge(folder, folder.parent / name)
    return (folder.parent / name).read_bytes()


@pytest.fixture(scope="module")
def expected(undisturbed):
    return (undisturbed.parent / "catalogue.fits").read_bytes()


def test_rows_are_those_of_predict(undisturbed, toy_model, stars):
    table = Table.read(undisturbed.parent / "catalogue.fits", mask_invalid=False)
    spectra = Spectra.read(stars)
    assert list(table["id"]) == list(spectra.ids)
    assert np.all(table["flag"][BAD] == Flag.UNUSABLE) and np.all(np.isnan(table["teff"][BAD]))
    spectra.flux[BAD], spectra.mask[BAD[0]], spectra.error[BAD] = 1.0, False, 0.01  # so that predict takes them
    summary = kcinn.predict(toy_model, spectra, n_samples=200, seed=3, batch_size=8).summary(covariance=True)
    assert table.colnames == summary.colnames
    good = np.setdiff1d(np.arange(N), BAD)
    for name in summary.colnames[1:]:
        expected = np.asarray(getattr(summary[name], "value", summary[name]))[good]
        np.testing.assert_allclose(table[name][good], expected, rtol=1e-6, err_msg=name)


def test_a_bad_spectrum_does_not_touch_those_beside_it(toy_model_file, undisturbed, tmp_path):
    run(toy_model_file, pack_stars(tmp_path / "good.h5", bad=False), tmp_path / "out", **OPTIONS)
    merge(tmp_path / "out", tmp_path / "catalogue.fits")
    beside = np.setdiff1d(np.arange(N), [*BAD, 20, 21])
    tables = [Table.read(folder / "catalogue.fits") for folder in (tmp_path, undisturbed.parent)]
    np.testing.assert_array_equal(*(table.as_array()[beside] for table in tables))


def test_shards_shared_among_jobs_give_the_same_catalogue(toy_model_file, stars, expected, tmp_path):
    for shard in ("2/3", "1/3", "3/3"):
        run(toy_model_file, stars, tmp_path / "out", shard=shard, **OPTIONS)
    assert catalogue(tmp_path / "out") == expected


KILL = """
import os, signal, sys
import kcinn.survey
replace, calls = os.replace, []
def killing(source, target):
    if str(target).endswith(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killing
kcinn.survey.run(*sys.argv[1:4], **eval(sys.argv[5]))
"""


def test_killed_runs_are_resumed_bit_for_bit(toy_model_file, stars, expected, tmp_path):
    """Killed when a part is written but has no name yet; then its checksum is missing and another part is damaged."""
    folder = tmp_path / "out"
    arguments = [str(toy_model_file), str(stars), str(folder), "part-0000002.npy", repr(OPTIONS)]
    done = subprocess.run([sys.executable, "-c", KILL, *arguments], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()[-2000:]
    assert {path.name for path in folder.glob("parts/*.npy")} == {"part-0000000.npy", "part-0000001.npy"}
    assert len(list(folder.glob("parts/.*"))) == 1
    assert "left by a run" in str(verify(folder)) and not verify(folder).complete
    with pytest.raises(SurveyError, match=r"5 of 37 spectra are not done.*--resume"):
        merge(folder, tmp_path / "none.fits")
    with pytest.raises(SurveyError, match="--resume"):
        run(toy_model_file, stars, folder, **OPTIONS)

    (folder / "parts/part-0000000.npy.sha256").unlink()
    part = folder / "parts/part-0000001.npy"
    content = bytearray(part.read_bytes())
    content[-1000] ^= 1
    part.write_bytes(content)
    assert "part-0000001.npy: does not agree with its checksum" in str(verify(folder))
    report = run(toy_model_file, stars, folder, resume=True, **OPTIONS)
    assert report.n_computed == N
    assert catalogue(folder) == expected
    assert not list(folder.glob("**/.*")) and verify(folder).complete
    assert run(toy_model_file, stars, folder, resume=True, **OPTIONS).n_before == N


def test_only_the_same_run_is_resumed(toy_model_file, stars, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "out")
    with pytest.raises(SurveyError, match="seed was 3, is 4"):
        run(toy_model_file, stars, folder, resume=True, **OPTIONS | {"seed": 4})
    with h5py.File(shutil.copy(stars, tmp_path / "stars.h5"), "a") as file:
        file["flux"][36, 9] += 0.001
    with pytest.raises(SurveyError, match="files of spectra have changed"):
        run(toy_model_file, tmp_path / "stars.h5", folder, resume=True, **OPTIONS)
    shutil.copy(stars, tmp_path / "stars.h5")  # the same content elsewhere
    assert run(toy_model_file, tmp_path / "stars.h5", folder, resume=True, **OPTIONS).n_before == N
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(SurveyError, match="no survey run"):
        run(toy_model_file, stars, tmp_path / "other", **OPTIONS)


def test_two_writers_are_kept_apart(toy_model_file, stars, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "out")
    for held, asked in (("1-of-1", None), ("1-of-1", "2/2"), ("2-of-2", None)):
        (folder / "locks" / held).touch()
        with locked(folder / "locks" / held), pytest.raises(SurveyError, match="another run is writing"):
            run(toy_model_file, stars, folder, resume=True, shard=asked, **OPTIONS)
    with locked(folder / "locks" / "2-of-2"):
        run(toy_model_file, stars, folder, resume=True, shard="1/2", **OPTIONS)


def test_a_shard_that_cannot_be_read_is_quarantined_and_released(
    toy_model_file, stars, expected, tmp_path, monkeypatch
):
    from kcinn.survey.spectra_file import SpectraFile

    attempts = []
    rows = SpectraFile.rows

    def broken(self, start, stop):
        if start <= 24 < stop:
            attempts.append(start)
            raise SpectraError("bad sector")
        return rows(self, start, stop)

    folder = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(SpectraFile, "rows", broken)
        report = run(toy_model_file, stars, folder, **OPTIONS)
    assert len(attempts) == 3 and not report.complete and report.n_computed == N - 16
    assert "bad sector" in str(report)
    with pytest.raises(SurveyError, match=r"16 of 37 spectra are not done .*bad sector"):
        merge(folder, tmp_path / "none.fits")
    assert merge(folder, tmp_path / "partial.fits", partial=True) == N - 16
    assert "bad sector" in str(verify(folder))
    assert run(toy_model_file, stars, folder, resume=True, **OPTIONS).complete
    assert catalogue(folder) == expected and verify(folder).complete
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [event["attempt"] for event in events if event["event"] == "failure"] == [1, 2, 3]


def test_a_shard_that_kills_its_process_is_quarantined(toy_model_file, stars, undisturbed, expected, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "out")
    (folder / "parts" / "part-0000001.npy.sha256").unlink()
    (folder / "quarantine" / "part-0000001.begun").write_text("...")  # what three runs that died there leave
    report = run(toy_model_file, stars, folder, resume=True, **OPTIONS)
    assert report.quarantined == {1: "3 processes died while they computed it"}
    assert run(toy_model_file, stars, folder, resume=True, **OPTIONS).complete and catalogue(folder) == expected
    assert not list((folder / "quarantine").iterdir())


def test_strict(toy_model_file, stars, tmp_path):
    with pytest.raises(SurveyError, match="star-005"):
        run(toy_model_file, stars, tmp_path / "out", strict=True, **OPTIONS)


def test_a_full_disk_ends_the_run_and_not_the_data(toy_model_file, stars, expected, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    fsync = os.fsync

    def full(descriptor):
        if "part-0000001" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SurveyError, match=r"part-0000001.npy: cannot be written \(No space left on device\)"):
            run(toy_model_file, stars, folder, **OPTIONS)
    assert not list(folder.glob("parts/.*"))
    assert run(toy_model_file, stars, folder, resume=True, **OPTIONS).n_before == 16
    assert catalogue(folder) == expected


def test_several_files_and_numbers_as_names(toy_model_file, stars, tmp_path):
    spectra = Spectra.read(stars)
    spectra[:20].write(tmp_path / "a.h5")
    Spectra(
        spectra.wavelength, spectra.flux[20:], error=spectra.error[20:], mask=spectra.mask[20:], medium="air"
    ).write(tmp_path / "b.h5")
    run(toy_model_file, [tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "out", **OPTIONS)
    merge(tmp_path / "out", tmp_path / "c.fits")
    assert list(Table.read(tmp_path / "c.fits")["id"][[0, 19, 20, 36]]) == ["star-000", "star-019", "0", "16"]


def test_samples_are_kept_on_request(toy_model, toy_model_file, stars, expected, tmp_path):
    folder = tmp_path / "out"
    run(toy_model_file, stars, folder, keep_samples=True, **OPTIONS)
    assert catalogue(folder) == expected
    samples = np.load(folder / "parts" / "samples-0000001.npy", mmap_mode="r")
    assert samples.shape == (16, 200, 3)
    spectra = Spectra.read(stars)[16:24]
    posterior = kcinn.predict(toy_model, spectra, n_samples=200, seed=3, first=16, batch_size=8)
    np.testing.assert_array_equal(samples[:8], posterior.samples)
    (folder / "parts" / "samples-0000001.npy").write_bytes(b"broken")
    (folder / "parts" / "samples-0000000.npy.sha256").write_bytes(b"\xff\xfe")
    assert {"samples-0000000.npy", "samples-0000001.npy"} <= set(re.findall(r"samples-\d+.npy", str(verify(folder))))
    assert run(toy_model_file, stars, folder, keep_samples=True, resume=True, **OPTIONS).n_computed == 32
    assert np.load(folder / "parts" / "samples-0000001.npy").shape == (16, 200, 3) and verify(folder).complete


def test_bad_input_is_refused_before_anything_is_made(toy_model_file, stars, tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        run(tmp_path / "none.keras", stars, tmp_path / "out")
    with pytest.raises(SpectraError, match=r"none\.h5"):
        run(toy_model_file, tmp_path / "none.h5", tmp_path / "out")
    for options, match in (
        ({"shard": "4/3"}, "i/n"),
        ({"engine": "dask"}, "local, ray"),
        ({"shard_size": 33}, "multiple of batch_size"),
    ):
        with pytest.raises(SurveyError, match=match):
            run(toy_model_file, stars, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_spectra_of_another_instrument_are_refused(toy_model_file, tmp_path):
    wavelength = np.linspace(7000.0, 7100.0, 50)
    Spectra(wavelength, np.ones((3, 50)), error=0.01, medium="air").write(tmp_path / "far.h5")
    with pytest.raises(SpectraError, match=r"far\.h5.*no good pixel"):
        run(toy_model_file, tmp_path / "far.h5", tmp_path / "out", **OPTIONS)


def test_summaries_made_on_a_device_are_the_same(toy_model_file, stars, undisturbed, tmp_path, monkeypatch):
    from kcinn.survey import summariser

    monkeypatch.setattr(summariser, "on_accelerator", lambda: True)
    summariser._loaded.cache_clear()
    run(toy_model_file, stars, tmp_path / "out", **OPTIONS)
    merge(tmp_path / "out", tmp_path / "catalogue.fits")
    device, host = (Table.read(folder / "catalogue.fits").as_array() for folder in (tmp_path, undisturbed.parent))
    summariser._loaded.cache_clear()
    beside = []
    for name in host.dtype.names:
        if name.startswith("cov"):
            atol = 1e-3 * np.nanmax(np.abs(host[name]))
            np.testing.assert_allclose(device[name], host[name], atol=atol)
        elif name.endswith("_map"):  # found among points
            scatter, usable = host[f"e_{name.removesuffix('_map')}"], np.isfinite(host[name])
            distance = np.abs(device[name] - host[name])[usable] / scatter[usable]
            np.testing.assert_array_less(distance, 1.0, err_msg=name)
            np.testing.assert_array_equal(np.isfinite(device[name]), usable)
            beside.append(distance < 1.1 * 2 * marginals.REACH / (marginals.POINTS - 1))
        elif host.dtype[name].kind == "f":
            np.testing.assert_allclose(device[name], host[name], rtol=1e-4, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(device[name], host[name])
    # rounding decides between two points beside each other; the last bit of one of 200 samples may put it into another
    # bin, which moves the maximum by more where the density is flat: in 3 of 1000 draws from normals
    assert np.mean(beside) > 0.96


def test_raw_spectra_are_normalised_as_predict_does(toy_model_file, toy_model, tmp_path):
    spectra = Spectra.read(pack_stars(tmp_path / "normalised.h5", n=12, bad=False))
    counts = 3e3 * (1.0 + 0.004 * (spectra.wavelength % 100.0))
    ids = list(spectra.ids)
    raw = Spectra(spectra.wavelength, spectra.flux * counts, error=spectra.error * counts, ids=ids, medium="air")
    raw.write(tmp_path / "raw.h5")
    run(toy_model_file, tmp_path / "raw.h5", tmp_path / "out", normalise=True, **OPTIONS)
    merge(tmp_path / "out", tmp_path / "catalogue.fits")
    table = Table.read(tmp_path / "catalogue.fits")
    arguments = {"n_samples": 200, "seed": 3, "batch_size": 8, "normalise": True}
    summary = kcinn.predict(toy_model, Spectra.read(tmp_path / "raw.h5"), **arguments).summary()
    for name in ("teff", "e_teff", "fe_h", "chi_square", "snr", "flag"):
        np.testing.assert_allclose(table[name], getattr(summary[name], "value", summary[name]), rtol=1e-6)
