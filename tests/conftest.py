"""How the tests share two cores: a worker for each, and what takes long is made once for both."""

import contextlib
import ctypes
import fcntl
import os

import pytest

# before TensorFlow is imported: a worker keeps to its core, and sums have the same order on every machine
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

# each goes to one worker as a whole, so the longest come first, and early those that start large processes, while the
# workers are small
LONGEST = [
    "test_trust",
    "test_backends",
    "test_cli",
    "test_run",
    "test_training",
    "test_any_backend",
    "test_demo",
    "test_commands",
]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True, scope="module")
def memory_given_back():
    """What compiling leaves behind is free, but the C library keeps hundreds of megabytes of it."""
    yield
    with contextlib.suppress(AttributeError):  # a C library other than GNU's
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def made_once(request, tmp_path_factory):
    """``made_once(name, make)``: a path at which the first worker that asks has called ``make(path)``."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent

    def path_of(name, make):
        path = folder / name
        with open(folder / f"{name}.made", "a") as made:
            fcntl.flock(made, fcntl.LOCK_EX)
            if os.fstat(made.fileno()).st_size == 0:  # asked under the lock
                make(path)
                made.write("yes")
        return path

    return path_of


@pytest.fixture(scope="session")
def toy_model_file(made_once):
    """A model trained on the toy world."""

    def train(path):
        import toy

        from kcinn.training import fit

        options = {"observation": toy.OBSERVATION, "config": toy.CONFIG, "epochs": 25, "batch_size": 256, "verbose": 0}
        fit(toy.grid(), **options).save(path)

    return made_once("toy.keras", train)


@pytest.fixture(scope="session")
def toy_model(toy_model_file):
    """The same model for all tests of a worker, so that each of its functions is compiled once there."""
    import kcinn

    return kcinn.load(toy_model_file)
