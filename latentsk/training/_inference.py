"""Functions of rows applied in batches that fit into memory."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk._chunks import row_blocks
from latentsk._device import to_numpy
from latentsk._warnings import warn
from latentsk.exceptions import OutOfMemoryWarning
from latentsk.training._standardize import Standardizer

Network = TypeVar("Network", bound=nn.Module)

INFERENCE_ROWS = 4_096


def in_batches(
    function: Callable[[Tensor], Tensor], rows: Tensor, batch_size: int = INFERENCE_ROWS
) -> Tensor:
    """Apply a function of rows in batches and join the results.

    Where the device runs out of memory the batch is halved, with one warning.

    Parameters
    ----------
    function : callable
        From rows to one result per row.

    rows : Tensor of shape (n_rows, ...)

    batch_size : int, default=4_096

    Warns
    -----
    OutOfMemoryWarning
        If a batch had to be halved.

    Raises
    ------
    torch.OutOfMemoryError
        If a single row does not fit.

    Examples
    --------
    >>> in_batches(lambda rows: rows.sum(dim=1), torch.ones(5, 3), 2)
    tensor([3., 3., 3., 3., 3.])
    """
    # A thread that is new to torch has OpenMP's number of threads until torch is asked:
    # sums would be rounded otherwise than in the thread that set another number.
    torch.get_num_threads()
    results, start, wanted = [], 0, batch_size
    while start < len(rows):
        try:
            results.append(function(rows[start : start + batch_size]))
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = batch_size // 2
        else:
            start += batch_size
    if batch_size < wanted:
        warn(
            f"Batches of {wanted} rows did not fit into the device's memory; batches "
            f"of {batch_size} did.",
            OutOfMemoryWarning,
        )
    return torch.cat(results)


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
    >>> import numpy as np
    >>> from latentsk.networks._autoencoder import Autoencoder
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


def clip_to_finite(scores: Tensor) -> Tensor:
    """Return finite scores: out of the range of its dtype a row is most abnormal.

    Examples
    --------
    >>> clip_to_finite(torch.tensor([-1.0, -torch.inf, torch.nan]))
    tensor([-1.0000e+00, -3.4028e+38, -3.4028e+38])
    """
    return torch.nan_to_num(scores, nan=torch.finfo(scores.dtype).min)


def in_dtype(network: Network, dtype: torch.dtype) -> Network:
    """Return the network, or a copy of it in another dtype.

    Examples
    --------
    >>> from latentsk.networks._autoencoder import Autoencoder
    >>> network = Autoencoder(nn.Linear(2, 1), nn.Linear(1, 2))
    >>> in_dtype(network, torch.float64).encoder.weight.dtype
    torch.float64
    """
    first = next(network.parameters(), None)
    if first is None or first.dtype == dtype:
        return network
    return copy.deepcopy(network).to(dtype)


class Inference(ABC):
    """What a trained network says of rows (abstract).

    Attributes
    ----------
    rows_per_score, rows_per_contribution : int
        Rows at a time, at most, so that what is kept of them fits into memory.
    """

    rows_per_score: int
    rows_per_contribution: int

    @abstractmethod
    def encode(self, network: Any, rows: Tensor) -> Tensor:
        """Return the latent coordinates of standardized rows."""

    @abstractmethod
    def decode(self, network: Any, latents: Tensor) -> Tensor:
        """Return the standardized rows that latent coordinates stand for."""

    @abstractmethod
    def score(self, network: Any, rows: Tensor) -> Tensor:
        """Return the score of each standardized row."""

    @abstractmethod
    def contributions(self, network: Any, rows: Tensor) -> Tensor:
        """Split the score of each standardized row among its features."""
