"""Approximate nearest neighbours: candidates from short codes, measured on the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Positions
from latentsk.index._cost import exact_cost, search_cost
from latentsk.index._faiss import load_faiss
from latentsk.index._inverted_file import Codebook, InvertedFile
from latentsk.index._projection import Projection
from latentsk.index._spec import IndexSpec
from latentsk.index.exact import ExactSearch, Neighbors

Embedding = Callable[[NDArray[Any]], NDArray[Any]]

# Candidates that float64 measures beyond the neighbours asked for, so that rounding in
# float32 leaves none out.
SPARE_NEIGHBORS = 4
# Elements of queries, or candidates, looked at at a time.
BATCH_ELEMENTS = 2**23
# Elements of rows coded at a time: fewer would leave threads idle.
ADDED_ELEMENTS = 2**22
# Elements of candidates decoded at a time (a MB: they stay in the cache).
DECODED_ELEMENTS = 2**18
# How much dearer an exact search may be where it takes the place of a filtered one.
EXACT_PATIENCE = 10.0
# Distance to the nearest row, in lengths of the longest one (from near the middle of
# the rows), beyond which a query is answered exactly.
FAR_AWAY = 5.0
# How far outside the range of its codes, in ranges, a row is strange.
STRANGE_MARGIN = 1.0
# Scores above it may have overflowed on the way.
LARGEST_SCORE = 1e37


_PROJECTION = tuple(field.name for field in fields(Projection))


class Structure(NamedTuple):
    """Coordinates that are coded, and how.

    Attributes
    ----------
    projection : Projection

    codebook : Codebook
    """

    projection: Projection
    codebook: Codebook

    def spec(self, n_probe: int, rerank: float) -> IndexSpec:
        """Return the specification of a search with it."""
        n_lists, n_codes = self.codebook.centers.shape
        reduced = self.projection.axes is not None
        return IndexSpec(
            n_lists,
            n_codes,
            n_probe,
            rerank,
            n_components=n_codes if reduced else None,
            residual=self.codebook.residual,
        )

    def n_strange(self, rows: NDArray[np.float32]) -> int:
        """Count rows that are far outside of what the codes stand for."""
        projection, codebook = self.projection, self.codebook
        known = codebook.centers.T if codebook.residual else codebook.values
        low, high = known.min(axis=1), known.max(axis=1)
        margin = STRANGE_MARGIN * (high - low)
        coded = projection.rows(rows)
        strange = ((coded < low - margin) | (coded > high + margin)).any(axis=1)
        if projection.length is not None:
            strange |= np.sum(np.square(rows, dtype=np.float64), axis=1) > (
                1.01 * projection.length**2
            )
        return int(np.count_nonzero(strange))

    def arrays(self) -> dict[str, Any]:
        """Return it as arrays and plain values."""
        projection = {name: getattr(self.projection, name) for name in _PROJECTION}
        return {**projection, **self.codebook._asdict()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Structure:
        """Return what `arrays` was made of."""
        return cls(
            Projection(*(arrays[name] for name in _PROJECTION)),
            Codebook(*(arrays[name] for name in Codebook._fields)),
        )


class ApproximateSearch:
    """Search over candidates, with an exact search as its ground.

    Parameters
    ----------
    exact : ExactSearch
        The rows, and who answers where candidates cannot.

    spec : IndexSpec
        Structure and search parameters.

    structure : Structure
        What is coded, and how.

    members : ndarray of shape (n_members,)
        Positions of the rows that are searched.

    embed : callable or None, default=None
        From the rows to the vectors whose structure it is; None: these are the rows of
        the exact search, moved.
    """

    def __init__(
        self,
        exact: ExactSearch,
        spec: IndexSpec,
        structure: Structure,
        members: Positions,
        embed: Embedding | None = None,
    ) -> None:
        self.exact = exact
        self.spec = spec
        self.structure = structure
        self.embed = embed
        self.lists = InvertedFile(structure.codebook)
        self._end = 0
        self.add(members)

    def add(self, positions: Positions) -> int:
        """Make rows of the exact search findable.

        Returns
        -------
        n_strange : int
            How many lie where no row that trained the codes did; they are found less
            reliably.
        """
        n_strange = self._code(positions)
        if len(positions):
            if positions.min() < self._end:
                self._code(self.lists.take_unordered())
            self._end = max(self._end, int(positions.max()) + 1)
        return n_strange

    def _code(self, positions: Positions) -> int:
        n_strange = 0
        step = max(1, ADDED_ELEMENTS // self.exact.space.n_features)
        for start in range(0, len(positions), step):
            part = positions[start : start + step]
            rows = coordinates_of(self.exact, part, self.embed)
            n_strange += self.structure.n_strange(rows)
            self.lists.add(part, self.structure.projection.rows(rows))
        return n_strange

    def remove(self, positions: Positions) -> None:
        """Make rows unfindable, before they change in the exact search."""
        self.add(self.lists.remove(positions))

    def neighbors(
        self,
        queries: NDArray[Any],
        k: int,
        own: Positions | None = None,
        among: Positions | None = None,
        *,
        certified: bool = True,
        backend: str = "auto",
    ) -> Neighbors:
        """Return rows near each query, most of which are the nearest.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors like the rows.

        k : int
            At most the number of rows that may be returned.

        own : ndarray of shape (n_queries,) or None
            Position of a row that is left out, per query.

        among : ndarray of shape (n_eligible,) or None, default=None
            Positions of the members that may be returned, ascending; None: all rows.

        certified : bool, default=True
            Whether distances, and the order of what is found, are those of float64.

        backend : {"auto", "faiss", "torch"}, default="auto"
            Who answers where an exact search is as quick.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            Ascending (inner products: descending).

        positions : ndarray of shape (n_queries, k)
        """
        if self._prefers_exact(k, among):
            return self.exact.neighbors(
                queries, k, own, among, certified=certified, backend=backend
            )
        values = np.empty((len(queries), k), dtype=np.float64)
        positions = np.empty((len(queries), k), dtype=np.intp)
        step = max(1, BATCH_ELEMENTS // max(self._wanted(k, own), queries.shape[1]))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            some, own_some = queries[part], None if own is None else own[part]
            found = self._found(some, k, own_some, among, certified)
            unsure = ~(found[1] >= 0).all(axis=1)
            if unsure.any():
                own_some = None if own_some is None else own_some[unsure]
                found[0][unsure], found[1][unsure] = self.exact.neighbors(
                    some[unsure],
                    k,
                    own_some,
                    among,
                    certified=certified,
                    backend=backend,
                )
            values[part], positions[part] = found
        return values, positions

    def candidates(
        self,
        queries: NDArray[Any],
        n_candidates: int,
        among: Positions | None = None,
    ) -> NDArray[np.int64]:
        """Return likely neighbours by their codes, the likeliest first.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Vectors like the rows.

        n_candidates : int

        among : ndarray of shape (n_eligible,) or None, default=None
            Positions of the members that may be returned; None: all.

        Returns
        -------
        positions : ndarray of shape (n_queries, n_candidates)
            -1 where the lists that were scanned hold fewer.
        """
        if self.embed is None:
            space = self.exact.space
            coordinates = space.unpadded(space.fast_queries(queries))
        else:
            coordinates = self.embed(queries).astype(np.float32)
        projected = np.ascontiguousarray(self.structure.projection.queries(coordinates))
        n_probe = self.spec.n_probe
        if among is None or len(among) == self.lists.n_rows:
            return self.lists.candidates(projected, n_candidates, n_probe)
        return self.lists.candidates_among(projected, n_candidates, n_probe, among)

    def _prefers_exact(self, k: int, among: Positions | None) -> bool:
        n_members = self.lists.n_rows
        if among is None or len(among) == n_members:
            return 2 * self.spec.n_candidates(k) >= n_members
        width = self.exact.space.n_features
        ours = search_cost(self.spec, width, n_members, k)
        return exact_cost(len(among), width) <= EXACT_PATIENCE * ours

    def _wanted(self, k: int, own: Positions | None) -> int:
        return self.spec.n_candidates(k) + (own is not None)

    def _found(
        self,
        queries: NDArray[Any],
        k: int,
        own: Positions | None,
        among: Positions | None,
        certified: bool,
    ) -> Neighbors:
        """Return what is found, with a position of -1 where that is not reliable."""
        space = self.exact.space
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            fast = space.fast_queries(queries)
            candidates = self.candidates(queries, self._wanted(k, own), among)
            if own is not None:
                is_own = candidates == own[:, None]
                order = np.argsort(is_own, axis=1, kind="stable")[:, :-1]
                candidates = np.take_along_axis(candidates, order, axis=1)
            wanted = min(candidates.shape[1], k + SPARE_NEIGHBORS if certified else k)
            scores, nearest = rerank(
                fast, self.exact.fast_rows, candidates, wanted, space.is_similarity
            )
            reliable = (np.abs(scores) < LARGEST_SCORE).all(axis=1)
            if not space.is_similarity:
                # From far away all rows look alike, to codes and to float32.
                reach = FAR_AWAY * self.exact.largest_norm
                reliable &= np.sqrt(scores[:, 0]) <= reach
            reliable &= (nearest >= 0).all(axis=1) & ~space.without_direction(queries)
            if certified:
                values = np.empty((len(queries), k))
                positions = np.full((len(queries), k), -1, dtype=np.intp)
                values[reliable], positions[reliable] = self.exact.measured(
                    queries[reliable], nearest[reliable], k
                )
                return values, positions
            values = space.to_metric(space.from_score(scores.astype(np.float64)))
        nearest[~reliable] = -1
        return values, nearest


def coordinates_of(
    exact: ExactSearch, positions: Positions, embed: Embedding | None
) -> NDArray[np.float32]:
    """Return what is projected and coded of some rows."""
    if embed is None:
        # The first row of zeros under cosine may come later: it changes no codes.
        return exact.space.unpadded(exact.fast_rows[positions])
    return embed(exact.space.vectors[positions]).astype(np.float32)


def rerank(
    queries: NDArray[np.float32],
    rows: Any,
    candidates: NDArray[np.int64],
    k: int,
    is_similarity: bool,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the best of each query's candidates, by differences in float32.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float32

    rows : matrix of shape (n_rows, n_features), float32
        An array, or rows that are decoded when they are asked for.

    candidates : ndarray of shape (n_queries, n_candidates), int64
        Row numbers; -1 for none.

    k : int
        At most n_candidates.

    is_similarity : bool
        Whether inner products are compared instead of squared distances.

    Returns
    -------
    scores : ndarray of shape (n_queries, k), float32
        Squared distances, or inner products with their sign turned; ascending.

    positions : ndarray of shape (n_queries, k), int64
        -1, with a score of no meaning, where there are fewer candidates.

    Examples
    --------
    >>> rows = np.array([[0.0], [3.0], [1.0]], dtype=np.float32)
    >>> rerank(rows[:1], rows, np.array([[1, -1, 2]]), 2, False)
    (array([[1., 9.]], dtype=float32), array([[2, 1]]))
    """
    if not isinstance(rows, np.ndarray):
        scores = decoded_scores(queries, rows, candidates, is_similarity)
        return _best(scores, candidates, k)
    faiss = load_faiss()
    pointer = faiss.swig_ptr
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows)
    missing = candidates < 0
    if missing.any():
        # FAISS stops at the first of them.
        order = np.argsort(missing, axis=1, kind="stable")
        candidates = np.take_along_axis(candidates, order, axis=1)
    candidates = np.ascontiguousarray(candidates)
    scores = np.empty((len(queries), k), dtype=np.float32)
    positions = np.empty((len(queries), k), dtype=np.int64)
    measure = (
        faiss.knn_inner_products_by_idx if is_similarity else faiss.knn_L2sqr_by_idx
    )
    measure(
        pointer(queries),
        pointer(rows),
        pointer(candidates),
        rows.shape[1],
        len(queries),
        len(rows),
        candidates.shape[1],
        k,
        pointer(scores),
        pointer(positions),
        candidates.shape[1],
    )
    return -scores if is_similarity else scores, positions


def _best(
    scores: NDArray[np.float32], candidates: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    order = np.argsort(scores, axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(candidates, order, axis=1),
    )


def decoded_scores(
    queries: NDArray[np.float32],
    rows: Any,
    candidates: NDArray[np.int64],
    is_similarity: bool,
) -> NDArray[np.float32]:
    """Return the scores of each query's candidates among rows that are decoded first.

    Parameters and result are those of `rerank`; the score is infinity for none.
    """
    scores = np.empty(candidates.shape, dtype=np.float32)
    step = max(1, DECODED_ELEMENTS // (candidates.shape[1] * rows.shape[1]))
    for start in range(0, len(candidates), step):
        part = slice(start, start + step)
        near = rows[np.maximum(candidates[part], 0)]
        if is_similarity:
            scores[part] = -np.einsum("qcd,qd->qc", near, queries[part])
        else:
            near -= queries[part, None, :]
            scores[part] = np.einsum("qcd,qcd->qc", near, near)
    scores[candidates < 0] = np.inf
    return scores


def candidate_scores(
    exact: ExactSearch,
    queries: NDArray[np.float32],
    candidates: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the scores of each query's candidates, by differences in float32.

    Parameters
    ----------
    exact : ExactSearch
        Holds the rows.

    queries : ndarray of shape (n_queries, n_features), float32
        Moved.

    candidates : ndarray of shape (n_queries, n_candidates), int64
        Positions; -1 for none.

    Returns
    -------
    scores : ndarray of shape (n_queries, n_candidates), float32
        Squared distances, or inner products with their sign turned; infinity for none.
    """
    is_similarity = exact.space.is_similarity
    candidates = np.ascontiguousarray(candidates, dtype=np.int64)
    queries, rows = np.ascontiguousarray(queries), exact.fast_rows
    if not isinstance(rows, np.ndarray):
        return decoded_scores(queries, rows, candidates, is_similarity)
    faiss = load_faiss()
    pointer = faiss.swig_ptr
    scores = np.empty(candidates.shape, dtype=np.float32)
    measure = (
        faiss.fvec_inner_products_by_idx if is_similarity else faiss.fvec_L2sqr_by_idx
    )
    measure(
        pointer(scores),
        pointer(queries),
        pointer(rows),
        pointer(candidates),
        rows.shape[1],
        len(queries),
        candidates.shape[1],
    )
    if is_similarity:
        scores = -scores
    scores[candidates < 0] = np.inf
    return scores
