"""One training step as one function: forward, gradient, clipping, Adam's update.

All parameters lie in one flat vector, so that the update is one kernel, a copy of the
best weights is one clone, and a checkpoint holds three vectors and a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Parameters = dict[str, Tensor]
Noise = dict[str, Tensor]
# (parameters, batch, noise, kl_weight) -> one loss per row
Objective = Callable[[Parameters, Tensor, Noise, Tensor], Tensor]
# (state, batch, noise, row_weights, kl_weight, learning_rate) -> one loss per row
Step = Callable[["TrainingState", Tensor, Noise, Tensor, Tensor, Tensor], Tensor]


class Layout(NamedTuple):
    """Where each parameter of a module lies in the flat vector.

    Attributes
    ----------
    names : tuple of str
    shapes : tuple of torch.Size
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    def views(self, flat: Tensor) -> Parameters:
        """Return the parameters as views of the flat vector."""
        # One split, whose gradient is one concatenation.
        parts = flat.split([shape.numel() for shape in self.shapes])
        return {
            name: part.view(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


def flatten(module: nn.Module) -> tuple[Tensor, Layout]:
    """Return a copy of a module's parameters as one vector, and its layout.

    Examples
    --------
    >>> flat, layout = flatten(nn.Linear(2, 3))
    >>> flat.shape, layout.views(flat)["weight"].shape
    (torch.Size([9]), torch.Size([3, 2]))
    """
    named = dict(module.named_parameters())
    layout = Layout(tuple(named), tuple(p.shape for p in named.values()))
    return torch.cat([p.detach().flatten() for p in named.values()]), layout


class TrainingState(NamedTuple):
    """What a step changes, in place.

    Attributes
    ----------
    parameters : Tensor of shape (n_parameters,)
    mean, square : Tensor of shape (n_parameters,)
        Adam's running means of the gradient and of its square.
    n_steps : Tensor of shape ()
        Number of steps taken.
    """

    parameters: Tensor
    mean: Tensor
    square: Tensor
    n_steps: Tensor

    @classmethod
    def start(cls, parameters: Tensor) -> TrainingState:
        """Return the state before the first step."""
        zeros = torch.zeros_like(parameters)
        n_steps = torch.zeros((), device=parameters.device)
        return cls(parameters, zeros, zeros.clone(), n_steps)


class StepSettings(NamedTuple):
    """Constants of a step.

    Attributes
    ----------
    weight_decay : float
        Decoupled from the gradient (AdamW).
    clip_norm : float or None
        Largest norm of the gradient.
    beta_mean, beta_square, epsilon : float
        Adam's.
    """

    weight_decay: float = 0.0
    clip_norm: float | None = None
    beta_mean: float = 0.9
    beta_square: float = 0.999
    epsilon: float = 1e-8


def adam_update(
    state: TrainingState,
    gradient: Tensor,
    learning_rate: Tensor,
    settings: StepSettings,
) -> None:
    """Take one step of AdamW, in place (Loshchilov & Hutter, 2019).

    Examples
    --------
    >>> state = TrainingState.start(torch.tensor([1.0]))
    >>> adam_update(state, torch.tensor([5.0]), torch.tensor(0.1), StepSettings())
    >>> state.parameters
    tensor([0.9000])
    """
    parameters, mean, square, n_steps = state
    n_steps.add_(1.0)
    mean.lerp_(gradient, 1.0 - settings.beta_mean)
    square.lerp_(gradient * gradient, 1.0 - settings.beta_square)
    step_size = learning_rate / (1.0 - settings.beta_mean**n_steps)
    root = torch.sqrt(square / (1.0 - settings.beta_square**n_steps))
    parameters.mul_(1.0 - learning_rate * settings.weight_decay)
    parameters.sub_(step_size * mean / (root + settings.epsilon))


def clipped(gradient: Tensor, most: float) -> Tensor:
    """Return a gradient whose norm is at most `most`.

    Examples
    --------
    >>> clipped(torch.tensor([3.0, 4.0]), 1.0)
    tensor([0.6000, 0.8000])
    """
    norm = torch.linalg.vector_norm(gradient)
    return gradient * torch.clamp(most / (norm + 1e-6), max=1.0)


def make_step(objective: Objective, layout: Layout, settings: StepSettings) -> Step:
    """Return the training step of an objective.

    Parameters
    ----------
    objective : callable
        ``objective(parameters, batch, noise, kl_weight)``, one loss per row.

    layout : Layout
        Of the parameters that the objective takes.

    settings : StepSettings

    Returns
    -------
    step : callable
        ``step(state, batch, noise, row_weights, kl_weight, learning_rate)`` changes the
        state in place and returns the losses per row, as they were before the update.
        The gradient is that of the mean loss, weighted by `row_weights`. It can be
        compiled as one graph.

    Examples
    --------
    >>> module = nn.Linear(1, 1, bias=False)
    >>> flat, layout = flatten(module)
    >>> def objective(parameters, batch, noise, kl_weight):
    ...     output = torch.func.functional_call(module, parameters, (batch,))
    ...     return (output - batch).square().sum(dim=1)
    >>> step = make_step(objective, layout, StepSettings())
    >>> state, one = TrainingState.start(torch.zeros(1)), torch.tensor(1.0)
    >>> step(state, torch.tensor([[2.0]]), {}, torch.ones(1), one, 0.1 * one)
    tensor([4.])
    >>> state.parameters
    tensor([0.1000])
    """

    def mean_loss(
        flat: Tensor, batch: Tensor, noise: Noise, weights: Tensor, kl_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        losses = objective(layout.views(flat), batch, noise, kl_weight)
        return (losses * weights).sum() / weights.sum(), losses

    gradient_of = torch.func.grad(mean_loss, has_aux=True)

    def step(
        state: TrainingState,
        batch: Tensor,
        noise: Noise,
        row_weights: Tensor,
        kl_weight: Tensor,
        learning_rate: Tensor,
    ) -> Tensor:
        gradient, losses = gradient_of(
            state.parameters, batch, noise, row_weights, kl_weight
        )
        if settings.clip_norm is not None:
            gradient = clipped(gradient, settings.clip_norm)
        adam_update(state, gradient, learning_rate, settings)
        return losses

    return step
