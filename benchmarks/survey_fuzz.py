"""Mutate spectra files of every kind and read them: no crash, no hang, no memory, no silently different data.

    python benchmarks/survey_fuzz.py [--n 20000] [--seed 0]

FITS files carry checksums here, so data that differ must be refused. Text and HDF5 have none and may read as something
else; only what they do to the process is tested.
"""

import argparse
import collections
import io
import random
import re
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from kcinn.errors import SpectrumReadError
from kcinn.spectra import Spectra
from kcinn.survey.readers import read

N = 600
WAVELENGTH = 5200.0 + 0.1 * np.arange(N)
FLUX = 1.0 - 0.3 * np.exp(-0.5 * ((WAVELENGTH - 5230.0) / 0.3) ** 2)
SECONDS = 5.0
MEMORY = 2**30


def originals():
    """One file of every kind, as bytes."""
    vectors = [fits.Column(n, f"{N}D", u, array=[a]) for n, u, a in (
        ("WAVE", "angstrom", WAVELENGTH), ("FLUX", "", FLUX), ("ERR_FLUX", "", np.full(N, 0.01)))]  # fmt: skip
    table = fits.BinTableHDU.from_columns(vectors)
    table.header["TUCD1"] = "em.wl;obs.atmos"
    image = fits.PrimaryHDU(FLUX.astype("f4"))
    image.header.update({"CRVAL1": 5200.0, "CDELT1": 0.1, "CRPIX1": 1.0, "CTYPE1": "AWAV"})
    spectab = fits.BinTableHDU.from_columns([fits.Column("FLUX", f"{N}E", array=[FLUX, FLUX])], name="SPECTAB")
    spectab.header.update({"1CRVL1": 520.0, "1CDLT1": 0.01, "1CUNI1": "nm", "1CTYP1": "AWAV"})
    fibres = [fits.Column("FIB_ST", "J", array=[2, 1]), fits.Column("OBJ_UID", "4A", array=["A", "B"])]
    several = fits.HDUList([fits.PrimaryHDU(), spectab, fits.BinTableHDU.from_columns(fibres, name="FIBMETATAB")])
    found = {}
    for name, hdus in {"table": fits.HDUList([fits.PrimaryHDU(), table]), "image": image, "4most": several}.items():
        buffer = io.BytesIO()
        hdus.writeto(buffer, checksum=True)
        found[name] = buffer.getvalue()
    found["text"] = "\n".join(f"{w:.3f} {f:.6f} 0.01" for w, f in zip(WAVELENGTH, FLUX, strict=True)).encode()
    with tempfile.TemporaryDirectory() as folder:
        Spectra(WAVELENGTH, FLUX, error=0.01, medium="air").write(Path(folder) / "a.h5")
        found["hdf5"] = (Path(folder) / "a.h5").read_bytes()
    return found


def mutated(content, rng):
    """A copy with bytes changed, cut off, repeated, or digits of the first headers changed."""
    data = bytearray(content)
    kind = rng.choice(["byte", "bytes", "cut", "repeat", "digits", "shift"])
    if kind == "byte":
        data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "bytes":
        for _ in range(rng.randrange(1, 50)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind == "repeat":
        start = rng.randrange(len(data))
        data[start:start] = data[start : start + rng.randrange(1, 6000)]
    elif kind == "digits":
        places = [i for i in range(min(len(data), 12000)) if 48 <= data[i] <= 57]
        for i in rng.sample(places, min(len(places), rng.randrange(1, 6))):
            data[i] = 48 + rng.randrange(10)
    else:  # not words that change places: the checksum of FITS is a sum and does not see that
        data.append(data.pop(rng.randrange(len(data))))
    return bytes(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, files = random.Random(options.seed), originals()
    counts = {name: collections.Counter() for name in files}

    def hang(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, hang)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated"
        for number in range(options.n):
            name = list(files)[number % len(files)]
            path.write_bytes(mutated(files[name], rng))
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                spectra = read(path, medium="air")
                same = spectra.flux.shape == (1, N) and np.allclose(spectra.flux[0], FLUX, atol=1e-5)
                counts[name]["read, the same" if same else "read, different"] += 1
            except SpectrumReadError:
                counts[name]["refused"] += 1
            except TimeoutError:
                counts[name]["HANG"] += 1
            except BaseException as error:
                counts[name][f"CRASH {type(error).__name__}: {error}"] += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    for name, count in counts.items():
        print(f"{name}: {dict(count)}")
    # not ru_maxrss, which a process inherits from the one that started it
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    print(f"peak memory {peak / 2**20:.0f} MiB")
    bad = [key for count in counts.values() for key in count if key.startswith(("HANG", "CRASH"))]
    silent = sum(counts[name]["read, different"] for name in ("table", "image", "4most"))
    sys.exit(bool(bad) or silent > 0 or peak > MEMORY)


if __name__ == "__main__":
    main()
