"""Encoders side by side on the shipped grid: same stars for training and test.

    python benchmarks/encoders.py --epochs fisher=80 dense=12 paper=8 [--json FILE] [--keep FOLDER]

Every encoder is a whole `kcinn demo`, emulator included, with the settings of its preset; `paper` is `Config.paper()`.
Choose epochs such that each takes a like time, which is printed. With --keep the demos' folders stay, for `stages.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from kcinn.config import Config
from kcinn.demo import SNR, demo

SHOWN = ("teff", "logg", "fe_h", "mg_fe", "ca_fe")


def row(encoder: str, report: dict[str, Any], snr: float) -> str:
    """One line of the table: rms of some labels, and the share of truths in the 68 % interval of all."""
    at = {name: label[f"{snr:g}"] for name, label in report["labels"].items()}
    held = [100.0 * label["coverage68"] for label in at.values()]
    numbers = " | ".join(f"{at[name]['rms']:.3g}" for name in SHOWN)
    return f"| {encoder} | {snr:g} | {numbers} | {np.mean(held):.0f} ({min(held):.0f} to {max(held):.0f}) |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", nargs="+", required=True, metavar="ENCODER=N")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    reports = {}
    for encoder, epochs in (pair.split("=") for pair in options.epochs):
        config = Config.paper() if encoder == "paper" else Config.preset(encoder)
        with tempfile.TemporaryDirectory() as folder:
            output = options.keep / encoder if options.keep else Path(folder)
            report = demo(output, config=config, epochs=int(epochs), verbose=0)
        reports[encoder] = report
        print(f"{encoder}: {report['seconds']['train']:.0f} s, log density {report['training']['log_density']:.2f}")
        print("\n".join(row(encoder, report, snr) for snr in SNR), flush=True)
        if options.json:
            options.json.write_text(json.dumps(reports, indent=1))


if __name__ == "__main__":
    main()
