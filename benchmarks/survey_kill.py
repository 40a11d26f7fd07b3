"""Kill a survey run at random moments, resume it, and compare the catalogue with that of an undisturbed run.

    python benchmarks/survey_kill.py MODEL SPECTRA.h5 [--kills 20] [--n-samples 512] [--folder /tmp/survey-kill]

Every round starts ``kcinn survey --resume`` and kills it with SIGKILL a random time after its first part; in the end it
is left alone, and the two catalogues are compared bit for bit.
"""

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def kcinn(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "kcinn", *map(str, arguments)], stdout=subprocess.DEVNULL, **options)


def n_parts(folder):
    return len(list(folder.glob("parts/*.sha256")))


def catalogue(folder):
    """SHA-256 of the catalogue of a run."""
    kcinn("merge", folder, "-o", folder.with_suffix(".fits"), "--quiet").wait()
    return hashlib.sha256(folder.with_suffix(".fits").read_bytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("spectra")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--n-samples", type=int, default=512)
    parser.add_argument("--shard-size", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/survey-kill"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    command = ["survey", arguments.model, arguments.spectra, "--n-samples", arguments.n_samples, "--quiet"]
    command += ["--shard-size", arguments.shard_size, "--resume", "-o"]

    kcinn(*command, arguments.folder / "undisturbed").wait()
    expected = catalogue(arguments.folder / "undisturbed")
    times = [part.stat().st_mtime for part in (arguments.folder / "undisturbed" / "parts").iterdir()]
    seconds = max(times) - min(times)

    rng, killed, n_done = random.Random(1), 0, []
    folder = arguments.folder / "killed"
    while killed < arguments.kills:
        before = n_parts(folder)
        process = kcinn(*command, folder, stderr=subprocess.DEVNULL)
        while process.poll() is None and n_parts(folder) == before:  # it loads and compiles
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.3) * seconds)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        n_done.append(n_parts(folder))
        if process.returncode == 0:  # it finished before its time: begin again
            if catalogue(folder) != expected:
                sys.exit("a resumed run gave another catalogue")
            shutil.rmtree(folder)
    kcinn(*command, folder).wait()
    same = catalogue(folder) == expected
    leftovers = [path for path in folder.rglob("*") if ".partial" in path.name]
    print(f"killed {killed} times, with {n_done} parts done; catalogue identical: {same}; left over: {leftovers}")
    sys.exit(not same or bool(leftovers))


if __name__ == "__main__":
    main()
