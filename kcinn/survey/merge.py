"""merge: parts of a run -> one catalogue, a part at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn.catalogue import Column, to_hdu, to_table, write_table
from kcinn.errors import KcinnError, SurveyError
from kcinn.flag import MEANINGS
from kcinn.replacing import check_folder, replacing
from kcinn.survey.columns import columns, row_type
from kcinn.survey.files import WholeFile
from kcinn.survey.folder import quarantined
from kcinn.survey.manifest import Manifest
from kcinn.survey.shard import Shard, is_there, read_part, shards

ENDINGS = (".fits", ".parquet", ".vot")
BLOCK = 2880  # bytes; FITS comes in blocks of these


def merge(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    partial: bool = False,
    verbose: int = 0,
) -> int:
    """Join the parts of a run into one catalogue, in the order of the input.

    FITS and Parquet are written part by part, in little memory; a VOTable is made in memory.

    Parameters
    ----------
    folder : path
        Of the run.
    output : path
        ``.fits``, ``.parquet`` or ``.vot``; replaced only when the new one is whole.
    partial : bool
        Leave out shards that are missing or quarantined, rather than refuse.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    int
        Number of rows of the catalogue.

    Raises
    ------
    SurveyError
        If parts are missing or do not agree with their checksums, or the output cannot be written.
    KcinnError
        If a FITS table cannot hold so many columns, or Parquet lacks its package.
    """
    folder, output = Path(folder), Path(output)
    if output.suffix not in ENDINGS:
        raise SurveyError(f"A survey's catalogue is written to {', '.join(ENDINGS)}. Received: {output.name}")
    check_folder(output, SurveyError)
    manifest = Manifest.read(folder)
    wanted = [shard for shard in shards(manifest) if is_there(shard.part(folder))]
    missing = manifest.n_spectra - sum(map(len, wanted))
    if missing and not partial:
        given_up = quarantined(folder)
        why = f" ({len(given_up)} shards in quarantine, the first: {next(iter(given_up.values()))})" if given_up else ""
        raise SurveyError(
            f"{folder}: {missing} of {manifest.n_spectra} spectra are not done{why}. "
            "Go on with --resume, or join what is there with --partial."
        )
    n_rows = sum(map(len, wanted))
    parts = _parts(folder, manifest, wanted, verbose)
    write = {".fits": _write_fits, ".parquet": _write_parquet, ".vot": _write_votable}[output.suffix]
    write(output, columns(manifest), parts, n_rows)
    return n_rows


def _parts(folder: Path, manifest: Manifest, wanted: list[Shard], verbose: int) -> Iterator[NDArray[Any]]:
    dtype = row_type(manifest)
    for shard in tqdm(wanted, unit="part", disable=None if verbose else True):
        yield read_part(shard.part(folder), dtype, len(shard))


def _write_fits(output: Path, columns: Sequence[Column], parts: Iterator[NDArray[Any]], n_rows: int) -> None:
    empty = {column.name: np.zeros(0, dtype=column.dtype) for column in columns}
    header = to_hdu(to_table(columns, empty, MEANINGS)).header
    header["NAXIS2"], header["EXTNAME"] = n_rows, "CATALOGUE"
    n_bytes = 0
    with WholeFile(output) as file:
        file.write(fits.PrimaryHDU().header.tostring().encode())
        file.write(header.tostring().encode())
        for rows in parts:
            content = rows.astype(rows.dtype.newbyteorder(">")).tobytes()
            file.write(content)
            n_bytes += len(content)
        file.write(bytes(-n_bytes % BLOCK))
        file.finish()


def _write_parquet(output: Path, columns: Sequence[Column], parts: Iterator[NDArray[Any]], n_rows: int) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise KcinnError('Parquet needs pyarrow: pip install "kcinn[parquet]"') from None
    fields = []
    for column in columns:
        notes = {"unit": column.unit, "ucd": column.ucd, "description": column.description}
        type_ = pa.string() if column.dtype.startswith("S") else pa.from_numpy_dtype(np.dtype(column.dtype))
        fields.append(pa.field(column.name, type_, metadata=notes))
    schema = pa.schema(fields, metadata=MEANINGS)
    with WholeFile(output) as file:
        with pq.ParquetWriter(pa.PythonFile(file, mode="w"), schema) as writer:
            for rows in parts:
                arrays = [np.ascontiguousarray(rows[name]) for name in schema.names]
                arrays = [np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array for array in arrays]
                writer.write_table(pa.table(arrays, schema=schema))
        file.finish()


def _write_votable(output: Path, columns: Sequence[Column], parts: Iterator[NDArray[Any]], n_rows: int) -> None:
    rows = np.concatenate([np.zeros(0, dtype=[(column.name, column.dtype) for column in columns]), *parts])
    table = to_table(columns, {name: rows[name] for name in rows.dtype.names or ()}, MEANINGS)
    try:
        with replacing(output) as partial:
            write_table(table, partial)
    except OSError as error:
        raise SurveyError(f"{output}: cannot be written ({error.strerror})") from None
