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
# (flat parameters, batch, noise, row_weights, kl_weight) -> flat gradient, losses
Gradient = Callable[[Tensor, Tensor, Noise, Tensor, Tensor], tuple[Tensor, Tensor]]
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

    Frozen parameters (those without ``requires_grad``) are left out.

    Examples
    --------
    >>> flat, layout = flatten(nn.Linear(2, 3))
    >>> flat.shape, layout.views(flat)["weight"].shape
    (torch.Size([9]), torch.Size([3, 2]))
    """
    named = {k: p.detach() for k, p in module.named_parameters() if p.requires_grad}
    layout = Layout(tuple(named), tuple(p.shape for p in named.values()))
    first = next(module.parameters(), torch.empty(0))
    empty = torch.empty(0, device=first.device)  # torch.cat wants one tensor at least
    return torch.cat([empty, *(p.flatten() for p in named.values())]), layout


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
    state.n_steps.add_(1.0)
    if torch.compiler.is_compiling():
        # The compiler makes one kernel of this, and does not take the ready one below.
        _adam_arithmetic(state, gradient, learning_rate, settings)
        return
    # The kernel of torch.optim.AdamW(fused=True): one pass over the four vectors.
    torch._fused_adamw_(
        [state.parameters],
        [gradient],
        [state.mean],
        [state.square],
        [],
        [state.n_steps],
        lr=learning_rate,
        beta1=settings.beta_mean,
        beta2=settings.beta_square,
        weight_decay=settings.weight_decay,
        eps=settings.epsilon,
        amsgrad=False,
        maximize=False,
    )


def _adam_arithmetic(
    state: TrainingState,
    gradient: Tensor,
    learning_rate: Tensor,
    settings: StepSettings,
) -> None:
    parameters, mean, square, n_steps = state
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


def autograd(objective: Objective, layout: Layout) -> Gradient:
    """Return the gradient of an objective's weighted mean, by torch's autograd.

    Parameters
    ----------
    objective : callable
        ``objective(parameters, batch, noise, kl_weight)``, one loss per row.

    layout : Layout
        Of the parameters that the objective takes.

    Returns
    -------
    gradient : callable
        ``gradient(flat, batch, noise, row_weights, kl_weight)`` returns the gradient of
        the mean loss, weighted by `row_weights`, as a flat vector, and the loss per
        row.

    Examples
    --------
    >>> def objective(parameters, batch, noise, kl_weight):
    ...     return (parameters["slope"] * batch).square().sum(dim=1)
    >>> gradient = autograd(objective, Layout(("slope",), (torch.Size([1]),)))
    >>> one = torch.ones(1)
    >>> gradient(3 * one, torch.tensor([[2.0]]), {}, one, torch.tensor(1.0))
    (tensor([24.]), tensor([36.]))
    """

    def mean_loss(
        flat: Tensor, batch: Tensor, noise: Noise, weights: Tensor, kl_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        losses = objective(layout.views(flat), batch, noise, kl_weight)
        return (losses * weights).sum() / weights.sum(), losses

    return torch.func.grad(mean_loss, has_aux=True)


def make_step(gradient: Gradient, settings: StepSettings) -> Step:
    """Return the training step along a gradient.

    Parameters
    ----------
    gradient : callable
        From :func:`autograd` or :func:`latentsk.training.dense.dense_gradient`.

    settings : StepSettings

    Returns
    -------
    step : callable
        ``step(state, batch, noise, row_weights, kl_weight, learning_rate)`` changes the
        state in place and returns the losses per row, as they were before the update.
        With :func:`autograd` it can be compiled as one graph.

    Examples
    --------
    >>> module = nn.Linear(1, 1, bias=False)
    >>> flat, layout = flatten(module)
    >>> def objective(parameters, batch, noise, kl_weight):
    ...     output = torch.func.functional_call(module, parameters, (batch,))
    ...     return (output - batch).square().sum(dim=1)
    >>> step = make_step(autograd(objective, layout), StepSettings())
    >>> state, one = TrainingState.start(torch.zeros(1)), torch.tensor(1.0)
    >>> step(state, torch.tensor([[2.0]]), {}, torch.ones(1), one, 0.1 * one)
    tensor([4.])
    >>> state.parameters
    tensor([0.1000])
    """

    def step(
        state: TrainingState,
        batch: Tensor,
        noise: Noise,
        row_weights: Tensor,
        kl_weight: Tensor,
        learning_rate: Tensor,
    ) -> Tensor:
        direction, losses = gradient(
            state.parameters, batch, noise, row_weights, kl_weight
        )
        if settings.clip_norm is not None:
            direction = clipped(direction, settings.clip_norm)
        adam_update(state, direction, learning_rate, settings)
        return losses

    return step
