"""Mutated files of every kind: the benchmark, in small."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "survey_fuzz.py"


def test_mutated_files_are_refused_or_harmless():
    command = [sys.executable, SCRIPT, "--n", "500", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
