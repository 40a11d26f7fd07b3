import pytest
from survey_toy import OPTIONS, N, pack_stars

from kcinn.survey import merge, run


@pytest.fixture(scope="session")
def stars(tmp_path_factory):
    return pack_stars(tmp_path_factory.mktemp("stars") / "stars.h5")


@pytest.fixture(scope="session")
def undisturbed(toy_model_file, stars, tmp_path_factory):
    """Folder of a run that nothing happened to; its catalogue lies beside it."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    report = run(toy_model_file, stars, folder, **OPTIONS)
    assert report.complete and report.n_computed == N and report.unusable == ["star-005", "star-011"]
    merge(folder, folder.parent / "catalogue.fits")
    return folder
