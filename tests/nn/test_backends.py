"""The contract, the golden flows, the golden model and a training on the other backends: a process for each, as Keras
chooses its backend at import."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).parent
FILES = [
    FOLDER.parent / "test_golden_model.py",
    FOLDER.parent / "test_any_backend.py",
    *(FOLDER / name for name in ("test_contract.py", "test_base.py", "test_golden.py", "test_emulator_networks.py")),
]


@pytest.mark.parametrize(
    "backend", [name for name in ("tensorflow", "jax", "torch") if name != keras.backend.backend()]
)
def test_contract_holds_on(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    whole_flows = "not step and not layer and not one-label and not integrates and not samples"  # for the time it takes
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", whole_flows, *FILES]
    quick_to_compile = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": quick_to_compile}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
