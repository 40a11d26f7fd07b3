import pytest
import toy

from kcinn.training import fit


@pytest.fixture(scope="session")
def toy_model():
    """A model trained on the toy world, shared by all tests that need one."""
    return fit(toy.grid(), observation=toy.OBSERVATION, config=toy.CONFIG, epochs=25, batch_size=256, verbose=0)


@pytest.fixture(scope="session")
def toy_model_file(toy_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "toy.keras"
    toy_model.save(path)
    return path
