"""Rows: synthetic training examples without end, and what encoder and observation make of them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import keras
import numpy as np
from numpy.typing import NDArray

from kcinn.devices import mean_loss
from kcinn.grid import SyntheticGrid
from kcinn.model import CINN
from kcinn.model.cinn import ROWS_OF_MANY
from kcinn.nn.compiled import Compiled, jit_pays, side_by_side
from kcinn.nn.encoder import Encoding
from kcinn.nn.tensor import Tensor
from kcinn.region import Region


def observe(cinn: CINN, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """From synthetic rows, labels and residuals, to spectra as a detector would see them."""
    flux, error, mask = cinn.observe(cinn.emulator.flux(cinn.emulator(rows["phi"]) + rows["residual"]))
    return {"flux": flux, "error": error, "mask": mask}


def framed(cinn: CINN, phi: Tensor, encoding: Encoding) -> dict[str, Tensor]:
    """What the flow is trained on, of labels and what the encoder made of their spectra."""
    u, log_det = cinn.to_frame(keras.ops.take(phi, cinn.encoder.targets, axis=1), encoding)
    return {"theta": u, "context": encoding.context, "log_det": log_det}


class Step(keras.Model):
    """A function of a cINN and of tensors, as a model that Keras compiles."""

    def __init__(self, cinn: CINN, function: Callable[[CINN, dict[str, Tensor]], Tensor]) -> None:
        super().__init__(autocast=False)
        self.cinn, self.function = cinn, function
        self.built = True

    def call(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.function(self.cinn, inputs)


class JointTraining(Step):
    """Encoder and flow, so that they learn together, on new draws at every step."""

    def __init__(self, cinn: CINN) -> None:
        super().__init__(cinn, joint_log_density)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        return -mean_loss(y_pred)


def joint_log_density(cinn: CINN, rows: dict[str, Tensor]) -> Tensor:
    """Log density of the rows' labels, observed, encoded and given to the flow."""
    spectra = observe(cinn, rows)
    row = framed(cinn, rows["phi"], cinn.encode(**spectra))
    return cinn.flow.log_density(row["theta"], cinn.standardise(row["context"])) + row["log_det"]


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
        self.model, self.observing = model, Step(model, observe)
        self.turn = Lock()
        self.framing = Compiled(lambda phi, encoding: framed(model, phi, encoding), model)

    def __call__(self, rows: dict[str, NDArray[np.float32]], *, seed: int) -> dict[str, NDArray[np.float32]]:
        """Rows for the flow, with the noise and gaps that belong to `seed`."""
        n = len(rows["phi"])
        if not self.observing.compiled:
            self.observing.compile(jit_compile=jit_pays(n * self.model.instrument.n_pixels, draws=True))

        def piece(start: int) -> dict[str, NDArray[np.float32]]:
            index = np.minimum(np.arange(start, start + ROWS_OF_MANY), n - 1)
            batch = {key: value[index] for key, value in rows.items()}
            with self.turn:  # the random numbers belong to the batch, whichever thread is the first
                self.model.observe.reseed(seed, call=start // ROWS_OF_MANY)
                observed = self.observing.predict_on_batch(batch)  # by every device of a tf.distribute strategy
            spectra = {key: np.asarray(value)[:ROWS_OF_MANY] for key, value in observed.items()}
            encoding, _ = self.model.encoded(**spectra, batch_size=ROWS_OF_MANY, gap=False)
            return {key: value[: n - start] for key, value in self.framing(batch["phi"], encoding).items()}

        pieces = side_by_side(piece, range(0, n, ROWS_OF_MANY))
        return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
