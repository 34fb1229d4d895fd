"""A journey through a latent space, from row to row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._validation import require_count
from latentsk.display._axes import given_or_new, require_matplotlib
from latentsk.display._estimators import BOTH_WAYS, EMBEDDER, require_methods
from latentsk.display._numbers import short
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
from latentsk.vae._paths import PATHS


class InterpolationDisplay:
    """Rows on the way from one row to the next, through a latent space.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.
    Images are drawn as pictures, one line for each leg of the journey; rows of a table
    as the features that change most.

    Parameters
    ----------
    legs : list of array-like of shape (n_steps, n_features), or of images
        For each two rows that follow each other, the rows between them, both ends
        included.

    image_shape : (channels, height, width) or None, default=None
        Of the images that rows are; None: rows of a table.

    labels : sequence of length n_legs + 1 or None, default=None
        Names of the rows that the journey leads through; None: their positions.

    feature_names : sequence of str or None, default=None
        Of a table: None takes those that rows have.

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
    TraversalDisplay : What each latent dimension does to a row.

    Examples
    --------
    >>> from latentsk.display import InterpolationDisplay
    >>> display = InterpolationDisplay([[[0.0], [1.0], [2.0]]], labels=["a", "b"])
    >>> [label.get_text() for label in display.plot().ax_.get_xticklabels()]
    ['a', '', 'b']
    """

    ax_: Any
    figure_: Any
    image_: Any

    def __init__(
        self,
        legs: Sequence[Any],
        *,
        image_shape: Sequence[int] | None = None,
        labels: Sequence[Any] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.legs = legs
        self.image_shape = image_shape
        self.labels = labels
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        n_steps: int = 9,
        method: str = "linear",
        image_shape: Sequence[int] | None = None,
        labels: Sequence[Any] | None = None,
        max_features: int = 12,
        ax: Any = None,
    ) -> Self:
        """Find the rows between rows and draw them.

        Parameters
        ----------
        estimator : object
            Anything fitted that has `transform` and `inverse_transform`; where it has
            `interpolate`, too, that is asked.

        X : array-like of shape (n_stops, n_features), or of images
            The rows that the journey leads through, in this order, at least 2.

        n_steps : int, default=9
            Number of rows of a leg, both ends included; at least 2. Of an odd number,
            the one in the middle lies half way.

        method : {"linear", "slerp"}, default="linear"
            A straight line, or an arc around the origin (Shoemake, 1985), which stays
            where a normal prior has its mass.

        image_shape : (height, width) or (channels, height, width) or None, default=None
            Of images that are flat rows. None: what the estimator or `X` tells.

        labels : sequence of length n_stops or None, default=None
            Names of the rows; None: their positions.

        max_features : int, default=12
            Of a table: number of features, those that change most.

        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : InterpolationDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If `estimator`, `X` or a parameter is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from latentsk import PCAEmbedder
        >>> from latentsk.display import InterpolationDisplay
        >>> X, y = load_digits(return_X_y=True)
        >>> stops = X[[4, 7, 9]]
        >>> display = InterpolationDisplay.from_estimator(
        ...     PCAEmbedder(20).fit(X), stops, image_shape=(8, 8), labels=y[[4, 7, 9]]
        ... )
        >>> [label.get_text() for label in display.ax_.get_yticklabels()]
        ['4 to 7', '7 to 9']
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        require_methods(estimator, ("interpolate",), BOTH_WAYS, remedy=EMBEDDER)
        require_count("n_steps", n_steps, least=2)
        if not isinstance(method, str) or method not in PATHS:
            raise ValueError(f"method must be one of {sorted(PATHS)}, got {method!r}.")
        n_stops = _num_samples(X)
        if n_stops < 2:
            raise ValueError(
                f"X must hold 2 rows or more to go from one to the next, got {n_stops}."
            )
        stops = [_safe_indexing(X, [i]) for i in range(n_stops)]
        legs = [
            _rows_between(estimator, start, end, int(n_steps), method)
            for start, end in pairwise(stops)
        ]
        shape = image_shape_of(estimator, X, image_shape)
        names = None if shape is not None else [*as_table(X).columns]
        display = cls(legs, image_shape=shape, labels=labels, feature_names=names)
        return display.plot(ax, max_features=max_features)

    def plot(self, ax: Any = None, *, max_features: int = 12) -> Self:
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        max_features : int, default=12
            Of a table: number of features, those that change most.

        Returns
        -------
        display : InterpolationDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If there is not one label more than legs.

        Examples
        --------
        >>> from latentsk.display import InterpolationDisplay
        >>> display = InterpolationDisplay([[[0.0, 5.0], [1.0, 5.0]]])
        >>> display.plot(max_features=1).image_.get_array().tolist()
        [[0.0, 2.0]]
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        require_count("max_features", max_features, least=1)
        n_stops = len(self.legs) + 1
        labels = range(n_stops) if self.labels is None else self.labels
        if len(labels) != n_stops:
            raise ValueError(
                f"labels must be {n_stops}, one for each row of the journey, got "
                f"{len(labels)}."
            )
        texts = [str(label) for label in labels]
        draw = self._draw_table if self.image_shape is None else self._draw_pictures
        draw(ax, texts, int(max_features))
        return self

    def _draw_pictures(self, ax: Any, labels: list[str], _: int) -> None:
        assert self.image_shape is not None, "asked for images only"
        shape = self.image_shape
        grid = np.stack([pictures(leg, shape).astype(np.float64) for leg in self.legs])
        names = [f"{start} to {end}" for start, end in pairwise(labels)]
        self.ax_ = given_or_new(ax, mosaic_size(grid.shape, names), is_picture=True)
        self.figure_ = self.ax_.figure
        self.image_ = draw_mosaic(
            self.ax_,
            grid,
            unit_range(grid),
            row_labels=names,
        )

    def _draw_table(self, ax: Any, labels: list[str], max_features: int) -> None:
        first = as_table(self.legs[0], self.feature_names)
        later = [as_table(leg, first.columns).iloc[1:] for leg in self.legs[1:]]
        whole = pd.concat([first, *later], ignore_index=True)
        start = whole.iloc[[0] * len(whole)].reset_index(drop=True)
        changes = differences(whole, start) / spreads(whole)
        chosen = most_different(changes, max_features)
        texts = [[short(value) for value in whole.iloc[:, i]] for i in chosen]
        names = [str(whole.columns[i]) for i in chosen]
        columns = _stop_labels(labels, [len(leg) for leg in self.legs])
        self.ax_ = given_or_new(ax, table_size(texts, names))
        self.figure_ = self.ax_.figure
        self.image_ = draw_table(
            self.ax_,
            texts,
            changes[:, chosen].T,
            row_labels=names,
            column_labels=columns,
            meaning="change since the start\n(standard deviations of the journey)",
        )


def _stop_labels(labels: list[str], lengths: list[int]) -> list[str]:
    """Return the labels of stops, and nothing for the rows between."""
    columns = [labels[0]]
    for label, length in zip(labels[1:], lengths, strict=True):
        columns += [""] * (length - 2) + [label]
    return columns


def _rows_between(
    estimator: Any, start: Any, end: Any, n_steps: int, method: str
) -> Any:
    if hasattr(estimator, "interpolate"):
        return estimator.interpolate(start, end, n_steps, method)
    ends = [np.asarray(estimator.transform(row))[0] for row in (start, end)]
    path = PATHS[method](ends[0], ends[1], n_steps)
    return estimator.inverse_transform(path.astype(ends[0].dtype))
