"""The commands pack, survey, merge and verify, with the exit status that a job script looks at."""

import numpy as np
import toy
from click.testing import CliRunner
from survey_toy import N

from kcinn.cli import main
from kcinn.errors import SpectraError
from kcinn.survey.spectra_file import SpectraFile

OPTIONS = ["--n-samples", 200, "--seed", 3, "--batch-size", 8, "--shard-size", 16, "--quiet"]


def kcinn(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_from_files_to_catalogue(toy_model_file, tmp_path):
    flux, error, _ = toy.observed(np.array([[5500.0, -0.5, 0.1]]), 150.0)
    np.savetxt(tmp_path / "star.txt", np.column_stack([toy.INSTRUMENT.wavelength, flux[0], error[0]]))
    (tmp_path / "empty.txt").touch()
    packing = ["pack", tmp_path / "star.txt", tmp_path / "empty.txt", "-o", tmp_path / "s.h5", "--quiet"]
    done = kcinn(*packing, "--medium", "air", "--processes", 1)
    assert done.exit_code == 0 and "2 spectra, 1 of them refused" in done.output
    assert f"refused: {tmp_path}/empty.txt: the file is empty" in done.stderr
    assert kcinn("survey", toy_model_file, tmp_path / "s.h5", "-o", tmp_path / "out", *OPTIONS).exit_code == 0
    assert "1 of them unusable" in kcinn("verify", tmp_path / "out").output
    done = kcinn("merge", tmp_path / "out", "-o", tmp_path / "c.fits")
    assert done.exit_code == 0 and "2 rows" in done.output


def test_exit_status_of_what_went_wrong(toy_model_file, stars, tmp_path, monkeypatch):
    done = kcinn("survey", toy_model_file, stars, "-o", tmp_path, *OPTIONS, "--shard", "5/2")
    assert done.exit_code == 2 and done.stderr.startswith("kcinn: ")

    def broken(*_):
        raise SpectraError("bad sector")

    with monkeypatch.context() as patch:
        patch.setattr(SpectraFile, "ids", broken)
        assert kcinn("survey", toy_model_file, stars, "-o", tmp_path / "none", *OPTIONS).exit_code == 2
    rows = SpectraFile.rows
    with monkeypatch.context() as patch:
        patch.setattr(SpectraFile, "rows", lambda self, a, b: broken() if a == 32 else rows(self, a, b))
        done = kcinn("survey", toy_model_file, stars, "-o", tmp_path / "out", *OPTIONS)
    assert done.exit_code == 1 and "quarantined shard 2: SpectraError: bad sector" in done.output
    assert kcinn("verify", tmp_path / "out").exit_code == 1
    assert kcinn("merge", tmp_path / "out", "-o", tmp_path / "c.fits").exit_code == 2
    assert kcinn("survey", toy_model_file, stars, "-o", tmp_path / "out", *OPTIONS).exit_code == 2  # without --resume
    assert kcinn("survey", toy_model_file, stars, "-o", tmp_path / "out", *OPTIONS, "--resume").exit_code == 0
    done = kcinn("verify", tmp_path / "out")
    assert done.exit_code == 0 and f"{N} of {N} spectra are done" in done.output
