"""An embedder's rows on their way to a network and back."""

from __future__ import annotations

import copy
import math
import mmap
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk._device import to_numpy
from latentsk.embedders._blocks import row_blocks
from latentsk.embedders._standardize import Standardizer
from latentsk.training.batches import ResidentRows, Rows, StreamedRows
from latentsk.training.inference import INFERENCE_ROWS, in_batches

Network = TypeVar("Network", bound=nn.Module)

# Rows from which a part is set aside for validation.
MIN_ROWS_TO_VALIDATE = 50
# Rows that are watched where none are set aside.
MAX_ROWS_TO_WATCH = 1_024
# Memory-mapped rows that take more than this in float32 are streamed.
MAX_RESIDENT_BYTES = 2**26
# And at most this much of them is set aside for validation, which stays in memory.
MAX_VALIDATION_BYTES = 2**24


def is_memory_mapped(X: Any) -> bool:
    """Tell whether an array is a view of a memory-mapped file.

    Examples
    --------
    >>> is_memory_mapped(np.zeros(3))
    False
    """
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap.mmap)


class TrainingRows(NamedTuple):
    """The rows of a fit.

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


def training_rows(
    X: NDArray[Any],
    standardizer: Standardizer,
    device: torch.device,
    validation_fraction: float,
    generator: torch.Generator,
) -> TrainingRows:
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
    rows : TrainingRows

    Examples
    --------
    >>> rows, monitored, _ = training_rows(
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
        return TrainingRows(source, prepare(X[watched]).to(device), held_out)
    rows = standardizer.tensor(X).to(device)
    monitored = rows[torch.from_numpy(watched).to(device)]
    if n_held_out == 0:
        return TrainingRows(ResidentRows(rows), monitored, held_out)
    kept = torch.ones(len(X), dtype=torch.bool)
    kept[held_out] = False
    chosen = kept.nonzero()[:, 0]
    return TrainingRows(ResidentRows(rows, chosen), monitored, held_out)


def infer(
    network: Network,
    function: Callable[[Network, Tensor], Tensor],
    X: NDArray[Any],
    standardizer: Standardizer,
    dtype: torch.dtype,
    n_rows: int = INFERENCE_ROWS,
) -> NDArray[Any]:
    """Apply a function of a network and rows, block by block, on the network's device.

    Nothing is written to the network, so threads may share it.

    Parameters
    ----------
    network : nn.Module
        In eval mode.

    function : callable
        ``function(network, rows)``, one result per row.

    X : ndarray of shape (n_rows, n_features)

    standardizer : Standardizer

    dtype : torch.dtype
        To compute in.

    n_rows : int, default=4_096
        Rows at a time, at most.

    Returns
    -------
    results : ndarray of shape (n_rows, ...)

    Examples
    --------
    >>> from latentsk.modules.autoencoder import Autoencoder
    >>> network = Autoencoder(nn.Linear(2, 1), nn.Linear(1, 2)).eval()
    >>> infer(
    ...     network, lambda network, rows: network.encoder(rows), np.ones((3, 2)),
    ...     Standardizer.identity(2), torch.float32,
    ... ).shape
    (3, 1)
    """
    network = in_dtype(network, dtype)
    device = next(network.parameters(), torch.empty(0)).device
    results = []
    with torch.no_grad():
        for block in row_blocks(X):
            rows = standardizer.apply(block, dtype).to(device)
            results.append(
                in_batches(
                    lambda part: function(network, part),
                    rows,
                    min(n_rows, INFERENCE_ROWS),
                )
            )
    return to_numpy(torch.cat(results))


def saturated(scores: Tensor) -> Tensor:
    """Return finite scores: out of the range of its dtype a row is most abnormal.

    Examples
    --------
    >>> saturated(torch.tensor([-1.0, -torch.inf, torch.nan]))
    tensor([-1.0000e+00, -3.4028e+38, -3.4028e+38])
    """
    return torch.nan_to_num(scores, nan=torch.finfo(scores.dtype).min)


def in_dtype(network: Network, dtype: torch.dtype) -> Network:
    """Return the network, or a copy of it in another dtype.

    Examples
    --------
    >>> from latentsk.modules.autoencoder import Autoencoder
    >>> network = Autoencoder(nn.Linear(2, 1), nn.Linear(1, 2))
    >>> in_dtype(network, torch.float64).encoder.weight.dtype
    torch.float64
    """
    first = next(network.parameters(), None)
    if first is None or first.dtype == dtype:
        return network
    return copy.deepcopy(network).to(dtype)
