"""pack: files of spectra of many kinds -> one HDF5 file on one wavelength grid, in pieces that survive a kill."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.table import Table
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn.errors import SpectraError, SurveyError
from kcinn.instrument import Instrument
from kcinn.label_array import numbers
from kcinn.labels import UNITS
from kcinn.survey import readers
from kcinn.survey.files import write_whole
from kcinn.survey.spectra_file import SpectraFile
from kcinn.survey.spectra_writer import SpectraWriter
from kcinn.survey.star import Treatment, group_by_keyword

PIECE = 128  # stars (or files) that one task reads
PLAN = "plan.json"
Group = tuple[str, list[Path]]  # files of one star, or set of stars, under the name that they bear if they are refused


@dataclass
class PackReport:
    """What was packed.

    Attributes
    ----------
    output : Path
    n_spectra : int
        Rows of the file, with those of refused spectra.
    refused : list of str
        Path and reason of every row that holds no good pixel.
    """

    output: Path
    n_spectra: int = 0
    refused: list[str] = field(default_factory=list)


def pack(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    instrument: str | Path | Instrument | None = None,
    medium: str | None = None,
    snr: float | None = None,
    velocities: Mapping[str, float] | str | os.PathLike[str] | None = None,
    join_by: str | None = None,
    normalise: bool = False,
    resolving_power: float | None = None,
    checksum: bool = True,
    resume: bool = False,
    strict: bool = False,
    processes: int = -1,
    verbose: int = 0,
) -> PackReport:
    """Pack spectra of any kind that `kcinn.read` knows into one file for a survey run.

    A file that cannot be read leaves a row without a good pixel, and so does a star without a velocity: every star of
    the input has a row in the catalogue. Files are read in parallel, in pieces: after a kill, `resume` reads only what
    is missing.

    Parameters
    ----------
    paths : sequence of path
        Files of any kind that `kcinn.read` knows.
    output : path
        An HDF5 file; replaced only when the new one is whole.
    instrument : str, path or Instrument, optional
        Onto whose pixels to bring the spectra. Without it all must lie on the wavelength grid of the first.
    medium, snr, checksum
        As for `kcinn.read`.
    velocities : mapping of name to km/s, or path of a table with columns id and rv, optional
        Radial velocities to remove, in the unit of the table's column, km/s if it has none. Without them spectra are
        taken to be at rest.
    join_by : str, optional
        Keyword of the FITS header, such as OBJ_UID: files that agree in it are arms of one star (or of one set of
        stars, which are then joined by name).
    normalise : bool
        Divide by a smooth envelope (`kcinn.continuum.normalised`). It is a start that a model refines: pass it to the
        survey run, too.
    resolving_power : float, optional
        Of the spectra, if it is higher than the instrument's.
    resume : bool
        Go on with the pieces of an earlier call.
    strict : bool
        Refuse all if any spectrum is refused.
    processes : int
        -1: one per core.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    PackReport
        Number of spectra, and a line for each that was refused.

    Raises
    ------
    SurveyError
        If there are pieces of an earlier call without `resume`, or of another one; or if `strict`.
    SpectraError
        If no file can be read.
    """
    output, files = Path(output), [Path(path) for path in paths]
    if not files:
        raise SurveyError("pack needs at least one file")
    if join_by and instrument is None:
        raise SurveyError("Arms are joined on the pixels of an instrument: name one.")
    if isinstance(instrument, str | Path):
        instrument = Instrument.load(instrument)
    if isinstance(velocities, str | os.PathLike):
        velocities = _velocities(Path(velocities))
    treatment = Treatment(instrument, medium, snr, normalise, resolving_power, velocities, checksum)
    groups = _groups(files, join_by)
    grid = (instrument.wavelength, instrument.medium) if instrument else _first_grid(groups, treatment)
    folder = output.with_name(output.name + ".pieces")
    _claim(
        folder,
        {"files": [[str(path) for path in group] for _, group in groups], "treatment": treatment.get_config()},
        resume,
    )
    tasks = [
        delayed(_write_piece)(folder / f"piece-{number:06d}.h5", groups[start : start + PIECE], treatment, grid, added)
        for added in [readers.registered()]
        for number, start in enumerate(range(0, len(groups), PIECE))
    ]
    done = Parallel(n_jobs=processes, return_as="generator")(tasks)
    with tqdm(total=len(groups), unit="stars" if join_by else "files", disable=None if verbose else True) as bar:
        pieces = []
        for piece, n_groups in done:
            pieces.append(piece)
            bar.update(n_groups)
    try:
        report = _joined(pieces, output, grid, strict)
    except SpectraError:  # nothing in the pieces is worth keeping
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    return report


def _groups(files: Sequence[Path], join_by: str | None) -> list[Group]:
    """Files that belong together, in the order of the first of each."""
    if join_by is None:
        return [(path.name, [path]) for path in files]
    groups: dict[str, list[Path]] = {}
    for path, name in group_by_keyword(files, join_by).items():
        groups.setdefault(name, []).append(path)
    return list(groups.items())


def _first_grid(groups: Sequence[Group], treatment: Treatment) -> tuple[NDArray[np.float64], str]:
    """Wavelengths and medium of the first file that can be read."""
    first: SpectraError | None = None
    for _, paths in groups:
        try:
            spectra, _ = treatment.read(paths)
            return spectra.wavelength, spectra.medium
        except SpectraError as error:
            first = first or error
    raise SpectraError(f"None of {len(groups)} files can be read; the first: {first}")


def _velocities(path: Path) -> dict[str, float]:
    try:
        table = Table.read(path) if path.suffix in (".fits", ".vot", ".ecsv") else Table.read(path, format="ascii")
        velocities = numbers(table["rv"], UNITS["vsini"], "rv")
        return {str(name): float(velocity) for name, velocity in zip(table["id"], velocities, strict=True)}
    except Exception as error:  # astropy meets a bad table with almost any exception
        raise SurveyError(f"{path}: expected a table with columns id and rv, a velocity ({error})") from None


def _claim(folder: Path, plan: dict[str, object], resume: bool) -> None:
    """Make the folder of pieces, or see that it is of the same call."""
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest().encode()
    if folder.exists():
        if not resume:
            raise SurveyError(f"{folder} holds pieces of an earlier call. Pass --resume to go on, or remove it.")
        if not (folder / PLAN).is_file() or (folder / PLAN).read_bytes() != digest:
            raise SurveyError(f"{folder} holds pieces of a call with other files or options. Pass those, or remove it.")
        for partial in folder.glob(".*.partial"):
            partial.unlink()
    else:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise SurveyError(f"{folder}: cannot be made ({error.strerror})") from None
        write_whole(folder / PLAN, digest)


def _write_piece(
    path: Path,
    groups: Sequence[Group],
    treatment: Treatment,
    grid: tuple[NDArray[np.float64], str],
    added: Sequence[readers.Reader],
) -> tuple[Path, int]:
    """Read some groups of files into a piece, unless it is there already."""
    for reader in reversed(added):  # this may be another process than that in which they were registered
        readers.register_reader(reader.name, reader.recognises, reader.read)
    if path.exists() and not _has_refusals(path):  # what was refused may have been mended
        return path, len(groups)
    with SpectraWriter(path, *grid) as writer:
        for name, paths in groups:
            try:
                spectra, refused = treatment.read(paths)
                if spectra.medium != grid[1] or not np.array_equal(spectra.wavelength, grid[0]):
                    raise SpectraError(f"{paths[0]}: another wavelength grid than the first file; name an instrument")
                assert spectra.error is not None
                writer.append(
                    spectra.ids, spectra.flux, spectra.error, spectra.mask, estimated=spectra.estimated, refused=refused
                )
            except (SpectraError, MemoryError) as error:
                writer.append_refused(name, str(error) or type(error).__name__)
        writer.finish()
    return path, len(groups)


def _has_refusals(piece: Path) -> bool:
    with SpectraFile(piece) as file:
        return any(file.meta("refused", slice(None)))


def _joined(pieces: Sequence[Path], output: Path, grid: tuple[NDArray[np.float64], str], strict: bool) -> PackReport:
    """The pieces as one file."""
    report = PackReport(output)
    with SpectraWriter(output, *grid) as writer:
        for piece in pieces:
            with SpectraFile(piece) as file:
                for rows in _stretches(len(file)):
                    ids = [name.decode() for name in file.ids(rows.start, rows.stop)]
                    refused = [reason.decode() for reason in file.meta("refused", rows)]
                    data = [file.data[name][rows] for name in ("flux", "error", "mask")]
                    writer.append(ids, *data, estimated=file.meta("estimated", rows), refused=refused)
                    report.refused += [reason for reason in refused if reason]
                    report.n_spectra += len(ids)
        if report.refused and strict:
            raise SurveyError(f"{len(report.refused)} spectra are refused; the first: {report.refused[0]}")
        if len(report.refused) == report.n_spectra:
            raise SpectraError(f"None of the files can be read; the first: {report.refused[0]}")
        writer.finish()
    return report


def _stretches(n: int, size: int = 256) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
