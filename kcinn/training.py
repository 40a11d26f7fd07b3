"""fit: train emulator, encoder and flow on a grid of synthetic spectra."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kcinn.checkpoint import Checkpoint
from kcinn.config import Config
from kcinn.devices import replicas
from kcinn.emulator import sizes_for
from kcinn.errors import GridError, KcinnError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Instrument
from kcinn.model import CINN
from kcinn.model.calibration import calibrate
from kcinn.model.ordinary import Ordinary
from kcinn.nn.compiled import jit_pays
from kcinn.nn.observe import Observation
from kcinn.optimisation import Average, callbacks, schedule, steps_per_execution
from kcinn.rows import JointTraining, RowEncoder, Rows
from kcinn.synthesis.gap import synthetic_gap

logger = logging.getLogger("kcinn")
CHUNK = 4096  # training spectra that are drawn and encoded before they are written down
LOSSES = {"loss": "loss", "validation_loss": "val_loss"}  # as the summary and as Keras call them
N_START = 1024  # spectra among which the Fisher encoder seeks its start


def fit(
    grid: SyntheticGrid,
    *,
    emulator_grids: Sequence[SyntheticGrid] = (),
    flow_grids: Sequence[SyntheticGrid] = (),
    instrument: Instrument | str | None = None,
    labels: Sequence[str] | None = None,
    observation: Observation | None = None,
    config: Config | None = None,
    validation: float = 0.1,
    epochs: int = 80,
    batch_size: int = 512,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    verbose: int = 1,
) -> CINN:
    """Train a cINN on a grid.

    Emulator and flow learn from different stars. Every training spectrum has labels of its own: those of a star that
    the emulator has not seen, moved a little inside the grid's region. Its spectrum is the emulator's for these labels
    plus that star's own residual, so that the emulator's true error is part of what the flow learns; velocity,
    continuum, noise and missing pixels are drawn anew.

    Several devices share every training step inside the scope of a strategy of `tf.distribute`, or with a
    `keras.distribution` on JAX; spectra are encoded on the first of them.

    Parameters
    ----------
    grid : SyntheticGrid
        Its labels are draws from the prior.
    emulator_grids : sequence of SyntheticGrid
        Further spectra, anywhere in the grid's box, of which the emulator alone learns: where its error is largest, as
        for cool stars.
    flow_grids : sequence of SyntheticGrid
        Further draws from the grid's prior, of which the flow alone learns: the more stars, the better its posteriors,
        above all at high S/N, where the emulator's error is what the flow has to learn, and every star has its own.
    instrument : Instrument or str, optional
        By default that of the grid; or one whose arms are among those of the grid.
    labels : sequence of str, optional
        Labels to infer; the others are marginalised. By default all of the grid.
    observation : Observation, optional
        What spectra suffer on their way; its signal-to-noise range is the range in which the model holds.
    config : Config, optional
    validation : float
        Share of the stars held out for early stopping.
    epochs, batch_size : int
        Of the flow's training.
    checkpoint : path, optional
        Folder for intermediate results.
    resume : bool
        Go on from `checkpoint`, if it holds something.
    seed : int
    verbose : int
        0 hides progress bars.

    Returns
    -------
    CINN
        With `summary_of_training`: errors of the emulator, losses, seconds.

    Raises
    ------
    GridError
        If the grid is too small or does not cover the instrument, one of `emulator_grids` or `flow_grids` is of another
        kind, or one of `flow_grids` is of another prior or shares stars with the other grids.
    LabelError
        If a label is not in the grid.
    KcinnError
        If `checkpoint` holds results and `resume` is false, or they belong to other arguments; or if `config.draws` do
        not fill one batch.
    """
    observation, config = observation or Observation(), config or Config()
    if not 0 < validation < 0.5:
        raise KcinnError(f"validation is a share of the stars between 0 and 0.5. Received: {validation}")
    if instrument is not None:
        grid = grid.on(Instrument.load(instrument) if isinstance(instrument, str) else instrument)
    emulator_grids = [other.on(grid.instrument) for other in emulator_grids]
    flow_grids = [other.on(grid.instrument) for other in flow_grids]
    for other in (*emulator_grids, *flow_grids):
        grid.check_alike(other)
    for other in flow_grids:
        _check_new_draws(other, grid, emulator_grids)
    if config.draws < batch_size:
        raise KcinnError(
            f"Config.draws = {config.draws} training spectra do not fill one batch. Draw more, or pass a batch_size "
            f"smaller than {batch_size}."
        )
    targets = list(labels or grid.label_space.names)
    grid.label_space.subset(targets)
    plan = {
        "grids": [[_fingerprint(each) for each in some] for some in ([grid], emulator_grids, flow_grids)],
        "instrument": grid.instrument.get_config(),
        "targets": targets,
        "observation": observation.get_config(),
        "config": dataclasses.asdict(config),
        "arguments": [validation, epochs, batch_size, seed],
    }
    progress = Checkpoint.claim(checkpoint, plan, resume)
    keras.utils.set_random_seed(seed)
    if not grid.compressed:
        grid = grid.principal_components(config.components, seed=seed)
    share = (1.0 - validation) * config.emulator_share
    parts = grid.split(share, 1.0 - validation - share, validation, seed=seed)
    model = _new_model(grid, targets, observation, config, seed)
    steps, emulator_batch = config.emulator_steps, config.emulator_batch
    stars = reduce(SyntheticGrid.joined, emulator_grids, parts[0])
    model.emulator.learn(stars, parts[1], steps=steps, batch_size=emulator_batch, checkpoint=progress, verbose=verbose)
    unseen = reduce(SyntheticGrid.joined, flow_grids, parts[1])
    summary = model.summary_of_training
    summary |= {"emulator_spectra": len(stars), "flow_spectra": len(unseen)}
    summary |= {"emulator_rms": model.emulator.rms, "emulator_rms_median": model.emulator.median_rms}
    logger.info("Emulator: rms error %.4f, after %.0f s", summary["emulator_rms"], progress.seconds)
    if config.encoder == "fisher":
        _set_start_and_order(model, parts[0])
        held_out = _train_flow(model, unseen, parts[2], config, epochs, batch_size, progress, seed, verbose)
    else:
        held_out = _train_jointly(model, unseen, parts[2], config, epochs, batch_size, progress, seed, verbose)
    calibrate(model, held_out, seed=seed)
    summary["log_density"] = _log_density(model, held_out)
    summary["seconds"] = progress.seconds
    logger.info("Flow: log density %.3f of held-out stars, after %.0f s", summary["log_density"], summary["seconds"])
    return model


def _check_new_draws(other: SyntheticGrid, grid: SyntheticGrid, emulator_grids: Sequence[SyntheticGrid]) -> None:
    """Raise GridError unless a grid is of the prior of another, and its stars are new to the emulator."""
    prior, theirs = ({x.name: (x.lower, x.upper) for x in each.label_space} for each in (grid, other))
    if theirs != prior or other.metadata.get("region") != grid.metadata.get("region"):
        raise GridError(
            "Grids for the flow need the box and the region of the grid, since their labels are draws from the prior. "
            f"Expected {prior} in {grid.metadata.get('region')}. Received {theirs} in {other.metadata.get('region')}"
        )
    names = grid.label_space.names
    seen, new = (
        {row.tobytes() for each in some for row in each.labels[:, [each.label_space.index(name) for name in names]]}
        for some in ((grid, *emulator_grids), (other,))
    )
    if shared := len(seen & new):
        raise GridError(
            f"The flow needs stars that the emulator has not seen. Received a grid of which {shared} are in another. "
            "Synthesise it with another seed."
        )


def _new_model(grid: SyntheticGrid, targets: list[str], observation: Observation, config: Config, seed: int) -> CINN:
    assert grid.coefficients is not None and grid.mean is not None and grid.basis is not None
    encoder: dict[str, Any] = {"kind": config.encoder}
    if config.encoder == "fisher":
        encoder |= {"n_start": min(N_START, len(grid) // 4)}
        encoder |= {key: getattr(observation, key) for key in ("continuum", "continuum_degree")}
        encoder |= {"velocity": max(observation.velocity, 1e-3), "continuum": max(observation.continuum, 1e-6)}
    model = CINN(
        label_space=grid.label_space.get_config(),
        targets=targets,
        instrument=grid.instrument.get_config(),
        emulator=sizes_for(grid, config.emulator_width, config.emulator_depth, config.emulator_element_width),
        encoder=encoder,
        flow={
            **{key: getattr(config, key) for key in ("members", "depth", "width", "hidden", "transform", "base")},
            "seed": seed,
        },
        observation=observation.get_config(),
        unreliable=grid.metadata.get("unreliable_windows", ()),
        metadata=grid.metadata,
        summary={"stars": len(np.unique(grid.star)), "spectra": len(grid)},
    )
    model.gap.assign(synthetic_gap(grid.metadata.get("engine", ""), grid.instrument))
    model.emulator.set_basis(grid.mean, grid.basis, grid.coefficients.std(axis=0))
    return model


def _set_start_and_order(model: CINN, stars: SyntheticGrid) -> None:
    assert stars.coefficients is not None
    rows = np.linspace(0, len(stars) - 1, model.encoder.n_start).astype(int)
    model.encoder.set_start(stars.phi[rows], stars.coefficients[rows])
    typical_snr = np.sqrt(np.prod(model.observation.snr))
    model.encoder.set_order(stars.phi[rows], typical_snr**2 * model.instrument.pixel_width * model.usable)


def _train_flow(
    model: CINN, stars: SyntheticGrid, held_out: SyntheticGrid, config: Config, epochs: int, batch_size: int,
    progress: Checkpoint, seed: int, verbose: int,
) -> Ordinary:  # fmt: skip
    """Encode a pool of training spectra once, train the flow on it; return the held-out spectra that stopped it."""
    encode, rows = RowEncoder(model), Rows(model, stars, config.jitter)
    n_chunks = -(-config.draws // CHUNK)
    chunks = []
    for k in tqdm(range(n_chunks), desc="encode", unit="chunk", disable=None if verbose else True):
        name = f"encoded-{k:04d}"
        chunk = progress.arrays(name)
        if chunk is None:
            some = rows.draw(min(CHUNK, config.draws - k * CHUNK), np.random.default_rng([seed, k]))
            chunk = encode(some, seed=seed + k)
            progress.keep(name, chunk)
        chunks.append(chunk)
    train = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
    model.context_mean.assign(train["context"].mean(axis=0))
    model.context_scale.assign(train["context"].std(axis=0) + 1e-3)
    unseen = Ordinary.observed(model, held_out, seed=seed)
    theta, _ = model.to_frame(model.label_space.to_unbounded(unseen.labels).astype(np.float32), unseen.encoding)
    train, test = (
        {"theta": keras.ops.convert_to_numpy(theta), "context": keras.ops.convert_to_numpy(model.standardise(context))}
        for theta, context in ((train["theta"], train["context"]), (theta, unseen.encoding.context))
    )
    for k, member in enumerate(model.flow.members):
        flow = _twin(member)
        _fit(model, flow, train, test, config, epochs, batch_size, progress, verbose, name=f"flow-{k}")
        member.set_weights(flow.get_weights())
    return unseen


def _train_jointly(
    model: CINN, stars: SyntheticGrid, held_out: SyntheticGrid, config: Config, epochs: int, batch_size: int,
    progress: Checkpoint, seed: int, verbose: int,
) -> Ordinary:  # fmt: skip
    """Train encoder and flow together; every step draws noise, gaps, velocity and continuum anew."""
    model.emulator.trainable = False
    rows = Rows(model, stars, config.jitter)
    train = rows.draw(config.draws, np.random.default_rng(seed))
    test = Rows(model, held_out, 0.0).own()
    jit = jit_pays(epochs * len(train["phi"]) * model.instrument.n_pixels, draws=True)
    _fit(model, JointTraining(model), train, test, config, epochs, batch_size, progress, verbose, jit=jit)
    return Ordinary.observed(model, held_out, seed=seed)


def _log_density(model: CINN, spectra: Ordinary) -> float:
    """Mean log density of the unbounded labels."""
    phi = model.label_space.to_unbounded(spectra.labels).astype(np.float32)
    return float(np.mean(keras.ops.convert_to_numpy(model.density_encoded(phi[:, None], spectra.encoding))))


def _fit(
    model: CINN, trained: keras.Model, train: dict[str, Any], test: dict[str, Any], config: Config, epochs: int,
    batch_size: int, progress: Checkpoint, verbose: int, name: str = "flow-0", jit: bool | str = "auto",
) -> None:  # fmt: skip
    done = progress.arrays(name)
    if done is not None:  # before a kill
        trained.set_weights([done[f"weight_{k}"] for k in range(len(done) - len(LOSSES))])
        _note(model, done)
        return
    n = len(next(iter(train.values()))) // batch_size * batch_size
    steps, shared = n // batch_size, replicas() > 1
    trained.compile(
        optimizer=keras.optimizers.AdamW(
            schedule(config.learning_rate, epochs * steps),
            weight_decay=config.weight_decay,
            clipnorm=5.0,
            use_ema=True,
            ema_momentum=0.99,
            # so that what is validated at the end of an epoch is the average
            ema_overwrite_frequency=None if shared else steps,
        ),
        jit_compile=jit,
        steps_per_execution=steps_per_execution(),
    )
    stop = keras.callbacks.EarlyStopping(patience=config.patience, restore_best_weights=True)
    history = trained.fit(
        {key: value[:n] for key, value in train.items()},
        validation_data=(test, None),
        batch_size=batch_size,
        epochs=epochs,
        callbacks=[stop, *([Average()] if shared else []), *callbacks(name, epochs, progress, verbose)],
        verbose=0,
    ).history
    if not history:  # killed after the last epoch: nothing was left to train
        history = {"loss": [], "val_loss": [trained.evaluate(test, verbose=0)]}
    losses = {key: np.array(history[source]) for key, source in LOSSES.items()}
    _note(model, losses)
    # the weights of the best epoch, which the checkpoints of the training do not hold
    progress.keep(name, {**losses, **{f"weight_{k}": value for k, value in enumerate(trained.get_weights())}})


def _note(model: CINN, losses: dict[str, NDArray[Any]]) -> None:
    for key in LOSSES:
        model.summary_of_training.setdefault(key, []).append([float(value) for value in losses[key]])


def _twin(model: Any) -> Any:
    """A copy to train: once compiled, a model takes optimizer and losses into the one it is part of."""
    twin = type(model).from_config(model.get_config())
    if not twin.built:
        twin.build({"theta": (None, model.n_labels), "context": (None, model.conditioner.kernel.shape[0])})
    twin.set_weights(model.get_weights())
    return twin


def _fingerprint(grid: SyntheticGrid) -> dict[str, Any]:
    """What tells a grid from others of the same labels; in six digits, which are the same on every machine."""
    return {
        "n": len(grid),
        "label_space": grid.label_space.get_config(),
        "labels": f"{grid.labels.sum():.6g}",
        "flux": f"{grid.flux(slice(0, 64)).sum(dtype=np.float64):.6g}",
        "metadata": grid.metadata,
    }
