"""Which search an index gets, over which form of its vectors, and its recall."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64, Positions
from latentsk._warnings import warn
from latentsk.index._cost import exact_cost
from latentsk.index._device_search import DeviceSearch
from latentsk.index._exact import ExactSearch
from latentsk.index._families import changeable_families, graph_family
from latentsk.index._graph_sample import GraphSample
from latentsk.index._graph_search import GraphSearch
from latentsk.index._graph_tuning import GraphFamily
from latentsk.index._ivf_search import IVFSearch
from latentsk.index._memory import dtype_within, more_precise_dtypes
from latentsk.index._metric import Rescaling
from latentsk.index._quantized import QuantizedVectors, Vectors
from latentsk.index._recall import Bounds, HeldOut, held_out_queries, recall_table
from latentsk.index._search import Search, SearchState, Training, TuningTask
from latentsk.index._settings import Settings
from latentsk.index._tuning import (
    STATIC_FACTOR,
    budget_for,
    has_enough_rows,
    is_affordable,
    n_affordable_queries,
    plain_cost,
    tune,
)
from latentsk.index._work import WorkBudget


class Built(NamedTuple):
    """A search, the vectors that it is over, and the table of its recall, if any."""

    vectors: Vectors
    search: Search
    recalls: Float64 | None


def build_search(vectors: Vectors, members: Positions, settings: Settings) -> Built:
    """Return the search that is pinned, or found for a recall, over vectors.

    Parameters
    ----------
    vectors : ndarray or QuantizedVectors of shape (n_rows, n_features)
        Returned as they are, or quantized to fit a budget.

    members : ndarray of shape (n_members,)
        Positions of the active rows, ascending.

    settings : Settings
        What is asked for.

    Raises
    ------
    ValueError
        If the rows do not fit the budget or the specification, or the recall is not
        reached within the budget.
    """
    flat = flat_search(vectors, settings)
    graphs = _graphs_to_try(flat.exact.space.n_features, settings)
    dtype = _chosen_dtype(flat.exact, settings)
    stays_flat = _stays_flat(flat, len(members), graphs, settings)
    held_out = None
    if settings.target_recall is not None and not (stays_flat and dtype is None):
        settings.report("finding the true neighbours of held-out rows")
        held_out = _held_out(flat, members, settings)
    if dtype is not None:
        vectors = _quantize(vectors, dtype, settings)
        flat = flat_search(vectors, settings)
    search, bounds = flat, None
    if not stays_flat:
        search, bounds = _search_over(flat, members, held_out, graphs, settings)
    settings.report(f"built {search.spec}")
    if settings.target_recall is None:
        return Built(vectors, search, None)
    if search is flat and dtype is None:
        held_out = None  # nothing can be missed
    recalls = recall_table(search, held_out, members, settings.n_neighbors, bounds)
    if isinstance(search, IVFSearch) and held_out is not None:
        search.learn(held_out, members, settings.n_neighbors)
    _check_recall(recalls, search, vectors, settings)
    return Built(vectors, search, recalls)


def flat_search(
    vectors: Vectors, settings: Settings, rescaling: Rescaling | None = None
) -> Search:
    """Return the search that compares every row, where that is quickest."""
    exact = ExactSearch(vectors, settings.metric, rescaling)
    if settings.device.type == "cpu":
        return exact
    return DeviceSearch(exact, settings.device)


def restored_search(
    state: SearchState, vectors: Vectors, members: Positions, settings: Settings
) -> Search:
    """Return the search whose `to_state` it was, over the same vectors."""

    def flat_over(rescaling: Rescaling | None) -> Search:
        return flat_search(vectors, settings, rescaling)

    return state.restore(flat_over, members, settings.embed)


def _held_out(flat: Search, members: Positions, settings: Settings) -> HeldOut:
    """Return queries whose true neighbours are known, as many as tuning may take."""
    k = min(settings.n_neighbors, len(members) - 1)
    rng = np.random.default_rng(settings.seed)
    size = len(members), flat.exact.space.n_features
    most = n_affordable_queries(plain_cost(changeable_families(), *size), *size)
    return held_out_queries(flat, members, k, rng, most)


def _search_over(
    flat: Search,
    members: Positions,
    held_out: HeldOut | None,
    graphs: GraphFamily | None,
    settings: Settings,
) -> tuple[Search, Bounds | None]:
    """Return a search, and what bounds its recall, if not `recall_bounds`."""
    held_out_rows: NDArray[np.intp] = np.empty(0, dtype=np.intp)
    if held_out is not None and held_out.positions is not None:
        held_out_rows = held_out.positions
    training = Training(
        members, held_out_rows, settings.seed, settings.embed, settings.target_recall
    )
    pinned = settings.pinned
    if pinned is not None:
        settings.report(f"building {settings.index_spec}")
        built = pinned.family.build(flat, pinned.spec, training)
        if settings.target_recall is None or not isinstance(built, GraphSearch):
            return built, None
        k, budget = settings.n_neighbors, WorkBudget(math.inf)
        sample = GraphSample(flat, built.spec, training, k, budget)
        return built, sample.bounds_of(built)
    assert held_out is not None
    assert settings.target_recall is not None
    target, k = settings.target_recall, settings.n_neighbors
    size = len(members), flat.exact.space.n_features
    families = changeable_families()
    budget = WorkBudget(budget_for(plain_cost(families, *size)))
    budget.spend(len(held_out.queries) * exact_cost(*size))
    task = TuningTask(flat, training, held_out, target, k, budget)
    found = tune(task, families, settings.report)
    if graphs is None:
        return found, None
    budget.limit = STATIC_FACTOR * graphs.build_cost(*size)
    sample = graphs.sample(task)
    found = tune(task._replace(sample=sample), [graphs], settings.report, found)
    return found, sample.bounds_of(found) if isinstance(found, GraphSearch) else None


def _graphs_to_try(width: int, settings: Settings) -> GraphFamily | None:
    """Return the graphs that are tried beside lists, if any.

    Where their library is not there, lists serve, and a warning names it.
    """
    is_free = settings.target_recall is not None and settings.index_spec is None
    # A graph holds the rows once more, which a budget has no room for.
    if not (settings.static and is_free and settings.memory_budget is None):
        return None
    try:
        return graph_family(width)
    except ImportError as error:
        warn(f"{error} This fit tries these alone.")
        return None


def _stays_flat(
    flat: Search, n_members: int, graphs: GraphFamily | None, settings: Settings
) -> bool:
    """Tell whether every row will be compared."""
    if settings.index_spec is not None or settings.target_recall is None:
        return settings.pinned is None
    # A GPU compares every row sooner than a CPU scans lists.
    on_device = isinstance(flat, DeviceSearch) and flat.has_room()
    size = n_members, flat.exact.space.n_features
    return on_device or not (
        has_enough_rows(*size)
        and (graphs is not None or is_affordable(changeable_families(), *size))
    )


def _chosen_dtype(exact: ExactSearch, settings: Settings) -> str | None:
    """Return the dtype that the specification, or the budget, asks for; None: any."""
    pinned = settings.pinned
    if pinned is not None and pinned.dtype is not None:
        return pinned.dtype
    if settings.memory_budget is None:
        return None
    vectors = exact.space.vectors
    return dtype_within(
        settings.memory_budget,
        vectors.shape,
        vectors.dtype.itemsize,
        copied=exact.fast.is_copy,
        approximate=settings.is_approximate,
        cosine=settings.metric == "cosine",
    )


def _quantize(vectors: Vectors, dtype: str, settings: Settings) -> Vectors:
    if isinstance(vectors, QuantizedVectors):
        return vectors
    settings.report(f"keeping rows as {dtype}")
    return QuantizedVectors.encode(vectors, dtype)


def _check_recall(
    recalls: Float64, search: Search, vectors: Vectors, settings: Settings
) -> None:
    """Refuse a budget that costs more recall than was asked for; else warn."""
    target = settings.target_recall
    for k, recall, lower, _ in recalls:
        if k != settings.n_neighbors or lower >= target:
            continue
        if settings.memory_budget is not None and isinstance(vectors, QuantizedVectors):
            options = more_precise_dtypes(vectors, cosine=settings.metric == "cosine")
            raise ValueError(
                f"With memory_budget={settings.memory_budget!r} the recall is "
                f"{recall:.3f} (at least {lower:.3f}), and target_recall={target} is "
                f"not reached. {options}"
            )
        warn(
            f"The recall of {search.spec} is {recall:.3f} (at least {lower:.3f}), less "
            f"than target_recall={target}. Raise nprobe or rerank in index_spec, or "
            "leave it None to have one found."
        )
