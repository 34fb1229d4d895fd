"""Losses as plain functions: one value per row, summed over features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
Derived = tuple[Tensor, float]


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the squared Euclidean distance of each row from its target.

    Examples
    --------
    >>> squared_error(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    tensor([5.])
    """
    return F.mse_loss(output, target, reduction="none").flatten(1).sum(dim=1)


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


def _squared_error_derivative(output: Tensor, target: Tensor, out: Tensor) -> Derived:
    torch.sub(output, target, out=out)
    # One pass, without a temporary array.
    return torch.linalg.vector_norm(out, dim=1).square_(), 2.0


def _absolute_error_derivative(output: Tensor, target: Tensor, out: Tensor) -> Derived:
    torch.sub(output, target, out=out)
    losses = torch.abs(out).sum(dim=1)
    out.sign_()
    return losses, 1.0


def _huber_derivative(output: Tensor, target: Tensor, out: Tensor) -> Derived:
    torch.sub(output, target, out=out).clamp_(-1.0, 1.0)
    return huber(output, target), 1.0


def _binary_cross_entropy_derivative(
    output: Tensor, target: Tensor, out: Tensor
) -> Derived:
    torch.sigmoid(output, out=out).sub_(target)
    return binary_cross_entropy(output, target), 1.0


# Of rows of features: write the derivative of each loss by the output into `out`, but
# for a factor; return the losses and the factor. Few passes over the memory.
LOSS_DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor], Derived]] = {
    "squared_error": _squared_error_derivative,
    "absolute_error": _absolute_error_derivative,
    "huber": _huber_derivative,
    "binary_cross_entropy": _binary_cross_entropy_derivative,
}


def sparsity(latents: Tensor) -> Tensor:
    """Return the sum of the absolute latent coordinates of each row.

    Examples
    --------
    >>> sparsity(torch.tensor([[1.0, -2.0]]))
    tensor([3.])
    """
    return torch.abs(latents).flatten(1).sum(dim=1)


def contraction(
    encode: Callable[[Tensor], Tensor], rows: Tensor, probes: Tensor
) -> Tensor:
    """Estimate the squared Frobenius norm of the encoder's Jacobian at each row.

    Hutchinson's estimate of the contractive penalty (Rifai et al., 2011): the squared
    length of the Jacobian's product with a vector of random signs. It is unbiased, and
    exact for a single latent dimension.

    Parameters
    ----------
    encode : callable
        From rows to latents, row by row.

    rows : Tensor of shape (n_rows, ...)

    probes : Tensor of shape (n_rows, n_latents)
        Random signs.

    Returns
    -------
    penalties : Tensor of shape (n_rows,)

    Examples
    --------
    >>> weights = torch.tensor([[3.0], [4.0]])
    >>> contraction(lambda rows: rows @ weights, torch.ones(1, 2), torch.ones(1, 1))
    tensor([25.])
    """
    _, pull_back = torch.func.vjp(encode, rows)[:2]
    (products,) = pull_back(probes)
    return torch.square(products).flatten(1).sum(dim=1)
