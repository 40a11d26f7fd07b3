"""Job: one spectrum in a folder of its own; writes what Turbospectrum's programs read, and checks what they write."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kcinn.errors import KcinnError
from kcinn.synthesis.nlte.atmosphere import Atmosphere
from kcinn.synthesis.nlte.constants import BOLTZMANN
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER
from kcinn.synthesis.turbospectrum.departure import Departure

ABUNDANCE_LINE = 8  # of a file of departure coefficients, counted from 0
OPACITY_MARGIN = 5.0  # angstrom
LOG_TAIL = 6  # lines of a failed program's log that its error shows
BACKTRACE = ("#", "\tat ", "Error termination")  # what Fortran adds to its error
NO_LEVELS = "missing level identification"  # what bsyn writes before it falls back to LTE


class Job:
    """A folder in which Turbospectrum computes one star.

    Parameters
    ----------
    folder : Path
        Empty; file names inside it are short, as Turbospectrum cuts long ones.
    data : Path
        Turbospectrum's DATA.
    labels : mapping of str to float
        `teff`, `logg`, `fe_h`, `vmic`.
    abundances : mapping of str to float
        A(X) by symbol, written the same way for every program.
    timeout : float, s
    """

    def __init__(
        self, folder: Path, data: Path, labels: Mapping[str, float], abundances: Mapping[str, float], timeout: float
    ) -> None:
        self.folder, self.labels, self.abundances, self.timeout = folder, labels, abundances, timeout
        self.departures: list[str] = []
        self.spherical = False
        (folder / "DATA").symlink_to(data)

    def write_atmosphere(self, structure: Atmosphere) -> None:
        """Write a plane-parallel model: log tau5000, T, log Pe, log Pg, microturbulence."""
        temperature = structure.plasma.temperature
        electron_pressure = structure.plasma.electrons * BOLTZMANN * temperature
        columns = (structure.log_tau, temperature, np.log10(electron_pressure), np.log10(structure.gas_pressure))
        rows = "".join("{:.5f} {:.3f} {:.5f} {:.5f} 1.0\n".format(*row) for row in zip(*columns, strict=True))
        header = f"'plane' {len(temperature)} 5000. {self.labels['logg']:.4f} 0 0.\n"
        (self.folder / "model").write_text(header + rows)

    def interpolate(self, program: Path, models: Iterable[Path], departures: Mapping[str, Departure]) -> None:
        """Interpolate eight MARCS models, and with them the departure coefficients of every element out of LTE."""
        models = list(models)
        for path in set(models):  # under their own names, by which the index of departures knows them
            (self.folder / path.name).symlink_to(path)
        star = [f"{self.labels['teff']:.2f}", f"{self.labels['logg']:.4f}", f"{self.labels['fe_h']:.4f}"]
        ending = [".false.", ".false.", "'none'"]  # no model to compare with; models are text
        names = [f"'{path.name}'" for path in models] + ["'model'", "'model.alt'"]
        remedy = "Check that the files of `atmospheres` are whole MARCS models."
        if not departures:
            self._run(program, [*names, *star, *ending], "model", remedy)
        for symbol, files in departures.items():
            files.check(models, self.abundances[symbol])
            for kind, path in (("grid", files.grid), ("index", files.index), ("atom", files.atom)):
                (self.folder / f"{kind}.{symbol}").symlink_to(path)
            abundance = f"{self.abundances[symbol]:.4f}"
            tables = [f"'departures.{symbol}'", f"'grid.{symbol}'", f"'index.{symbol}'", str(files.n_entries)]
            remedy = f"Check that the departures of {symbol} were computed for the models of `atmospheres`."
            self._run(program, [*names, *tables, *star, abundance, *ending], f"departures.{symbol}", remedy)
            # the interpolator rounds the abundance, for small grids it even sets it; bsyn wants its own, exactly
            coefficients = self.folder / f"departures.{symbol}"
            lines = coefficients.read_text().splitlines()
            lines[ABUNDANCE_LINE] = abundance
            coefficients.write_text("\n".join(lines) + "\n")
        self.departures = list(departures)
        self.spherical = (self.folder / "model").read_text().startswith("'sph")
        self._write_nlte_info()

    def opacity(self, babsma: Path, lower: float, upper: float) -> None:
        """Continuous opacity from `lower` to `upper` angstrom, and a little beyond, as bsyn demands."""
        ends = {"LAMBDA_MIN": f"{lower - OPACITY_MARGIN:.4f}", "LAMBDA_MAX": f"{upper + OPACITY_MARGIN:.4f}"}
        control = [
            *_setting(**ends, LAMBDA_STEP="1.0"),
            *_setting(MODELINPUT="model", MODELOPAC="opacity"),
            "'MARCS-FILE:' '.false.'",
            *self._composition(),
            *_setting(XIFIX="T"),
            f"{self.labels['vmic']:.4f}",
        ]
        self._run(babsma, control, "opacity", "Check the DATA folder and the model atmosphere.")

    def flux(self, bsyn: Path, lines: str, wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normalised flux at evenly spaced wavelengths; `lines` is the text of a line list, without hydrogen."""
        (self.folder / "lines").write_text(lines, encoding="latin-1")
        line_lists = ["lines", "DATA/Hlinedata"] if lines else ["DATA/Hlinedata"]
        step = wavelength[1] - wavelength[0] if len(wavelength) > 1 else 0.01
        # the end is half a step beyond the last point, so that rounding can neither drop it nor add one
        first, last = f"{wavelength[0]:.6f}", f"{wavelength[-1] + 0.5 * step:.6f}"
        control = [
            f"'NLTE :' '{'.true.' if self.departures else '.false.'}'",
            *(_setting(NLTEINFOFILE="nlte") if self.departures else ()),
            *_setting(LAMBDA_MIN=first, LAMBDA_MAX=last, LAMBDA_STEP=f"{step:.8f}"),
            "'INTENSITY/FLUX:' 'Flux'",
            *_setting(MODELOPAC="opacity", RESULTFILE="spectrum"),
            *self._composition(),
            *_setting(NFILES=str(len(line_lists))),
            *line_lists,
            *_setting(SPHERICAL="T" if self.spherical else "F"),
            *("30", "300.00", "15", "1.30"),  # rays and depths of the transfer in spheres, as Turbospectrum advises
        ]
        result = self.folder / "spectrum"
        result.unlink(missing_ok=True)
        log = self._run(bsyn, control, "spectrum", "Check the line lists and the DATA folder.")
        if NO_LEVELS in log:
            raise KcinnError(
                f"{self}: the line lists do not number the levels of {', '.join(self.departures)}: lines fell back to "
                "LTE. Give line lists with level numbers of the model atoms, or leave the element out of departures."
            )
        try:
            flux = np.loadtxt(result, usecols=1, ndmin=1)
        except ValueError:
            flux = np.array([np.nan])
        if len(flux) != len(wavelength) or not np.all(np.isfinite(flux)):
            raise KcinnError(
                f"{self}: expected {len(wavelength)} finite fluxes from bsyn_lu. Received: {len(flux)}, of which "
                f"{np.count_nonzero(~np.isfinite(flux))} are not finite. Narrow the labels around this star."
            )
        return flux

    def __str__(self) -> str:
        star = ", ".join(f"{name}={self.labels[name]:g}" for name in ("teff", "logg", "fe_h", "vmic"))
        return f"Turbospectrum at {star}"

    def _composition(self) -> list[str]:
        elements = [symbol for symbol in self.abundances if symbol != "H"]
        return [
            *_setting(METALLICITY=f"{self.labels['fe_h']:.4f}"),
            f"'INDIVIDUAL ABUNDANCES:' '{len(elements)}'",
            *(f"{ATOMIC_NUMBER[symbol]} {self.abundances[symbol]:.4f}" for symbol in elements),
        ]

    def _write_nlte_info(self) -> None:
        rows = [
            f"{ATOMIC_NUMBER[symbol]} '{symbol}' 'nlte' 'atom.{symbol}' 'departures.{symbol}' 'ascii'"
            for symbol in self.departures
        ]
        # bsyn looks for these two comments, word by word, from the second line on
        paths = ["# files of kcinn", "# path for model atom files", "./", "# path for departure files", "./"]
        (self.folder / "nlte").write_text("\n".join([*paths, *rows]) + "\n")

    def _run(self, program: Path, control: list[str], result: str, remedy: str) -> str:
        """Run a program on its control lines and return its log. A failure often has status 0 and an empty result."""
        try:
            done = subprocess.run(
                [program],
                cwd=self.folder,
                input="\n".join(control) + "\n",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout,
            )
        except subprocess.TimeoutExpired:
            raise KcinnError(
                f"{self}: {program.name} did not end within {self.timeout:g} s. Pass a longer timeout, or narrow the "
                "labels around this star."
            ) from None
        log = done.stdout + done.stderr
        path = self.folder / result
        if done.returncode or not path.is_file() or not path.stat().st_size:
            lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(BACKTRACE)]
            tail = " | ".join(lines[-LOG_TAIL:])
            raise KcinnError(
                f"{self}: {program.name} gave no result (exit status {done.returncode}). {remedy} Its log ends: {tail}"
            )
        return log


def _setting(**settings: str) -> list[str]:
    return [f"'{key}:' '{value}'" for key, value in settings.items()]
