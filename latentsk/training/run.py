"""A whole training: epochs, the best weights, checkpoints, interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentsk._device import to_numpy
from latentsk._warnings import warn
from latentsk.exceptions import TrainingInterruptedWarning
from latentsk.training.acceleration import CapturedStep, CompiledStep
from latentsk.training.batches import Rows
from latentsk.training.checkpoint import Checkpoint
from latentsk.training.inference import in_batches
from latentsk.training.loop import EpochRecord, LoopSettings, run_epochs
from latentsk.training.step import (
    Gradient,
    Layout,
    Noise,
    Objective,
    Parameters,
    Step,
    StepSettings,
    TrainingState,
    autograd,
    flatten,
    make_step,
)
from latentsk.training.stopping import BestWeights
from latentsk.training.threads import threads_for

OPTIMIZER_STATE = ("mean", "square", "n_steps")


class ClosedForm(NamedTuple):
    """A gradient without autograd.

    Attributes
    ----------
    make_gradient : callable
        From the layout of the parameters to the gradient.
    operations_per_row : callable
        From the layout to the floating-point operations of a step, per row.
    """

    make_gradient: Callable[[Layout], Gradient]
    operations_per_row: Callable[[Layout], float]


class Task(NamedTuple):
    """What is to be learned.

    Attributes
    ----------
    module : nn.Module
        Its weights are where the training starts; it is left as it is.
    make_objective : callable
        Returns ``objective(parameters, batch, noise, kl_weight)``, one loss per row.
    evaluate : callable
        ``evaluate(parameters, rows)``, the loss of each row without noise.
    draw_noise : callable
        ``draw_noise(batch_size, generator)``.
    closed_form : ClosedForm or None
        Given where the gradient is to be computed in closed form.
    """

    module: nn.Module
    make_objective: Callable[[], Objective]
    evaluate: Callable[[Parameters, Tensor], Tensor]
    draw_noise: Callable[[int, torch.Generator], Noise]
    closed_form: ClosedForm | None = None


class RunSettings(NamedTuple):
    """How it is to be learned.

    Attributes
    ----------
    loop : LoopSettings
    step : StepSettings
    patience : int
        Epochs without improvement after which to stop.
    tolerance : float
        Share of the loss by which it has to improve.
    max_time : float
        Seconds after which to stop.
    compile : bool
        Whether to compile the step, if there is a compiler.
    """

    loop: LoopSettings
    step: StepSettings
    patience: int
    tolerance: float
    max_time: float = math.inf
    compile: bool = False


class Result(NamedTuple):
    """What a training came to.

    Attributes
    ----------
    parameters : dict of str to Tensor
        The best weights.
    history : list of EpochRecord
    best_epoch : int
    complete : bool
        Whether it came to its end; not if the keyboard or the clock stopped it.
    """

    parameters: Parameters
    history: list[EpochRecord]
    best_epoch: int
    complete: bool


def train(
    task: Task,
    rows: Rows,
    monitored: Tensor,
    settings: RunSettings,
    generator: torch.Generator,
    *,
    on_epoch: Callable[[EpochRecord, Parameters], bool],
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Train and return the best weights.

    Parameters
    ----------
    task : Task

    rows : Rows
        Training rows.

    monitored : Tensor
        Rows to choose the best weights with.

    settings : RunSettings

    generator : torch.Generator
        On the CPU.

    on_epoch : callable
        Called with every record and the current weights; returns whether to stop.

    checkpoint : Checkpoint or None, default=None
        Where the training is kept, and from where it goes on.

    Raises
    ------
    DivergenceError
        If the loss is no longer finite.

    Warns
    -----
    TrainingInterruptedWarning
        On Ctrl-C, which ends the training with the best weights so far.
    """
    flat, layout = flatten(task.module)
    state = TrainingState.start(flat)
    # While the objective itself still changes, a pause says nothing.
    warm = math.ceil(settings.loop.kl_warm_up * settings.loop.max_epochs)
    best = BestWeights(settings.patience, settings.tolerance, warm)
    history: list[EpochRecord] = []
    stored = checkpoint.stored if checkpoint else None
    compile = settings.compile
    if stored is not None:
        compile, history = stored.compiled, stored.restore(state, best, generator)
    step, is_compiled = _step(task, layout, settings, flat.device, compile)
    deadline = time.monotonic() + settings.max_time
    epochs = run_epochs(
        step,
        state,
        rows,
        settings.loop,
        generator,
        draw_noise=task.draw_noise,
        monitor=_monitor(task, layout, monitored),
        first_epoch=len(history) + 1,
        # From an epoch cut short no other run could go on.
        deadline=math.inf if checkpoint else deadline,
    )
    finished = stored is not None and stored.finished
    complete = True
    try:
        with _threads(task, settings, layout):
            while not finished and (record := next(epochs, None)) is not None:
                history.append(record)
                finished = best.update(
                    record.epoch, record.monitored_loss, state.parameters
                )
                finished |= on_epoch(record, layout.views(state.parameters))
                complete = finished or time.monotonic() <= deadline
                if checkpoint and (checkpoint.due(record.epoch) or not complete):
                    checkpoint.write(
                        state, best, history, generator, is_compiled(), finished
                    )
                if not complete:
                    break
        complete = complete or len(history) == settings.loop.max_epochs
    except KeyboardInterrupt:
        complete = False
        _warn_interrupted(best)
    if best.parameters is None:  # interrupted within the first epoch
        best.parameters = state.parameters
    return Result(layout.views(best.parameters), history, best.epoch, complete)


class Advance(NamedTuple):
    """What one pass over some rows came to.

    Attributes
    ----------
    parameters : dict of str to Tensor
    record : EpochRecord
    optimizer_state : dict of str to ndarray
        What the next pass takes.
    """

    parameters: Parameters
    record: EpochRecord
    optimizer_state: dict[str, Any]


def train_on(
    task: Task,
    rows: Rows,
    settings: RunSettings,
    generator: torch.Generator,
    optimizer_state: dict[str, Any] | None = None,
) -> Advance:
    """Go once over some rows, at the initial learning rate.

    Parameters
    ----------
    task : Task

    rows : Rows

    settings : RunSettings

    generator : torch.Generator
        On the CPU.

    optimizer_state : dict of str to ndarray, or None, default=None
        Of the pass before; None begins with the weights of the module.

    Raises
    ------
    DivergenceError
        If the loss is no longer finite.
    """
    flat, layout = flatten(task.module)
    state = TrainingState.start(flat)
    for name, array in (optimizer_state or {}).items():
        if name in OPTIMIZER_STATE:
            getattr(state, name).copy_(torch.tensor(array))
    uncompiled = settings._replace(compile=False)
    step, _ = _step(task, layout, uncompiled, flat.device, compile=False)
    # Nobody knows how long it will go on: there is nothing to warm up over.
    once = settings.loop._replace(max_epochs=1, kl_warm_up=0.0)
    epochs = run_epochs(step, state, rows, once, generator, draw_noise=task.draw_noise)
    with _threads(task, settings, layout):
        record = next(epochs)
    kept = {name: to_numpy(getattr(state, name)) for name in OPTIMIZER_STATE}
    return Advance(layout.views(state.parameters), record, kept)


def _warn_interrupted(best: BestWeights) -> None:
    kept = f"those after epoch {best.epoch}" if best.epoch else "those of the moment"
    warn(
        f"Training was interrupted; the weights are {kept}.",
        TrainingInterruptedWarning,
    )


def _threads(
    task: Task, settings: RunSettings, layout: Layout
) -> AbstractContextManager[None]:
    """Return the threads for a perceptron's steps; other networks have all."""
    if task.closed_form is None:
        return nullcontext()
    per_row = task.closed_form.operations_per_row(layout)
    return threads_for(settings.loop.batch_size * per_row)


def _step(
    task: Task,
    layout: Layout,
    settings: RunSettings,
    device: torch.device,
    compile: bool,
) -> tuple[Step, Callable[[], bool]]:
    """Return the step, and what tells whether it is compiled.

    `compile` is false, too, where the training goes on from one that could not compile;
    the gradient is then the one that it had.
    """
    if task.closed_form is not None and not settings.compile:
        gradient = task.closed_form.make_gradient(layout)
        return make_step(gradient, settings.step), lambda: False
    step: Step = make_step(autograd(task.make_objective(), layout), settings.step)
    compiled = CompiledStep(step) if compile else None
    step = compiled or step
    if device.type == "cuda":
        step = CapturedStep(step)
    return step, lambda: compiled is not None and compiled.works


def _monitor(
    task: Task, layout: Layout, monitored: Tensor
) -> Callable[[Tensor], Tensor]:
    def monitor(flat: Tensor) -> Tensor:
        parameters = layout.views(flat)
        with torch.no_grad():
            return in_batches(lambda part: task.evaluate(parameters, part), monitored)

    return monitor
