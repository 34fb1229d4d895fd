"""How much an index finds, and what a query costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._validation import require_count
from latentsk.display._axes import given_or_new, require_matplotlib
from latentsk.display._estimators import INDEX, require_methods

REPEATS = 3
MAX_QUERIES = 1_000
# Between 1, 2 and 5 of each power of ten there is room for a label, up to this ratio.
MOST_SHARED = 1_000.0
# How far the axis goes on beyond its outermost labels, as a factor.
MARGIN = 1.05


class RecallDisplay:
    """Recall of indexes against the queries that they answer in a second.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    table : DataFrame of shape (n_indexes, 4)
        By the name of an index, the columns "recall", "lower" and "upper" (its
        confidence bounds), and "queries_per_second".

    n_neighbors : int or None, default=None
        Number of neighbours that recall is of.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    points_ : list of matplotlib ErrorbarContainer
        One for each index, in the order of the table.

    See Also
    --------
    NeighborsDisplay : What is found.

    Examples
    --------
    >>> import pandas as pd
    >>> from latentsk.display import RecallDisplay
    >>> table = pd.DataFrame(
    ...     {
    ...         "recall": [1.0, 0.96],
    ...         "lower": [1.0, 0.95],
    ...         "upper": [1.0, 0.97],
    ...         "queries_per_second": [1_000.0, 20_000.0],
    ...     },
    ...     index=["exact", "approximate"],
    ... )
    >>> RecallDisplay(table, n_neighbors=10).plot().ax_.get_xlabel()
    'recall of 10 neighbours'
    """

    ax_: Any
    figure_: Any
    points_: list[Any]

    def __init__(self, table: pd.DataFrame, *, n_neighbors: int | None = None) -> None:
        self.table = table
        self.n_neighbors = n_neighbors

    @classmethod
    def from_estimator(
        cls,
        index: Any,
        X: ArrayLike,
        *,
        n_neighbors: int = 10,
        filter: Any = None,
        ax: Any = None,
    ) -> Self:
        """Measure the recall and the speed of indexes and draw them.

        Parameters
        ----------
        index : LatentIndex, or dict of str to LatentIndex
            Fitted indexes, by the names that the picture has for them.

        X : array-like of shape (n_queries, n_features)
            Queries, of which the first 1,000 are asked.

        n_neighbors : int, default=10
            Number of neighbours.

        filter : str, callable, array-like or None, default=None
            Which rows may be found, as in `LatentIndex.kneighbors`.

        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : RecallDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If `X` or a parameter is not valid.

        Notes
        -----
        Times are those of all queries in one call, embedding included, the median of
        three; they depend on the machine and on what else it is doing.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import LatentIndex
        >>> from latentsk.display import RecallDisplay
        >>> X = np.random.default_rng(0).normal(size=(500, 8))
        >>> display = RecallDisplay.from_estimator(LatentIndex().fit(X), X[:50])
        >>> display.table["recall"].to_dict()
        {'LatentIndex': 1.0}
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        require_count("n_neighbors", n_neighbors, least=1)
        named = index if isinstance(index, Mapping) else {type(index).__name__: index}
        for found in named.values():
            require_methods(found, ("measure_recall",), name="index", remedy=INDEX)
        some = _safe_indexing(X, slice(MAX_QUERIES))
        rows = {
            str(name): _measured(found, some, int(n_neighbors), filter)
            for name, found in named.items()
        }
        table = pd.DataFrame.from_dict(rows, orient="index")
        return cls(table, n_neighbors=int(n_neighbors)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the indexes.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : RecallDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        Examples
        --------
        >>> import pandas as pd
        >>> from latentsk.display import RecallDisplay
        >>> columns = ["recall", "lower", "upper", "queries_per_second"]
        >>> table = pd.DataFrame([[0.9, 0.88, 0.92, 50.0]], ["a"], columns)
        >>> len(RecallDisplay(table).plot().points_)
        1
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        self.ax_ = given_or_new(ax, size=(5.2, 3.6))
        self.figure_ = self.ax_.figure
        self.points_ = []
        for name, row in self.table.iterrows():
            recall, speed = row["recall"], row["queries_per_second"]
            sides = [[recall - row["lower"]], [row["upper"] - recall]]
            self.points_.append(
                self.ax_.errorbar(
                    recall,
                    speed,
                    xerr=np.maximum(sides, 0.0),
                    fmt="o",
                    capsize=3,
                    label=str(name),
                )
            )
        k = self.n_neighbors
        of = "recall" if k is None else f"recall of {k} neighbours"
        self.ax_.set(xlabel=of, ylabel="queries per second", yscale="log")
        _label_speeds(self.ax_)
        self.ax_.grid(alpha=0.3)
        for text in self.ax_.legend().get_texts():
            text.set_parse_math(False)
        return self


def _measured(index: Any, X: Any, k: int, filter: Any) -> dict[str, float]:
    recall = index.measure_recall(X, n_neighbors=k, filter=filter).loc[k]
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        index.kneighbors(X, n_neighbors=k, filter=filter)
        seconds.append(time.perf_counter() - start)
    found = {name: float(recall[name]) for name in ("recall", "lower", "upper")}
    return {**found, "queries_per_second": _num_samples(X) / float(np.median(seconds))}


def _label_speeds(ax: Any) -> None:
    """Label a logarithmic axis by plain numbers, of which at least two are seen."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    low, high = ax.get_ylim()
    powers = np.arange(np.floor(np.log10(low)) - 1, np.ceil(np.log10(high)) + 1)
    steps = [1] if high / low > MOST_SHARED else [1, 2, 5]
    ticks = np.outer(10.0**powers, steps).ravel()
    seen = ticks[(ticks >= low) & (ticks <= high)]
    if len(seen) < 2:
        low, high = ticks[ticks <= low].max(), ticks[ticks >= high].min()
        ax.set_ylim(low / MARGIN, high * MARGIN, auto=None)
    ax.yaxis.set_major_locator(FixedLocator(ticks.tolist()))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda speed, _: f"{speed:,.10g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
