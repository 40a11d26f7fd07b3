"""read_grid: grids of synthetic spectra that other programs wrote, degraded to an instrument."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from kcinn.broaden import BROADENING, degrade
from kcinn.errors import GridError, SpectraError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import MEDIA, Instrument
from kcinn.labels import Label, LabelSpace
from kcinn.library import Library, Source
from kcinn.wavelength import air_to_vacuum, vacuum_to_air

NEAR = 1.02  # times the wavelength: what lies beyond does not reach the instrument
HIGHEST_MEDIAN = 1.3  # of a continuum-normalised flux
NAMED = 5  # bad spectra that an error names


def read_grid(
    path: str | os.PathLike[str],
    *,
    instrument: Instrument | str,
    medium: str | None = None,
    label_space: LabelSpace | None = None,
    wavelength: ArrayLike | None = None,
    label_names: Sequence[str] | None = None,
    resolving_power: float | None = None,
    broadening: LabelSpace | None = None,
    draws: int = 1,
    skip: bool = False,
    seed: int = 0,
    processes: int = -1,
    verbose: int = 1,
) -> SyntheticGrid:
    """Read a grid of continuum-normalised spectra at rest that another program wrote, and degrade it.

    - a folder of TSFitPy: ``spectra_parameters.csv``, and the ``*.spec`` files that it names
    - ``*.npz`` as made for The Payne and its kin: ``labels`` with ``spectra`` or ``flxn``, in rows or in columns, or an
      array per label
    - HDF5 with such datasets, in any group

    Names of labels become kcinn's (``feh``, ``Mg_Fe``, ``rotation`` -> ``fe_h``, ``mg_fe``, ``vsini``), and a `teff` in
    units of 1000 K becomes K. Labels that never change are no labels; the metadata note them.

    Parameters
    ----------
    path : path
    instrument : Instrument or str
    medium : {"air", "vacuum"}, optional
        Of the wavelengths, if the file does not say. TSFitPy's are in air.
    label_space : LabelSpace, optional
        Labels to keep, with their prior box. By default all that vary, from the least to the greatest value.
    wavelength : array_like, shape (n_wavelength,), angstrom, optional
        If the file has none.
    label_names : sequence of str, optional
        If the file has none.
    resolving_power : float, optional
        That the spectra have already. By default what the file says, or else they count as not broadened.
    broadening : LabelSpace, optional
        `vsini` and `vmac` to add as labels, drawn uniformly in their box.
    draws : int, optional
        Draws of the broadening per spectrum.
    skip : bool, optional
        Leave out bad spectra instead of refusing the grid; the metadata count them.
    seed : int, optional
        Of the draws.
    processes : int, optional
        Worker processes; -1 is one per core.
    verbose : int, optional
        0 hides the progress bar.

    Returns
    -------
    SyntheticGrid

    Raises
    ------
    GridError
        If the file is of no known kind or incomplete, labels do not fit, or spectra are missing, not finite, not
        positive, not normalised or too short; the message counts and names them.
    """
    path = Path(path)
    instrument = Instrument.load(instrument) if isinstance(instrument, str) else instrument
    library = Library.open(path, wavelength=wavelength, label_names=label_names)
    medium = medium or library.medium
    if medium not in MEDIA:
        raise GridError(f"{path}: wavelengths in 'air' or 'vacuum'? The file does not say. Pass medium=")
    space, fixed = _space(path, library, label_space)
    labels = np.stack([library.labels[name] for name in space.names], axis=1)
    velocities = _velocities(library, broadening, draws, seed)
    power = resolving_power or library.resolving_power or np.inf

    jobs = (
        delayed(_observe)(source, row, velocity, instrument, medium, power)
        for source, row, velocity in zip(library.sources, labels, velocities, strict=True)
    )
    running = Parallel(n_jobs=processes, return_as="generator")(jobs)
    observed = list(tqdm(running, total=len(labels), unit="spectrum", disable=None if verbose else True))
    bad = {name: result for name, result in zip(library.names, observed, strict=True) if isinstance(result, str)}
    if bad and (not skip or len(bad) == len(labels)):
        named = [f"{name}: {reason}" for name, reason in list(bad.items())[:NAMED]] + ["..."] * (len(bad) > NAMED)
        raise GridError(
            f"{path}: {len(bad)} of {len(labels)} spectra cannot be used. {'; '.join(named)}. Compute them anew, or "
            "leave them out with skip=True (--skip)"
        )

    good = np.array([not isinstance(result, str) for result in observed])
    rows = np.repeat(labels[good], draws, axis=0)
    if broadening is not None:
        columns = [BROADENING.index(name) for name in broadening.names]
        rows = np.column_stack([rows, velocities[good].reshape(-1, len(BROADENING))[:, columns]])
        space = LabelSpace([*space, *broadening])
    metadata = {"engine": "unknown", "unreliable_windows": [], **library.metadata, "medium": instrument.medium}
    metadata |= {"source": path.name, "fixed_labels": fixed, "left_out": dict(Counter(bad.values()))}
    return SyntheticGrid(
        instrument,
        space,
        rows,
        flux=np.concatenate([result for result in observed if not isinstance(result, str)]),
        star=np.repeat(np.arange(int(good.sum())), draws),
        metadata=metadata,
    )


def _space(path: Path, library: Library, wanted: LabelSpace | None) -> tuple[LabelSpace, dict[str, float]]:
    """The labels to keep, and the value of those that never change."""
    columns = dict(library.labels)
    if np.any(columns.pop("rv", np.zeros(1))):
        raise GridError(f"{path}: the spectra are shifted by rv. Compute them in the rest frame.")
    ends = {name: (float(np.nanmin(column)), float(np.nanmax(column))) for name, column in columns.items()}
    fixed = {name: lower for name, (lower, upper) in ends.items() if not lower < upper}
    if wanted is None:
        names = [name for name in columns if name not in fixed]
        return LabelSpace(Label.standard(name, *ends[name]) for name in names), fixed
    for label in wanted:
        if label.name not in columns:
            raise GridError(f"{path}: no label {label.name!r}. The file has: {', '.join(columns)}")
        lower, upper = ends[label.name]
        if lower < label.lower or upper > label.upper:
            raise GridError(
                f"{path}: {label.name} goes from {lower:g} to {upper:g}. Received a prior box from {label.lower:g} to "
                f"{label.upper:g}; widen it"
            )
    return wanted, fixed


def _velocities(library: Library, broadening: LabelSpace | None, draws: int, seed: int) -> NDArray[np.float64]:
    """vsini and vmac of every draw, km/s, ``(n_spectra, draws, 2)``."""
    velocities = np.zeros((len(library.names), draws, len(BROADENING)))
    random = np.random.default_rng(seed)
    for label in broadening or ():
        if label.name not in BROADENING or np.any(library.labels.get(label.name, 0.0)):
            raise GridError(
                f"broadening adds {' and '.join(BROADENING)} to spectra that have none yet. Received: {label.name!r}"
            )
        velocities[..., BROADENING.index(label.name)] = random.uniform(label.lower, label.upper, velocities.shape[:2])
    return velocities


def _observe(
    source: Source,
    labels: NDArray[np.float64],
    velocities: NDArray[np.float64],
    instrument: Instrument,
    medium: str,
    resolving_power: float,
) -> NDArray[np.float64] | str:
    """A spectrum through all its draws, ``(draws, n_pixels)``, or why it cannot be used."""
    if isinstance(source, Path):
        if not source.is_file() or not source.stat().st_size:
            return "missing or empty"
        try:
            source = tuple(np.loadtxt(source, usecols=(0, 1), unpack=True))
        except ValueError:
            return "not two columns of numbers"
    wavelength, flux = source
    lower, upper = instrument.wavelength[0] / NEAR, instrument.wavelength[-1] * NEAR
    near = (wavelength > lower) & (wavelength < upper)  # not all that grids cover has a wavelength in air
    wavelength, flux = wavelength[near], flux[near]
    if not np.all(np.isfinite(labels)):
        return "labels are not numbers"
    if not np.all(np.isfinite(flux)):
        return "flux is not finite"
    if len(flux) == 0 or np.min(flux) <= 0:
        return "flux is not positive"
    if np.median(flux) > HIGHEST_MEDIAN:
        return "flux is not continuum-normalised"
    if medium != instrument.medium:
        wavelength = air_to_vacuum(wavelength) if medium == "air" else vacuum_to_air(wavelength)
    try:
        return degrade(
            wavelength,
            flux,
            instrument,
            vsini=velocities[:, 0],
            vmac=velocities[:, 1],
            input_resolving_power=resolving_power,
        )
    except SpectraError as error:
        return str(error)
