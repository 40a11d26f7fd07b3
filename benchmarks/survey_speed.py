"""Spectra per second, peak memory and share of time outside the compiled step of a survey run.

    python benchmarks/survey_speed.py MODEL [--sizes 2000 8000] [--n-samples 4096] [--folder /tmp/survey-speed]

Noisy spectra of the model's own emulator are written to HDF5 piece by piece; every size runs in its own process.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

BLOCK = 512


def make(model, path, n):
    """Write `n` noisy spectra of stars all over the label box."""
    from kcinn.survey.spectra_writer import SpectraWriter

    rng = np.random.default_rng(0)
    space, instrument = model.full_space, model.instrument
    with SpectraWriter(path, instrument.wavelength, instrument.medium) as writer:
        for start in range(0, n, BLOCK):
            rows = min(BLOCK, n - start)
            labels = space.lower + (space.upper - space.lower) * rng.uniform(0.05, 0.95, (rows, len(space)))
            phi = space.to_unbounded(labels).astype("f4")
            flux = np.asarray(model.emulator.flux(model.emulator(phi)))
            snr = rng.uniform(50.0, 300.0, (rows, 1))
            error = np.broadcast_to(1.0 / (snr * np.sqrt(instrument.pixel_width)), flux.shape)
            noisy = flux + error * rng.standard_normal(flux.shape)
            names = [f"star-{start + k:08d}" for k in range(rows)]
            writer.append(names, noisy, error, np.zeros(flux.shape, bool))
        writer.finish()


RUN = """
import json, resource, sys
from kcinn.survey import run
report = run(sys.argv[1], sys.argv[2], sys.argv[3], **json.loads(sys.argv[4]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([report.n_computed, report.seconds, report.compute_seconds, report.start_seconds, peak]))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 8000])
    parser.add_argument("--n-samples", type=int, default=4096)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/survey-speed"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    print("spectra | spectra/s | outside the compiled step | peak memory, GiB | seconds to the first batch")
    for n in arguments.sizes:
        path = arguments.folder / f"{n}.h5"
        code = "import sys; sys.path.insert(0, sys.argv[1]); import survey_speed, kcinn; from pathlib import Path\n"
        code += "survey_speed.make(kcinn.load(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))"
        here = str(Path(__file__).parent)
        subprocess.run([sys.executable, "-c", code, here, arguments.model, str(path), str(n)], check=True)
        options = json.dumps({"n_samples": arguments.n_samples})
        command = [sys.executable, "-c", RUN, arguments.model, str(path), str(arguments.folder / f"out-{n}"), options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        n_done, seconds, compute, first, peak = json.loads(done.stdout.splitlines()[-1])
        busy = seconds - first
        print(f"{n_done} | {n_done / busy:.1f} | {1 - compute / busy:.1%} | {peak:.2f} | {first:.1f}", flush=True)
        path.unlink()


if __name__ == "__main__":
    main()
