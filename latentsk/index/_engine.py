"""Vectors, their rows and one search, which change together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from latentsk._chunks import row_slices
from latentsk._typing import Float64, Positions
from latentsk._validation import MAX_MAGNITUDE
from latentsk.index._buffers import SPARE_SHARE, GrowingArray
from latentsk.index._building import build_search, restored_search
from latentsk.index._cost import exact_cost
from latentsk.index._device_search import DeviceSearch
from latentsk.index._duplicates import duplicate_groups
from latentsk.index._filters import eligible_positions
from latentsk.index._memory import exact_bytes, format_bytes, parse_bytes
from latentsk.index._quantized import (
    CODE_TYPES,
    Quantization,
    QuantizedVectors,
    Vectors,
)
from latentsk.index._query import Query
from latentsk.index._recall import fresh_queries, held_out_queries, recall_table
from latentsk.index._rows import RowStore
from latentsk.index._search import Search, SearchState
from latentsk.index._settings import Settings
from latentsk.index._spec import FLAT
from latentsk.persistence import _schema as rules
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, require

# A search is rebuilt when its rows are this many times more, or fewer, than those that
# it was built for.
REBUILD_FACTOR = 2.0
# The same, once comparing the rows that lie where none did then, which are kept apart,
# takes so many times as long as the search itself.
APART_COST = 1.0


def _check_engine(_: Any, state: State, sizes: Sizes) -> None:
    codes, quantization, recalls = (
        state[name] for name in ("vectors", "quantization", "recalls")
    )
    dtypes: Any = (np.float32, np.float64)
    if quantization is not None:
        dtypes = (CODE_TYPES[quantization.dtype],)
        fits = len(quantization.scale) == sizes["width"]
        require(fits, "the codes are of another width")
    require(codes.dtype in dtypes and codes.size > 0, "there are no vectors")
    require(len(state["rows"]) == sizes["rows"], "there are not as many ids as vectors")
    vectors = IndexEngine.from_state(state).vectors
    for part in row_slices(*vectors.shape):
        with np.errstate(over="ignore", invalid="ignore"):
            is_small = float(np.abs(vectors[part]).max()) <= MAX_MAGNITUDE
        require(is_small, "vectors are out of range")
    require(recalls is None or bool((recalls[:, 1:] <= 1).all()), "a recall is above 1")


@storable(
    {
        "vectors": rules.either(
            rules.floats("rows", "width", dtypes={"float16", "float32", "float64"}),
            rules.integers("rows", "width", dtypes={"uint8"}),
        ),
        "quantization": rules.maybe(rules.instance(Quantization)),
        "rows": rules.instance(RowStore),
        "metric": rules.text("euclidean", "cosine", "inner_product"),
        "search_state": rules.instance(object, "restore"),
        "n_built": rules.count(),
        "recalls": rules.maybe(rules.floats("numbers", 4, least=0, dtypes={"float64"})),
    },
    check=_check_engine,
)
@dataclass(eq=False)
class IndexEngine:
    """What a fitted index consists of, besides its embedder.

    A change makes another engine, which shares what stays as it is, and takes the
    place of this one. Where a change raises, or is undone, this one serves on: its
    vectors are as they were, and its search is made again from its state when it is
    needed.

    Attributes
    ----------
    store : GrowingArray
        Vectors by position, or their codes.

    quantization : Quantization or None
        How codes are decoded.

    rows : RowStore
        Ids, metadata, and which rows are active.

    metric : str
        What is compared.

    search_state : SearchState
        What the search is made of.

    n_built : int
        Number of rows that the search was built for.

    recalls : ndarray of shape (n_numbers, 4) or None
        Recall when the search was built: see `recall_table`.

    settings : Settings or None
        What the index is asked to be; None until that is known.

    search : Search or None
        None until it is restored.
    """

    store: GrowingArray
    quantization: Quantization | None
    rows: RowStore
    metric: str
    search_state: SearchState
    n_built: int
    recalls: Float64 | None = None
    settings: Settings | None = None
    search: Search | None = None

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        rows: RowStore,
        settings: Settings,
        store: GrowingArray | None = None,
    ) -> IndexEngine:
        """Return an engine with the search that is asked for.

        Raises
        ------
        ValueError
            As `build_search`.
        """
        built = build_search(vectors, rows.positions, settings)
        quantization = None
        if isinstance(built.vectors, QuantizedVectors):
            quantization = built.vectors.quantization
        if store is None or built.vectors is not vectors:
            store = GrowingArray(_codes(built.vectors))
        return cls(
            store=store,
            quantization=quantization,
            rows=rows,
            metric=settings.metric,
            search_state=built.search.to_state(),
            n_built=len(rows.positions),
            recalls=built.recalls,
            settings=settings,
            search=built.search,
        )

    @property
    def vectors(self) -> Vectors:
        """The vectors, by position."""
        if self.quantization is None:
            return self.store.rows
        return QuantizedVectors(self.store.rows, self.quantization)

    @property
    def spec(self) -> str:
        """What the search is made of, as a string."""
        spec, quantization = self.search_state.spec, self.quantization
        if quantization is None or spec == FLAT:
            return spec
        return f"{spec},rows={quantization.dtype}"

    # Searches

    def restore_search(self, settings: Settings) -> None:
        """Make the search again from its state."""
        self.settings = settings
        self.search = restored_search(
            self.search_state, self.vectors, self.rows.positions, settings
        )

    def takes_tensor(self, queries: torch.Tensor) -> bool:
        """Tell whether queries on a device can be searched there."""
        return isinstance(self.search, DeviceSearch) and self.search.takes(queries)

    def query(self, vectors: Any, k: Any, filter: Any, fewer: str = "error") -> Query:
        """Return a query for the rows that are there, checked.

        Parameters
        ----------
        vectors : ndarray of shape (n_queries, n_features), Tensor or None
            None: the active rows, each of which is left out of its own neighbours.

        k : int or None
            Number of neighbours; None where a radius decides.

        filter : str, callable, array-like or None
            As in `eligible_positions`.

        fewer : {"error", "allow"}, default="error"
            Whether `k` becomes the number of rows where these are fewer.

        Raises
        ------
        TypeError
            If `k` is not an integer.

        ValueError
            If there are fewer rows, or the filter is not valid.
        """
        exclude = None
        if vectors is None:
            exclude = self.rows.positions
            vectors = self.vectors[slice(None) if self.rows.is_whole else exclude]
        return self._query(vectors, exclude, k, filter, fewer)

    def query_like(self, ids: Any, k: Any, filter: Any, fewer: str) -> Query:
        """Return a query for rows like those of some ids, each left out of its own.

        Raises
        ------
        KeyError
            If an id is unknown.

        TypeError, ValueError
            As `query`.
        """
        exclude = self.rows.positions_of(ids)
        return self._query(self.vectors[exclude], exclude, k, filter, fewer)

    def _query(
        self, vectors: Any, exclude: Positions | None, k: Any, filter: Any, fewer: str
    ) -> Query:
        query = Query(vectors, 0, exclude, eligible_positions(self.rows, filter))
        if k is None:
            return query
        k, most = checked_number(k), self._n_eligible(query)
        if k > most and fewer == "error":
            raise ValueError(_too_few(k, query, self.rows))
        return query._replace(k=max(0, min(k, most)))

    def _n_eligible(self, query: Query) -> int:
        """Return how many neighbours every query has."""
        eligible, exclude = query.eligible, query.exclude
        n_rows = len(self.rows) if eligible is None else len(eligible)
        if exclude is None:
            return n_rows
        # A row that may be returned is left out of its own neighbours.
        return n_rows - (eligible is None or bool(np.isin(exclude, eligible).any()))

    def duplicates(self, threshold: float) -> pd.DataFrame:
        """Return groups of rows within a distance: see `LatentIndex.duplicates`."""
        active = None if self.rows.is_whole else self.rows.active
        groups = duplicate_groups(self.ready_search.exact.space, threshold, active)
        positions = np.flatnonzero(groups >= 0)
        positions = positions[np.argsort(groups[positions], kind="stable")]
        ids = self.rows.ids[positions]
        return pd.DataFrame(
            {"group": groups[positions], "position": positions, "id": ids}
        )

    def measured_recalls(
        self, vectors: Any, k: Any, seed: int, filter: Any = None
    ) -> Float64:
        """Compare with an exact search: see `recall_table`.

        Parameters
        ----------
        vectors : ndarray of shape (n_queries, n_features) or None
            None: some of the rows, drawn with the seed.

        k : int
            Number of neighbours, checked here.

        seed : int

        filter : str, callable, array-like or None, default=None
            Which rows may be found, and are asked for where there are no vectors.
        """
        search = self.ready_search
        query, held_out = self._query(vectors, None, k, filter, "error"), None
        k, members = query.k, query.eligible
        if members is None:
            members = self.rows.positions
        if vectors is not None:
            held_out = fresh_queries(search.exact, vectors, k, query.eligible)
        elif self.spec != FLAT and len(members) > 1:
            rng = np.random.default_rng(seed)
            held_out = held_out_queries(search.exact, members, k, rng)
        return recall_table(search, held_out, members, k)

    # Changes

    def compacted(self, settings: Settings) -> IndexEngine:
        """Return an engine of the active rows only, which shares nothing with this."""
        codes = self.store.rows[self.rows.positions]
        engine = replace(self, store=GrowingArray(codes), rows=self.rows.compacted())
        engine.restore_search(settings)
        return engine

    def rebuilt(self) -> IndexEngine:
        """Return an engine of the same rows whose search was built for them.

        Raises
        ------
        ValueError
            As `build_search`.
        """
        return IndexEngine.build(self.vectors, self.rows, self.asked, self.store)

    def detached(self) -> IndexEngine:
        """Return an engine that no change of this one concerns, without its search."""
        store, rows = GrowingArray(self.store.share()), self.rows.apart()
        return replace(self, store=store, rows=rows, settings=None, search=None)

    def with_rows(self, rows: RowStore) -> IndexEngine:
        """Return an engine of other rows, with the search as it is by now."""
        return replace(self, rows=rows, search_state=self.ready_search.to_state())

    def with_vectors(self, positions: Positions, vectors: NDArray[Any]) -> IndexEngine:
        """Return an engine with some vectors replaced or added, and no search yet.

        It shares nothing that changes with this one.
        """
        quantization, store = self.quantization, GrowingArray(self.store.rows)
        if quantization is None or self.reaches(vectors):
            store.assign(positions, self.encoded(vectors), self.spare_share)
        else:
            decoded = GrowingArray(self.vectors[:])
            decoded.assign(positions, vectors, 0.0)
            quantization = Quantization.fitted(decoded.rows, quantization.dtype)
            store = GrowingArray(quantization.encode(decoded.rows))
        return replace(self, store=store, quantization=quantization, search=None)

    def reaches(self, vectors: NDArray[Any]) -> bool:
        """Tell whether vectors can be coded like those that are there."""
        return self.quantization is None or self.quantization.reaches(vectors)

    def encoded(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Return vectors as the store holds them."""
        return (
            vectors if self.quantization is None else self.quantization.encode(vectors)
        )

    @property
    def spare_share(self) -> float:
        """Room for further rows: where memory is scarce, none."""
        return SPARE_SHARE if self.asked.memory_budget is None else 0.0

    @property
    def is_outdated(self) -> bool:
        """Whether rows are many more or fewer than, or unlike, those before."""
        n_members, n_apart = self.rows.n_active, self.search_state.n_drifted
        own = self.ready_search.cost(self.asked.n_neighbors, n_members)
        apart = exact_cost(n_apart, self.vectors.shape[1])
        has_drifted = n_apart > 0 and apart > APART_COST * own
        return self._can_rebuild(n_members) and (
            has_drifted or self._is_outgrown_by(n_members)
        )

    def would_outgrow(self, rows: RowStore) -> bool:
        """Tell whether other rows are so many, or few, that the search is rebuilt."""
        n_members = rows.n_active
        return self._can_rebuild(n_members) and self._is_outgrown_by(n_members)

    def _can_rebuild(self, n_members: int) -> bool:
        # Too few cannot train what is pinned, which serves on as it is.
        pinned = self.asked.pinned
        has_enough = pinned is None or n_members >= pinned.min_rows
        return self.asked.is_approximate and has_enough

    def _is_outgrown_by(self, n_members: int) -> bool:
        low, high = n_members / REBUILD_FACTOR, n_members * REBUILD_FACTOR
        return not low < self.n_built < high

    def in_own_precision(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Return vectors in the dtype of those that are there.

        Raises
        ------
        ValueError
            If they are beyond its range.
        """
        dtype = self.vectors.dtype
        with np.errstate(over="ignore"):
            rounded = vectors.astype(dtype, copy=False)
        if not np.isfinite(rounded).all():
            raise ValueError(
                f"X has values beyond the range of {dtype}, which the index holds. "
                "Scale them, or fit the index on float64."
            )
        return rounded

    def require_room(self, n_rows: int) -> None:
        """Refuse more rows than the budget allows.

        Raises
        ------
        ValueError
        """
        budget, codes = self.asked.memory_budget, self.store.rows
        if budget is None or n_rows <= len(self.rows):
            return
        copied, cosine = self.ready_search.exact.fast.is_copy, self.metric == "cosine"
        width, itemsize = codes.shape[1], codes.dtype.itemsize
        needed = exact_bytes(n_rows, width, itemsize, copied=copied, cosine=cosine)
        needed += self.ready_search.n_bytes(n_rows)
        if needed > parse_bytes(budget):
            raise ValueError(
                f"With these rows the index would take {format_bytes(needed)}, more "
                f"than memory_budget={budget!r}. Raise it by set_params."
            )

    @property
    def ready_search(self) -> Search:
        """The search, which has been restored."""
        assert self.search is not None, "the search has to be restored first"
        return self.search

    @property
    def asked(self) -> Settings:
        """What the index is asked to be, which is known."""
        assert self.settings is not None, "the search has to be restored first"
        return self.settings

    # What is stored

    def to_state(self) -> dict[str, Any]:
        """Return all but the search itself, which is made again from its state."""
        return {
            "vectors": self.store.rows,
            "quantization": self.quantization,
            "rows": self.rows,
            "metric": self.metric,
            "search_state": self.search_state,
            "n_built": self.n_built,
            "recalls": self.recalls,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> IndexEngine:
        """Return the engine of a state, whose search has to be restored."""
        others = {name: value for name, value in state.items() if name != "vectors"}
        return cls(store=GrowingArray(state["vectors"]), **others)


def checked_number(k: Any) -> int:
    """Return a number of neighbours, in scikit-learn's words where it is none.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(k, Integral) or isinstance(k, bool):
        raise TypeError(
            f"n_neighbors does not take {type(k)} value, enter integer value"
        )
    if int(k) < 1:
        raise ValueError(f"Expected n_neighbors > 0. Got {k}")
    return int(k)


def _too_few(k: int, query: Query, rows: RowStore) -> str:
    if rows.n_active == 0:
        return "The index has no rows."
    if query.eligible is not None and len(query.eligible) == 0:
        return "filter leaves no row. With fewer='allow' the answer is empty."
    name, n_eligible = "n_samples_fit", len(rows)
    if query.eligible is not None:
        name, n_eligible = "the number of eligible rows", len(query.eligible)
    relation = "<=" if query.exclude is None else "<"
    return (
        f"Expected n_neighbors {relation} {name}, but n_neighbors = {k},"
        f" {name} = {n_eligible}"
    )


def _codes(vectors: Vectors) -> NDArray[Any]:
    return vectors.codes if isinstance(vectors, QuantizedVectors) else vectors
