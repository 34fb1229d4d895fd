"""Seeded minibatches of resident or streamed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# What a streamed epoch holds in memory at a time (twice: one in use, one being read).
BUFFER_BYTES = 2**24
# Streamed rows are read in runs of consecutive ones, as long as this.
RUN_BYTES = 2**18


class Batch(NamedTuple):
    """What a step sees.

    Attributes
    ----------
    rows : Tensor of shape (batch_size, ...)
    weights : Tensor of shape (batch_size,)
        One for rows of the batch, zero for those that only fill it up: every batch has
        one shape, so that a compiled step serves them all. Only the last rows of an
        epoch can be such; the batches before share one tensor.
    """

    rows: Tensor
    weights: Tensor


class Rows(Protocol):
    """Training rows."""

    def __len__(self) -> int: ...

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield all rows once, in random order, in batches of one shape.

        Parameters
        ----------
        batch_size : int
            At least 1. Fewer rows than that make one smaller batch.

        generator : torch.Generator
            On the CPU.
        """
        ...


class ResidentRows:
    """Rows of a tensor that is on the device already.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, ...)

    chosen : Tensor of shape (n_chosen,), dtype int64, or None, default=None
        Numbers of the rows to train on, if not all. They are not copied.

    Examples
    --------
    >>> rows = ResidentRows(torch.tensor([[0.0], [10.0], [20.0]]))
    >>> batches = list(rows.epoch(2, torch.Generator().manual_seed(0)))
    >>> [batch.weights.tolist() for batch in batches]
    [[1.0, 1.0], [1.0, 0.0]]
    """

    def __init__(self, rows: Tensor, chosen: Tensor | None = None) -> None:
        self.rows = rows
        self.chosen = chosen

    def __len__(self) -> int:
        return len(self.rows if self.chosen is None else self.chosen)

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield all rows once, in random order (see `Rows`)."""
        device = self.rows.device
        batch_size = min(batch_size, len(self))
        order = torch.randperm(len(self), generator=generator)
        if self.chosen is not None:
            order = self.chosen[order]
        n_whole = len(order) - len(order) % batch_size
        ones = torch.ones(batch_size, device=device)
        for numbers in order[:n_whole].to(device).split(batch_size):
            yield Batch(self.rows.index_select(0, numbers), ones)
        if n_whole < len(order):
            # Rows that were seen already fill up.
            filled = torch.cat([order[n_whole:], order])[:batch_size].to(device)
            weights = _weights(len(order) - n_whole, batch_size, device)
            yield Batch(self.rows.index_select(0, filled), weights)


def _weights(n_rows: int, batch_size: int, device: torch.device) -> Tensor:
    """Return ones for so many rows, and zeros after them."""
    return (torch.arange(batch_size, device=device) < n_rows).float()


class StreamedRows:
    """Rows of an array larger than memory, read in bounded portions.

    An epoch visits short runs of consecutive rows in random order, gathers them into a
    buffer of some megabytes and shuffles that: nearly as random as a shuffle of all
    rows, without a disk seek for each. The next buffer is read while one is in use.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_features)
        A memory map.

    prepare : callable
        From some rows of the array to a float32 tensor on the CPU.

    device : torch.device

    left_out : ndarray of shape (n_left_out,) or None, default=None
        Numbers of rows that are not trained on.

    Examples
    --------
    >>> array = np.arange(5.0, dtype=np.float32)[:, None]
    >>> rows = StreamedRows(array, torch.from_numpy, torch.device("cpu"), np.array([3]))
    >>> batches = list(rows.epoch(3, torch.Generator().manual_seed(0)))
    >>> [batch.weights.tolist() for batch in batches]
    [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    >>> sorted(torch.cat([b.rows[b.weights > 0] for b in batches]).ravel().tolist())
    [0.0, 1.0, 2.0, 4.0]
    """

    def __init__(
        self,
        array: NDArray[Any],
        prepare: Callable[[NDArray[Any]], Tensor],
        device: torch.device,
        left_out: NDArray[np.int64] | None = None,
    ) -> None:
        self.array = array
        self.prepare = prepare
        self.device = device
        self.kept = np.ones(len(array), bool)
        if left_out is not None:
            self.kept[left_out] = False
        self.n_kept = int(self.kept.sum())

    def __len__(self) -> int:
        return self.n_kept

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield all rows once, in random order (see `Rows`)."""
        batch_size = min(batch_size, len(self))
        rest = torch.empty(0, *self.array.shape[1:])
        ones = torch.ones(batch_size, device=self.device)
        for buffer in self._buffers(batch_size, generator):
            rows = torch.cat([rest, buffer])
            n_whole = len(rows) - len(rows) % batch_size
            whole = self._moved(rows[:n_whole])
            for start in range(0, n_whole, batch_size):
                yield Batch(whole[start : start + batch_size], ones)
            rest = rows[n_whole:].clone()
        if len(rest):
            numbers = torch.arange(batch_size).remainder(len(rest))
            weights = _weights(len(rest), batch_size, self.device)
            yield Batch(self._moved(rest[numbers]), weights)

    def _buffers(self, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield shuffled buffers; the next is read in a thread meanwhile."""
        row_bytes = 4 * max(1, self.array[0].size)
        run = max(1, RUN_BYTES // row_bytes)
        per_buffer = max(1, max(BUFFER_BYTES // row_bytes, batch_size) // run)
        starts = torch.randperm(-(-len(self.array) // run), generator=generator) * run
        groups = [group.tolist() for group in starts.split(per_buffer)]
        seeds = torch.randint(2**62, (len(groups),), generator=generator).tolist()
        with ThreadPoolExecutor(1) as reader:
            pending = reader.submit(self._read, groups[0], run, seeds[0])
            for group, seed in zip(groups[1:], seeds[1:], strict=True):
                buffer = pending.result()
                pending = reader.submit(self._read, group, run, seed)
                yield buffer
            yield pending.result()

    def _read(self, starts: list[int], run: int, seed: int) -> Tensor:
        numbers = np.concatenate(
            [np.arange(s, min(s + run, len(self.array))) for s in starts]
        )
        numbers = numbers[self.kept[numbers]]
        np.random.default_rng(seed).shuffle(numbers)
        return self.prepare(self.array[numbers])

    def _moved(self, rows: Tensor) -> Tensor:
        if self.device.type == "cuda":  # pinned memory is copied without waiting
            return rows.pin_memory().to(self.device, non_blocking=True)
        return rows
