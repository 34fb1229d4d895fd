"""Approximate search: candidates from codes in lists, measured on the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Float64, Positions
from latentsk.index._codebook import Codebook
from latentsk.index._cost import search_cost
from latentsk.index._evidence import (
    Evidence,
    falls_short,
    missed_shares,
    sampled,
)
from latentsk.index._exact import ExactSearch, ignore_fp_warnings
from latentsk.index._inverted_lists import InvertedLists, Scanned, Selected
from latentsk.index._measuring import (
    SPARE_NEIGHBORS,
    coordinates_of,
    measured_neighbors,
    query_coordinates,
)
from latentsk.index._memory import lists_bytes, whole_lists_bytes
from latentsk.index._metric import Rescaling
from latentsk.index._projection import Projection
from latentsk.index._quantized import Vectors
from latentsk.index._query import Neighbors, Query
from latentsk.index._recall import HeldOut
from latentsk.index._search import Embedding, Search
from latentsk.index._spec import IndexSpec
from latentsk.index._usual import (
    HARD,
    MIN_QUERIES,
    RANKED_LISTS,
    USUAL,
    Measures,
    Usual,
    contrasts_of,
    warn_of_queries,
)
from latentsk.index._widening import CAREFUL, Widening, expected_beyond
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require

# Elements of queries, or candidates, looked at at a time.
BATCH_ELEMENTS = 2**23
# Elements of rows coded at a time: fewer would leave threads idle.
ADDED_ELEMENTS = 2**22
# How much dearer an exact search may be where it takes the place of a filtered one.
EXACT_PATIENCE = 10.0
# Smallest length that is told from zero.
TINY = 1e-30
# Rows that tell what is usual.
SAMPLE_ROWS = 4_096
# Rows longer than the longest one, for inner products, have drifted.
LENGTH_MARGIN = 1.01


def _check_codes(_: Any, state: State, sizes: Sizes) -> None:
    axes, n_codes = state["projection"].axes, state["codebook"].centers.shape[1]
    require(axes is None or axes.shape[1] == n_codes, "codes are of other components")


@storable(
    {"projection": rules.instance(Projection), "codebook": rules.instance(Codebook)},
    check=_check_codes,
)
class IVFCodes(NamedTuple):
    """Coordinates that are coded, and how.

    Attributes
    ----------
    projection : Projection

    codebook : Codebook
    """

    projection: Projection
    codebook: Codebook

    def spec(self, n_probe: int, rerank: float) -> IndexSpec:
        """Return the specification of a search with them."""
        n_lists, n_codes = self.codebook.centers.shape
        is_reduced = self.projection.axes is not None
        return IndexSpec(
            n_lists,
            None if self.codebook.values is None else n_codes,
            n_probe,
            rerank,
            n_components=n_codes if is_reduced else None,
            residual=self.codebook.residual,
        )

    def outgrows(self, rows: Float32) -> NDArray[np.bool_]:
        """Tell which rows are longer than the projection was made for."""
        length = self.projection.length
        if length is None:
            return np.zeros(len(rows), dtype=bool)
        squares = np.sum(np.square(rows, dtype=np.float64), axis=1)
        return squares > LENGTH_MARGIN * length**2

    @property
    def width(self) -> int:
        """Number of coordinates that are projected and coded."""
        axes = self.projection.axes
        return self.codebook.centers.shape[1] if axes is None else len(axes)


@storable(
    {
        "spec": rules.text(),
        "n_drifted": rules.count(),
        "codes": rules.instance(IVFCodes),
        "rescaling": rules.instance(Rescaling),
    },
    optional={
        "usual": rules.maybe(rules.instance(Usual)),
        "evidence": rules.maybe(rules.instance(Evidence)),
    },
)
class IVFState(NamedTuple):
    """The state of an `IVFSearch`: see `SearchState`.

    Codes are of rescaled rows, and rows that come later must not change the rescaling.
    """

    spec: str
    n_drifted: int
    codes: IVFCodes
    rescaling: Rescaling
    usual: Usual | None = None
    evidence: Evidence | None = None

    def restore(
        self,
        flat_over: Callable[[Rescaling | None], Search],
        members: Positions,
        embed: Embedding | None,
    ) -> IVFSearch:
        """Return the search over the same vectors."""
        flat, spec = flat_over(self.rescaling), IndexSpec.parse(self.spec)
        search = IVFSearch(flat, spec, self.codes, members, embed, usual=self.usual)
        search.evidence = self.evidence
        return search

    def check_fits(self, shape: tuple[int, int], metric: str, embedded: bool) -> None:
        """Refuse vectors that the state does not belong to, and another state.

        Raises
        ------
        FormatError, ValueError
        """
        width, spec = shape[1], IndexSpec.parse(self.spec)
        codes, shift = self.codes, self.rescaling.shift
        same = codes.spec(spec.n_probe, spec.rerank) == spec
        require(same, "its codes are of another specification")
        n_sizes = spec.n_lists if self.usual is None else len(self.usual.sizes)
        require(n_sizes == spec.n_lists, "what is usual is of other lists")
        is_similarity = metric == "inner_product"
        same = is_similarity == (codes.projection.length is not None)
        require(same, "its codes are of another metric")
        fits = embedded or codes.width == width + is_similarity
        require(fits, "its codes are of another width")
        fits = shift is None or len(shift) - width in (0, 1)
        require(fits, "vectors are shifted in another width")


class IVFSearch:
    """Search over candidates from an inverted file (IVF), with an exact one behind it.

    Parameters
    ----------
    flat : Search
        Compares every row, and answers where candidates cannot.

    spec : IndexSpec
        Structure and search parameters.

    codes : IVFCodes
        What is coded, and how.

    members : ndarray of shape (n_members,)
        Positions of the rows that are searched.

    embed : callable or None, default=None
        From the rows to the vectors that are coded; None: these are the rows
        themselves, rescaled.

    target : float or None, default=None
        Recall that is promised: a search that is unlike those that it was tuned for
        looks at more, or at all rows, until it is likely to be as high.

    usual : Usual or None, default=None
        What it was tuned for; None: the members.
    """

    def __init__(
        self,
        flat: Search,
        spec: IndexSpec,
        codes: IVFCodes,
        members: Positions,
        embed: Embedding | None = None,
        target: float | None = None,
        usual: Usual | None = None,
    ) -> None:
        self.flat = flat
        self.spec = spec
        self.codes = codes
        self.embed = embed
        # Of queries whose recall is known: see `learn`.
        self.evidence: Evidence | None = None
        self.lists = InvertedLists(codes.codebook)
        # Rows unlike those that the codes were trained on: all of them are compared.
        self.outside: Positions = np.empty(0, dtype=np.intp)
        self._usual = usual
        nearest, rests = self._put(members)
        if usual is None:
            some = members[:: math.ceil(len(members) / SAMPLE_ROWS)]
            # As queries, which are not always projected as rows are.
            projected, left_out = self._projected(self.exact.space.vectors[some])
            n_ranked = min(RANKED_LISTS[-1], self.lists.n_lists)
            distances, _ = self.lists.nearest(projected, n_ranked)
            measures = self._measures(projected, distances, left_out)
            sizes = self.lists.n_live[:-1]
            self._usual = Usual.of(sizes, measures, nearest, rests, target)
        self._has_changed = not np.array_equal(self.usual.sizes, self.lists.n_live[:-1])

    @property
    def usual(self) -> Usual:
        """What the lists were tuned for."""
        assert self._usual is not None
        return self._usual

    @property
    def exact(self) -> ExactSearch:
        """The search that compares every row."""
        return self.flat.exact

    @property
    def n_rows(self) -> int:
        """Number of rows that are searched."""
        return self.lists.n_rows + len(self.outside)

    # Changes

    def add(self, vectors: Vectors, positions: Positions) -> None:
        """Take over vectors of which some rows are new or changed."""
        self.flat.add(vectors, positions)
        self._put(positions)
        self._has_changed = True

    def remove(self, positions: Positions) -> None:
        """Remove rows from their lists."""
        if len(self.outside):
            self.outside = np.setdiff1d(self.outside, positions, assume_unique=True)
        self._put(self.lists.remove(positions))
        self._has_changed = True

    def _put(self, positions: Positions) -> tuple[Float32, Float32]:
        """Code rows and put them into lists, or keep them apart.

        Returns
        -------
        nearest, rests : ndarrays of shape (n_positions,)
            See `Measures`.
        """
        nearest = np.empty(len(positions), dtype=np.float32)
        rests, width = np.empty_like(nearest), self.exact.space.n_features
        projection, limits = self.codes.projection, np.full(2, np.inf)
        if self._usual is not None:
            limits = self._usual.apart
        for part in row_slices(len(positions), width, ADDED_ELEMENTS):
            rows = coordinates_of(self.exact, positions[part], self.embed)
            projected = projection.rows(rows)
            rests[part] = projection.rests(rows, projected)
            farthest = np.full(len(rows), limits[0])
            if self._usual is not None:
                is_left_out = (rests[part] > limits[1]) | self.codes.outgrows(rows)
                farthest[is_left_out] = -1.0
            nearest[part] = self.lists.add(positions[part], projected, farthest)
            is_apart = nearest[part] > farthest
            if is_apart.any():
                self.outside = np.union1d(self.outside, positions[part][is_apart])
        return nearest, rests

    def cost(self, n_neighbors: int, n_rows: int) -> float:
        """Return the cost of a query among so many rows."""
        width = self.exact.space.n_features
        return search_cost(self.spec, width, n_rows, n_neighbors)

    def n_bytes(self, n_rows: int) -> int:
        """Return the bytes of the lists of so many rows."""
        if self.spec.n_codes is None:
            return whole_lists_bytes(n_rows, self.codes.width)
        return lists_bytes(n_rows, self.spec.n_codes)

    def to_state(self) -> IVFState:
        """Return what the search is restored from, besides the vectors."""
        rescaling, n_outside = self.exact.space.rescaling, len(self.outside)
        spec, usual = str(self.spec), self.usual
        return IVFState(spec, n_outside, self.codes, rescaling, usual, self.evidence)

    # What is found

    def neighbors(self, query: Query) -> Neighbors:
        """Return rows near each query, most of which are the nearest.

        Only members may be eligible.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            Ascending (inner products: descending). With ``certified``, these and the
            order of what is found are those of float64.

        positions : ndarray of shape (n_queries, k)
        """
        if self._prefers_exact(query):
            return self.flat.neighbors(query)
        n_queries, n_features = query.vectors.shape
        values = np.empty((n_queries, query.k), dtype=np.float64)
        positions = np.empty((n_queries, query.k), dtype=np.intp)
        width = max(self._n_candidates(query), n_features)
        for part in row_slices(n_queries, width, BATCH_ELEMENTS):
            some = query.some(part)
            with ignore_fp_warnings():
                found = self._found(some)
            is_lost = (found[1] < 0).any(axis=1)
            if is_lost.any():
                # Certified, as other answers depend on which queries come together.
                lost = some.some(is_lost)._replace(certified=True)
                exactly = self.flat.neighbors(lost)
                found[0][is_lost], found[1][is_lost] = exactly
            values[part], positions[part] = found
        self._warn_of_misses(query, values)
        return values, positions

    # What recall to expect

    def learn(self, held_out: HeldOut, members: Positions, k: int) -> None:
        """Learn what recall to expect of queries, from some whose neighbours are known.

        Parameters
        ----------
        held_out : HeldOut

        members : ndarray of shape (n_members,)
            Positions of the rows that are searched.

        k : int
            Number of neighbours that are asked for.
        """
        if self.embed is not None:
            return  # distances say nothing of those between the codes
        query = Query(held_out.queries, k, held_out.positions, members, warns=False)
        values, found = self.neighbors(query)
        with ignore_fp_warnings():
            shares, is_unusual = self._missed_shares(held_out.queries, values)
        recalls = held_out.recalls_of(found, members)
        if not is_unusual.all():
            shares, recalls = shares[~is_unusual], recalls[~is_unusual]
            self.evidence = Evidence.of(shares, recalls, k)

    def _warn_of_misses(self, query: Query, values: Float64) -> None:
        """Warn where less than the target is expected of a batch of queries."""
        evidence, target = self.evidence, self.usual.target
        is_among_all = query.eligible is None or len(query.eligible) == self.n_rows
        is_new = query.warns and query.exclude is None and is_among_all
        if evidence is None or target is None or not is_new:
            return
        if len(values) < MIN_QUERIES or query.k > evidence.n_neighbors:
            return
        some = sampled(len(values))
        with ignore_fp_warnings():
            shares, is_unusual = self._missed_shares(query.vectors[some], values[some])
        expected = np.where(is_unusual, 1.0, evidence.expected(shares))
        if falls_short(expected, target):
            warn_of_queries(target)

    def _missed_shares(
        self, queries: NDArray[Any], values: Float64
    ) -> tuple[Float64, NDArray[np.bool_]]:
        """Return the share that each query misses, and which look at more lists.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)

        values : ndarray of shape (n_queries, k)
            Distances, or inner products, of what they have found.
        """
        projected, rests = self._projected(queries)
        distances, near = self.lists.nearest(projected, self.spec.n_probe)
        measures = self._measures(projected, distances, rests)
        space, length = self.exact.space, self.codes.projection.length
        radii = space.to_score(space.to_metric(values[:, -1]))
        if length is None:  # what axes leave out is no part of a distance along them
            radii = radii - rests - self.usual.mean_rest
        else:
            radii = 2.0 * radii + np.square(projected).sum(axis=1) + length**2
        rates = self.lists.spread.rates(projected, np.maximum(radii, 0.0))
        shares = missed_shares(rates, self.lists.n_live[:-1], near)
        return shares, self._are_unusual(measures, near)

    def _are_unusual(
        self, measures: Measures, near: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Tell which queries are unlike those tuned for, or have other rows about."""
        usual = self.usual
        is_unusual = usual.are_beyond(measures, USUAL)
        if self._has_changed:
            is_hard = usual.are_beyond(measures, HARD)
            is_unusual |= usual.have_changed(self.lists.n_live[:-1], near, is_hard)
        return is_unusual

    def candidates(
        self,
        queries: NDArray[Any],
        n_candidates: int,
        eligible: Positions | None = None,
    ) -> NDArray[np.int64]:
        """Return likely neighbours by their codes, the likeliest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors like the rows.

        n_candidates : int

        eligible : ndarray of shape (n_eligible,) or None, default=None
            Positions of the members that may be returned; None: all.

        Returns
        -------
        positions : ndarray of shape (n_queries, n_candidates)
            -1 where the lists that were scanned hold fewer.
        """
        projected, _ = self._projected(queries)
        if eligible is not None and len(eligible) == self.n_rows:
            eligible = None
        n_probe = self.spec.n_probe
        return self.lists.candidates(projected, n_candidates, n_probe, eligible)

    def _projected(self, queries: NDArray[Any]) -> tuple[Float32, Float32]:
        """Return what codes are compared with, and what the projection leaves out."""
        coordinates = query_coordinates(self.exact, queries, self.embed)
        projection = self.codes.projection
        projected = np.ascontiguousarray(projection.queries(coordinates))
        return projected, projection.rests(coordinates, projected)

    def _prefers_exact(self, query: Query) -> bool:
        n_members = self.n_rows
        if query.eligible is None or len(query.eligible) == n_members:
            return 2 * self.spec.n_candidates(query.k) >= n_members
        exact = self.flat.cost(query.k, len(query.eligible))
        return exact <= EXACT_PATIENCE * self.cost(query.k, n_members)

    def _n_candidates(self, query: Query) -> int:
        return self.spec.n_candidates(query.k) + (query.exclude is not None)

    def _likely(self, query: Query) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return likely neighbours, and which queries are to be answered exactly."""
        eligible, outside = query.eligible, self.outside
        if eligible is not None and len(eligible) == self.n_rows:
            eligible = None
        selected = self.lists.selected(eligible)
        projected, rests = self._projected(query.vectors)
        if len(outside) and eligible is not None:
            outside = np.intersect1d(outside, eligible, assume_unique=True)
        outside = self._nearest_outside(query, outside)
        is_lost = np.zeros(len(projected), dtype=bool)
        if eligible is None:
            candidates, is_unusual = self._ordinary(query, projected, rests, selected)
        else:
            candidates = np.empty((len(projected), self._n_candidates(query)), np.int64)
            is_unusual = ~is_lost
        if is_unusual.any():
            candidates[is_unusual], is_lost[is_unusual] = self._careful(
                query.some(is_unusual),
                projected[is_unusual],
                rests[is_unusual],
                selected,
                outside[is_unusual],
            )
        if outside.size:
            candidates = np.concatenate([candidates, outside], axis=1)
        return candidates, is_lost

    def _nearest_outside(self, query: Query, outside: Positions) -> Positions:
        wanted = query.k + SPARE_NEIGHBORS + (query.exclude is not None)
        wanted = min(len(outside), wanted)
        if wanted == 0:
            return np.empty((len(query.vectors), 0), dtype=np.intp)
        fast = self.exact.space.fast_queries(query.vectors)
        return self.exact.candidates(fast, wanted, outside)[1]

    def _ordinary(
        self, query: Query, projected: Float32, rests: Float32, selected: Selected
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return candidates, and which queries are unlike those tuned for."""
        lists, usual = self.lists, self.usual
        distances, near = lists.nearest(projected, self.spec.n_probe)
        measures = self._measures(projected, distances, rests)
        is_unusual = self._are_unusual(measures, near)
        if query.warns and query.exclude is None and len(near) >= MIN_QUERIES:
            is_hard = usual.are_beyond(measures, HARD)
            usual.warn_of_many(is_hard & ~is_unusual, measures)
        wanted = self._n_candidates(query)
        found = lists.scan(projected, near, distances, wanted, selected)
        return found.positions, is_unusual

    def _measures(
        self, projected: Float32, distances: Float32, rests: Float32
    ) -> Measures:
        """Return how queries lie to the lists, by distances to the nearest centres."""
        contrasts = contrasts_of(distances)
        if self.codes.projection.length is None:
            return Measures(distances[:, 0], contrasts, rests)
        # Of inner products, the direction of a query matters, and not its length.
        squares = np.square(projected).sum(axis=1)
        lengths = np.sqrt(np.maximum(squares, TINY))
        products = squares + self.codes.projection.length**2 - distances[:, 0]
        nearest = (products / lengths).astype(np.float32)
        return Measures(nearest, contrasts / lengths[:, None], rests)

    def _careful(
        self,
        query: Query,
        projected: Float32,
        rests: Float32,
        selected: Selected,
        outside: Positions,
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return candidates of as many lists as it takes, and where that are too many.

        Parameters
        ----------
        query : Query

        projected : ndarray of shape (n_queries, n_codes), float32

        rests : ndarray of shape (n_queries,), float32
            What the projection leaves out, squared.

        selected : Selected

        outside : ndarray of shape (n_queries, n_outside)
            Rows in no list that are candidates besides.
        """
        space, fast = self.exact.space, self.exact.fast
        k, wanted = query.k + (query.exclude is not None), self._n_candidates(query)
        missed = 0.5 * self.usual.missed
        measure = partial(fast.scores, space.fast_queries(query.vectors))
        others = Scanned(self._squares(projected, outside), outside)
        search = Widening(k, CAREFUL * wanted, self.spec.n_probe, missed)
        found, costs = search.scan(self.lists, projected, selected, others, measure)
        scores = measure(found.positions)
        slope, shifts = self._code_line(projected, rests)
        beyond = expected_beyond(found.values, scores, k, slope, shifts)
        best = np.argsort(scores, axis=1, kind="stable")[:, :wanted]
        candidates = np.take_along_axis(found.positions, best, axis=1)
        limit = self.flat.cost(query.k, int(selected.counts.sum()))
        return candidates, (costs > limit) | (beyond > missed * query.k)

    def _code_line(
        self, projected: Float32, rests: Float32
    ) -> tuple[float | None, Float32 | None]:
        """Return how scores follow from squared distances to codes: slope and shifts.

        None where that is not known.
        """
        projection = self.codes.projection
        if self.embed is not None:
            return None, None
        if projection.length is None:
            return 1.0, rests + np.float32(self.usual.mean_rest)
        if projection.axes is not None:
            return 0.5, None
        squares = np.square(projected).sum(axis=1)
        return 0.5, -0.5 * (squares + np.float32(projection.length**2))

    def _squares(self, projected: Float32, outside: Positions) -> Float32:
        """Return squared distances from queries to rows, as they would be coded."""
        if outside.size == 0:
            return np.empty(outside.shape, dtype=np.float32)
        numbers, inverse = np.unique(outside, return_inverse=True)
        rows = coordinates_of(self.exact, numbers, self.embed)
        rows = self.codes.projection.rows(rows)[inverse.reshape(outside.shape)]
        return np.sum(np.square(rows - projected[:, None]), axis=2)

    def _found(self, query: Query) -> Neighbors:
        """Return what is found, with a position of -1 where that is not reliable."""
        candidates, is_lost = self._likely(query)
        return measured_neighbors(self.exact, query, candidates, is_lost)
