"""Rows on their way to training: split, standardized, in seeded minibatches."""

from __future__ import annotations

import math
import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk._images import MappedImages
from latentsk.training._standardize import Standardizer

# What a streamed epoch holds in memory at a time (twice: one in use, one being read).
BUFFER_BYTES = 2**24
# Streamed rows are read in runs of consecutive ones, as long as this.
RUN_BYTES = 2**18
# Rows from which a part is set aside for validation.
MIN_ROWS_TO_VALIDATE = 50
# Rows that are watched where none are set aside.
MAX_ROWS_TO_WATCH = 1_024
# Memory-mapped rows that take more than this in float32 are streamed.
MAX_RESIDENT_BYTES = 2**26
# And at most this much of them is set aside for validation, which stays in memory.
MAX_VALIDATION_BYTES = 2**24


class Batch(NamedTuple):
    """What a step sees.

    Attributes
    ----------
    rows : Tensor of shape (batch_size, ...)
    weights : Tensor of shape (batch_size,), dtype float32
        Their sum is one. Rows of the batch share it equally; those that only fill it up
        have none: every batch has one shape, so that a compiled step serves them all.
        Only the last rows of an epoch can be such; the batches before share one tensor.
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


class StartsFromRows(ABC):
    """A network, parts of which start from training rows (abstract)."""

    @property
    @abstractmethod
    def starts_at(self) -> float:
        """Share of the training after which they start, in [0, 1)."""

    @abstractmethod
    def start_from(self, rows: Rows, generator: torch.Generator) -> None:
        """Set the parameters that the training starts from.

        Parameters
        ----------
        rows : Rows

        generator : torch.Generator
            On the CPU.
        """


class BeginsWithRows(ABC):
    """A network that is told of its training rows before all else (abstract)."""

    @abstractmethod
    def begin_with(self, rows: Rows) -> None:
        """Take note of training rows, before the first step.

        Parameters
        ----------
        rows : Rows
        """


class EndsWithRows(ABC):
    """A network that tells something of its training rows (abstract)."""

    @abstractmethod
    def end_with(self, rows: Rows) -> None:
        """Take note of training rows, after the training.

        Parameters
        ----------
        rows : Rows
        """


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
    [[0.5, 0.5], [1.0, 0.0]]
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
        even = _weights(batch_size, batch_size, device)
        for numbers in order[:n_whole].to(device).split(batch_size):
            yield Batch(self.rows.index_select(0, numbers), even)
        if n_whole < len(order):
            # Rows that were seen already fill up.
            filled = torch.cat([order[n_whole:], order])[:batch_size].to(device)
            weights = _weights(len(order) - n_whole, batch_size, device)
            yield Batch(self.rows.index_select(0, filled), weights)


def _weights(n_rows: int, batch_size: int, device: torch.device) -> Tensor:
    """Return equal weights of so many rows, and zeros after them."""
    weights = torch.zeros(batch_size, dtype=torch.float32, device=device)
    weights[:n_rows] = 1.0 / n_rows
    return weights


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
    >>> [batch.weights.round(decimals=2).tolist() for batch in batches]
    [[0.33..., 0.33..., 0.33...], [1.0, 0.0, 0.0]]
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
        rest = torch.empty(0, *self.array.shape[1:], dtype=torch.float32)
        even = _weights(batch_size, batch_size, self.device)
        for buffer in self._buffers(batch_size, generator):
            rows = torch.cat([rest, buffer])
            n_whole = len(rows) - len(rows) % batch_size
            whole = self._moved(rows[:n_whole])
            for start in range(0, n_whole, batch_size):
                yield Batch(whole[start : start + batch_size], even)
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


def is_memory_mapped(X: Any) -> bool:
    """Tell whether an array is a view of a memory-mapped file.

    Examples
    --------
    >>> is_memory_mapped(np.zeros(3))
    False
    """
    X = X.images if isinstance(X, MappedImages) else X
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap.mmap)


class Split(NamedTuple):
    """The rows of a fit: those to train on, and those to watch.

    Attributes
    ----------
    rows : Rows
        Those to train on.
    monitored : Tensor of shape (n_monitored, n_features)
        Those to choose the best weights with, standardized: rows that are set aside, or
        a sample of those trained on.
    held_out : ndarray of shape (n_held_out,), dtype int64
        Numbers of the rows that are set aside.
    """

    rows: Rows
    monitored: Tensor
    held_out: NDArray[np.int64]


def split_rows(
    X: NDArray[Any],
    standardizer: Standardizer,
    device: torch.device,
    validation_fraction: float,
    generator: torch.Generator,
) -> Split:
    """Return the rows to train on, and those to choose the best weights with.

    In memory they become one float32 tensor on the device. Of a large memory map they
    are read as they are needed.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)

    standardizer : Standardizer

    device : torch.device

    validation_fraction : float
        Few rows are all trained on.

    generator : torch.Generator
        Chooses the rows to validate with.

    Returns
    -------
    split : Split

    Examples
    --------
    >>> rows, monitored, _ = split_rows(
    ...     np.eye(100), Standardizer.identity(100), torch.device("cpu"), 0.1,
    ...     torch.Generator().manual_seed(0),
    ... )
    >>> len(rows), len(monitored)
    (90, 10)
    """
    streamed = is_memory_mapped(X) and 4 * X.size > MAX_RESIDENT_BYTES
    n_held_out = math.floor(validation_fraction * len(X))
    if len(X) < MIN_ROWS_TO_VALIDATE:
        n_held_out = 0
    if streamed:
        n_held_out = min(n_held_out, max(1, MAX_VALIDATION_BYTES // (4 * X.shape[1])))
    order = torch.randperm(len(X), generator=generator)
    held_out = order[:n_held_out].sort().values.numpy()
    # Whatever is monitored stays in memory.
    watched = held_out if n_held_out else order[:MAX_ROWS_TO_WATCH].numpy()
    if streamed:

        def prepare(block: NDArray[Any]) -> Tensor:
            return standardizer.apply(block, torch.float32)

        source = StreamedRows(X, prepare, device, held_out)
        return Split(source, prepare(X[watched]).to(device), held_out)
    rows = standardizer.tensor(X).to(device)
    monitored = rows[torch.from_numpy(watched).to(device)]
    if n_held_out == 0:
        return Split(ResidentRows(rows), monitored, held_out)
    kept = torch.ones(len(X), dtype=torch.bool)
    kept[held_out] = False
    chosen = kept.nonzero()[:, 0]
    return Split(ResidentRows(rows, chosen), monitored, held_out)
