"""Queries beside the rows that are most like them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._typing import Float64
from latentsk._validation import require_count
from latentsk.display._axes import given_or_new, require_matplotlib
from latentsk.display._estimators import INDEX, require_methods
from latentsk.display._numbers import clipped, short
from latentsk.display._pictures import (
    draw_mosaic,
    image_shape_of,
    mosaic_size,
    pictures,
    unit_range,
)
from latentsk.display._value_table import (
    as_table,
    differences,
    draw_table,
    most_different,
    spreads,
    table_size,
)

ID_LENGTH = 12


class NeighborsDisplay:
    """Queries and their nearest neighbours, as pictures or as rows.

    With each neighbour stand its id and its distance to the query: below a picture as
    "206: 0.276", above a row of a table as "206 at 0.276".

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_features), or of images
        Rows that were asked about.

    neighbors : list of array-like of shape (n_neighbors, n_features), or of images
        For each query the rows most like it, the nearest first.

    distances : array-like of shape (n_queries, n_neighbors)
        How far they are.

    ids : array-like of shape (n_queries, n_neighbors)
        Their ids.

    image_shape : (channels, height, width) or None, default=None
        Of the images that rows are; None: rows of a table.

    labels : sequence of length n_queries or None, default=None
        Names of the queries; None: their positions.

    scale : array-like of shape (n_features,) or None, default=None
        Of a table: the unit of a difference in each feature. None: the standard
        deviation over all that is shown.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    image_ : matplotlib AxesImage
        The pictures in one, or the coloured cells of the table.

    See Also
    --------
    LatentMapDisplay : All rows at once.

    Examples
    --------
    >>> from latentsk.display import NeighborsDisplay
    >>> found = [[[1.5], [3.0]]]
    >>> display = NeighborsDisplay([[1.0]], found, [[0.5, 2.0]], [["a", "b"]])
    >>> [label.get_text().split() for label in display.plot().ax_.get_xticklabels()]
    [['query', '0'], ['a', 'at', '0.5'], ['b', 'at', '2']]
    """

    ax_: Any
    figure_: Any
    image_: Any

    def __init__(
        self,
        queries: ArrayLike,
        neighbors: Sequence[Any],
        distances: ArrayLike,
        ids: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
        labels: Sequence[Any] | None = None,
        scale: ArrayLike | None = None,
    ) -> None:
        self.queries = queries
        self.neighbors = neighbors
        self.distances = distances
        self.ids = ids
        self.image_shape = image_shape
        self.labels = labels
        self.scale = scale

    @classmethod
    def from_estimator(
        cls,
        index: Any,
        X: ArrayLike,
        rows: ArrayLike,
        *,
        n_neighbors: int = 5,
        image_shape: Sequence[int] | None = None,
        labels: Sequence[Any] | None = None,
        max_features: int = 12,
        ax: Any = None,
    ) -> Self:
        """Search and draw what is found.

        Parameters
        ----------
        index : object
            Anything fitted that has `kneighbors`: a LatentIndex, scikit-learn's
            NearestNeighbors.

        X : array-like of shape (n_queries, n_features), or of images
            Rows to find the like of. Of a table only one.

        rows : array-like of shape (n_samples, n_features), or of images
            The rows that the index was fitted on, and those added since, in their
            order.

        n_neighbors : int, default=5
            Number of neighbours.

        image_shape : (height, width) or (channels, height, width) or None, default=None
            Of images that are flat rows. None: what the embedder or `X` tells.

        labels : sequence of length n_queries or None, default=None
            Names of the queries; None: their positions.

        max_features : int, default=12
            Of a table: number of features, those that differ most.

        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : NeighborsDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If `X` or a parameter is not valid, or `rows` are not those of the index.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from latentsk import LatentIndex, PCAEmbedder
        >>> from latentsk.display import NeighborsDisplay
        >>> X = load_digits().data
        >>> index = LatentIndex(PCAEmbedder(16)).fit(X[10:])
        >>> display = NeighborsDisplay.from_estimator(
        ...     index, X[:3], X[10:], image_shape=(8, 8)
        ... )
        >>> display.ids.shape
        (3, 5)
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        ways = ("kneighbors", "n_samples_fit_")
        require_methods(index, ways, name="index", remedy=INDEX)
        n_rows, n_known = _num_samples(rows), int(index.n_samples_fit_)
        if n_rows != n_known:
            raise ValueError(
                f"rows must be the {n_known} rows of the index, in their order, got "
                f"{n_rows}."
            )
        distances, positions = index.kneighbors(X, n_neighbors=n_neighbors)
        known = getattr(index, "ids_", None)
        ids = positions if known is None else np.asarray(known)[positions]
        shape = image_shape_of(index, X, image_shape)
        display = cls(
            X,
            [_safe_indexing(rows, found) for found in positions],
            distances,
            ids,
            image_shape=shape,
            labels=labels,
            scale=spreads(as_table(rows)) if shape is None else None,
        )
        return display.plot(ax, max_features=max_features)

    def plot(self, ax: Any = None, *, max_features: int = 12) -> Self:
        """Draw queries and neighbours.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        max_features : int, default=12
            Of a table: number of features, those that differ most.

        Returns
        -------
        display : NeighborsDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If several queries are rows of a table, or there are not as many labels.

        Examples
        --------
        >>> from latentsk.display import NeighborsDisplay
        >>> display = NeighborsDisplay([[1.0]], [[[1.5]]], [[0.5]], [[7]]).plot()
        >>> display.ax_.get_yticklabels()[0].get_text()
        'x0'
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        require_count("max_features", max_features, least=1)
        n_queries = _num_samples(self.queries)
        labels = self.labels
        texts = [f"query {i}" for i in range(n_queries)]
        if labels is not None:
            texts = [str(label) for label in labels]
        if len(texts) != n_queries:
            raise ValueError(
                f"labels must be {n_queries}, one for each query, got {len(texts)}."
            )
        draw = self._draw_table if self.image_shape is None else self._draw_pictures
        draw(ax, texts, int(max_features))
        return self

    def _draw_pictures(self, ax: Any, labels: list[str], _: int) -> None:
        assert self.image_shape is not None, "asked for images only"
        shape = self.image_shape
        first = pictures(self.queries, shape).astype(np.float64)[:, None]
        found = np.stack([pictures(rows, shape) for rows in self.neighbors])
        grid = np.concatenate([first, found.astype(np.float64)], axis=1)
        captions = [
            ["", *(f"{name}: {far}" for name, far in line)] for line in self._names()
        ]
        size = mosaic_size(grid.shape, labels, captions=True)
        self.ax_ = given_or_new(ax, size, is_picture=True)
        self.figure_ = self.ax_.figure
        ranks = range(1, grid.shape[1])
        self.image_ = draw_mosaic(
            self.ax_,
            grid,
            unit_range(grid),
            row_labels=labels,
            column_labels=["query", *map(str, ranks)],
            captions=captions,
        )
        self.ax_.set_xlabel("id: distance to the query", fontsize="small")

    def _names(self) -> list[list[tuple[str, str]]]:
        """Return the id and the distance of each neighbour, as short texts."""
        ids, distances = np.asarray(self.ids), np.asarray(self.distances)
        return [
            [
                (clipped(i, ID_LENGTH), short(float(d)))
                for i, d in zip(*line, strict=True)
            ]
            for line in zip(ids, distances, strict=True)
        ]

    def _draw_table(self, ax: Any, labels: list[str], max_features: int) -> None:
        if len(labels) > 1:
            raise ValueError(
                f"A table shows the neighbours of one row, got {len(labels)}: give "
                "X[:1], or say with image_shape that rows are images."
            )
        query = as_table(self.queries)
        found = as_table(self.neighbors[0], query.columns)
        asked = query.iloc[[0] * len(found)].reset_index(drop=True)
        found = found.reset_index(drop=True)
        scale: Float64 = np.asarray(
            spreads(found) if self.scale is None else self.scale, np.float64
        )
        shades = differences(found, asked) / scale
        chosen = most_different(shades, max_features)
        texts = [
            [short(value) for value in (query.iloc[0, i], *found.iloc[:, i])]
            for i in chosen
        ]
        names = [str(query.columns[i]) for i in chosen]
        columns = [labels[0], *(f"{i}\nat {far}" for i, far in self._names()[0])]
        whole = np.vstack([np.zeros(query.shape[1]), shades])
        self.ax_ = given_or_new(ax, table_size(texts, names))
        self.figure_ = self.ax_.figure
        self.image_ = draw_table(
            self.ax_,
            texts,
            whole[:, chosen].T,
            row_labels=names,
            column_labels=columns,
            meaning="neighbour less query\n(standard deviations)",
        )
