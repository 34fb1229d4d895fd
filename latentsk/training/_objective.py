"""What is learned: the interface between a kind of model and the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Random numbers of a step, by name. The masks of dropout layers have the names under
# which the network registers them.
Noise = dict[str, Tensor]


class Losses(NamedTuple):
    """What a batch costs.

    Attributes
    ----------
    rows : Tensor of shape (n_rows,)
        The loss of every row.
    terms : dict of str to Tensor of shape (n_rows,) or (), or float
        Its named terms, for the history.
    """

    rows: Tensor
    terms: dict[str, Tensor | float]

    def detached(self) -> Losses:
        """Return what can be kept."""
        terms = self.terms.items()
        fixed = {k: v.detach() if isinstance(v, Tensor) else v for k, v in terms}
        return Losses(self.rows.detach(), fixed)


# (batch, noise, row_weights, progress) -> losses; fills in the parameters' gradients
Gradient = Callable[[Tensor, Noise, Tensor, Tensor], Losses]


class Objective(ABC):
    """What is learned by a network (abstract).

    The training loop knows nothing else of the model. It tells the objective how far it
    has come: `progress` is the number of steps done over that of ``max_epochs`` epochs,
    and 1 where no end is known. Schedules are functions of it.

    Attributes
    ----------
    settled_at : float in [0, 1]
        Progress from which losses of different epochs can be compared: early stopping
        counts from there.
    """

    settled_at: float

    @abstractmethod
    def draw_noise(self, n_rows: int, generator: torch.Generator) -> Noise:
        """Return the random numbers of a step, on the generator's device."""

    @abstractmethod
    def loss(
        self, network: Any, batch: Tensor, noise: Noise, progress: Tensor
    ) -> Losses:
        """Return the loss to minimize.

        Parameters
        ----------
        network : nn.Module
            In training mode, its dropout masks set.

        batch : Tensor of shape (n_rows, n_features)
            Standardized rows.

        noise : dict of str to Tensor
            From :meth:`draw_noise`.

        progress : Tensor of shape ()
        """

    @abstractmethod
    def monitor(self, network: Any, rows: Tensor) -> Losses:
        """Return the loss at full weights and without noise, to compare epochs by.

        Parameters
        ----------
        network : nn.Module
            In eval mode.

        rows : Tensor of shape (n_rows, n_features)
        """

    @abstractmethod
    def gradient(self, network: Any) -> Gradient | None:
        """Return the gradient in closed form, or None to leave it to autograd.

        The closed form writes into the ``grad`` of every parameter.
        """

    @abstractmethod
    def operations_per_row(self, network: Any) -> float:
        """Return the floating-point operations of a step for a row of a perceptron.

        Infinite for other networks, whose work is not counted.
        """


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which matrix products have a precision."""
    if precision == "float32":  # entering torch's takes as long as a small layer
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
