"""The one training loop: a record per epoch; its caller says when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.training.batches import epoch_batches
from latentsk.training.schedules import cosine_decay
from latentsk.training.step import Noise, Step, TrainingState

# Steps from which a compiled step is taken to pay for its compilation. Counted, so that
# a run repeats; no clock is asked.
MIN_STEPS_TO_COMPILE = 20_000


class EpochRecord(NamedTuple):
    """What one epoch came to.

    Attributes
    ----------
    epoch : int
        From 1.
    train_loss : float
        Mean over the rows, each as it was before the step that it took part in.
    validation_loss : float
        Mean over the validation rows after the epoch; nan where there are none.
    learning_rate : float
        In this epoch.
    seconds : float
        The epoch took.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float
    seconds: float

    @property
    def monitored(self) -> float:
        """The validation loss, or the training loss where there is none."""
        no_validation = math.isnan(self.validation_loss)
        return self.train_loss if no_validation else self.validation_loss


class LoopSettings(NamedTuple):
    """Constants of a run.

    Attributes
    ----------
    max_epochs : int
    batch_size : int
    learning_rate : float
        At the start.
    schedule : {"constant", "cosine"}
        Of the learning rate, over `max_epochs`.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "constant"


class DivergenceError(ArithmeticError):
    """The loss became infinite or not a number."""


def worth_compiling(n_rows: int, settings: LoopSettings) -> bool:
    """Tell, from counted work, whether a run is long enough to compile its step.

    Examples
    --------
    >>> worth_compiling(1_000, LoopSettings(100, 100, 1e-3))
    False
    >>> worth_compiling(1_000_000, LoopSettings(100, 100, 1e-3))
    True
    """
    steps = settings.max_epochs * math.ceil(n_rows / settings.batch_size)
    return steps >= MIN_STEPS_TO_COMPILE


def run_epochs(
    step: Step,
    state: TrainingState,
    rows: Tensor,
    settings: LoopSettings,
    generator: torch.Generator,
    *,
    draw_noise: Callable[[int, torch.Generator], Noise] | None = None,
    validate: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[EpochRecord]:
    """Train, and yield a record after every epoch.

    Parameters
    ----------
    step : callable
        From :func:`latentsk.training.step.make_step`, compiled or not.

    state : TrainingState
        Changed in place.

    rows : Tensor of shape (n_rows, ...)
        Training rows, on the state's device.

    settings : LoopSettings

    generator : torch.Generator
        Of the order of the rows and the noise, on the same device.

    draw_noise : callable or None, default=None
        ``draw_noise(batch_size, generator)``, what the step takes as noise.

    validate : callable or None, default=None
        ``validate(parameters)``, the loss of every validation row.

    Yields
    ------
    record : EpochRecord

    Raises
    ------
    DivergenceError
        After an epoch with a loss that is infinite or not a number.
    """
    one = torch.ones((), device=rows.device)
    for epoch in range(1, settings.max_epochs + 1):
        start = time.perf_counter()
        learning_rate = _learning_rate(epoch, settings)
        rate = torch.tensor(learning_rate, device=rows.device)
        total = torch.zeros((), dtype=torch.float64, device=rows.device)
        for batch in epoch_batches(len(rows), settings.batch_size, generator):
            noise = draw_noise(len(batch.rows), generator) if draw_noise else {}
            losses = step(state, rows[batch.rows], noise, batch.weights, one, rate)
            # Summed on the device: nothing waits for it before the epoch ends.
            total += (losses * batch.weights).sum()
        train_loss = float(total) / len(rows)
        validation_loss = float(validate(state.parameters).mean()) if validate else None
        _require_finite(epoch, train_loss, validation_loss)
        yield EpochRecord(
            epoch,
            train_loss,
            math.nan if validation_loss is None else validation_loss,
            learning_rate,
            time.perf_counter() - start,
        )


def _learning_rate(epoch: int, settings: LoopSettings) -> float:
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * cosine_decay((epoch - 1) / settings.max_epochs)


def _require_finite(epoch: int, *losses: float | None) -> None:
    if not all(loss is None or math.isfinite(loss) for loss in losses):
        raise DivergenceError(
            f"The loss was no longer finite in epoch {epoch}. Lower the learning rate, "
            "or clip the gradient."
        )


class BestWeights:
    """Keep the best parameters seen, and say when they have not improved for long.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which to stop.

    tolerance : float
        An improvement smaller than this share of the best loss counts as none for
        stopping (the better weights are kept all the same).

    Examples
    --------
    >>> best = BestWeights(patience=2, tolerance=0.0)
    >>> weights = torch.zeros(1)
    >>> [best.update(loss, weights.add_(1.0)) for loss in (3.0, 2.0, 2.5, 2.1)]
    [False, False, False, True]
    >>> best.loss, best.parameters
    (2.0, tensor([2.]))
    """

    def __init__(self, patience: int, tolerance: float) -> None:
        self.patience = patience
        self.tolerance = tolerance
        self.loss = math.inf
        self.parameters: Tensor | None = None
        self._reference = math.inf
        self._epochs_without = 0

    def update(self, loss: float, parameters: Tensor) -> bool:
        """Take note of an epoch; return whether to stop."""
        if loss < self.loss:
            self.loss, self.parameters = loss, parameters.clone()
        if loss < self._reference - self.tolerance * abs(self._reference) or (
            math.isinf(self._reference)
        ):
            self._reference, self._epochs_without = loss, 0
        else:
            self._epochs_without += 1
        return self._epochs_without >= self.patience
