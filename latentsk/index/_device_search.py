"""The rows with the smallest scores, on the device where the tensors are."""

from __future__ import annotations

import functools
import threading
from typing import Any

import torch

from latentsk.index._faiss import faiss_available, load_faiss

# Scores held at a time.
SCORE_ELEMENTS = 2**26
# Share of a device's free memory that rows may take.
MEMORY_SHARE = 0.6


def fits_device(n_bytes: int, device: torch.device) -> bool:
    """Tell whether rows of so many bytes may be put on a device.

    Examples
    --------
    >>> fits_device(1_000, torch.device("cpu"))
    True
    """
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= MEMORY_SHARE * free


def smallest_on_device(
    queries: torch.Tensor,
    rows: torch.Tensor,
    squared_norms: torch.Tensor | None,
    n_candidates: int,
    *,
    use_faiss: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows with the smallest scores for each query.

    The score of a row ``x`` for a query ``q`` is ``|x - q|^2``, or ``-q.x`` for an
    inner product.

    Parameters
    ----------
    queries : Tensor of shape (n_queries, n_features), float32

    rows : Tensor of shape (n_rows, n_features), float32, on the same device

    squared_norms : Tensor of shape (n_rows,), float32, or None
        Of the rows, for Euclidean distances; None for inner products.

    n_candidates : int
        At most n_rows.

    use_faiss : bool, default=False
        Whether FAISS searches, if it is built for GPUs and the tensors are on one.

    Returns
    -------
    scores : Tensor of shape (n_queries, n_candidates)
        Ascending.

    positions : Tensor of shape (n_queries, n_candidates), int64

    Examples
    --------
    >>> rows = torch.tensor([[0.0], [1.0], [3.0]])
    >>> smallest_on_device(rows[:1], rows, rows[:, 0] ** 2, 2)
    (tensor([[0., 1.]]), tensor([[0, 1]]))
    """
    if use_faiss and rows.is_cuda and faiss_has_gpus():
        return _with_faiss(queries, rows, squared_norms, n_candidates)
    scores, positions = [], []
    step = max(1, SCORE_ELEMENTS // len(rows))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        found = _smallest(part, rows, squared_norms, n_candidates)
        scores.append(found[0])
        positions.append(found[1])
    return torch.cat(scores), torch.cat(positions)


def _smallest(
    queries: torch.Tensor,
    rows: torch.Tensor,
    squared_norms: torch.Tensor | None,
    n_candidates: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    if _is_rounded(rows):
        queries, rows = queries.double(), rows.double()
    if squared_norms is None:
        scores = -(queries @ rows.T)
    else:
        norms = squared_norms.to(rows.dtype)
        scores = torch.addmm(norms, queries, rows.T, alpha=-2.0)
    found = torch.topk(scores, n_candidates, dim=1, largest=False)
    values = found.values
    if squared_norms is not None:
        values = values + (queries * queries).sum(dim=1, keepdim=True)
    return values, found.indices


def _is_rounded(rows: torch.Tensor) -> bool:
    """Whether products of float32 may be rounded to TF32, beyond our error bounds."""
    return rows.is_cuda and torch.get_float32_matmul_precision() != "highest"


def faiss_has_gpus() -> bool:
    """Tell whether FAISS is installed, and built for GPUs."""
    return faiss_available() and hasattr(load_faiss(), "StandardGpuResources")


# FAISS's work space on a GPU is not for several threads.
_one_at_a_time = threading.Lock()


@functools.cache
def _gpu_resources(device: torch.device) -> Any:
    return load_faiss().StandardGpuResources()


def _with_faiss(
    queries: torch.Tensor,
    rows: torch.Tensor,
    squared_norms: torch.Tensor | None,
    n_candidates: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    # FAISS's own way of taking tensors (faiss.contrib.torch_utils) changes its classes
    # for everyone; this one hands over addresses.
    faiss = load_faiss()
    similarity = squared_norms is None
    shape = (len(queries), n_candidates)
    queries, rows = queries.contiguous(), rows.contiguous()
    values = torch.empty(shape, dtype=torch.float32, device=rows.device)
    positions = torch.empty(shape, dtype=torch.int64, device=rows.device)
    arguments = faiss.GpuDistanceParams()
    arguments.metric = faiss.METRIC_INNER_PRODUCT if similarity else faiss.METRIC_L2
    arguments.k, arguments.dims = n_candidates, rows.shape[1]
    arguments.vectors = faiss.cast_integer_to_float_ptr(rows.data_ptr())
    arguments.queries = faiss.cast_integer_to_float_ptr(queries.data_ptr())
    arguments.numVectors, arguments.numQueries = len(rows), len(queries)
    arguments.outDistances = faiss.cast_integer_to_float_ptr(values.data_ptr())
    arguments.outIndices = faiss.cast_integer_to_idx_t_ptr(positions.data_ptr())
    arguments.device = rows.device.index or 0
    # It works on a stream of its own.
    _wait_for(rows.device)
    with _one_at_a_time:
        faiss.bfKnn(_gpu_resources(rows.device), arguments)
        _wait_for(rows.device)
    return -values if similarity else values, positions


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
