"""A toy world that is computed in a moment: two arms, three labels, Gaussian lines."""

import numpy as np

from kcinn.config import Config
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Arm, Instrument
from kcinn.labels import Label, LabelSpace
from kcinn.nn.observe import Observation

INSTRUMENT = Instrument(
    "toy",
    [
        Arm("blue", (0.0, 255.0), (5160.0, 5185.5), (20000.0, 20000.0)),
        Arm("red", (0.0, 255.0), (6100.0, 6130.6), (20000.0, 20000.0)),
    ],
    medium="air",
)
SPACE = LabelSpace(
    [
        Label("teff", "K", 4000.0, 7000.0, r"T_{\rm eff}"),
        Label("fe_h", "dex", -2.0, 0.5, r"[{\rm Fe/H}]"),
        Label("mg_fe", "dex", -0.3, 0.6, r"[{\rm Mg/Fe}]"),
    ]
)
CONFIG = Config(
    components=24,
    emulator_width=48,
    emulator_depth=2,
    emulator_steps=3000,
    emulator_batch=128,
    draws=6144,
    depth=3,
    width=32,
)
OBSERVATION = Observation(snr=(30.0, 300.0))


def flux(labels):
    """Noiseless spectra of label rows ``(n, 3)``: thirty lines that saturate, each with its own sensitivity."""
    rng = np.random.default_rng(5)
    wavelength = INSTRUMENT.wavelength
    centre = rng.choice(wavelength, 30, replace=False)
    slope = rng.normal(size=(30, 3)) * [0.8, 1.0, 1.0]
    slope[:, 2] *= rng.random(30) < 0.4
    unit = (np.asarray(labels) - SPACE.lower) / (SPACE.upper - SPACE.lower) - 0.5
    strength = 0.5 * np.exp(1.5 * unit @ slope.T)
    profile = np.exp(-0.5 * ((wavelength - centre[:, None]) / 0.22) ** 2)
    return np.exp(-strength @ profile)


def grid(n=1600, seed=0):
    labels = SPACE.lower + (SPACE.upper - SPACE.lower) * np.random.default_rng(seed).random((n, 3))
    return SyntheticGrid(INSTRUMENT, SPACE, labels, flux=flux(labels), metadata={"engine": "toy"})


def observed(labels, snr, seed=0):
    """Noisy spectra of label rows: flux, error, mask."""
    clean = flux(labels)
    error = np.broadcast_to(1.0 / (snr * np.sqrt(INSTRUMENT.pixel_width)), clean.shape)
    noisy = clean + error * np.random.default_rng(seed).normal(size=clean.shape)
    return noisy, np.array(error), np.zeros(clean.shape, dtype=bool)
