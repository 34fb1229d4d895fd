"""Rows that come, change and go after an index was fitted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from latentsk.index._buffers import SPARE_SHARE, GrowingArray
from latentsk.index._compact import CompactRows
from latentsk.index._embedding import row_ids
from latentsk.index._memory import (
    exact_bytes,
    format_bytes,
    lists_bytes,
    parse_bytes,
)
from latentsk.index._spec import FLAT, IndexSpec
from latentsk.index._threads import thread_limit
from latentsk.index.approximate import ApproximateSearch
from latentsk.index.rows import RowStore

# An index is built anew when its rows are this many times more, or fewer, than those
# that it was built for.
REBUILD_FACTOR = 2.0
# The same, once such a share of the rows lies where none did then.
STRANGE_SHARE = 0.02


class ChangesMixin:
    """`add`, `update` and `remove` of an index.

    Positions are never given to another row: a removed row leaves a gap, and added rows
    come behind the last.
    """

    _vectors: Any

    def add(
        self: Any,
        X: ArrayLike,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> Any:
        """Add rows behind the present ones.

        An approximate index is built anew once it has twice the rows that it was built
        for, or once two in a hundred lie where none lay then.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows like those that were fitted. Add many at once: every call takes some
            time for the ids of all rows.

        ids : array-like of shape (n_samples,) or None, default=None
            Ids that are not in the index. None: the index of a DataFrame; else the
            positions, if all ids so far are whole numbers.

        metadata : DataFrame of n_samples rows or None, default=None
            With the columns that `fit` was given; needed if there were any.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        ValueError
            If `X` is not valid, ids or metadata do not fit it, or the rows exceed the
            `memory_budget`. Nothing is added.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"])
        >>> index.add([[0, 1]], ids=["c"]).search([[0, 2]], n_neighbors=1)["id"].item()
        'c'
        """
        vectors = self._new_vectors(X)
        with self._writing():
            rows = self._row_store()
            names = row_ids(X) if ids is None else ids
            if names is None:
                names = _next_ids(rows, len(vectors))
            frame = self._new_metadata(metadata, required=True)
            grown = rows.append(names)
            check_lengths(len(vectors), len(grown.ids) - len(rows.ids), frame)
            self._require_room(len(grown.ids))
            positions = np.arange(len(rows.ids), len(grown.ids))
            with self._committing():
                self._keep(grown)
                if frame is not None:
                    self.metadata_ = pd.concat([self.metadata_, frame])
                self._put(positions, vectors, present=positions[:0])
        return self

    def update(
        self: Any,
        X: ArrayLike,
        ids: ArrayLike | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> Any:
        """Replace rows, which keep their positions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The new rows.

        ids : array-like of shape (n_samples,) or None, default=None
            Ids of the rows to replace; None: the index of a DataFrame.

        metadata : DataFrame of n_samples rows or None, default=None
            Replaces theirs; None leaves it.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        KeyError
            If an id is unknown. Nothing is replaced.

        ValueError
            If `X` is not valid, or ids or metadata do not fit it. Nothing is replaced.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"])
        >>> index.update([[9, 9]], ids=["a"]).vectors_.tolist()
        [[9.0, 9.0], [3.0, 4.0]]
        """
        vectors = self._new_vectors(X)
        names = row_ids(X) if ids is None else ids
        if names is None:
            raise ValueError("update needs the ids of the rows to replace.")
        with self._writing():
            positions = self._row_store().unique_positions_of(names)
            frame = self._new_metadata(metadata, required=False)
            check_lengths(len(vectors), len(positions), frame)
            with self._committing():
                if frame is not None:
                    self.metadata_ = _with_rows(self.metadata_, positions, frame)
                self._put(positions, vectors, present=positions)
        return self

    def remove(self: Any, ids: ArrayLike) -> Any:
        """Remove rows; the positions of the others stay as they are.

        Parameters
        ----------
        ids : array-like of shape (n_samples,)
            Ids of the rows to remove. They may be used again for other rows. The
            memory of the vectors is kept, as their positions are: fit anew when most
            rows are gone.

        Returns
        -------
        self : LatentIndex
            The index.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        KeyError
            If an id is unknown. Nothing is removed.

        ValueError
            If an id occurs twice.

        Examples
        --------
        >>> from latentsk import LatentIndex
        >>> index = LatentIndex().fit([[0, 0], [3, 4], [0, 1]])
        >>> index.remove([0]).kneighbors([[0, 0]], n_neighbors=2)[1]
        array([[2, 1]])
        """
        check_is_fitted(self)
        with self._writing():
            rows = self._row_store()
            positions = rows.unique_positions_of(ids)
            with self._committing():
                self._keep(rows.remove(rows.ids[positions]))
                if isinstance(self._search, ApproximateSearch):
                    self._search.remove(positions)
                self._rebuild_if_needed()
        return self

    @contextmanager
    def _committing(self: Any) -> Iterator[None]:
        """Change everything in the block, or nothing."""
        try:
            with thread_limit(self.n_jobs), self._rollback_on_error():
                self._searcher()  # over the rows as they are now
                yield
        except BaseException:
            # They may be changed in part, and are made anew from the vectors.
            for name in ("_search", "_store"):
                self.__dict__.pop(name, None)
            raise

    def _new_vectors(self: Any, X: Any) -> NDArray[Any]:
        """Return the vectors of rows in the index's own precision."""
        given = self._vectors_of(X)
        with np.errstate(over="ignore"):
            vectors = given.astype(self._vectors.dtype, copy=False)
        if not np.isfinite(vectors).all():
            raise ValueError(
                f"X has values beyond the range of {vectors.dtype}, which the index "
                "holds. Scale them, or fit the index on float64."
            )
        return vectors

    def _require_room(self: Any, n_rows: int) -> None:
        if self.memory_budget is None:
            return
        width, rows = self._vectors.shape[1], self._vectors
        itemsize = _codes(rows).dtype.itemsize
        needed = exact_bytes(
            n_rows,
            width,
            itemsize,
            copied=self._exact().keeps_copy,
            cosine=self.effective_metric_ == "cosine",
        )
        if self.index_spec_ != FLAT:
            needed += lists_bytes(n_rows, IndexSpec.parse(self.index_spec_).n_codes)
        if needed > parse_bytes(self.memory_budget):
            raise ValueError(
                f"With these rows the index would take {format_bytes(needed)}, more "
                f"than memory_budget={self.memory_budget!r}. Raise it by set_params."
            )

    def _new_metadata(
        self: Any, metadata: pd.DataFrame | None, *, required: bool
    ) -> pd.DataFrame | None:
        known = hasattr(self, "metadata_")
        if metadata is None:
            if known and required:
                raise ValueError("The index has metadata: give that of the new rows.")
            return None
        if not known:
            raise ValueError("The index was fitted without metadata.")
        check_metadata(metadata)
        missing = self.metadata_.columns.difference(metadata.columns)
        if len(missing) or len(metadata.columns) != len(self.metadata_.columns):
            raise ValueError(
                f"metadata must have the columns {list(self.metadata_.columns)}, got "
                f"{list(metadata.columns)}."
            )
        return metadata[self.metadata_.columns]

    def _put(
        self: Any,
        positions: NDArray[np.intp],
        vectors: NDArray[Any],
        present: NDArray[np.intp],
    ) -> None:
        """Set vectors by position, of which some are in the index already."""
        search = self._search
        if isinstance(self._vectors, CompactRows):
            if not self._vectors.holds(vectors):
                return self._put_anew(positions, vectors)
            vectors = self._vectors.coded(vectors)
        if not hasattr(self, "_store"):
            # Where memory is scarce every addition copies the rows, and none is spare.
            spare = SPARE_SHARE if self.memory_budget is None else 0.0
            self._store = GrowingArray(_codes(self._vectors), spare)
        before = _codes(self._vectors)[present]
        self._store.assign(positions, vectors)
        self._vectors = _like(self._vectors, self._store.rows)
        try:
            if isinstance(search, ApproximateSearch):
                search.remove(present)
            if not self._exact().revise(self._vectors, positions):
                del self._search
            elif isinstance(search, ApproximateSearch):
                self._n_strange += search.add(positions)
            self._rebuild_if_needed()
        except BaseException:
            self._store.assign(present, before)
            raise

    def _put_anew(
        self: Any, positions: NDArray[np.intp], vectors: NDArray[Any]
    ) -> None:
        """Set vectors that the codes of the others do not reach: code all again."""
        store = GrowingArray(self._vectors[:])
        store.assign(positions, vectors)
        self._vectors = CompactRows.encode(store.rows, self._vectors.kind)
        for name in ("_search", "_store"):
            self.__dict__.pop(name, None)
        self._searcher()
        self._rebuild_if_needed()

    def _rebuild_if_needed(self: Any) -> None:
        n_members = len(self._row_store().living)
        if self.target_recall is None and self.index_spec is None:
            return
        centers = self._structure.get("centers", np.empty((0, 0)))
        if self.index_spec is not None and n_members < max(centers.shape):
            return  # too few to train what is pinned, which serves on as it is
        other = self._n_strange > STRANGE_SHARE * n_members
        as_many = (
            n_members / REBUILD_FACTOR < self._n_tuned < n_members * REBUILD_FACTOR
        )
        if other or not as_many:
            self._build_search()


def _codes(vectors: NDArray[Any] | CompactRows) -> NDArray[Any]:
    return vectors.codes if isinstance(vectors, CompactRows) else vectors


def _like(
    vectors: NDArray[Any] | CompactRows, codes: NDArray[Any]
) -> NDArray[Any] | CompactRows:
    if isinstance(vectors, CompactRows):
        return CompactRows(codes, vectors.middle, vectors.scale)
    return codes


def check_lengths(n_rows: int, n_ids: int, metadata: pd.DataFrame | None) -> None:
    """Raise an error unless there are as many ids, and rows of metadata, as rows.

    Raises
    ------
    ValueError
    """
    if n_ids != n_rows:
        raise ValueError(f"Got {n_ids} ids for {n_rows} rows of X.")
    check_metadata(metadata)
    if metadata is not None and len(metadata) != n_rows:
        raise ValueError(
            f"Got metadata of {len(metadata)} rows for {n_rows} rows of X."
        )


def check_metadata(metadata: Any) -> None:
    """Raise an error unless there is none, or a table whose columns have names.

    Raises
    ------
    TypeError
        If it is no DataFrame.

    ValueError
        If two columns have the same name.
    """
    if metadata is None:
        return
    if not isinstance(metadata, pd.DataFrame):
        raise TypeError(f"metadata must be a DataFrame, got {type(metadata).__name__}.")
    if not metadata.columns.is_unique:
        raise ValueError(
            f"metadata must have columns of different names, got "
            f"{list(metadata.columns)}."
        )


def _next_ids(rows: RowStore, number: int) -> NDArray[np.intp]:
    if rows.ids.dtype.kind not in "iu":
        raise ValueError("ids are needed, because the index has ids of its own kind.")
    return np.arange(len(rows.ids), len(rows.ids) + number)


def _with_rows(
    frame: pd.DataFrame, positions: NDArray[np.intp], rows: pd.DataFrame
) -> pd.DataFrame:
    """Return a frame with other rows at some positions, of dtypes that hold all."""
    order = np.arange(len(frame))
    order[positions] = len(frame) + np.arange(len(positions))
    joined = pd.concat([frame, rows], ignore_index=True).iloc[order]
    return joined.set_axis(frame.index)
