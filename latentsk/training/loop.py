"""The one training loop: a record per epoch; its caller says when to stop."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.exceptions import DivergenceError
from latentsk.training.batches import Rows
from latentsk.training.schedules import cosine_decay, warm_up
from latentsk.training.step import Noise, Step, TrainingState


class EpochRecord(NamedTuple):
    """What one epoch came to.

    Attributes
    ----------
    epoch : int
        From 1.
    train_loss : float
        Mean over the rows, each as it was before the step that it took part in.
    monitored_loss : float
        Mean over the monitored rows after the epoch, without noise.
    learning_rate : float
        In this epoch.
    seconds : float
        The epoch took.
    """

    epoch: int
    train_loss: float
    monitored_loss: float
    learning_rate: float
    seconds: float


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
    kl_warm_up : float
        Share of all steps over which the weight of the KL divergence rises from 0 to 1.
    kl_schedule : {"linear", "cosine", "cyclical"}
        How it rises.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "constant"
    kl_warm_up: float = 0.0
    kl_schedule: str = "linear"


def run_epochs(
    step: Step,
    state: TrainingState,
    rows: Rows,
    settings: LoopSettings,
    generator: torch.Generator,
    *,
    draw_noise: Callable[[int, torch.Generator], Noise] | None = None,
    monitor: Callable[[Tensor], Tensor] | None = None,
    first_epoch: int = 1,
    deadline: float = math.inf,
) -> Iterator[EpochRecord]:
    """Train, and yield a record after every epoch.

    Parameters
    ----------
    step : callable
        From :func:`latentsk.training.step.make_step`, compiled or not.

    state : TrainingState
        Changed in place.

    rows : Rows
        Training rows.

    settings : LoopSettings

    generator : torch.Generator
        Of the order of the rows and the noise, on the CPU.

    draw_noise : callable or None, default=None
        ``draw_noise(batch_size, generator)``, what the step takes as noise, on the
        device of that generator.

    monitor : callable or None, default=None
        ``monitor(parameters)``, the loss of every monitored row. None takes the
        training loss for it.

    first_epoch : int, default=1
        More than 1 where an earlier run goes on.

    deadline : float, default=inf
        Value of ``time.monotonic()`` from which no further step is taken. At least one
        step is.

    Yields
    ------
    record : EpochRecord

    Raises
    ------
    DivergenceError
        After an epoch with a loss or weight that is infinite or not a number.
    """
    one = torch.ones((), device=state.parameters.device)
    for epoch in range(first_epoch, settings.max_epochs + 1):
        start = time.monotonic()
        learning_rate = _learning_rate(epoch, settings)
        rate = learning_rate * one
        # Filled on the device: nothing waits for it before the epoch ends.
        batch_size = min(settings.batch_size, len(rows))
        losses = torch.empty(len(rows) + batch_size, device=one.device)
        done = 0
        noise_generator = _on_device(generator, one.device)
        kl_weights = _kl_weights(epoch, len(rows), settings, one)
        batches = rows.epoch(batch_size, generator)
        for batch, kl_weight in zip(batches, kl_weights, strict=False):
            n_rows = len(batch.rows)
            noise = draw_noise(n_rows, noise_generator) if draw_noise else {}
            losses[done : done + n_rows] = step(
                state, batch.rows, noise, batch.weights, kl_weight, rate
            )
            done += n_rows
            if time.monotonic() > deadline:
                break
        # Rows of weight zero come last.
        train_loss = float(losses[: min(done, len(rows))].double().mean())
        monitored_loss = train_loss
        if monitor is not None:
            monitored_loss = float(monitor(state.parameters).double().mean())
        weights_sum = float(state.parameters.sum())
        if not all(map(math.isfinite, (train_loss, monitored_loss, weights_sum))):
            raise DivergenceError(
                f"The loss was no longer finite in epoch {epoch}. Lower the learning "
                "rate, or clip the gradient."
            )
        yield EpochRecord(
            epoch,
            train_loss,
            monitored_loss,
            learning_rate,
            time.monotonic() - start,
        )
        if time.monotonic() > deadline:
            return


def _on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a generator of the device, which is a new one if it is not the CPU."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def _kl_weights(
    epoch: int, n_rows: int, settings: LoopSettings, one: Tensor
) -> Iterable[Tensor]:
    """Return the weight of the divergence in every step of an epoch."""
    if not settings.kl_warm_up:
        return itertools.repeat(one)
    per_epoch = math.ceil(n_rows / settings.batch_size)
    n_steps = settings.max_epochs * per_epoch
    rising = settings.kl_warm_up * n_steps
    first = (epoch - 1) * per_epoch
    steps = range(first, first + per_epoch)
    weights = [warm_up(step, rising, settings.kl_schedule) for step in steps]
    return torch.tensor(weights, device=one.device).unbind()


def _learning_rate(epoch: int, settings: LoopSettings) -> float:
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * cosine_decay((epoch - 1) / settings.max_epochs)
