"""Which inverted lists are tried, and which of their parameters are the cheapest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Float64, Positions
from latentsk.index._codebook import MAX_CODES, train_codebook
from latentsk.index._cost import exact_cost, search_cost
from latentsk.index._exact import ExactSearch
from latentsk.index._ivf_search import (
    IVFCodes,
    IVFSearch,
    coordinates_of,
    without_excluded,
)
from latentsk.index._projection import Projection, largest_length, principal_axes
from latentsk.index._recall import HeldOut, recall_bounds
from latentsk.index._search import Search, Training
from latentsk.index._spec import IndexSpec

# Rows that train: some for each list, and enough for the codes.
ROWS_PER_LIST, MIN_TRAINING_ROWS = 64, 20_000
# Shares of the variance that the coded components explain, tried in this order.
VARIANCE_SHARES = (0.9, 0.97)
# Beyond it, sums of squares overflow in float32.
LARGEST_COORDINATE = 1e15
# Candidates per neighbour that are tried.
RERANKS = (
    *(1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0),
    *(5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 16.0, 20.0),
)
# Share of the best cost that other codes have to undercut, at their very best.
WORTHWHILE_SHARE = 0.7


class IVFFamily:
    """Inverted lists, as the tuner tries them."""

    def min_rows(self, spec: str) -> int:
        """Return how many rows train lists and codes."""
        wanted = IndexSpec.parse(spec)
        return max(wanted.n_lists, wanted.n_codes)

    def build(self, flat: Search, spec: str, training: Training) -> IVFSearch:
        """Return the search that a specification pins.

        Raises
        ------
        ValueError
            If the rows have not as many coordinates, or are too few, for it.
        """
        wanted, exact = IndexSpec.parse(spec), flat.exact
        coordinates, whole = _coordinates(exact, training, wanted.n_lists)
        coordinates = whole.rows(coordinates)
        check_fits(wanted, *coordinates.shape)
        if not np.isfinite(coordinates).all():
            raise ValueError(
                f"Vectors whose squares leave the range of float32 have no index_spec="
                f"{str(wanted)!r}. Scale them, or leave index_spec=None."
            )
        projection = whole
        if wanted.n_components is not None:
            n_components, seed = wanted.n_components, training.seed
            _, axes = principal_axes(coordinates, n_components, seed)
            projection = Projection(coordinates.mean(axis=0), axes, whole.length)
            coordinates = projection.reduced(coordinates)
        codebook = train_codebook(
            coordinates,
            wanted.n_lists,
            residual=wanted.residual,
            seed=training.seed,
        )
        codes = IVFCodes(projection, codebook)
        members, embed, target = training.members, training.embed, training.target
        return IVFSearch(flat, wanted, codes, members, embed, target)

    def variants(
        self, flat: Search, training: Training, k: int, best: Callable[[], Search]
    ) -> Iterator[IVFSearch]:
        """Yield searches to try, whose parameters are not chosen yet."""
        exact, members = flat.exact, training.members
        n_lists = n_lists_for(len(members))
        sample, whole = _coordinates(exact, training, n_lists)
        if not np.abs(sample).max() < LARGEST_COORDINATE:
            return

        def cost(spec: IndexSpec) -> float:
            return search_cost(spec, exact.space.n_features, len(members), k)

        def is_worthwhile(spec: IndexSpec) -> bool:
            rival = best()
            if not isinstance(rival, IVFSearch):
                return True
            # More codes have to save much of the measuring to be worth their time.
            least = replace(spec, n_probe=rival.spec.n_probe)
            is_cheap = cost(least) < WORTHWHILE_SHARE * cost(rival.spec)
            return is_cheap and not spec.residual

        for codes in codes_to_try(sample, n_lists, whole, training.seed, is_worthwhile):
            spec = codes.spec(n_lists, RERANKS[-1])
            yield IVFSearch(flat, spec, codes, members, training.embed, training.target)

    def cheapest_spec(
        self, search: IVFSearch, held_out: HeldOut, target: float, k: int
    ) -> IndexSpec | None:
        """Return the cheapest search parameters whose recall meets a target.

        None where there are none, or none cheaper than an exact search.

        Parameters
        ----------
        search : IVFSearch
            Its `spec` is changed.

        held_out : HeldOut

        target : float
            What the lower confidence bound of the recall is to be, at least.

        k : int
            Number of neighbours.
        """
        width, n_rows = search.exact.space.n_features, search.lists.n_rows
        best, best_cost = None, exact_cost(n_rows, width)
        for n_probe in probes(search.lists.n_lists):
            specs = [search.codes.spec(n_probe, rerank) for rerank in RERANKS]
            costs = {spec: search_cost(spec, width, n_rows, k) for spec in specs}
            cheaper = [spec for spec in specs if costs[spec] < best_cost]
            if not cheaper:
                break
            search.spec = cheaper[-1]
            recalls = recalls_by_candidates(search, held_out, k)
            for spec in cheaper:
                _, lower, _ = recall_bounds(recalls[:, spec.n_candidates(k) - 1])
                if lower >= target:
                    best, best_cost = spec, costs[spec]
                    break
        return best


def n_lists_for(n_rows: int) -> int:
    """Return the power of two nearest to the square root of the number of rows.

    Examples
    --------
    >>> n_lists_for(60_000), n_lists_for(1_000_000)
    (256, 1024)
    """
    return int(2 ** round(math.log2(math.sqrt(n_rows))))


def training_rows(
    members: Positions, n_lists: int, apart: Positions, rng: np.random.Generator
) -> Positions:
    """Draw the rows that train lists and codes, other than the held-out ones."""
    others = np.setdiff1d(members, apart, assume_unique=True)
    most = max(ROWS_PER_LIST * n_lists, MIN_TRAINING_ROWS)
    if len(others) <= most:
        return others
    return np.sort(rng.choice(others, most, replace=False))


def _coordinates(
    exact: ExactSearch, training: Training, n_lists: int
) -> tuple[Float32, Projection]:
    """Return rows that train, and the projection that keeps all their coordinates."""
    rng = np.random.default_rng(training.seed)
    trained = training_rows(training.members, n_lists, training.held_out, rng)
    length = largest_length(exact.fast) if exact.space.is_similarity else None
    sample = coordinates_of(exact, trained, training.embed)
    return sample, Projection(None, None, length)


def codes_to_try(
    sample: Float32,
    n_lists: int,
    whole: Projection,
    seed: int,
    is_worthwhile: Callable[[IndexSpec], bool] = lambda spec: True,
) -> Iterator[IVFCodes]:
    """Yield codes to try, the cheapest to search first.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_features), float32
        Rows that train, rescaled.

    n_lists : int
        Number of lists.

    whole : Projection
        That keeps all coordinates.

    seed : int
        Of k-means.

    is_worthwhile : callable
        Asked before codes are trained, with their specification (and the least of
        search parameters), whether to yield them.
    """
    coordinates = whole.rows(sample)
    width, mean = coordinates.shape[1], coordinates.mean(axis=0)
    shares, axes = principal_axes(coordinates, MAX_CODES, seed)
    numbers = components_to_try(shares, width)
    for n_codes, residual in [*((n, False) for n in numbers), (numbers[-1], True)]:
        n_components = n_codes if n_codes < width else None
        spec = IndexSpec(n_lists, n_codes, 1, RERANKS[0], n_components, residual)
        if is_worthwhile(spec):
            projection = whole
            if n_components is not None:
                kept = np.ascontiguousarray(axes[:, :n_codes])
                projection = Projection(mean, kept, whole.length)
            coded = projection.reduced(coordinates)
            codebook = train_codebook(coded, n_lists, residual=residual, seed=seed)
            yield IVFCodes(projection, codebook)


def components_to_try(shares: NDArray[Any], width: int) -> list[int]:
    """Return numbers of components, ascending; the last is as many as can be coded.

    Parameters
    ----------
    shares : ndarray of shape (n_components,)
        Of the variance, descending.

    width : int
        Number of coordinates.

    Examples
    --------
    >>> components_to_try(np.array([0.5, 0.45, 0.03, 0.02]), 4)
    [4]
    >>> components_to_try(np.full(100, 0.01), 100)
    [100]
    >>> components_to_try(0.9 ** np.arange(64) * 0.1, 64)
    [24, 40, 64]
    """
    explained = np.cumsum(shares)
    wanted = [int(np.searchsorted(explained, share)) + 1 for share in VARIANCE_SHARES]
    # FAISS reads codes by the block.
    rounded = {8 * math.ceil(number / 8) for number in wanted}
    most = min(width, MAX_CODES)
    return [*sorted(n for n in rounded if n < 0.85 * most), most]


def probes(n_lists: int) -> list[int]:
    """Return numbers of lists to scan, each a quarter more than the one before, or one.

    Examples
    --------
    >>> probes(20)
    [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20]
    """
    numbers = [1]
    while numbers[-1] < n_lists:
        step = 2 ** max(0, numbers[-1].bit_length() - 3)
        numbers.append(min(numbers[-1] + step, n_lists))
    return numbers


def recalls_by_candidates(search: IVFSearch, held_out: HeldOut, k: int) -> Float64:
    """Return each query's recall by how many candidates are measured.

    Returns
    -------
    recalls : ndarray of shape (n_queries, n_candidates)
        In column ``i``, the recall with ``i + 1`` candidates; where the search keeps
        quantized rows, only for numbers that are tried.
    """
    wanted = search.spec.n_candidates(k)
    assert held_out.positions is not None
    candidates = search.candidates(held_out.queries, wanted + 1)
    candidates = without_excluded(candidates, held_out.positions)
    truth = held_out.truth
    queries = truth.space.fast_queries(held_out.queries)
    scores = truth.fast.scores(queries, candidates)
    last = truth.fast.scores(queries, held_out.neighbors[:, k - 1 : k])
    hits = scores <= last
    if search.exact is truth:
        return np.minimum(np.cumsum(hits, axis=1), k) / k
    # Quantized rows: they choose the best of the candidates.
    exact = search.exact
    queries = exact.space.fast_queries(held_out.queries)
    kept = exact.fast.scores(queries, candidates)
    recalls = np.zeros(hits.shape)
    numbers = {search.codes.spec(1, rerank).n_candidates(k) for rerank in RERANKS}
    for number in (number for number in numbers if number <= wanted):
        best = np.argsort(kept[:, :number], axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(hits, best, axis=1).sum(axis=1)
        recalls[:, number - 1] = np.minimum(found, k) / k
    return recalls


def check_fits(spec: IndexSpec, n_rows: int, width: int) -> None:
    """Raise an error if rows cannot be indexed by a specification.

    Raises
    ------
    ValueError
    """
    if spec.n_lists > n_rows:
        raise ValueError(
            f"index_spec={str(spec)!r} has {spec.n_lists} lists, but there are "
            f"{n_rows} rows to train them."
        )
    reduced = spec.n_components is not None
    if spec.n_codes > width or (not reduced and spec.n_codes != width):
        raise ValueError(
            f"index_spec={str(spec)!r} codes {spec.n_codes} coordinates, but the "
            f"vectors have {width}."
        )
    if reduced and spec.n_codes > n_rows:
        raise ValueError(
            f"index_spec={str(spec)!r} has {spec.n_codes} principal components, "
            f"but there are {n_rows} rows to find them."
        )
