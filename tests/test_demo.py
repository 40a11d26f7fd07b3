"""The demo, on the toy world: everything that it promises is there and agrees."""

import dataclasses
import json

import numpy as np
import toy
from astropy.table import Table

from kcinn.demo import SNR, demo, table
from kcinn.spectra import Spectra


def test_demo(tmp_path):
    flux, error, _ = toy.observed(np.array([[5500.0, -0.5, 0.1]]), 150.0)
    own = Spectra(toy.INSTRUMENT.wavelength, flux, error=error, medium="air")
    config = dataclasses.replace(toy.CONFIG, emulator_steps=1500, draws=4096)
    report = demo(tmp_path, grid=toy.grid(800), spectra=[("mine", own)], config=config, epochs=8, verbose=0)
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    assert pictures == {"recovery", "residual-snr", "coverage", "corner", "spectrum", "loss", "corner-mine"}
    assert all(path.stat().st_size > 5000 for path in tmp_path.glob("*.png"))
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["test_spectra"] == len(Table.read(tmp_path / "catalogue.fits")) == 80
    rms = [report["labels"]["teff"][f"{snr:g}"]["rms"] for snr in SNR]
    assert rms[0] > 2.0 * rms[-1]
    assert abs(report["user_spectra"]["mine"]["teff"] - 5500.0) < 200.0
    text = table(report)
    assert "teff" in text and "mine" in text


def test_plots_show_what_they_are_given():
    from kcinn import plot
    from kcinn.posterior import Posterior

    rng = np.random.default_rng(0)
    truth = toy.grid(50).labels
    sigma = np.array([50.0, 0.1, 0.05])
    samples = (truth + sigma * rng.normal(size=truth.shape))[:, None, :] + sigma * rng.normal(size=(50, 200, 3))
    posterior = Posterior(samples, toy.SPACE)
    panels = plot.recovery(posterior, truth).axes
    assert [axis.get_title() for axis in panels[:3]] == [f"${x.latex}$" + (" [K]" * (x.unit == "K")) for x in toy.SPACE]
    curves = plot.calibration(samples, truth, toy.SPACE).axes[0].get_lines()[1:]
    assert len(curves) == 3 and all(np.abs(curve.get_ydata()).max() < 0.25 for curve in curves)
    assert len(plot.corner(posterior, 3, truth=truth[3]).axes) == 9
    (single,) = plot.corner(posterior, 3, truth=truth[3], labels=["fe_h"]).axes
    assert any(np.allclose(line.get_xdata(), truth[3, 1]) for line in single.get_lines())
    top, _ = plot.spectrum(toy.INSTRUMENT.wavelength, np.ones(512), np.ones((4, 512)), windows=[]).axes
    assert top.get_xlim() == (toy.INSTRUMENT.wavelength[0], toy.INSTRUMENT.wavelength[-1])
