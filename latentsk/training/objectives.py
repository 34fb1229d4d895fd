"""Losses as plain functions: one value per row, summed over features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the squared Euclidean distance of each row from its target.

    Examples
    --------
    >>> squared_error(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    tensor([5.])
    """
    return torch.square(output - target).flatten(1).sum(dim=1)


def absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the sum of absolute differences of each row.

    Examples
    --------
    >>> absolute_error(torch.tensor([[1.0, -2.0]]), torch.zeros(1, 2))
    tensor([3.])
    """
    return torch.abs(output - target).flatten(1).sum(dim=1)


def huber(output: Tensor, target: Tensor) -> Tensor:
    """Return Huber's loss: squares (halved) up to one, then linear.

    Examples
    --------
    >>> huber(torch.tensor([[0.5, 3.0]]), torch.zeros(1, 2))
    tensor([2.6250])
    """
    return F.huber_loss(output, target, reduction="none").flatten(1).sum(dim=1)


def binary_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy in nats of targets in [0, 1], from logits.

    Examples
    --------
    >>> binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
    tensor([1.3863])
    """
    losses = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    return losses.flatten(1).sum(dim=1)


LOSSES: dict[str, Loss] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "binary_cross_entropy": binary_cross_entropy,
}
