"""A network in training: one pass over rows at a time."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentsk.exceptions import DivergenceError
from latentsk.networks._custom import train_mode
from latentsk.training._compile import CapturedStep, CompiledGradient
from latentsk.training._data import Rows
from latentsk.training._inference import in_batches
from latentsk.training._objective import Losses, Objective
from latentsk.training._optimizer import FlatAdamW, OptimizerSettings
from latentsk.training._step import Step, autograd, loss_of, make_step
from latentsk.training._threads import threads_for


class MeanLoss(NamedTuple):
    """A loss and its named terms, as means over rows."""

    loss: float
    terms: dict[str, float]


class Trainer:
    """A network, what it learns, and the optimizer of its weights.

    Parameters
    ----------
    network : nn.Module
        Changed in place.

    objective : Objective

    optimizer : OptimizerSettings

    Attributes
    ----------
    network, objective
        As given; the network is in training mode.

    optimizer : FlatAdamW

    is_compiled : bool
        Whether the loss runs as a compiled graph.
    """

    def __init__(
        self, network: nn.Module, objective: Objective, optimizer: OptimizerSettings
    ) -> None:
        self.network = train_mode(network)
        self.objective = objective
        self.optimizer = FlatAdamW(self.network, optimizer)
        self.device = next(network.parameters()).device
        self._compiled: CompiledGradient | None = None
        self._step: Step | None = None

    def prepare(self, closed_form: bool, compile: bool) -> None:
        """Choose the step.

        Parameters
        ----------
        closed_form : bool
            Whether to take the gradient in closed form, if there is one.

        compile : bool
            Whether to compile the loss otherwise, if there is a compiler.
        """
        gradient = self.objective.gradient(self.network) if closed_form else None
        if gradient is not None:
            self.optimizer.take_up_all()
        else:
            loss = loss_of(self.network, self.objective)
            gradient = autograd(loss, self.optimizer)
            if compile:
                self._compiled = CompiledGradient(loss, self.optimizer)
                gradient = self._compiled
        step = make_step(self.network, gradient, self.optimizer)
        if self.device.type == "cuda":
            step = CapturedStep(step, self.network, self.optimizer)
        self._step = step

    @property
    def is_compiled(self) -> bool:
        """Whether the loss runs as a compiled graph."""
        return self._compiled is not None and self._compiled.works

    def learn(
        self,
        rows: Rows,
        batch_size: int,
        generator: torch.Generator,
        *,
        learning_rate: float,
        progress: Tensor,
        deadline: float = math.inf,
    ) -> MeanLoss:
        """Train once over the rows.

        Parameters
        ----------
        rows : Rows

        batch_size : int

        generator : torch.Generator
            Of the order of the rows and the noise, on the CPU.

        learning_rate : float

        progress : Tensor of shape (n_steps,)
            What the objective is told at each step.

        deadline : float, default=inf
            Value of ``time.monotonic()`` from which no further step is taken. At least
            one step is.

        Returns
        -------
        loss : MeanLoss
            Of every row as it was before the step that it took part in.
        """
        assert self._step is not None, "prepared before"
        rate = torch.tensor(learning_rate, dtype=torch.float32, device=self.device)
        noise_generator = _on_device(generator, self.device)
        batches = rows.epoch(min(batch_size, len(rows)), generator)
        steps = progress.to(self.device, torch.float32).unbind()
        # Nothing waits for the device before the epoch ends.
        losses = []
        for batch, done in zip(batches, steps, strict=True):
            noise = self.objective.draw_noise(len(batch.rows), noise_generator)
            losses.append(self._step(batch.rows, noise, batch.weights, done, rate))
            if time.monotonic() > deadline:
                break
        return _mean(losses, len(rows))  # rows of weight zero come last

    def monitor(self, rows: Tensor) -> MeanLoss:
        """Return the loss at full weights and without noise."""
        names: list[str] = []

        def columns(part: Tensor) -> Tensor:
            losses, terms = self.objective.monitor(self.network, part)
            names[:] = terms
            values = map(torch.as_tensor, terms.values())
            shared = (value.to(losses).expand_as(losses) for value in values)
            return torch.stack([losses, *shared], dim=1)

        self.network.eval()
        with torch.no_grad():
            means = in_batches(columns, rows).double().mean(dim=0).tolist()
        train_mode(self.network)
        return MeanLoss(means[0], dict(zip(names, means[1:], strict=True)))

    def require_finite(self, epoch: int, *losses: MeanLoss) -> None:
        """Refuse losses or weights that are infinite or not a number.

        Raises
        ------
        DivergenceError
        """
        sums = [float(vector.parameters.sum()) for vector in self.optimizer.vectors]
        if not all(map(math.isfinite, [*sums, *(mean.loss for mean in losses)])):
            raise DivergenceError(
                f"The loss was no longer finite in epoch {epoch}. Lower the learning "
                "rate, or clip the gradient."
            )

    def threads(self, batch_size: int) -> AbstractContextManager[Any]:
        """Return the threads for the steps of a perceptron; other networks have all."""
        if self.device.type != "cpu":
            return threads_for(math.inf)
        return threads_for(batch_size * self.objective.operations_per_row(self.network))


def _on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a generator of the device, which is a new one if it is not the CPU."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def _mean(losses: list[Losses], n_rows: int) -> MeanLoss:
    """Return means over the first rows of an epoch, or over its steps."""

    def mean(values: list[Any]) -> float:
        if not isinstance(values[0], Tensor):
            return sum(values) / len(values)
        joined = torch.cat(values)[:n_rows] if values[0].ndim else torch.stack(values)
        return float(joined.double().mean())

    terms = {
        name: mean([step.terms[name] for step in losses]) for name in losses[0].terms
    }
    return MeanLoss(mean([step.rows for step in losses]), terms)
