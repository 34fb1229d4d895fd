"""Exact search with the rows on a GPU."""

from __future__ import annotations

import functools
import threading
from typing import Any, NamedTuple

import numpy as np
import torch

from latentsk._chunks import row_slices
from latentsk._faiss import faiss_available, load_faiss
from latentsk._typing import Float32, Positions
from latentsk.index._exact import ExactSearch, FlatState
from latentsk.index._quantized import Vectors
from latentsk.index._query import Neighbors, Query
from latentsk.index._spec import FLAT

# Scores held at a time.
SCORE_ELEMENTS = 2**26
# Share of a device's free memory that rows may take.
MEMORY_SHARE = 0.6


class Resident(NamedTuple):
    """Rows on a device.

    Attributes
    ----------
    rows : Tensor of shape (n_rows, n_features), float32

    norms : Tensor of shape (n_rows,), float32, or None
        Squared lengths, for Euclidean distances; None for inner products.
    """

    rows: torch.Tensor
    norms: torch.Tensor | None

    def some(self, which: torch.Tensor) -> Resident:
        """Return some of the rows."""
        return Resident(
            self.rows[which], None if self.norms is None else self.norms[which]
        )


class DeviceSearch:
    """Exact search whose candidates are found on the device where the rows are.

    The rows go there with the first search; where they find no room, the candidates are
    found on the CPU.

    Parameters
    ----------
    exact : ExactSearch
        The same rows on the host, which measures and certifies.

    device : torch.device
        Where the rows are compared.

    Examples
    --------
    >>> exact = ExactSearch(np.eye(3), "euclidean")
    >>> search = DeviceSearch(exact, torch.device("cpu"))
    >>> search.neighbors(Query(np.array([[0.9, 0.1, 0.0]]), k=2))[1]
    array([[0, 1]])
    """

    spec = FLAT

    def __init__(self, exact: ExactSearch, device: torch.device) -> None:
        self.exact = exact
        self.device = device
        self._resident: Resident | None = None
        self._moving = threading.Lock()

    def has_room(self) -> bool:
        """Tell whether the device has room for the rows."""
        n_bytes = 4 * self.exact.n_rows * self.exact.space.n_features
        return self._resident is not None or fits_device(n_bytes, self.device)

    def takes(self, queries: torch.Tensor) -> bool:
        """Tell whether queries are valid ones that can stay on the device."""
        space = self.exact.space
        return (
            space.metric != "cosine"
            and not (space.is_similarity and bool((queries == 0).all(dim=1).any()))
            and queries.dtype in (torch.float32, torch.float64)
            and queries.shape[1:] == (space.n_features,)
            and bool(torch.isfinite(queries).all())
            and self.has_room()
        )

    def neighbors(self, query: Query) -> Neighbors:
        """Return the k nearest rows of each query: see `ExactSearch.neighbors`.

        Queries that are tensors (see `takes`) are answered in float32; FAISS may serve
        them unless the backend is "torch".
        """
        if torch.is_tensor(query.vectors):
            return self._of_tensor(query)

        def find(fast: Float32, wanted: int, eligible: Positions | None) -> Neighbors:
            if not self.has_room():
                return self.exact.candidates(fast, wanted, eligible, query.backend)
            on_device = torch.from_numpy(np.ascontiguousarray(fast)).to(self.device)
            scores, positions = self._smallest(on_device, wanted, eligible, False)
            return scores.astype(np.float64), positions

        return self.exact.answer(query, find)

    def add(self, vectors: Vectors, positions: Positions) -> None:
        """Take over vectors of which some rows are new or changed."""
        self._resident = None
        self.exact.add(vectors, positions)

    def remove(self, positions: Positions) -> None:
        """Do nothing: a search is told which rows are eligible."""

    def cost(self, n_neighbors: int, n_rows: int) -> float:
        """Return the cost of a query among so many rows, on the CPU."""
        return self.exact.cost(n_neighbors, n_rows)

    def n_bytes(self, n_rows: int) -> int:
        """Return 0: it holds nothing besides the rows."""
        return 0

    def to_state(self) -> FlatState:
        """Return what the search is restored from: nothing but the vectors."""
        return self.exact.to_state()

    def _of_tensor(self, query: Query) -> Neighbors:
        """Answer in float32 for queries that are on the device already."""
        space = self.exact.space
        shift, scale = space.rescaling
        fast = query.vectors.to(self.device, torch.float32)
        if shift is not None:
            fast = fast - torch.tensor(shift, device=self.device).float()
        fast, use_faiss = (fast * scale).contiguous(), query.backend != "torch"
        scores, positions = self._smallest(fast, query.k, query.eligible, use_faiss)
        return space.to_metric(space.from_score(scores.astype(np.float64))), positions

    def _smallest(
        self, queries: torch.Tensor, k: int, eligible: Positions | None, faiss: bool
    ) -> tuple[Float32, Positions]:
        rows = self._resident_rows()
        if eligible is not None:
            rows = rows.some(torch.from_numpy(eligible).to(self.device))
        scores, numbers = smallest_on_device(queries, rows, k, use_faiss=faiss)
        positions = numbers.cpu().numpy()
        if eligible is not None:
            positions = eligible[positions]
        return scores.cpu().numpy(), positions

    def _resident_rows(self) -> Resident:
        with self._moving:  # once, whoever of several threads is first
            if self._resident is None:
                fast, norms = self.exact.fast, self.exact.fast.norms
                self._resident = Resident(
                    torch.tensor(fast[:], device=self.device),
                    None if norms is None else torch.tensor(norms, device=self.device),
                )
            return self._resident


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
    queries: torch.Tensor, rows: Resident, n_candidates: int, *, use_faiss: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows with the smallest scores for each query.

    The score of a row ``x`` for a query ``q`` is ``|x - q|^2``, or ``-q.x`` for an
    inner product.

    Parameters
    ----------
    queries : Tensor of shape (n_queries, n_features), float32

    rows : Resident
        On the same device.

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
    >>> smallest_on_device(rows[:1], Resident(rows, rows[:, 0] ** 2), 2)
    (tensor([[0., 1.]]), tensor([[0, 1]]))
    """
    if use_faiss and rows.rows.is_cuda and faiss_has_gpus():
        return _with_faiss(queries, rows, n_candidates)
    parts = [
        _with_torch(queries[part], rows, n_candidates)
        for part in row_slices(len(queries), len(rows.rows), SCORE_ELEMENTS)
    ]
    scores, positions = zip(*parts, strict=True)
    return torch.cat(scores), torch.cat(positions)


def _with_torch(
    queries: torch.Tensor, resident: Resident, n_candidates: int
) -> tuple[torch.Tensor, torch.Tensor]:
    rows, norms = resident
    if _is_rounded(rows):
        queries, rows = queries.double(), rows.double()
    if norms is None:
        scores = -(queries @ rows.T)
    else:
        scores = torch.addmm(norms.to(rows.dtype), queries, rows.T, alpha=-2.0)
    values, positions = torch.topk(scores, n_candidates, dim=1, largest=False)
    if norms is not None:
        values = values + (queries * queries).sum(dim=1, keepdim=True)
    return values, positions


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
    queries: torch.Tensor, resident: Resident, n_candidates: int
) -> tuple[torch.Tensor, torch.Tensor]:
    # FAISS's own way of taking tensors (faiss.contrib.torch_utils) changes its classes
    # for everyone; this one hands over addresses.
    faiss = load_faiss()
    similarity, shape = resident.norms is None, (len(queries), n_candidates)
    queries, rows = queries.contiguous(), resident.rows.contiguous()
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
