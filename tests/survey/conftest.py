import numpy as np
import pytest
import toy

from kcinn.spectra import Spectra
from kcinn.survey import merge, run

N = 37
BAD = [5, 11]  # all NaN, and not normalised
OPTIONS = {"n_samples": 200, "seed": 3, "batch_size": 8, "shard_size": 16}


def pack_stars(path, n=N, bad=True):
    """A packed file of toy stars, some of which cannot be used."""
    rng = np.random.default_rng(3)
    labels = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * rng.uniform(0.1, 0.9, (n, 3))
    flux, error, mask = toy.observed(labels, 120.0, seed=4)
    if bad:
        flux[BAD[0]], flux[BAD[1]] = np.nan, 3e4 * flux[BAD[1]]
        flux[20, 30:60], error[21, ::7] = np.inf, 0.0
    ids = [f"star-{number:03d}" for number in range(n)]
    Spectra(toy.INSTRUMENT.wavelength, flux, error=error, mask=mask, ids=ids, medium="air").write(path)
    return path


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
