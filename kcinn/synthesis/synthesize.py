"""synthesize: a grid of noiseless spectra on an instrument's pixels, computed on all cores."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import qmc
from tqdm import tqdm

from kcinn.broaden import BROADENING, degrade
from kcinn.errors import GridError, LabelError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Instrument
from kcinn.labels import Label, LabelSpace
from kcinn.region import Region
from kcinn.replacing import replacing
from kcinn.synthesis.engine import Engine, Window
from kcinn.synthesis.named import engine_named
from kcinn.wavelength import air_to_vacuum, vacuum_to_air

logger = logging.getLogger("kcinn")
STARS_PER_PART = 16
EDGE = 1.0  # angstrom beyond the end of the line list that its broadened absence reaches
LABELS = LabelSpace(
    [
        Label.standard("teff", 4000.0, 7000.0),
        Label.standard("logg", 0.5, 5.0),
        Label.standard("fe_h", -3.0, 0.5),
        Label.standard("vmic", 0.5, 3.0),
        Label.standard("vsini", 0.0, 15.0),
        Label.standard("vmac", 0.0, 8.0),
        Label.standard("overshooting", 0.0, 1.0),
        Label.standard("li_fe", -2.0, 5.5),
        Label.standard("c_fe", -0.6, 0.4),
        Label.standard("na_fe", -0.5, 0.5),
        Label.standard("mg_fe", -0.3, 0.6),
        Label.standard("si_fe", -0.3, 0.6),
        Label.standard("ca_fe", -0.3, 0.6),
        Label.standard("sc_fe", -0.4, 0.5),
        Label.standard("ti_fe", -0.3, 0.6),
        Label.standard("v_fe", -0.4, 0.5),
        Label.standard("mn_fe", -0.7, 0.4),
        Label.standard("co_fe", -0.4, 0.5),
        Label.standard("ni_fe", -0.4, 0.4),
        Label.standard("y_fe", -0.8, 0.8),
        Label.standard("ba_fe", -0.8, 0.8),
        Label.standard("nd_fe", -0.8, 0.8),
    ]
)


def synthesize(
    output: str | os.PathLike[str],
    *,
    n: int,
    instrument: Instrument | str = "4most-hrs",
    engine: Engine | None = None,
    label_space: LabelSpace | None = None,
    region: Region | None = None,
    draws: int = 2,
    components: int | None = None,
    step: float = 0.03,
    seed: int = 0,
    processes: int = -1,
    verbose: int = 1,
) -> SyntheticGrid:
    """Synthesise a grid and write it to `output`.

    Labels are scrambled Sobol points of the prior box that lie inside `region`. Every synthesised star is seen with
    several rotation and macroturbulence velocities. Work is kept in ``<output>.parts`` until the grid is whole, so that
    a run that was killed goes on where it stopped when it is started again with the same arguments.

    Parameters
    ----------
    output : path
        HDF5 file to write.
    n : int
        Number of spectra: ``n / draws`` stars.
    instrument : Instrument or str
    engine : Engine, optional
        By default the embedded `NLTEEngine` with all its departure coefficients.
    label_space : LabelSpace, optional
        Labels and prior box. `vsini` and `vmac` are applied by degradation, the others go to the engine. By default
        those of `LABELS` that the engine knows.
    region : Region, optional
        By default plausible stars.
    draws : int
        Broadening draws per star.
    components : int, optional
        Compress to this many principal components. By default the spectra are stored plain.
    step : float, angstrom
        Wavelength step of the synthesis.
    seed : int
    processes : int
        Worker processes; -1 is one per core.
    verbose : int
        0 hides the progress bar.

    Returns
    -------
    SyntheticGrid

    Raises
    ------
    GridError
        If `n` or `draws` is not positive, or ``<output>.parts`` belongs to a run with other arguments.
    LabelError
        If the engine does not know a label or does not reach the edges of its box.
    """
    if n < 1 or draws < 1:
        raise GridError(f"n and draws must be at least 1. Received: n={n}, draws={draws}")
    instrument = Instrument.load(instrument) if isinstance(instrument, str) else instrument
    engine = engine or engine_named("nlte")
    region = region or Region()
    label_space = label_space or known_labels(engine)
    _check_reach(engine, label_space)
    n_stars = -(-n // draws)
    labels, star = _draw(n_stars, draws, label_space, region, seed)
    metadata = _engine_metadata(engine, instrument)
    metadata |= {"region": region.get_config(), "seed": seed, "draws": draws, "step": step}

    output = Path(output)
    parts = output.with_name(output.name + ".parts")
    _claim(parts, {"n": n, "instrument": instrument.get_config(), "labels": label_space.get_config(), **metadata})
    files = [parts / f"{k:06d}.npy" for k in range(-(-n_stars // STARS_PER_PART))]
    todo = [k for k, file in enumerate(files) if not file.exists()]
    there = len(files) - len(todo)
    if there:
        logger.info("%s: %d of %d parts are there already", parts, there, len(files))
    jobs = (
        delayed(_synthesize_part)(files[k], engine, instrument, label_space.names, _part(labels, star, k), step)
        for k in todo
    )
    quiet = None if verbose else True
    with tqdm(total=n_stars, initial=STARS_PER_PART * there, unit="star", disable=quiet) as bar:
        for n_done in Parallel(n_jobs=processes, return_as="generator_unordered")(jobs):
            bar.update(n_done)
    flux = np.empty((len(labels), len(instrument.wavelength)), dtype=np.float32)
    for k, file in enumerate(files):
        rows = slice(k * STARS_PER_PART * draws, (k + 1) * STARS_PER_PART * draws)
        flux[rows] = np.load(file, allow_pickle=False)
    grid = SyntheticGrid(instrument, label_space, labels[:n], flux=flux[:n], star=star[:n], metadata=metadata)
    if components is not None:
        grid = grid.principal_components(components)
    grid.write(output)
    shutil.rmtree(parts)
    return grid


def known_labels(engine: Engine) -> LabelSpace:
    """Those of `LABELS` that an engine knows; `overshooting`, for one, is a matter of how its atmospheres were made."""
    known = (*engine.validity, *BROADENING)
    return LABELS.subset(name for name in LABELS.names if name in known)


def draw_labels(n: int, space: LabelSpace, region: Region, seed: int) -> NDArray[np.float64]:
    """The first `n` points of a scrambled Sobol sequence in the box that lie inside the region, ``(n, n_labels)``."""
    sobol = qmc.Sobol(len(space), rng=np.random.default_rng(seed))
    found: list[NDArray[np.float64]] = []
    power = max(10, (8 * n - 1).bit_length())
    while sum(map(len, found)) < n:
        unit = sobol.random_base2(power + max(0, len(found) - 1))  # doubling keeps the sequence balanced
        points = space.lower + (space.upper - space.lower) * unit
        found.append(points[region.contains(points, space)])
        if sobol.num_generated > 1 << 26 and not sum(map(len, found)):
            raise GridError(f"No point of the box lies inside the region {region}. Widen one of them.")
    return np.concatenate(found)[:n]


def _draw(
    n_stars: int, draws: int, space: LabelSpace, region: Region, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Labels of every draw of every star, ``(n_stars * draws, n_labels)``, and which star it is."""
    labels = np.repeat(draw_labels(n_stars, space, region, seed), draws, axis=0)
    broadening = [i for i, name in enumerate(space.names) if name in BROADENING]
    labels[:, broadening] = _draw_broadening(len(labels), space, broadening, seed)
    return labels, np.repeat(np.arange(n_stars), draws)


def _draw_broadening(n: int, space: LabelSpace, columns: list[int], seed: int) -> NDArray[np.float64]:
    if not columns:
        return np.empty((n, 0))
    points = qmc.Sobol(len(columns), rng=np.random.default_rng([seed, 1])).random_base2(max(1, (n - 1).bit_length()))[
        :n
    ]
    points = np.random.default_rng([seed, 2]).permutation(points)
    return space.lower[columns] + (space.upper - space.lower)[columns] * points


def _part(labels: NDArray[np.float64], star: NDArray[np.int64], k: int) -> list[NDArray[np.float64]]:
    """The label rows of every star of part `k`."""
    stars = range(k * STARS_PER_PART, min((k + 1) * STARS_PER_PART, int(star[-1]) + 1))
    return [labels[star == s] for s in stars]


def _synthesize_part(
    path: Path,
    engine: Engine,
    instrument: Instrument,
    names: tuple[str, ...],
    stars: list[NDArray[np.float64]],
    step: float,
) -> int:
    rows = np.concatenate([_observe_star(engine, instrument, names, labels, step) for labels in stars])
    with replacing(path) as partial:
        np.save(partial, rows.astype(np.float32))
    return len(stars)


def _observe_star(
    engine: Engine, instrument: Instrument, names: tuple[str, ...], labels: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """One star through the engine, then through all its broadening draws, ``(n_draws, n_pixels)``."""
    physical = {name: float(labels[0, i]) for i, name in enumerate(names) if name not in BROADENING}
    covered, uncovered = _windows(engine, instrument)
    wavelength, flux = engine.spectrum(physical, windows=covered, step=step)
    for lower, upper in uncovered:  # continuum, so that the broadening has something to work on up to the arm's end
        padding = np.arange(lower, upper, step)[1:]
        wavelength, flux = np.append(wavelength, padding), np.append(flux, np.ones_like(padding))
    order = np.argsort(wavelength)
    wavelength, flux = wavelength[order], flux[order]
    if instrument.medium == "vacuum":
        wavelength = air_to_vacuum(wavelength)
    vsini, vmac = (labels[:, names.index(name)] if name in names else np.zeros(len(labels)) for name in BROADENING)
    return degrade(wavelength, flux, instrument, vsini=vsini, vmac=vmac)


def _windows(engine: Engine, instrument: Instrument) -> tuple[list[Window], list[Window]]:
    """The instrument's windows in air: what the engine covers of them, and what it does not.

    Raises
    ------
    GridError
        If the engine covers no part of an arm.
    """
    covered, uncovered = [], []
    for lower, upper in instrument.windows():
        if instrument.medium == "vacuum":
            lower, upper = (float(edge) for edge in vacuum_to_air([lower, upper]))
        inside = [(max(lower, a), min(upper, b)) for a, b in engine.coverage if a < upper and b > lower]
        if not inside:
            whole = ", ".join(f"{a:g}-{b:g}" for a, b in engine.coverage)
            raise GridError(
                f"{engine.name} covers {whole} angstrom; {instrument.name} has an arm at {lower:.0f}-{upper:.0f}. Use "
                "an instrument description without that arm, or another engine."
            )
        covered += inside
        edges = [lower, *(edge for piece in inside for edge in piece), upper]
        uncovered += [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1e-6]
    return covered, uncovered


def _engine_metadata(engine: Engine, instrument: Instrument) -> dict[str, Any]:
    """What the engine says of itself, in the instrument's medium, with the windows that it does not cover."""
    unlisted = [[a - EDGE, b + EDGE, "no lines listed"] for a, b in _windows(engine, instrument)[1]]
    unreliable = [*engine.metadata["unreliable_windows"], *unlisted]
    if instrument.medium == "vacuum":
        unreliable = [[*air_to_vacuum([float(a), float(b)]).tolist(), reason] for a, b, reason in unreliable]
    return {**engine.metadata, "medium": instrument.medium, "unreliable_windows": unreliable}


def _check_reach(engine: Engine, space: LabelSpace) -> None:
    for label in space:
        if label.name in BROADENING:
            continue
        if label.name not in engine.validity:
            raise LabelError(
                f"{engine.name} does not know the label {label.name!r}. Known: {', '.join(engine.validity)}"
            )
        lower, upper = engine.validity[label.name]
        if label.lower < lower or label.upper > upper:
            raise LabelError(
                f"{engine.name} is valid for {label.name} from {lower:g} to {upper:g}. "
                f"Received a prior box from {label.lower:g} to {label.upper:g}"
            )


def _claim(parts: Path, plan: dict[str, Any]) -> None:
    """Make the folder of parts, or check that it belongs to the same plan."""
    text = json.dumps(plan, sort_keys=True)
    file = parts / "plan.json"
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise GridError(f"{parts} belongs to a run with other arguments. Finish that run, or delete the folder.")
    parts.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
