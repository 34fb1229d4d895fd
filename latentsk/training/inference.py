"""A function of rows applied in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentsk._warnings import warn
from latentsk.exceptions import OutOfMemoryWarning

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
