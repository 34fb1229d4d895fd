"""Approximate search: candidates from codes in lists, measured on the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float32, Positions
from latentsk.index._codebook import Codebook
from latentsk.index._cost import search_cost
from latentsk.index._exact import (
    ExactSearch,
    Neighbors,
    Query,
    ignore_fp_warnings,
)
from latentsk.index._inverted_lists import InvertedLists
from latentsk.index._memory import lists_bytes, whole_lists_bytes
from latentsk.index._metric import Rescaling
from latentsk.index._projection import Projection
from latentsk.index._quantized import Vectors
from latentsk.index._search import Embedding, Search
from latentsk.index._spec import IndexSpec
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require

# Candidates that float64 measures beyond the neighbours asked for, so that rounding in
# float32 leaves none out.
SPARE_NEIGHBORS = 4
# Elements of queries, or candidates, looked at at a time.
BATCH_ELEMENTS = 2**23
# Elements of rows coded at a time: fewer would leave threads idle.
ADDED_ELEMENTS = 2**22
# How much dearer an exact search may be where it takes the place of a filtered one.
EXACT_PATIENCE = 10.0
# Distance to the nearest row, in lengths of the longest one (from near the middle of
# the rows), beyond which a query is answered exactly.
FAR_AWAY = 5.0
# How far outside the range of its codes, in ranges, a row has drifted.
DRIFT_MARGIN = 1.0
# Rows longer than the longest one, for inner products, have drifted.
LENGTH_MARGIN = 1.01
# Scores above it may have overflowed on the way.
LARGEST_SCORE = 1e37


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

    def n_drifted(self, rows: Float32, projected: Float32) -> int:
        """Count rows that are far outside of what the codes stand for."""
        codebook, length = self.codebook, self.projection.length
        known = codebook.values
        if known is None or codebook.residual:
            known = codebook.centers.T
        low, high = known.min(axis=1), known.max(axis=1)
        margin = DRIFT_MARGIN * (high - low)
        is_outside = (projected < low - margin) | (projected > high + margin)
        has_drifted = is_outside.any(axis=1)
        if length is not None:
            squares = np.sum(np.square(rows, dtype=np.float64), axis=1)
            has_drifted |= squares > LENGTH_MARGIN * length**2
        return int(np.count_nonzero(has_drifted))

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
    }
)
class IVFState(NamedTuple):
    """The state of an `IVFSearch`: see `SearchState`.

    Codes are of rescaled rows, and rows that come later must not change the rescaling.
    """

    spec: str
    n_drifted: int
    codes: IVFCodes
    rescaling: Rescaling

    def restore(
        self,
        flat_over: Callable[[Rescaling | None], Search],
        members: Positions,
        embed: Embedding | None,
    ) -> IVFSearch:
        """Return the search over the same vectors."""
        flat, spec = flat_over(self.rescaling), IndexSpec.parse(self.spec)
        return IVFSearch(flat, spec, self.codes, members, embed, self.n_drifted)

    def check_fits(self, shape: tuple[int, int], metric: str, embedded: bool) -> None:
        """Refuse vectors that the state does not belong to, and another state.

        Raises
        ------
        FormatError, ValueError
        """
        (n_rows, width), spec = shape, IndexSpec.parse(self.spec)
        codes, shift = self.codes, self.rescaling.shift
        same = codes.spec(spec.n_probe, spec.rerank) == spec
        require(same, "its codes are of another specification")
        require(spec.n_lists <= n_rows, "there are more lists than rows")
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

    n_drifted : int, default=0
        Number of rows that came where none lay when the codes were trained; they are
        found less reliably.
    """

    def __init__(
        self,
        flat: Search,
        spec: IndexSpec,
        codes: IVFCodes,
        members: Positions,
        embed: Embedding | None = None,
        n_drifted: int = 0,
    ) -> None:
        self.flat = flat
        self.spec = spec
        self.codes = codes
        self.embed = embed
        self.n_drifted = n_drifted
        self.lists = InvertedLists(codes.codebook)
        self._put(members)

    @property
    def exact(self) -> ExactSearch:
        """The search that compares every row."""
        return self.flat.exact

    # Changes

    def add(self, vectors: Vectors, positions: Positions) -> None:
        """Take over vectors of which some rows are new or changed."""
        self.flat.add(vectors, positions)
        self.n_drifted += self._put(positions)

    def remove(self, positions: Positions) -> None:
        """Remove rows from their lists."""
        self._put(self.lists.remove(positions))

    def _put(self, positions: Positions) -> int:
        """Code rows and put them into lists; return how many have drifted."""
        n_drifted = 0
        width = self.exact.space.n_features
        for part in row_slices(len(positions), width, ADDED_ELEMENTS):
            rows = coordinates_of(self.exact, positions[part], self.embed)
            projected = self.codes.projection.rows(rows)
            n_drifted += self.codes.n_drifted(rows, projected)
            self.lists.add(positions[part], projected)
        return n_drifted

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
        rescaling = self.exact.space.rescaling
        return IVFState(str(self.spec), self.n_drifted, self.codes, rescaling)

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
                exactly = self.flat.neighbors(some.some(is_lost))
                found[0][is_lost], found[1][is_lost] = exactly
            values[part], positions[part] = found
        return values, positions

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
        coordinates = query_coordinates(self.exact, queries, self.embed)
        projected = np.ascontiguousarray(self.codes.projection.queries(coordinates))
        if eligible is not None and len(eligible) == self.lists.n_rows:
            eligible = None
        n_probe = self.spec.n_probe
        return self.lists.candidates(projected, n_candidates, n_probe, eligible)

    def _prefers_exact(self, query: Query) -> bool:
        n_members = self.lists.n_rows
        if query.eligible is None or len(query.eligible) == n_members:
            return 2 * self.spec.n_candidates(query.k) >= n_members
        exact = self.flat.cost(query.k, len(query.eligible))
        return exact <= EXACT_PATIENCE * self.cost(query.k, n_members)

    def _n_candidates(self, query: Query) -> int:
        return self.spec.n_candidates(query.k) + (query.exclude is not None)

    def _found(self, query: Query) -> Neighbors:
        """Return what is found, with a position of -1 where that is not reliable."""
        space, fast, queries = self.exact.space, self.exact.fast, query.vectors
        wanted = self._n_candidates(query)
        candidates = self.candidates(queries, wanted, query.eligible)
        if query.exclude is not None:
            candidates = without_excluded(candidates, query.exclude)
        spare = SPARE_NEIGHBORS if query.certified else 0
        wanted = min(candidates.shape[1], query.k + spare)
        fast_queries = space.fast_queries(queries)
        scores, nearest = fast.best_of(fast_queries, candidates, wanted)
        is_reliable = (np.abs(scores) < LARGEST_SCORE).all(axis=1)
        is_reliable &= (nearest >= 0).all(axis=1) & ~space.without_direction(queries)
        if not space.is_similarity:
            # From far away all rows look alike, to codes and to float32.
            is_reliable &= np.sqrt(scores[:, 0]) <= FAR_AWAY * fast.largest_norm
        if not query.certified:
            nearest[~is_reliable] = -1
            return space.to_metric(space.from_score(scores.astype(float))), nearest
        values = np.empty((len(queries), query.k))
        positions = np.full((len(queries), query.k), -1, dtype=np.intp)
        values[is_reliable], positions[is_reliable] = self.exact.nearest_of(
            query.some(is_reliable), nearest[is_reliable]
        )
        return values, positions


def without_excluded(
    candidates: NDArray[np.int64], exclude: Positions
) -> NDArray[np.int64]:
    """Return candidates but one: that to be left out, or the least likely."""
    is_excluded = candidates == exclude[:, None]
    order = np.argsort(is_excluded, axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(candidates, order, axis=1)


def coordinates_of(
    exact: ExactSearch, positions: Positions, embed: Embedding | None
) -> Float32:
    """Return what is projected and coded of some rows."""
    if embed is None:
        # The first row of zeros under cosine may come later: it changes no codes.
        return exact.space.unpadded(exact.fast[positions])
    return embed(exact.space.vectors[positions]).astype(np.float32)


def query_coordinates(
    exact: ExactSearch, queries: NDArray[Any], embed: Embedding | None
) -> Float32:
    """Return what is projected of queries, which are vectors like the rows."""
    if embed is None:
        return exact.space.unpadded(exact.space.fast_queries(queries))
    return embed(queries).astype(np.float32)
