"""Changes of an engine: what they take is checked first, and made or undone then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Positions
from latentsk.index._engine import IndexEngine
from latentsk.index._rows import RowStore

NO_ROWS: Positions = np.empty(0, dtype=np.intp)


class Change:
    """Other rows for an engine, not yet made.

    Nothing that the engine has is changed before `made`.

    Parameters
    ----------
    engine : IndexEngine
        Whose search is restored.

    rows : RowStore
        The rows afterwards.

    positions : ndarray of shape (n_changed,)
        Of rows that are new or replaced.

    vectors : ndarray of shape (n_changed, n_features) or None
        Their vectors; None where there are none.

    removed : ndarray of shape (n_removed,)
        Positions of rows that are removed.
    """

    def __init__(
        self,
        engine: IndexEngine,
        rows: RowStore,
        positions: Positions = NO_ROWS,
        vectors: NDArray[Any] | None = None,
        removed: Positions = NO_ROWS,
    ) -> None:
        self.engine = engine
        self.rows = rows
        self.positions = positions
        self.vectors = vectors
        self.removed = removed
        self._present = positions[positions < len(engine.rows)]
        # Codes that were replaced; None as long as nothing was.
        self._before: NDArray[Any] | None = None

    # What is asked for

    @classmethod
    def adding(
        cls, engine: IndexEngine, vectors: NDArray[Any], ids: Any, metadata: Any
    ) -> Change:
        """Return what adds rows: see `LatentIndex.add`."""
        vectors = engine.in_own_precision(vectors)
        rows, positions = engine.rows.append(len(vectors), ids, metadata)
        engine.require_room(len(rows))
        return cls(engine, rows, positions, vectors)

    @classmethod
    def updating(
        cls, engine: IndexEngine, vectors: NDArray[Any], ids: Any, metadata: Any
    ) -> Change:
        """Return what replaces rows: see `LatentIndex.update`."""
        vectors = engine.in_own_precision(vectors)
        rows, positions = engine.rows.update(len(vectors), ids, metadata)
        return cls(engine, rows, positions, vectors)

    @classmethod
    def upserting(
        cls, engine: IndexEngine, vectors: NDArray[Any], ids: Any, metadata: Any
    ) -> Change:
        """Return what replaces rows, and adds others: see `LatentIndex.upsert`."""
        vectors = engine.in_own_precision(vectors)
        rows, positions = engine.rows.upsert(len(vectors), ids, metadata)
        engine.require_room(len(rows))
        return cls(engine, rows, positions, vectors)

    @classmethod
    def describing(cls, engine: IndexEngine, metadata: Any, ids: Any) -> Change:
        """Return what knows other things of rows: see `LatentIndex.update_metadata`."""
        return cls(engine, engine.rows.with_metadata(metadata, ids))

    @classmethod
    def removing(cls, engine: IndexEngine, ids: Any) -> Change:
        """Return what removes rows: see `LatentIndex.remove`."""
        removed = engine.rows.unique_positions_of(ids)
        return cls(engine, engine.rows.remove(removed), removed=removed)

    # How it is made

    @property
    def takes_long(self) -> bool:
        """Whether all rows are coded again, so that readers should not wait for it."""
        engine, vectors = self.engine, self.vectors
        if vectors is not None and not engine.reaches(vectors):
            return True
        return engine.would_outgrow(self.rows)

    def made_beside(self) -> IndexEngine:
        """Return a changed engine that shares nothing that changes with this one.

        Raises
        ------
        ValueError
            If the search cannot be built for these rows.
        """
        engine = self.engine
        if self.vectors is not None:
            engine = engine.with_vectors(self.positions, self.vectors)
        engine = replace(engine, rows=self.rows, search=None)
        if engine.would_outgrow(self.rows):
            return engine.rebuilt()
        engine.restore_search(engine.asked)
        return engine.with_rows(self.rows)

    def made(self) -> IndexEngine:
        """Return a changed engine that takes over what the one before was made of.

        Where it raises, that one serves on.
        """
        engine = self.engine
        if self.vectors is None and len(self.removed) == 0:
            return engine.with_rows(self.rows)
        self._before = engine.store.rows[self._present]
        try:
            if self.vectors is not None:
                self._put(self.vectors)
            engine.ready_search.remove(self.removed)
            return engine.with_rows(self.rows)
        except BaseException:
            self.undo()
            raise

    def _put(self, vectors: NDArray[Any]) -> None:
        engine = self.engine
        engine.store.assign(self.positions, engine.encoded(vectors), engine.spare_share)
        replaced = self._present[engine.rows.active[self._present]]
        if len(replaced):
            engine.ready_search.remove(replaced)
        engine.ready_search.add(engine.vectors, self.positions)

    def undo(self) -> None:
        """Let the engine before serve again, after `made`.

        Its search, which has changed, is made again from its state.
        """
        if self._before is None:
            return
        engine = self.engine
        engine.store.restore(len(engine.rows), self._present, self._before)
        engine.search, engine.rows = None, engine.rows.apart()
