"""What a fitted index shows of its engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from latentsk._state import StateMixin
from latentsk.index._engine import IndexEngine
from latentsk.index._results import recall_frame
from latentsk.index._row_ids import as_ids


class FittedIndex(StateMixin):
    """Fitted attributes of an index, which are all read from its engine.

    Attributes
    ----------
    _engine : IndexEngine
        Only once it is fitted.
    """

    _engine: IndexEngine
    _private_state = ("_engine",)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_engine")

    @property
    def vectors_(self) -> NDArray[Any]:
        """The vectors that are searched; decoded where they are quantized."""
        vectors = self._fitted_engine.vectors
        return vectors if isinstance(vectors, np.ndarray) else vectors[:]

    @property
    def ids_(self) -> NDArray[Any]:
        """Id of each position; read-only, as rows are looked up by them."""
        ids = self._fitted_engine.rows.ids.view()
        ids.flags.writeable = False
        return ids

    @property
    def active_(self) -> NDArray[np.bool_]:
        """Whether the row at each position is there, and was not removed."""
        return self._fitted_engine.rows.active.copy()

    @property
    def n_samples_fit_(self) -> int:
        """Number of positions."""
        return len(self._fitted_engine.rows)

    def __len__(self) -> int:
        """Return the number of rows that are there."""
        return self._fitted_engine.rows.n_active

    def __bool__(self) -> bool:
        """Return True, also of an index that is empty, or not fitted."""
        return True

    def __contains__(self, id: Any) -> bool:
        """Tell whether a row with this id is there."""
        rows = self._fitted_engine.rows
        hash(id)  # a TypeError where it has none, as of a set
        try:
            return bool(rows.holds(as_ids([id])).all())
        except ValueError:
            return False  # no row has a missing id

    @property
    def effective_metric_(self) -> str:
        """The metric."""
        return self._fitted_engine.metric

    @property
    def metadata_(self) -> pd.DataFrame:
        """What is known of the rows that are there, by id."""
        metadata = self._fitted_engine.rows.metadata
        if metadata is None:
            raise AttributeError("metadata_ exists after a fit with metadata.")
        return metadata.copy()

    @property
    def index_spec_(self) -> str:
        """What the index is made of."""
        return self._fitted_engine.spec

    @property
    def recall_(self) -> pd.DataFrame:
        """Recall on held-out rows when the index was built, by number of neighbours."""
        recalls = self._fitted_engine.recalls
        if recalls is None:
            raise AttributeError(
                "recall_ exists after a fit with target_recall; measure_recall tells "
                "it at any time."
            )
        return recall_frame(recalls)

    @property
    def _fitted_engine(self) -> IndexEngine:
        check_is_fitted(self)
        return self._engine

    def _require_distance(self, method: str) -> None:
        if self.effective_metric_ == "inner_product":
            raise ValueError(
                f"{method} needs a distance, and an inner product is a similarity. Use "
                "search, or another metric."
            )
