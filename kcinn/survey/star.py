"""From the files of one or more stars to spectra on one grid: frame, medium, velocity, continuum, arms joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kcinn.broaden import on_instrument
from kcinn.continuum import normalised
from kcinn.errors import SpectraError, SpectrumReadError
from kcinn.instrument import Instrument
from kcinn.spectra import Spectra
from kcinn.survey.readers import read_with_frame

TOPOCENTRIC = ("TOPOCENT", "GEOCENTR")


@dataclass(frozen=True)
class Treatment:
    """How files become rows of a packed file; see `kcinn.survey.pack`."""

    instrument: Instrument | None = None
    medium: str | None = None
    snr: float | None = None
    normalise: bool = False
    resolving_power: float | None = None
    velocities: Mapping[str, float] | None = None
    checksum: bool = True

    def get_config(self) -> dict[str, Any]:
        """As plain data: two treatments are the same if theirs are."""
        instrument = self.instrument and self.instrument.get_config()
        return {**asdict(replace(self, instrument=None)), "instrument": instrument}

    def read(self, paths: Sequence[Path]) -> tuple[Spectra, list[str]]:
        """The spectra of some files, those of several files joined by name, and why any of them is refused.

        Refused spectra, whose velocity is not known, have no good pixel; of the others the reason is empty.

        Raises
        ------
        SpectrumReadError
            If a file cannot be read or treated, or no spectrum of it has a velocity.
        """
        parts = [self._read(path) for path in paths]
        try:
            spectra = join([part for part, _ in parts])
        except SpectraError as error:
            raise SpectrumReadError(paths[0], f"with {len(paths) - 1} more: {error}") from None
        refused = {name: reason for _, reasons in parts for name, reason in reasons.items()}
        return spectra, [refused.get(str(name), "") for name in spectra.ids]

    def _read(self, path: Path) -> tuple[Spectra, dict[str, str]]:
        spectra, frame = read_with_frame(path, medium=self.medium, snr=self.snr, checksum=self.checksum)
        try:
            if spectra.error is None:
                spectra = spectra.with_estimated_error()
            spectra, refused = self._placed(spectra, frame)
            if self.normalise:
                spectra = normalised(spectra, self.instrument.arm_slices if self.instrument else None)
            return spectra, {name: f"{path}: {reason}" for name, reason in refused.items()}
        except SpectraError as error:
            raise SpectrumReadError(path, str(error)) from None

    def _placed(self, spectra: Spectra, frame: str) -> tuple[Spectra, dict[str, str]]:
        if self.velocities is None:
            if self.instrument is None:
                return spectra, {}
            return on_instrument(spectra, self.instrument, self.resolving_power), {}
        if self.instrument is None:
            raise SpectraError("velocities need an instrument, onto whose pixels to bring the spectra")
        if frame in TOPOCENTRIC:
            raise SpectraError(f"wavelengths are {frame}, velocities barycentric; correct the wavelengths first")
        velocity = np.array([self.velocities.get(str(name), np.nan) for name in spectra.ids])
        unknown = ~np.isfinite(velocity)
        refused = {str(name): f"no velocity is given for {name}" for name in spectra.ids[unknown]}
        if unknown.all():
            raise SpectraError(f"no velocity is given for {', '.join(list(refused)[:3])}")
        spectra = spectra.masked(unknown[:, None])
        velocity = np.where(unknown, 0.0, velocity)
        return on_instrument(spectra, self.instrument, self.resolving_power, velocity=velocity), refused


def join(parts: Sequence[Spectra]) -> Spectra:
    """The arms, or exposures, of the same stars as one spectrum each, on the grid that they share.

    Stars are known by their names; a pixel that several arms cover is their mean, weighted by inverse variance. A part
    that is alone stays as it is.

    Raises
    ------
    SpectraError
        If the grids differ, or errors are missing.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    names = list(dict.fromkeys(str(name) for part in parts for name in part.ids))
    weight = np.zeros((len(names), len(first.wavelength)))
    flux, estimated = np.zeros_like(weight), np.zeros(len(names), dtype=bool)
    for part in parts:
        if part.error is None or part.medium != first.medium or not np.array_equal(part.wavelength, first.wavelength):
            raise SpectraError("arms are joined on one grid, with errors; name an instrument")
        rows = [names.index(str(name)) for name in part.ids]
        variance = np.where(part.mask, np.inf, np.square(part.error))
        np.add.at(weight, rows, 1.0 / variance)
        np.add.at(flux, rows, part.flux / variance)
        np.logical_or.at(estimated, rows, part.estimated)
    seen = weight > 0
    safe = np.where(seen, weight, 1.0)
    return Spectra(
        first.wavelength,
        np.where(seen, flux / safe, 1.0),
        error=np.where(seen, 1.0 / np.sqrt(safe), np.inf),
        ids=names,
        medium=first.medium,
        estimated=estimated,
    )


def group_by_keyword(paths: Sequence[Path], keyword: str) -> dict[Path, str]:
    """What `keyword` says in the header of each file; files that do not have it bear their own name."""
    from astropy.io import fits

    found: dict[Path, Any] = {}
    for path in paths:
        found[path] = path.name
        try:
            for extension in (0, 1):
                header = fits.getheader(path, extension)
                if keyword in header:
                    found[path] = str(header[keyword]).strip()
                    break
        except Exception:  # damage is reported by the reader
            continue
    return found
