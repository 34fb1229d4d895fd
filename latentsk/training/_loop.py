"""The training loop: epochs, the best weights, checkpoints, interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentsk._warnings import warn
from latentsk.exceptions import TrainingInterruptedWarning
from latentsk.training._checkpoint import Checkpoint
from latentsk.training._data import Rows
from latentsk.training._history import EarlyStopping, EpochRecord
from latentsk.training._objective import Objective
from latentsk.training._optimizer import OptimizerSettings
from latentsk.training._start import Start
from latentsk.training._trainer import Trainer
from latentsk.training._weights import Weights


class TrainingSettings(NamedTuple):
    """How a network is trained.

    Attributes
    ----------
    max_epochs : int
    batch_size : int
    learning_rate : float
        At the start.
    schedule : {"constant", "cosine"}
        Of the learning rate, over `max_epochs`.
    optimizer : OptimizerSettings
    patience : int
        Epochs without improvement after which to stop.
    tolerance : float
        Share of the loss by which it has to improve.
    max_time : float
        Seconds after which to stop.
    compile : bool
        Whether to compile the loss, if there is a compiler.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "constant"
    optimizer: OptimizerSettings = OptimizerSettings()
    patience: int = 2**62
    tolerance: float = 0.0
    max_time: float = math.inf
    compile: bool = False

    def learning_rate_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * cosine_decay((epoch - 1) / self.max_epochs)

    def progress_of(self, epoch: int, n_rows: int) -> Tensor:
        """Return the share of all steps that is done before each step of an epoch."""
        per_epoch = math.ceil(n_rows / self.batch_size)
        steps = torch.arange(per_epoch, dtype=torch.float64) + (epoch - 1) * per_epoch
        return steps / (self.max_epochs * per_epoch)


def cosine_decay(fraction: float) -> float:
    """Return the factor of the learning rate after a fraction of the training.

    Half a cosine from 1 to 0 (Loshchilov & Hutter, 2017).

    Examples
    --------
    >>> [round(cosine_decay(fraction), 3) for fraction in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, fraction)))


class Result(NamedTuple):
    """What a training came to; the network has the best weights.

    Attributes
    ----------
    history : list of EpochRecord
    best_epoch : int
    complete : bool
        Whether it came to its end; not if the keyboard or the clock stopped it.
    """

    history: list[EpochRecord]
    best_epoch: int
    complete: bool


def train(
    network: nn.Module,
    objective: Objective,
    rows: Rows,
    monitored: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    start: Start | None = None,
    on_epoch: Callable[[EpochRecord], bool] = lambda record: False,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Train a network in place, and leave it with the best weights.

    Parameters
    ----------
    network : nn.Module
        Its weights are where the training starts.

    objective : Objective

    rows : Rows
        Training rows.

    monitored : Tensor of shape (n_monitored, n_features)
        Rows to choose the best weights with.

    settings : TrainingSettings

    generator : torch.Generator
        Of the order of the rows and the noise, on the CPU.

    start : Start or None, default=None
        What starts from the rows, if the network is new. The best weights are sought
        from there on. A training that ends before does it at its end.

    on_epoch : callable
        Called with every record; returns whether to stop.

    checkpoint : Checkpoint or None, default=None
        Where the training is kept, and from where it resumes.

    Raises
    ------
    DivergenceError
        If the loss is no longer finite.

    Warns
    -----
    TrainingInterruptedWarning
        On Ctrl-C, which ends the training with the best weights so far.
    """
    trainer = Trainer(network, objective, settings.optimizer)
    # While the objective itself still changes, a pause says nothing.
    settled = math.ceil(objective.settled_at * settings.max_epochs)
    new = partial(EarlyStopping, settings.patience, settings.tolerance, settled)
    stopping, history = new(), list[EpochRecord]()
    best, finished, compile = None, False, settings.compile
    if checkpoint is not None and checkpoint.stored is not None:
        stored = checkpoint.stored
        history, best = stored.restore(trainer, generator)
        stopping = stored.stopping
        finished, compile = stored.finished, stored.compiled
    # Where compiling failed, a resumed training runs as it did: by autograd.
    trainer.prepare(closed_form=not settings.compile, compile=compile)
    stop_at = time.monotonic() + settings.max_time
    # A checkpoint could not resume from an epoch cut short.
    deadline = stop_at if checkpoint is None else math.inf
    complete = True
    try:
        with trainer.threads(settings.batch_size):
            while not finished and complete and len(history) < settings.max_epochs:
                epoch = len(history) + 1
                if start is not None and start.is_due(epoch):
                    start.begin()
                    stopping = new()  # the weights before are those of another model
                record = _run_epoch(
                    trainer, epoch, rows, monitored, settings, generator, deadline
                )
                history.append(record)
                if stopping.update(epoch, record.monitored_loss):
                    best = Weights.of(trainer.network, trainer.optimizer)
                finished = on_epoch(record) or stopping.is_due(epoch)
                complete = finished or time.monotonic() <= stop_at
                if checkpoint and (checkpoint.due(epoch) or not complete):
                    assert best is not None, "the first epoch is the best so far"
                    checkpoint.write(
                        trainer, stopping, best, history, generator, finished
                    )
        complete = complete or len(history) == settings.max_epochs
    except KeyboardInterrupt:
        complete = False
        _warn_interrupted(stopping.epoch)
    if best is not None:  # None: interrupted within the first epoch
        best.restore(trainer.network, trainer.optimizer)
    if start is not None and start.is_to_come(len(history)):
        start.begin()
    return Result(history, stopping.epoch, complete)


def train_epoch(
    network: nn.Module,
    objective: Objective,
    rows: Rows,
    settings: TrainingSettings,
    generator: torch.Generator,
    optimizer_state: dict[str, Any] | None = None,
) -> tuple[EpochRecord, dict[str, Any]]:
    """Train a network in place, once over some rows, at the initial learning rate.

    Parameters
    ----------
    network : nn.Module

    objective : Objective

    rows : Rows

    settings : TrainingSettings

    generator : torch.Generator
        On the CPU.

    optimizer_state : dict or None, default=None
        Of the pass before; None begins with the weights of the network.

    Returns
    -------
    record : EpochRecord
    optimizer_state : dict
        What the next pass takes: "layout", and arrays.

    Raises
    ------
    DivergenceError
        If the loss is no longer finite.
    """
    trainer = Trainer(network, objective, settings.optimizer)
    if optimizer_state is not None:
        trainer.optimizer.load(optimizer_state["layout"], optimizer_state)
    trainer.prepare(closed_form=not settings.compile, compile=False)
    once = settings._replace(max_epochs=1)
    with trainer.threads(settings.batch_size):
        record = _run_epoch(trainer, 1, rows, None, once, generator)
    optimizer = trainer.optimizer
    return record, {"layout": optimizer.layout(), **optimizer.memory()}


def _run_epoch(
    trainer: Trainer,
    epoch: int,
    rows: Rows,
    monitored: Tensor | None,
    settings: TrainingSettings,
    generator: torch.Generator,
    deadline: float = math.inf,
) -> EpochRecord:
    """Train for an epoch. Without monitored rows, there is no known end to come."""
    start, learning_rate = time.monotonic(), settings.learning_rate_of(epoch)
    progress = settings.progress_of(epoch, len(rows))
    learned = trainer.learn(
        rows,
        settings.batch_size,
        generator,
        learning_rate=learning_rate,
        progress=torch.ones_like(progress) if monitored is None else progress,
        deadline=deadline,
    )
    seen = learned if monitored is None else trainer.monitor(monitored)
    trainer.require_finite(epoch, learned, seen)
    return EpochRecord(
        epoch,
        learned.loss,
        seen.loss,
        learning_rate,
        time.monotonic() - start,
        learned.terms,
        seen.terms,
    )


def _warn_interrupted(best_epoch: int) -> None:
    kept = f"those after epoch {best_epoch}" if best_epoch else "those of the moment"
    warn(
        f"Training was interrupted; the weights are {kept}.",
        TrainingInterruptedWarning,
    )
