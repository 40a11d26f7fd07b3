"""Text of two to four columns -> what a spectrum is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from kcinn.errors import SpectraError

BINARY_BYTES = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1a")  # control characters that no text has
PICKLE_MAGIC, BYTE_ORDER_MARK = b"\x80", b"\xef\xbb\xbf"


def from_text(content: bytes, use_error: bool) -> dict[str, Any]:
    """Two to four columns of numbers, separated by white space or commas; the third is left out on request."""
    if content[:1] == PICKLE_MAGIC or not BINARY_BYTES.isdisjoint(content[:4096]):
        raise SpectraError(
            "neither HDF5, FITS nor text (pickles and numpy archives are not read); write HDF5, FITS or text"
        )
    lines = [
        line.split("#", 1)[0].replace(",", " ")
        for line in content.removeprefix(BYTE_ORDER_MARK).decode("latin-1").splitlines()
    ]
    lines = [line for line in lines if line.strip()]
    if lines and not any(is_number(word) for word in lines[0].split()):
        lines = lines[1:]  # names of the columns
    if not lines:
        raise SpectraError("no numbers in the file")
    try:
        table = np.loadtxt(lines, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise SpectraError(f"not a table of numbers: {error}") from None
    if not 2 <= table.shape[1] <= 4:
        raise SpectraError(f"{table.shape[1]} columns; expected wavelength, flux and perhaps error, mask")
    spectrum: dict[str, Any] = {"wavelength": table[:, 0], "flux": table[:, 1]}
    if table.shape[1] > 2 and use_error:
        spectrum["error"] = table[:, 2]
        finite = np.isfinite(table[:, 1:3]).all(axis=1)
        if finite.any() and np.median(table[finite, 2]) > 3.0 * np.median(np.abs(table[finite, 1])):
            raise SpectraError(
                "the third column is larger than the flux, so it is not the error; pass snr= to set the error"
            )
    if table.shape[1] > 3:
        spectrum["mask"] = table[:, 3] != 0
    return spectrum


def is_number(word: str) -> bool:
    """Whether a word can be read as one."""
    try:
        float(word)
    except ValueError:
        return False
    return True
