"""Write ``gap.npz``: how far spectra of the engine are from those of the Sun and Arcturus, pixel by pixel.

    python tools/build_gap.py SUN[=R] ... --arcturus FILE[=R] ... [-o kcinn/synthesis/nlte/data/gap.npz]

Each FILE is an observed spectrum, at rest, of resolving power R, higher than that of 4MOST HRS. The engine
computes the star with its reference labels: Arcturus after Ramirez & Allende Prieto (2011), ApJ 743, 135. What remains
after a robust cubic per arm is the gap: the local rms over five pixels, the larger of what the two stars show. Where
no star was observed it is the median of its window. Oscillator strengths are solar for Arcturus; for the Sun, to which
they were fitted, they are as listed, else the gap would be too small for every other star. Printed beside is how many
resolution elements err together (`kcinn.synthesis.gap.TOGETHER`): one plus twice the sum of the autocorrelation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d

import kcinn
from kcinn.broaden import degrade, match
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.nlte.departures import available
from kcinn.synthesis.nlte.lines import LOG_GF, WINDOWS
from kcinn.synthesis.nlte.unreliable import UNRELIABLE_WINDOWS

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
INSTRUMENT = "4most-hrs"
RESOLVING_POWER = 80000.0  # of spectra for which none is given
SUN = {"teff": 5772.0, "logg": 4.44, "fe_h": 0.0, "vmic": 1.0}
ARCTURUS = {
    "teff": 4286.0, "logg": 1.66, "fe_h": -0.52, "vmic": 1.74, "li_fe": -1.0, "c_fe": 0.43, "o_fe": 0.50, "na_fe": 0.11,
    "mg_fe": 0.37, "al_fe": 0.34, "si_fe": 0.33, "k_fe": 0.20, "ca_fe": 0.11, "sc_fe": 0.15, "ti_fe": 0.27,
    "v_fe": 0.20, "cr_fe": -0.05, "mn_fe": -0.21, "co_fe": 0.09, "ni_fe": 0.06, "zn_fe": 0.22,
}  # fmt: skip
MACROTURBULENCE = {"Sun": 3.5, "Arcturus": 5.6}  # km/s, rotation included
STEP = 0.03  # angstrom
SMOOTH = 5  # pixels
SMALLEST = 0.003
LARGEST = 0.3
SHOWN = {  # angstrom
    "Sun": ((4225.0, 4275.0), (5170.0, 5220.0), (5580.0, 5630.0), (6140.0, 6190.0), (6540.0, 6590.0)),
    "Arcturus": ((5680.0, 5730.0), (6480.0, 6530.0), (6540.0, 6590.0), (6640.0, 6690.0)),
}


def observed(file: str, instrument: Instrument) -> Spectra:
    """The spectrum ``FILE[=R]`` on the instrument's pixels."""
    path, _, power = file.partition("=")
    spectra = kcinn.read(path, medium="air", checksum=False)
    spectra = Spectra(spectra.wavelength, spectra.flux, mask=spectra.mask, medium="air").with_estimated_error()
    return match(spectra, instrument, resolving_power=float(power or RESOLVING_POWER))


def synthesised(labels: dict[str, float], vmac: float, log_gf: str, instrument: Instrument) -> np.ndarray:
    """Synthetic flux on the instrument's pixels."""
    windows = [(max(a, lower), min(b, upper)) for a, b in instrument.windows() for lower, upper in WINDOWS
               if a < upper and b > lower]  # fmt: skip
    wavelength, flux = NLTEEngine(available(), log_gf=log_gf).spectrum(labels, windows=windows, step=STEP)
    whole = np.concatenate([np.arange(a, b, STEP) for a, b in instrument.windows()])
    return degrade(whole, np.interp(whole, wavelength, flux), instrument, vsini=0.0, vmac=vmac)


def compared(spectra: Spectra, synthetic: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Observed minus synthetic flux, NaN where there is none."""
    difference = np.where(spectra.mask[0], np.nan, spectra.flux[0] - synthetic)
    difference[instrument.telluric_mask] = np.nan
    for arm in instrument.arm_slices:
        good = np.isfinite(difference[arm])
        if good.sum() < 100:
            difference[arm] = np.nan
            continue
        powers = np.vander(np.linspace(-1.0, 1.0, len(good)), 4)
        columns = powers * synthetic[arm][:, None]
        # spectra come in any unit, HARPS at half of its continuum: the difference is to be in units of the star's own
        level = np.percentile(spectra.flux[0, arm][good], 95.0) / np.percentile(synthetic[arm][good], 95.0)
        difference[arm] = (difference[arm] + synthetic[arm]) / level - synthetic[arm]
        weight = good.astype(float)
        for _ in range(8):  # robust: lines that are wrong do not bend the continuum
            part = np.linalg.lstsq(columns[good] * weight[good, None], (difference[arm] * weight)[good], rcond=None)[0]
            left = difference[arm] - columns @ part
            weight = np.where(good, 1.0 / (1.0 + (left / 0.01) ** 2), 0.0)
        difference[arm] = left / (1.0 + powers @ part)
    return difference


def agreement(difference: np.ndarray, instrument: Instrument) -> str:
    """Rms difference in every window of the line list, of all pixels and of those where the engine may be right."""
    text, wavelength = [], instrument.wavelength
    wrong = np.any([(wavelength > lower) & (wavelength < upper) for lower, upper, _ in UNRELIABLE_WINDOWS], axis=0)
    for lower, upper in WINDOWS:
        seen = (wavelength > lower) & (wavelength < upper) & np.isfinite(difference)
        if seen.any():
            every, usable = (np.sqrt(np.mean(difference[which] ** 2)) for which in (seen, seen & ~wrong))
            text.append(f"{lower:.0f}-{upper:.0f}: rms {every:.4f}, without unreliable windows {usable:.4f}")
    return "; ".join(text)


def local_rms(values: np.ndarray) -> np.ndarray:
    """Rms over `SMOOTH` pixels, NaN where most are missing."""
    good = np.isfinite(values)
    share = uniform_filter1d(good.astype(float), SMOOTH)
    square = uniform_filter1d(np.where(good, values, 0.0) ** 2, SMOOTH)
    return np.where(share > 0.5, np.sqrt(np.maximum(square, 0.0) / np.maximum(share, 0.5)), np.nan)


def together(difference: np.ndarray, size: np.ndarray, instrument: Instrument) -> str:
    """Resolution elements that err together, of every arm."""
    found = []
    for arm in instrument.arm_slices:
        pull, wavelength = (difference / size)[arm], instrument.wavelength[arm]
        if np.isfinite(pull).sum() < 100:
            continue
        pull = np.clip(pull, *(4.0 * np.nanstd(pull) * np.array([-1.0, 1.0])))
        lags = [np.nanmean(pull[k:] * pull[: len(pull) - k]) for k in range(SMOOTH + 1)]
        pixels = 1.0 + 2.0 * np.sum(lags[1:]) / lags[0]
        element = wavelength / (instrument.resolving_power(wavelength) * instrument.pixel_width[arm])
        found.append(f"{pixels / np.median(element):.1f}")
    return " ".join(found)


def draw(instrument: Instrument, shown: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Observed and synthetic flux, and their difference, in some windows."""
    rows = [(star, window) for star in shown for window in SHOWN[star]]
    figure = Figure(figsize=(11, 1.9 * len(rows)), layout="constrained")
    for axis, (star, (lower, upper)) in zip(np.atleast_1d(figure.subplots(len(rows))), rows, strict=True):
        near = (instrument.wavelength > lower) & (instrument.wavelength < upper)
        wavelength, (synthetic, difference) = instrument.wavelength[near], (x[near] for x in shown[star])
        axis.plot(wavelength, synthetic + difference, "k", linewidth=0.9, label="observed")
        axis.plot(wavelength, synthetic, color="#d1662c", linewidth=0.9, label="engine")
        axis.plot(wavelength, difference, color="#2b6ca3", linewidth=0.7, label="observed - engine")
        axis.set(xlim=(lower, upper), ylim=(-0.15, 1.08), ylabel="flux")
        axis.text(0.01, 0.25, star, transform=axis.transAxes)
    figure.axes[0].legend(ncols=3, fontsize=8, loc="lower right", frameon=False, bbox_to_anchor=(1.0, 0.15))
    figure.axes[-1].set_xlabel(r"wavelength in air [$\AA$]")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sun", nargs="+")
    parser.add_argument("--arcturus", nargs="+", required=True)
    parser.add_argument("-o", "--output", type=Path, default=DATA / "gap.npz")
    parser.add_argument("--plot", type=Path, help="PNG of both stars in some windows")
    options = parser.parse_args()
    instrument = Instrument.load(INSTRUMENT)
    sizes, shown = [], {}
    for star, labels, paths in (("Sun", SUN, options.sun), ("Arcturus", ARCTURUS, options.arcturus)):
        spectra, differences = [observed(path, instrument) for path in paths], {}
        for log_gf in LOG_GF:  # solar last, which is shown
            synthetic = synthesised(labels, MACROTURBULENCE[star], log_gf, instrument)
            differences[log_gf] = [compared(each, synthetic, instrument) for each in spectra]
            for path, difference in zip(paths, differences[log_gf], strict=True):
                print(f"{star}, {Path(path).name}, {log_gf} log gf: {agreement(difference, instrument)}")
        honest = differences["solar" if star == "Arcturus" else "listed"]
        sizes.append(np.nanmedian([local_rms(difference) for difference in honest], axis=0))
        for path, difference in zip(paths, honest, strict=True):
            print(f"{star}, {Path(path).name}: {together(difference, sizes[-1], instrument)} elements err together")
        shown[star] = synthetic, np.nanmedian(differences["solar"], axis=0)
        print(f"{star}: median gap {np.nanmedian(sizes[-1]):.4f} on {np.isfinite(sizes[-1]).sum()} pixels")
    gap = np.nanmax(sizes, axis=0)
    for arm in instrument.arm_slices:
        part = gap[arm]
        part[np.isnan(part)] = np.nanmedian(part)
        print(
            f"arm {instrument.wavelength[arm][0]:.0f}: median {np.median(part):.4f}, 90 % {np.quantile(part, 0.9):.3f}"
        )
    if options.plot:
        draw(instrument, shown, options.plot)
    np.savez_compressed(
        options.output,
        wavelength=instrument.wavelength.astype(np.float32),
        gap=np.clip(gap, SMALLEST, LARGEST).astype(np.float16),
    )


if __name__ == "__main__":
    main()
