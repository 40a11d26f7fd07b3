"""The format "kcinn-spectra/1" of HDF5 files."""

from __future__ import annotations

import h5py

from kcinn.errors import SpectraError

FORMAT = "kcinn-spectra/1"
CHUNK_ROWS = 16  # fast for sequential reads and for random batches alike
MAX_EXPANSION = 2000  # a file that claims more bytes per stored byte than this is broken or hostile


def checked_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """The datasets of a file of the format "kcinn-spectra/1", once they are known to be what they should be.

    Raises
    ------
    SpectraError
        If format or shapes are wrong, a dataset lies in another file or behind a soft link, or claims more bytes than
        the file can hold.
    """
    if attribute(file, "format") != FORMAT:
        raise SpectraError(f"format is {attribute(file, 'format')!r}, expected {FORMAT!r}")
    data, optional = {}, ("mask", "error", "meta/estimated", "meta/refused")
    for name in ("wavelength", "source_id", "flux", *optional):
        if name in optional and name not in file:
            continue
        steps = name.split("/")
        prefixes = ["/".join(steps[: k + 1]) for k in range(len(steps))]
        if not all(isinstance(file.get(prefix, getlink=True), h5py.HardLink) for prefix in prefixes):
            raise SpectraError(f"{name} is missing, or a link, which is not followed")
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise SpectraError(f"{name} is not stored in the file itself")
        if dataset.nbytes > MAX_EXPANSION * (dataset.id.get_storage_size() + 1024):
            raise SpectraError(f"{name} claims {dataset.nbytes} bytes, far more than the file holds")
        data[name] = dataset
    shape = data["flux"].shape
    per_pixel = ("flux", "mask", "error")
    for name, dataset in data.items():
        expected = shape if name in per_pixel else shape[1:] if name == "wavelength" else shape[:1]
        if len(shape) != 2 or dataset.shape != expected:
            raise SpectraError(f"{name} has shape {dataset.shape}, flux has {shape}")
    return data


def attribute(file: h5py.File, name: str) -> str | None:
    """A text that stands on an HDF5 file, of either of HDF5's kinds; None if it is missing."""
    value = file.attrs.get(name)
    return value.decode() if isinstance(value, bytes) else value
