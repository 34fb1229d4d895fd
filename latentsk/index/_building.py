"""What an index is built of, and what share of the neighbours it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from latentsk._device import device_or_cpu
from latentsk._warnings import warn
from latentsk.index._compact import CompactRows
from latentsk.index._embedding import embed
from latentsk.index._filters import eligible_positions
from latentsk.index._lock import lock_of
from latentsk.index._memory import better_kinds, kind_within
from latentsk.index._space import Placement
from latentsk.index._spec import FLAT, IndexSpec
from latentsk.index._threads import thread_limit
from latentsk.index.approximate import ApproximateSearch, Structure
from latentsk.index.exact import ExactSearch
from latentsk.index.recall import (
    HeldOut,
    fresh_queries,
    held_out_queries,
    recall_table,
)
from latentsk.index.rows import RowStore
from latentsk.index.tuning import build, has_enough_rows, tune

Search = ExactSearch | ApproximateSearch


class BuildingMixin:
    """The search of an index: looked for, built, measured, and made anew."""

    _vectors: Any

    def _forget_rows(self: Any) -> None:
        """Drop what belongs to the rows of an earlier fit, but not its lock."""
        for name in (*self._private_state, "metadata_", "_search", "_rows", "_store"):
            self.__dict__.pop(name, None)

    def _keep(self: Any, rows: RowStore) -> None:
        self._rows = rows
        self.ids_, self._alive = rows.ids, rows.alive
        self.n_samples_fit_ = len(rows.ids)

    def _row_store(self: Any) -> RowStore:
        if not hasattr(self, "_rows"):
            self._rows = RowStore(self.ids_, self._alive)
        return self._rows

    def _build_search(self: Any) -> None:
        """Build the index that is pinned, or look for one, over the present rows."""
        with thread_limit(self.n_jobs):
            members = self._row_store().living
            exact = ExactSearch(self._vectors, self.effective_metric_, self._device())
            kind, flat = self._row_kind(exact), self._stays_flat(exact, len(members))
            held_out = None
            if self.target_recall is not None and not (flat and kind is None):
                held_out = self._held_out(exact, members)
            if kind is not None:
                exact = self._in_few_bytes(kind)
            search: Search = exact
            if not flat:
                search = self._lists_over(exact, members, held_out)
            self._take(search, len(members))
            if self.target_recall is not None:
                if isinstance(search, ExactSearch) and kind is None:
                    held_out = None  # nothing can be missed
                k = self.n_neighbors
                self._recalls = recall_table(search, held_out, members, k)
                self._check_recall()

    def _stays_flat(self: Any, exact: ExactSearch, n_members: int) -> bool:
        """Tell whether every row will be compared."""
        if self.index_spec is not None or self.target_recall is None:
            return self.index_spec in (None, FLAT)
        # A GPU compares every row sooner than a CPU scans lists.
        on_device = exact.searches_on_device()
        return on_device or not has_enough_rows(n_members, exact.space.n_features)

    def _lists_over(
        self: Any,
        exact: ExactSearch,
        members: NDArray[np.intp],
        held_out: HeldOut | None,
    ) -> Search:
        options: dict[str, Any] = {
            "members": members,
            "seed": self.random_state,
            "embed": self._original_embedding(),
        }
        if self.index_spec is not None:
            spec = IndexSpec.parse(self.index_spec)
            self._report(f"building {spec}")
            apart = None if held_out is None else held_out.positions
            return build(exact, spec, apart=apart, **options)
        assert self.target_recall is not None
        assert held_out is not None
        options["held_out"] = held_out
        target, k = self.target_recall, self.n_neighbors
        return tune(exact, target, k, self._report, **options)

    def _held_out(self: Any, exact: ExactSearch, members: NDArray[np.intp]) -> HeldOut:
        """Return what recall is measured on."""
        self._report("finding the true neighbours of held-out rows")
        k = min(self.n_neighbors, len(members) - 1)
        rng = np.random.default_rng(self.random_state)
        return held_out_queries(exact, members, k, rng)

    def _in_few_bytes(self: Any, kind: str) -> ExactSearch:
        """Keep the rows in the form that the budget, or the specification, asks for."""
        if isinstance(self._vectors, np.ndarray):
            self._report(f"keeping rows as {kind}")
            self._vectors = CompactRows.encode(self._vectors, kind)
            self.__dict__.pop("_store", None)
        return ExactSearch(self._vectors, self.effective_metric_, self._device())

    def _row_kind(self: Any, exact: ExactSearch) -> str | None:
        if self.index_spec not in (None, FLAT):
            kind = IndexSpec.parse(str(self.index_spec)).rows
            if kind is not None or self.memory_budget is None:
                return kind
        if self.memory_budget is None:
            return None
        return kind_within(
            self.memory_budget,
            self._vectors.shape,
            self._vectors.dtype.itemsize,
            copied=exact.keeps_copy,
            approximate=self._is_approximate(),
            cosine=self.effective_metric_ == "cosine",
        )

    def _check_recall(self: Any) -> None:
        """Refuse a budget that costs more recall than was asked for."""
        rows, cosine = self._vectors, self.effective_metric_ == "cosine"
        for k, recall, lower, _ in self._recalls:
            if k != self.n_neighbors or lower >= self.target_recall:
                continue
            if self.memory_budget is not None and isinstance(rows, CompactRows):
                raise ValueError(
                    f"With memory_budget={self.memory_budget!r} the recall is "
                    f"{recall:.3f} (at least {lower:.3f}), and target_recall="
                    f"{self.target_recall} is not reached. "
                    f"{better_kinds(rows, cosine=cosine)}"
                )
            warn(
                f"The recall of {self.index_spec_} is {recall:.3f} (at least "
                f"{lower:.3f}), less than target_recall={self.target_recall}. Raise "
                "nprobe or rerank in index_spec, or leave it None to have one found."
            )

    def _is_approximate(self: Any) -> bool:
        return self.target_recall is not None or self.index_spec not in (None, FLAT)

    def _take(self: Any, search: Search, n_members: int) -> None:
        self.index_spec_, self._structure = FLAT, {}
        if isinstance(search, ApproximateSearch):
            if isinstance(self._vectors, CompactRows):
                search.spec = replace(search.spec, rows=self._vectors.kind)
            self.index_spec_ = str(search.spec)
            # Codes are of moved rows, and rows that come later must not move them.
            placement = search.exact.space.placement
            self._structure = {**search.structure.arrays(), **placement._asdict()}
        self._n_tuned, self._n_strange = n_members, 0
        self._search = search
        self._report(f"built {self.index_spec_}")

    def _original_embedding(self: Any) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
        """Return what makes latent vectors of original rows, where both serve."""
        if self.rerank != "original":
            return None
        names = getattr(self, "feature_names_in_", None)

        def embedding(rows: NDArray[Any]) -> NDArray[Any]:
            X = rows if names is None else pd.DataFrame(rows, columns=names)
            return embed(self.embedder_, X)

        return embedding

    def _report(self: Any, message: str) -> None:
        if self.verbose:
            print(f"[LatentIndex] {message}", flush=True)

    def _searcher(self: Any) -> Search:
        # Not part of the state: a copy or an unpickled index builds it when needed.
        if not hasattr(self, "_search"):
            # Once: several readers may be here, and it takes as much as the rows.
            with lock_of(self).building:
                if not hasattr(self, "_search"):
                    self._search = self._restored_search()
        return self._search

    def _restored_search(self: Any) -> Search:
        placement = None
        if self._structure:
            shift, scale = self._structure["shift"], self._structure["scale"]
            placement = Placement(shift, scale)
        exact = ExactSearch(
            self._vectors, self.effective_metric_, self._device(), placement
        )
        if not self._structure:
            return exact
        return ApproximateSearch(
            exact,
            IndexSpec.parse(self.index_spec_),
            Structure.from_arrays(self._structure),
            self._row_store().living,
            self._original_embedding(),
        )

    def _device(self: Any) -> torch.device:
        return device_or_cpu(self.device)

    def _exact(self: Any) -> ExactSearch:
        search = self._searcher()
        return search.exact if isinstance(search, ApproximateSearch) else search

    @property
    def vectors_(self: Any) -> NDArray[Any]:
        """The vectors that are searched; decoded where they are kept in few bytes."""
        check_is_fitted(self)
        vectors = self._vectors
        return vectors if isinstance(vectors, np.ndarray) else vectors[:]

    @property
    def recall_(self: Any) -> pd.DataFrame:
        """Recall on held-out rows when the index was built, by number of neighbours."""
        if not hasattr(self, "_recalls"):
            raise AttributeError(
                "recall_ exists after a fit with target_recall; measure_recall tells "
                "it at any time."
            )
        return _recall_frame(self._recalls)

    def measure_recall(
        self: Any, X: ArrayLike | None = None, n_neighbors: int | None = None
    ) -> pd.DataFrame:
        """Compare with an exact search, and count what is found.

        The truth is that of the rows as the index keeps them; where a `memory_budget`
        rounds them, `recall_` compared with the rows as they were given.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            Queries. None: rows of the index, up to 2,000 drawn with `random_state`,
            each left out of its own neighbours.

        n_neighbors : int or None, default=None
            Number of neighbours that is reported besides 1, 10 and 100; None takes that
            of the estimator.

        Returns
        -------
        table : DataFrame
            By number of neighbours ("n_neighbors", the index), the mean "recall" and
            its confidence bounds of 95 % each, "lower" and "upper".

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentIndex
        >>> X = np.random.default_rng(0).normal(size=(300, 8))
        >>> LatentIndex().fit(X).measure_recall(n_neighbors=5)["recall"].to_dict()
        {1: 1.0, 5: 1.0, 10: 1.0, 100: 1.0}
        """
        check_is_fitted(self)
        queries = None if X is None else self._vectors_of(X)
        with self._reading(), thread_limit(self.n_jobs):
            among = eligible_positions(self._row_store(), None)
            k = self._checked_neighbors(n_neighbors, None, among)
            held_out = None
            if queries is not None:
                held_out = fresh_queries(self._exact(), queries, k, among)
            return _recall_frame(self._measured_recalls(held_out, k))

    def _measured_recalls(
        self: Any, held_out: HeldOut | None = None, k: int | None = None
    ) -> NDArray[np.float64]:
        k = self.n_neighbors if k is None else k
        search, members = self._searcher(), self._row_store().living
        if held_out is None and isinstance(search, ApproximateSearch):
            rng = np.random.default_rng(self.random_state)
            held_out = held_out_queries(search.exact, members, k, rng)
        return recall_table(search, held_out, members, k)


def _recall_frame(recalls: NDArray[np.float64]) -> pd.DataFrame:
    index = pd.Index(recalls[:, 0].astype(int), name="n_neighbors")
    return pd.DataFrame(recalls[:, 1:], index, columns=["recall", "lower", "upper"])
