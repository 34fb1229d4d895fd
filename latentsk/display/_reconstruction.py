"""Rows beside what a latent space makes of them."""

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


class ReconstructionDisplay:
    """Rows, their reconstructions, and the differences.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.
    Images are drawn as pictures, other rows as a table of the features that differ
    most.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_features), or of images
        Rows, in original units.

    reconstructions : array-like of the same shape
        What the latent space makes of them.

    image_shape : (channels, height, width) or None, default=None
        Of the images that rows are; None: rows of a table.

    labels : sequence or None, default=None
        Names of the rows; None: their positions.

    scale : array-like of shape (n_features,) or None, default=None
        Of a table: the unit of a difference in each feature. None: the standard
        deviation over `rows`.

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
    InterpolationDisplay : Rows between rows.
    ImageExplanationDisplay : Where an image is abnormal.

    Examples
    --------
    >>> from latentsk.display import ReconstructionDisplay
    >>> display = ReconstructionDisplay([[1.0, 5.0]], [[1.0, 4.0]]).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['x1', 'x0']
    """

    ax_: Any
    figure_: Any
    image_: Any

    def __init__(
        self,
        rows: ArrayLike,
        reconstructions: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
        labels: Sequence[Any] | None = None,
        scale: ArrayLike | None = None,
    ) -> None:
        self.rows = rows
        self.reconstructions = reconstructions
        self.image_shape = image_shape
        self.labels = labels
        self.scale = scale

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        n_rows: int = 10,
        image_shape: Sequence[int] | None = None,
        labels: Sequence[Any] | None = None,
        max_features: int = 12,
        ax: Any = None,
    ) -> Self:
        """Reconstruct rows and draw them.

        Parameters
        ----------
        estimator : object
            Anything fitted that has `reconstruct`, or `transform` and
            `inverse_transform`: an embedder, a Pipeline that ends in one, another
            library's PCA.

        X : array-like of shape (n_samples, n_features), or of images
            Rows; the first `n_rows` are drawn.

        n_rows : int, default=10
            Number of rows to draw.

        image_shape : (height, width) or (channels, height, width) or None, default=None
            Of images that are flat rows. None: what the estimator or `X` tells.

        labels : sequence of length n_samples or None, default=None
            Names of the rows; None: their positions.

        max_features : int, default=12
            Of a table: number of features, those that differ most.

        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : ReconstructionDisplay
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
        >>> from latentsk.display import ReconstructionDisplay
        >>> X = load_digits().data
        >>> embedder = PCAEmbedder(10).fit(X)
        >>> display = ReconstructionDisplay.from_estimator(
        ...     embedder, X, n_rows=4, image_shape=(8, 8)
        ... )
        >>> [label.get_text() for label in display.ax_.get_yticklabels()]
        ['row', 'reconstruction', 'difference']
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        require_methods(estimator, ("reconstruct",), BOTH_WAYS, remedy=EMBEDDER)
        require_count("n_rows", n_rows, least=1)
        shown = range(min(int(n_rows), _num_samples(X)))
        rows = _safe_indexing(X, list(shown))
        shape = image_shape_of(estimator, X, image_shape)
        display = cls(
            rows,
            _reconstructed(estimator, rows),
            image_shape=shape,
            labels=list(shown) if labels is None else list(labels)[: len(shown)],
            scale=spreads(as_table(X)) if shape is None else None,
        )
        return display.plot(ax, max_features=max_features)

    def plot(self, ax: Any = None, *, max_features: int = 12) -> Self:
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        max_features : int, default=12
            Of a table: number of features, those that differ most.

        Returns
        -------
        display : ReconstructionDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If there are not as many reconstructions or labels as rows.

        Examples
        --------
        >>> from latentsk.display import ReconstructionDisplay
        >>> display = ReconstructionDisplay([[1.0, 5.0]], [[1.0, 4.0]])
        >>> display.plot(max_features=1).image_.get_array().tolist()
        [[1.0]]
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        require_count("max_features", max_features, least=1)
        n_rows, n_made = _num_samples(self.rows), _num_samples(self.reconstructions)
        labels = range(n_rows) if self.labels is None else self.labels
        if n_rows != n_made or len(labels) != n_rows:
            raise ValueError(
                f"{n_rows} rows need as many reconstructions and labels, got {n_made} "
                f"and {len(labels)}."
            )
        texts = [str(label) for label in labels]
        draw = self._draw_table if self.image_shape is None else self._draw_pictures
        draw(ax, texts, int(max_features))
        return self

    def _draw_pictures(self, ax: Any, labels: list[str], _: int) -> None:
        assert self.image_shape is not None, "asked for images only"
        shape = self.image_shape
        rows, made = (
            pictures(group, shape).astype(np.float64)
            for group in (self.rows, self.reconstructions)
        )
        low, high = limits = unit_range(rows)
        # Half of the range is no difference: grey; the sign is light and dark.
        difference = 0.5 * (rows - made) + 0.5 * (low + high)
        grid = np.stack([rows, made, difference])
        names = ["row", "reconstruction", "difference"]
        self.ax_ = given_or_new(ax, mosaic_size(grid.shape, names), is_picture=True)
        self.figure_ = self.ax_.figure
        self.image_ = draw_mosaic(
            self.ax_,
            grid,
            limits,
            row_labels=names,
            column_labels=labels,
        )

    def _draw_table(self, ax: Any, labels: list[str], max_features: int) -> None:
        rows = as_table(self.rows)
        made = as_table(self.reconstructions, rows.columns)
        scale: Float64 = np.asarray(
            spreads(rows) if self.scale is None else self.scale, np.float64
        )
        found = differences(rows, made) / scale
        largest = most_different(found, max_features)
        texts = [
            [
                f"{short(value)} → {short(other)}"
                for value, other in zip(rows.iloc[:, i], made.iloc[:, i], strict=True)
            ]
            for i in largest
        ]
        names = [str(rows.columns[i]) for i in largest]
        self.ax_ = given_or_new(ax, table_size(texts, names))
        self.figure_ = self.ax_.figure
        self.image_ = draw_table(
            self.ax_,
            texts,
            found[:, largest].T,
            row_labels=names,
            column_labels=labels,
            meaning="row less reconstruction\n(standard deviations)",
        )


def _reconstructed(estimator: Any, rows: Any) -> Any:
    if hasattr(estimator, "reconstruct"):
        return estimator.reconstruct(rows)
    return estimator.inverse_transform(estimator.transform(rows))
