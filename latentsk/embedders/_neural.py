"""What the torch-trained embedders share, as functions over the training engine."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentsk._random import RandomState, numpy_generator
from latentsk.modules.mlp import Dropout
from latentsk.training.batches import in_batches
from latentsk.training.loop import (
    BestWeights,
    EpochRecord,
    LoopSettings,
    run_epochs,
    worth_compiling,
)
from latentsk.training.step import (
    Noise,
    Objective,
    Parameters,
    Step,
    StepSettings,
    TrainingState,
    flatten,
    make_step,
)

# Rows from which a part is set aside for validation.
MIN_ROWS_TO_VALIDATE = 50
# Rows per batch of inference.
INFERENCE_ROWS = 4_096


class Fit(NamedTuple):
    """What a training came to.

    Attributes
    ----------
    parameters : dict of str to Tensor
        The best weights.
    history : list of EpochRecord
    best_epoch : int
    """

    parameters: Parameters
    history: list[EpochRecord]
    best_epoch: int


def torch_generator(random_state: RandomState) -> torch.Generator:
    """Return a CPU generator of its own for a scikit-learn `random_state`.

    Examples
    --------
    >>> torch.equal(*(torch.rand(3, generator=torch_generator(0)) for _ in range(2)))
    True
    """
    seed = int(numpy_generator(random_state).integers(2**63))
    return torch.Generator().manual_seed(seed)


def held_out(
    rows: Tensor, fraction: float, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Split rows into those to train on and those to validate with.

    Few rows are all trained on.

    Examples
    --------
    >>> train, validation = held_out(torch.zeros(100, 2), 0.1, torch_generator(0))
    >>> len(train), len(validation)
    (90, 10)
    """
    n_held_out = math.floor(fraction * len(rows))
    if len(rows) < MIN_ROWS_TO_VALIDATE or n_held_out == 0:
        return rows, None
    order = torch.randperm(len(rows), generator=generator)
    return rows[order[n_held_out:]], rows[order[:n_held_out]]


def dropout_masks(module: nn.Module) -> Callable[[int, torch.Generator], Noise]:
    """Return what draws a module's dropout masks, by the names of their buffers."""
    layers = {
        f"{name}.mask": layer
        for name, layer in module.named_modules()
        if isinstance(layer, Dropout)
    }

    def draw(n_rows: int, generator: torch.Generator) -> Noise:
        return {name: layer.draw(n_rows, generator) for name, layer in layers.items()}

    return draw


def train(
    module: nn.Module,
    objective: Objective,
    rows: Tensor,
    validation: Tensor | None,
    settings: LoopSettings,
    step_settings: StepSettings,
    generator: torch.Generator,
    *,
    draw_noise: Callable[[int, torch.Generator], Noise],
    evaluate: Callable[[Parameters, Tensor], Tensor],
    patience: int,
    tolerance: float,
    on_epoch: Callable[[EpochRecord], Any],
) -> Fit:
    """Train a module and return its best weights.

    Parameters
    ----------
    module : nn.Module
        Its weights are where the training starts; it is left as it is.

    objective : callable
        ``objective(parameters, batch, noise, kl_weight)``, one loss per row.

    rows, validation : Tensor
        Standardized rows.

    settings : LoopSettings

    step_settings : StepSettings

    generator : torch.Generator

    draw_noise : callable
        ``draw_noise(batch_size, generator)``.

    evaluate : callable
        ``evaluate(parameters, rows)``, the loss of each row without noise.

    patience : int
        Epochs without improvement after which to stop.

    tolerance : float
        Share of the loss by which it has to improve.

    on_epoch : callable
        Called with every record.

    Raises
    ------
    DivergenceError
        If the loss is no longer finite.
    """
    flat, layout = flatten(module)
    state = TrainingState.start(flat)
    step = make_step(objective, layout, step_settings)
    if worth_compiling(len(rows), settings):
        step = compiled(step)
    best, history = BestWeights(patience, tolerance), []
    validate = None
    if validation is not None:

        def validate(flat: Tensor) -> Tensor:
            parameters = layout.views(flat)
            with torch.no_grad():
                return in_batches(
                    lambda part: evaluate(parameters, part), validation, INFERENCE_ROWS
                )

    for record in run_epochs(
        step, state, rows, settings, generator, draw_noise=draw_noise, validate=validate
    ):
        history.append(record)
        on_epoch(record)
        if best.update(record.monitored, state.parameters):
            break
    assert best.parameters is not None, "an epoch without a finite loss raises"
    best_epoch = min(history, key=lambda record: record.monitored).epoch
    return Fit(layout.views(best.parameters), history, best_epoch)


def compiled(step: Step) -> Step:
    """Return the step as one compiled graph; the step itself where nothing compiles.

    The first call compiles. If that fails, for want of a compiler, say, the step runs
    as it is.
    """
    fast = torch.compile(step, fullgraph=True, dynamic=False)
    broken = False

    def run(*arguments: Any) -> Tensor:
        nonlocal broken
        if not broken:
            try:
                return fast(*arguments)
            except torch._dynamo.exc.TorchDynamoException:
                broken = True
        return step(*arguments)

    return run


def infer(network: nn.Module, rows: Tensor) -> Tensor:
    """Apply a network in eval mode, in the dtype of the rows.

    Nothing is written to the network, so threads may share it. (torch's functional_call
    would swap its parameters for the time of the call.)

    Examples
    --------
    >>> infer(nn.Identity().eval(), torch.zeros(3, 2, dtype=torch.float64)).dtype
    torch.float64
    """
    first = next(network.parameters(), None)
    if first is not None and first.dtype != rows.dtype:
        network = copy.deepcopy(network).to(rows.dtype)
    with torch.no_grad():
        return in_batches(network, rows, INFERENCE_ROWS)
