"""Seeded minibatches of resident data, and inference in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Which rows a step sees.

    Attributes
    ----------
    rows : Tensor of shape (batch_size,), dtype int64
        Row numbers.

    weights : Tensor of shape (batch_size,)
        One for rows of the batch, zero for those that only fill it up: every batch has
        one shape, so that a compiled step serves them all.
    """

    rows: Tensor
    weights: Tensor


def epoch_batches(
    n_rows: int, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    """Yield all rows once, in random order.

    Parameters
    ----------
    n_rows : int
        At least 1.

    batch_size : int
        At least 1. Fewer rows than that make one smaller batch.

    generator : torch.Generator
        Its device is where the batches are made.

    Examples
    --------
    >>> batches = list(epoch_batches(5, 2, torch.Generator().manual_seed(0)))
    >>> [batch.weights.tolist() for batch in batches]
    [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]
    >>> sorted(torch.cat([b.rows[b.weights > 0] for b in batches]).tolist())
    [0, 1, 2, 3, 4]
    """
    device = generator.device
    batch_size = min(batch_size, n_rows)
    order = torch.randperm(n_rows, generator=generator, device=device)
    missing = -n_rows % batch_size
    weights = torch.ones(n_rows + missing, device=device)
    if missing:
        weights[n_rows:] = 0.0
        order = torch.cat([order, order[:missing]])
    for start in range(0, len(order), batch_size):
        part = slice(start, start + batch_size)
        yield Batch(order[part], weights[part])


def in_batches(
    function: Callable[[Tensor], Tensor], rows: Tensor, batch_size: int
) -> Tensor:
    """Apply a function of rows in batches and join the results.

    Examples
    --------
    >>> in_batches(lambda rows: rows.sum(dim=1), torch.ones(5, 3), 2)
    tensor([3., 3., 3., 3., 3.])
    """
    return torch.cat([function(part) for part in rows.split(batch_size)])
