"""Summariser: a batch of spectra -> rows of the catalogue, in three steps that can overlap."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn import marginals
from kcinn.catalogue import label_values
from kcinn.devices import on_accelerator
from kcinn.errors import SpectraError
from kcinn.flag import Flag
from kcinn.inference import MEASURED, diagnose, flags
from kcinn.model import CINN, load
from kcinn.nn.compiled import Compiled, rows_in_cache
from kcinn.nn.summarise import summarise
from kcinn.preparation import has_continuum_at_one, prepared
from kcinn.spectra import Spectra
from kcinn.survey.columns import row_type
from kcinn.survey.manifest import Manifest
from kcinn.survey.spectra_file import SpectraFile


@dataclass
class Batch:
    """Names of some spectra, which of them can be used, and, if any can, all of them on the model's pixels."""

    ids: NDArray[Any]
    usable: NDArray[np.bool_]
    spectra: Spectra | None = None
    noise: NDArray[np.float32] | None = None
    drawn: dict[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _loaded(path: str, sha256: str, reduce: bool) -> tuple[CINN, Compiled]:
    """A model, and its compiled step, which ends with samples or summaries; kept: a process loads and compiles once."""
    model = load(path, expected_sha256=sha256)

    def draw_and_summarise(noise: Any, encoding: Any) -> dict[str, Any]:
        drawn = model.draw_encoded(noise, encoding)
        return {**drawn, "summary": summarise(drawn.pop("labels"))}

    return model, Compiled(draw_and_summarise if reduce else model.draw_encoded, model)


class Summariser:
    """What the model of a run says of spectra, as rows.

    Parameters
    ----------
    manifest : Manifest

    Raises
    ------
    ModelError
        If the model file is not the one that the manifest names, or cannot be used.
    """

    def __init__(self, manifest: Manifest) -> None:
        # to fetch samples from an accelerator takes longer than to draw them; a CPU sorts faster than it counts, and
        # does so while the next batch is drawn
        reduce = on_accelerator() and not manifest.options.keep_samples
        self.model, self._step = _loaded(manifest.model["path"], manifest.model["sha256"], reduce)
        self.options, self.sources = manifest.options, manifest.sources
        self.row_type = row_type(manifest)

    def check_sources(self) -> None:
        """Raise SpectraError if no spectrum of a file can fit the model: wavelengths, medium, resolving power."""
        for source in self.sources:
            with SpectraFile(source.path) as file:
                flat = Spectra(file.wavelength, np.ones(len(file.wavelength)), error=1.0, medium=file.medium)
            try:
                prepared(flat, self.model.instrument, resolving_power=self.options.resolving_power)
            except SpectraError as error:
                raise SpectraError(f"{source.path}: {error}") from None

    def prepare(self, file: SpectraFile, start: int, stop: int, first: int) -> Batch:
        """Read rows `start` to `stop` of a file, bring them to the model's pixels, and draw the noise of their samples.

        The first of them has number `first` in the survey.
        """
        ids, spectra = file.ids(start, stop), file.rows(start, stop)
        nothing = Batch(ids, np.zeros(len(ids), dtype=bool))
        if spectra is None:
            return nothing
        try:
            spectra = prepared(
                spectra, self.model.instrument, resolving_power=self.options.resolving_power,
                normalise=self.options.normalise,
            )  # fmt: skip
        except SpectraError:  # no good pixel on the model's grid; all else was checked before
            return nothing
        usable = has_continuum_at_one(spectra) & ~(spectra.mask | self.model.ignored).all(axis=1)
        if not usable.any():
            return nothing
        rows, options = range(first, first + len(ids)), self.options
        noise = self.model.flow.draw_noise(rows, options.n_samples, options.seed, quasi=options.quasi)
        return Batch(ids, usable, spectra, noise)

    def compute(self, batch: Batch) -> Batch:
        """Encode and draw."""
        if batch.spectra is not None and batch.noise is not None:
            size, gap = self.options.batch_size, self.options.gap
            if self.options.normalise:
                batch.spectra = self.model.refined(batch.spectra, gap=gap, batch_size=size)
            flux, error, mask = batch.spectra.flux, batch.spectra.error, batch.spectra.mask
            assert error is not None
            mask = mask | ~batch.usable[:, None]
            encoding, said = self.model.encoded(flux, error, mask, batch_size=size, gap=gap)
            batch.drawn = {
                **self._step.in_chunks(rows_in_cache(self.options.n_samples, size), batch.noise, encoding),
                **said,
            }
        return batch

    def samples(self, batch: Batch) -> NDArray[np.float32]:
        """All samples of a computed batch, NaN for spectra that cannot be used."""
        shape = (len(batch.ids), self.options.n_samples, len(self.model.label_space))
        samples = np.full(shape, np.nan, dtype="<f4")
        if batch.spectra is not None:
            samples[batch.usable] = batch.drawn["labels"][batch.usable]
        return samples

    def rows(self, batch: Batch) -> NDArray[Any]:
        """The rows of a computed batch; labels of a spectrum that cannot be used are NaN."""
        rows = np.zeros(len(batch.ids), dtype=self.row_type)
        for name in rows.dtype.names or ():
            if rows.dtype[name].kind == "f":
                rows[name] = np.nan
        rows["id"] = batch.ids
        rows["flag"] = int(Flag.UNUSABLE)
        if batch.spectra is None:
            return rows
        drawn, space = batch.drawn, self.model.label_space
        summary = drawn["summary"] if "summary" in drawn else marginals.summarise(drawn["labels"])
        values = label_values(space, summary)
        diagnostics = diagnose(self.model, batch.spectra) | {key: drawn[key] for key in MEASURED}
        values |= diagnostics
        values["flag"] = flags(self.model, summary.quantiles[:, 1], diagnostics, drawn, batch.spectra.estimated)
        for name, value in values.items():
            rows[name][batch.usable] = value[batch.usable]
        return rows
