"""What every training has: a learning rate that rises and falls, a progress bar, checkpoints."""

from __future__ import annotations

from typing import Any

import keras
from tqdm import tqdm

from kcinn.checkpoint import Checkpoint
from kcinn.devices import replicas

WARM_UP = 200  # steps


def schedule(rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear up to `rate`, then down to zero as a cosine, in `steps` altogether."""
    warm_up = min(WARM_UP, steps // 4)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=rate, warmup_steps=warm_up
    )


class Muon(keras.optimizers.Muon):
    """Muon (Jordan 2024), to which a stack of kernels ``(n, n_inputs, n_outputs)`` is as many kernels; Adam for biases.

    Steps go equally far along all singular vectors of a kernel, so that weak lines are learned as soon as strong ones.
    """

    def __init__(self, learning_rate: Any, **kwargs: Any) -> None:
        super().__init__(learning_rate, **{"weight_decay": None, "adam_weight_decay": None, **kwargs})

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) < 2 or variable.shape[-2] == 1

    def lr_adjust(self, x: Any) -> Any:
        """As of one kernel."""
        return x * (self.rms_rate * max(x.shape[-2:]) ** 0.5)


def steps_per_execution() -> int:
    """Training steps that TensorFlow takes before Python has its turn.

    JAX would unroll them, torch refuses them, and so does TensorFlow where replicas share every step.
    """
    return 16 if keras.backend.backend() == "tensorflow" and replicas() == 1 else 1


def callbacks(name: str, epochs: int, progress: Checkpoint, verbose: int) -> list[keras.callbacks.Callback]:
    """A progress bar, and in the checkpoint's folder the state at every epoch, from which a killed training goes on."""
    chosen: list[keras.callbacks.Callback] = [_Bar(name, epochs, verbose)]
    if progress.folder is not None:
        backup = keras.callbacks.BackupAndRestore(
            str(progress.folder / name),
            double_checkpoint=True,  # a kill may cut off the last
            delete_checkpoint=False,
        )
        chosen += [backup, keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: progress.note_seconds())]
    return chosen


class Average(keras.callbacks.Callback):
    """Give weights their averages at the end of every epoch, before it is validated.

    An optimizer does so by itself, but not where replicas share its steps.
    """

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)


class _Bar(keras.callbacks.Callback):
    """A progress bar over epochs."""

    def __init__(self, name: str, epochs: int, verbose: int) -> None:
        super().__init__()
        self.bar = tqdm(total=epochs, desc=name, unit="epoch", disable=None if verbose else True)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.bar.update(epoch + 1 - self.bar.n)
        self.bar.set_postfix({key: f"{value:.3f}" for key, value in (logs or {}).items()})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.bar.close()
