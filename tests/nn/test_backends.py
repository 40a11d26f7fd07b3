"""The contract and the golden files on the other backends: a process for each, as Keras chooses it at import."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest


@pytest.mark.parametrize(
    "backend", [name for name in ("tensorflow", "jax", "torch") if name != keras.backend.backend()]
)
def test_contract_holds_on(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    files = [str(Path(__file__).parent / name) for name in ("test_contract.py", "test_base.py", "test_golden.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    run = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
