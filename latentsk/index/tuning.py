"""From a recall that is asked for to an index that has it, by counted work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float64, Positions
from latentsk.index._cost import exact_cost, search_cost
from latentsk.index._inverted_file import MAX_CODES, train_codebook
from latentsk.index._projection import Projection, largest_length, principal_axes
from latentsk.index._spec import IndexSpec
from latentsk.index.approximate import (
    ApproximateSearch,
    Embedding,
    Structure,
    candidate_scores,
    coordinates_of,
)
from latentsk.index.exact import ExactSearch
from latentsk.index.recall import HeldOut, recall_bounds

Report = Callable[[str], None]

# Rows, and cost of comparing with all of them, below which nothing is quicker.
MIN_ROWS, MIN_COST = 1_000, 5_000.0
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
# Share of the best cost that a structure has to undercut, at its very best.
WORTHWHILE_SHARE = 0.7
# How often more is asked for where a recall turns out to be less than expected, and by
# which share, at least, of what may be missed.
ATTEMPTS, MARGIN = 4, 0.05


def has_enough_rows(n_rows: int, width: int) -> bool:
    """Tell whether anything may be quicker than comparing with every row.

    Examples
    --------
    >>> has_enough_rows(2_000, 8), has_enough_rows(2_000, 784)
    (False, True)
    """
    return n_rows >= MIN_ROWS and exact_cost(n_rows, width) >= MIN_COST


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


def structures(
    sample: NDArray[np.float32],
    n_lists: int,
    length: float | None,
    seed: int,
    worthwhile: Callable[[IndexSpec], bool] = lambda spec: True,
) -> Iterator[Structure]:
    """Yield structures to try, the cheapest to search first.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_features), float32
        Rows that train, moved.

    n_lists : int
        Number of lists.

    length : float or None
        Of the longest row, where inner products are compared.

    seed : int
        Of k-means.

    worthwhile : callable
        Asked before a structure is trained, with its specification (and the least of
        search parameters), whether to yield it.
    """
    whole = Projection(None, None, length)
    coordinates = whole.rows(sample)
    width, mean = coordinates.shape[1], coordinates.mean(axis=0)
    shares, axes = principal_axes(coordinates, MAX_CODES, seed)
    numbers = components_to_try(shares, width)
    for number, residual in [*((number, False) for number in numbers), (-1, True)]:
        n_codes = numbers[number] if residual else number
        reduced = n_codes if n_codes < width else None
        if worthwhile(IndexSpec(n_lists, n_codes, 1, RERANKS[0], reduced, residual)):
            projection = whole
            if reduced is not None:
                kept = np.ascontiguousarray(axes[:, :n_codes])
                projection = Projection(mean, kept, length)
            coded = projection.reduced(coordinates)
            codebook = train_codebook(coded, n_lists, residual=residual, seed=seed)
            yield Structure(projection, codebook)


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


def cheapest_spec(
    search: ApproximateSearch,
    held_out: HeldOut,
    target: float,
    k: int,
) -> IndexSpec | None:
    """Return the cheapest search parameters whose recall meets a target.

    None where there are none, or none cheaper than an exact search.

    Parameters
    ----------
    search : ApproximateSearch
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
        specs = [search.structure.spec(n_probe, rerank) for rerank in RERANKS]
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


def meets_target(
    search: ApproximateSearch,
    held_out: HeldOut,
    target: float,
    k: int,
    members: Positions,
) -> bool:
    """Set the cheapest search parameters whose recall, as it is found, meets a target.

    What `cheapest_spec` goes by is counted in float32, which may take for ties what it
    cannot tell apart; and candidates of equal scores are cut off in no certain order.

    Returns
    -------
    possible : bool
        Whether there are some, cheaper than an exact search.
    """
    wanted = target
    for _ in range(ATTEMPTS):
        spec = cheapest_spec(search, held_out, wanted, k)
        if spec is None:
            return False
        search.spec = spec
        _, lower, _ = recall_bounds(held_out.recalls(search, members, k))
        if lower >= target:
            return True
        wanted += max(target - lower, MARGIN * (1.0 - target))
    return False


def recalls_by_candidates(
    search: ApproximateSearch, held_out: HeldOut, k: int
) -> Float64:
    """Return each query's recall by how many candidates are measured.

    Returns
    -------
    recalls : ndarray of shape (n_queries, n_candidates)
        In column ``i``, the recall with ``i + 1`` candidates; where the search keeps
        rows in few bytes, only for numbers that are tried.
    """
    wanted = search.spec.n_candidates(k)
    own = held_out.positions
    assert own is not None
    candidates = search.candidates(held_out.queries, wanted + 1)
    behind = np.argsort(candidates == own[:, None], axis=1, kind="stable")[:, :wanted]
    candidates = np.take_along_axis(candidates, behind, axis=1)
    truth = held_out.truth
    queries = truth.space.fast_queries(held_out.queries)
    scores = candidate_scores(truth, queries, candidates)
    last = candidate_scores(truth, queries, held_out.neighbors[:, k - 1 : k])
    hits = scores <= last
    if search.exact is truth:
        return np.minimum(np.cumsum(hits, axis=1), k) / k
    # Rows in few bytes: the best of the candidates are chosen by what is kept of them.
    queries = search.exact.space.fast_queries(held_out.queries)
    kept = candidate_scores(search.exact, queries, candidates)
    recalls = np.zeros(hits.shape)
    numbers = {search.structure.spec(1, r).n_candidates(k) for r in RERANKS}
    for number in (number for number in numbers if number <= wanted):
        best = np.argsort(kept[:, :number], axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(hits, best, axis=1).sum(axis=1)
        recalls[:, number - 1] = np.minimum(found, k) / k
    return recalls


def tune(
    exact: ExactSearch,
    target: float,
    n_neighbors: int,
    report: Report,
    *,
    held_out: HeldOut,
    members: Positions,
    seed: int,
    embed: Embedding | None,
) -> ApproximateSearch | ExactSearch:
    """Return the cheapest search whose recall meets a target.

    Parameters
    ----------
    exact : ExactSearch
        Over all rows.

    target : float
        What the lower confidence bound of the recall is to be, at least.

    n_neighbors : int
        Number of neighbours among which recall is counted.

    report : callable
        Told what is being done.

    held_out : HeldOut
        What recall is measured on.

    members : ndarray of shape (n_members,)
        Positions of the rows that are searched, ascending.

    seed : int
        Of everything that is drawn.

    embed : callable or None
        From the rows to the vectors that are coded; None: the rows themselves.

    Returns
    -------
    search : ApproximateSearch or ExactSearch
        The latter where nothing else is quicker, or meets the target.
    """
    assert held_out.positions is not None
    rng = np.random.default_rng(seed)
    n_lists = n_lists_for(len(members))
    trained = training_rows(members, n_lists, held_out.positions, rng)
    sample = coordinates_of(exact, trained, embed)
    if not np.abs(sample).max() < LARGEST_COORDINATE:
        return exact
    best: ApproximateSearch | None = None

    def cost(spec: IndexSpec) -> float:
        return search_cost(spec, exact.space.n_features, len(members), n_neighbors)

    def worthwhile(spec: IndexSpec) -> bool:
        if best is None:
            return True
        # More codes have to save much of the measuring to be worth their time.
        least = replace(spec, n_probe=best.spec.n_probe)
        return not spec.residual and cost(least) < WORTHWHILE_SHARE * cost(best.spec)

    for structure in structures(sample, n_lists, _length(exact), seed, worthwhile):
        untuned = structure.spec(n_lists, RERANKS[-1])
        report(f"trying {untuned}")
        search = ApproximateSearch(exact, untuned, structure, members, embed)
        if meets_target(search, held_out, target, n_neighbors, members) and (
            best is None or cost(search.spec) < cost(best.spec)
        ):
            best = search
    return exact if best is None else best


def build(
    exact: ExactSearch,
    spec: IndexSpec,
    *,
    members: Positions,
    seed: int,
    embed: Embedding | None,
    apart: Positions | None = None,
) -> ApproximateSearch:
    """Return the index that a specification pins.

    Parameters are those of `tune`, and `apart`: positions that take no part in
    training, or None.

    Raises
    ------
    ValueError
        If the rows have not as many coordinates, or are too few, for it.
    """
    rng = np.random.default_rng(seed)
    apart = np.empty(0, dtype=np.intp) if apart is None else apart
    trained = training_rows(members, spec.n_lists, apart, rng)
    whole = Projection(None, None, _length(exact))
    coordinates = whole.rows(coordinates_of(exact, trained, embed))
    check_fits(spec, *coordinates.shape)
    if not np.isfinite(coordinates).all():
        raise ValueError(
            f"Vectors whose squares leave the range of float32 have no index_spec="
            f"{str(spec)!r}. Scale them, or leave index_spec=None."
        )
    projection = whole
    if spec.n_components is not None:
        mean, (_, axes) = (
            coordinates.mean(axis=0),
            principal_axes(coordinates, spec.n_components, seed),
        )
        projection = Projection(mean, axes, whole.length)
        coordinates = projection.reduced(coordinates)
    codebook = train_codebook(
        coordinates, spec.n_lists, residual=spec.residual, seed=seed
    )
    return ApproximateSearch(
        exact, spec, Structure(projection, codebook), members, embed
    )


def _length(exact: ExactSearch) -> float | None:
    return largest_length(exact.fast_rows) if exact.space.is_similarity else None


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
