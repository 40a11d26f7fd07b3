"""Rows: synthetic training examples without end, and what encoder and observation make of them."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from kcinn.grid import SyntheticGrid
from kcinn.model import CINN
from kcinn.nn.compiled import jit_pays
from kcinn.region import Region

ENCODE_BATCH = 128


@keras.saving.register_keras_serializable(package="kcinn")
class Observing(keras.Model):
    """From synthetic rows, labels and residuals, to spectra as a detector would see them."""

    def __init__(self, cinn: CINN):
        super().__init__(autocast=False)
        self.cinn = cinn
        self.built = True

    def call(self, inputs):
        cinn, phi = self.cinn, inputs["phi"]
        flux, error, mask = cinn.observe(cinn.emulator.flux(cinn.emulator(phi) + inputs["residual"]))
        return {"phi": phi, "flux": flux, "error": error, "mask": mask}


@keras.saving.register_keras_serializable(package="kcinn")
class Compression(keras.Model):
    """From observed synthetic spectra and their labels through the encoder to what the flow is trained on."""

    def __init__(self, cinn: CINN):
        super().__init__(autocast=False)
        self.cinn = cinn
        self.built = True

    def call(self, inputs):
        cinn = self.cinn
        encoding = cinn.encode(inputs["flux"], inputs["error"], inputs["mask"])
        targets = keras.ops.take(inputs["phi"], cinn.encoder.targets, axis=1)
        u, log_det = cinn.to_frame(targets, encoding)
        return {"theta": u, "context": encoding.context, "log_det": log_det}


@keras.saving.register_keras_serializable(package="kcinn")
class JointTraining(keras.Model):
    """Both, with the flow behind them, so that encoder and flow learn together, on new draws at every step."""

    def __init__(self, cinn: CINN):
        super().__init__(autocast=False)
        self.cinn, self.observing, self.compression = cinn, Observing(cinn), Compression(cinn)
        self.built = True

    def call(self, inputs):
        row = self.compression(self.observing(inputs))
        return self.cinn.flow.log_density(row["theta"], self.cinn.standardise(row["context"])) + row["log_det"]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -keras.ops.mean(y_pred)


class Rows:
    """Synthetic rows without end: labels near those of a star, and that star's residual as it would be there."""

    def __init__(self, model: CINN, stars: SyntheticGrid, jitter: float) -> None:
        assert stars.coefficients is not None
        self.space, self.labels = model.full_space, stars.labels
        self.residual = stars.coefficients - model.emulator.coefficients(stars.phi)
        self.error_size = model.emulator.error_size
        self.residual /= np.asarray(keras.ops.convert_to_numpy(self.error_size(stars.phi)))
        region = model.metadata.get("region")
        self.region = Region.from_config(region) if region else None
        self.step = jitter * (self.space.upper - self.space.lower) / np.sqrt(12.0)

    def draw(self, n: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """`n` rows with new labels."""
        star = rng.integers(len(self.labels), size=n)
        labels = self.labels[star].copy()
        for k, step in enumerate(self.step):
            proposal = labels.copy()
            moved = proposal[:, k] + step * rng.uniform(-1.0, 1.0, n)
            lower, upper = self.space.lower[k], self.space.upper[k]
            moved = np.where(moved > upper, 2 * upper - moved, moved)
            proposal[:, k] = np.where(moved < lower, 2 * lower - moved, moved)
            # a symmetric step, refused outside the region, leaves the uniform prior as it is (Metropolis)
            inside = np.ones(n, bool) if self.region is None else self.region.contains(proposal, self.space)
            labels = np.where(inside[:, None], proposal, labels)
        return self._pack(labels, star)

    def own(self) -> dict[str, NDArray[np.float32]]:
        """Every star with its own labels, that is with its own spectrum."""
        return self._pack(self.labels, np.arange(len(self.labels)))

    def _pack(self, labels: NDArray[np.float64], star: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        phi = self.space.to_unbounded(labels).astype(np.float32)
        size = keras.ops.convert_to_numpy(self.error_size(phi))
        return {"phi": phi, "residual": (size * self.residual[star]).astype(np.float32)}


class RowEncoder:
    """Observes rows and encodes them, in batches of one size; the two are compiled apart, see `jit_pays`."""

    def __init__(self, model: CINN) -> None:
        self.model, self.observing, self.compression = model, Observing(model), Compression(model)

    def __call__(
        self, rows: dict[str, NDArray[np.float32]], *, seed: int | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Compressed rows, of the noise and gaps that belong to `seed`, or of those that come next."""
        n = len(rows["phi"])
        if not self.compression.compiled:
            n_values = n * self.model.instrument.n_pixels
            self.observing.compile(jit_compile=jit_pays(n_values, draws=True))
            self.compression.compile(jit_compile=jit_pays(n_values))
        if seed is not None:
            self.model.observe.reseed(seed)
        pieces = []
        for start in range(0, n, ENCODE_BATCH):
            index = np.minimum(np.arange(start, start + ENCODE_BATCH), n - 1)
            observed = self.observing.predict_on_batch({key: value[index] for key, value in rows.items()})
            piece = self.compression.predict_on_batch(observed)
            pieces.append({key: np.asarray(value)[: n - start] for key, value in piece.items()})
        return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
