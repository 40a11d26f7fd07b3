import pytest
from survey_toy import OPTIONS, N, pack_stars

from kcinn.survey import merge, run


@pytest.fixture(scope="session")
def stars(made_once):
    return made_once("stars.h5", pack_stars)


@pytest.fixture(scope="session")
def undisturbed(toy_model_file, stars, made_once):
    """Folder of a run that nothing happened to; its catalogue lies beside it."""

    def finish(path):
        report = run(toy_model_file, stars, path / "out", **OPTIONS)
        assert report.complete and report.n_computed == N and report.unusable == ["star-005", "star-011"]
        merge(path / "out", path / "catalogue.fits")

    return made_once("undisturbed", finish) / "out"
