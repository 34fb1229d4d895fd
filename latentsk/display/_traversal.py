"""What latent dimensions do to a row."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._typing import Float64
from latentsk.display._axes import given_or_new_panels, require_matplotlib
from latentsk.display._estimators import (
    BOTH_WAYS,
    EMBEDDER,
    own_latent_names,
    require_methods,
)
from latentsk.display._numbers import short, short_steps
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

MOST_DIMENSIONS = 8
PANELS = "one for all single dimensions and one for each pair"
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)


class TraversalDisplay:
    """A row as it changes along latent dimensions.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.
    Images are drawn as pictures: a line for each dimension, and a square for each pair
    of them. Of rows of a table the features are drawn that each dimension changes most.

    Parameters
    ----------
    lines : list of array-like of shape (n_values, n_features), or of images
        For each dimension, the row with other values in it; for a pair, n_values**2
        rows, the second dimension changing fastest.

    dimensions : sequence of int or (int, int)
        The latent dimensions, and pairs of them.

    values : array-like of shape (n_latents, n_values)
        What each latent dimension is set to.

    image_shape : (channels, height, width) or None, default=None
        Of the images that rows are; None: rows of a table.

    names : sequence of str or None, default=None
        Names of the latent dimensions; None: "latent 0", "latent 1", ...

    scale : array-like of shape (n_features,) or None, default=None
        Of a table: the unit of a change in each feature. None: the standard deviation
        over all that is shown.

    feature_names : sequence of str or None, default=None
        Of a table: None takes those that rows have.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for all single dimensions, and one for each pair.

    figure_ : matplotlib Figure
        The figure of the axes.

    images_ : list of matplotlib AxesImage
        What was drawn on each.

    See Also
    --------
    InterpolationDisplay : Rows between rows.

    Examples
    --------
    >>> from latentsk.display import TraversalDisplay
    >>> display = TraversalDisplay([[[0.0], [1.0]]], [0], [[-1.0, 1.0]]).plot()
    >>> [label.get_text() for label in display.axes_[0].get_xticklabels()]
    ['−1', '1']
    """

    axes_: NDArray[Any]
    figure_: Any
    images_: list[Any]

    def __init__(
        self,
        lines: Sequence[Any],
        dimensions: Sequence[Any],
        values: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        scale: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.lines = lines
        self.dimensions = dimensions
        self.values = values
        self.image_shape = image_shape
        self.names = names
        self.scale = scale
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        row: int = 0,
        *,
        dimensions: Sequence[Any] | None = None,
        values: ArrayLike | None = None,
        image_shape: Sequence[int] | None = None,
        max_features: int = 3,
        axes: Any = None,
    ) -> Self:
        """Change a row along latent dimensions and draw it.

        Parameters
        ----------
        estimator : object
            Anything fitted that has `transform` and `inverse_transform`.

        X : array-like of shape (n_samples, n_features), or of images
            Rows, whose latent coordinates tell how far each dimension varies.

        row : int, default=0
            Position of the row to change among `X`, counted from 0.

        dimensions : sequence of int or (int, int), or None, default=None
            Latent dimensions, and pairs of them (of images). None: those that vary most
            over `X`, 8 at most.

        values : array-like of shape (n_values,) or None, default=None
            What each dimension is set to. None: its mean over `X`, and up to two
            standard deviations below and above.

        image_shape : (height, width) or (channels, height, width) or None, default=None
            Of images that are flat rows. None: what the estimator or `X` tells.

        max_features : int, default=3
            Of a table: features for each dimension, those that change most.

        axes : array-like of matplotlib Axes or None, default=None
            One for all single dimensions, and one for each pair. None: a new figure.

        Returns
        -------
        display : TraversalDisplay
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
        >>> from latentsk.display import TraversalDisplay
        >>> X = load_digits().data
        >>> display = TraversalDisplay.from_estimator(
        ...     PCAEmbedder(10).fit(X), X, dimensions=[0, (1, 2)], image_shape=(8, 8)
        ... )
        >>> [len(line) for line in display.lines]
        [5, 25]
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        require_methods(estimator, BOTH_WAYS, remedy=EMBEDDER)
        n_rows = _num_samples(X)
        if not isinstance(row, Integral) or not 0 <= row < n_rows:
            raise ValueError(f"row must be an integer in [0, {n_rows}), got {row!r}.")
        shape = image_shape_of(estimator, X, image_shape)
        latents: NDArray[Any] = np.asarray(estimator.transform(X))
        chosen = _checked_dimensions(dimensions, latents)
        grid = _values(values, latents)
        lines = [
            _decoded(estimator, X, int(row), latents[int(row)], dimension, grid)
            for dimension in chosen
        ]
        table = None if shape is not None else as_table(X)
        display = cls(
            lines,
            chosen,
            grid,
            image_shape=shape,
            names=own_latent_names(estimator, latents.shape[1]),
            scale=None if table is None else spreads(table),
            feature_names=None if table is None else [*table.columns],
        )
        return display.plot(axes, max_features=max_features)

    def plot(self, axes: Any = None, *, max_features: int = 3) -> Self:
        """Draw the rows.

        Parameters
        ----------
        axes : array-like of matplotlib Axes or None, default=None
            One for all single dimensions, and one for each pair. None: a new figure.

        max_features : int, default=3
            Of a table: features for each dimension, those that change most.

        Returns
        -------
        display : TraversalDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If there are not as many axes, or pairs are of a table.

        Examples
        --------
        >>> from latentsk.display import TraversalDisplay
        >>> lines = [[[0.0, 1.0], [0.0, 5.0]]]
        >>> display = TraversalDisplay(lines, [0], [[-1.0, 1.0]]).plot(max_features=1)
        >>> [label.get_text() for label in display.axes_[0].get_yticklabels()]
        ['latent 0: x1']
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        lines = list(zip(self.dimensions, self.lines, strict=True))
        single = [(int(d), line) for d, line in lines if isinstance(d, Integral)]
        pairs = [(d, line) for d, line in lines if not isinstance(d, Integral)]
        shape = self.image_shape
        if pairs and shape is None:
            raise ValueError("Pairs of dimensions are drawn for images; give integers.")
        n_panels = len(pairs) + bool(single)
        if shape is None:
            table = self._table(single, max_features)
            self.axes_ = given_or_new_panels(
                axes, [table_size(table.texts, table.names)], PANELS
            )
        else:
            n_values = np.shape(self.values)[1]
            heights = [len(single)] * bool(single) + [n_values] * len(pairs)
            names = [self._name(dimension) for dimension, _ in single]
            sizes = [mosaic_size((h, n_values, *shape[1:]), names) for h in heights]
            self.axes_ = given_or_new_panels(axes, sizes, PANELS, is_picture=True)
        self.figure_ = self.axes_[0].figure
        if shape is None:
            self.images_ = [table.draw(self.axes_[0])]
            return self
        self.images_ = [self._draw_lines(self.axes_[0], single)] if single else []
        for ax, (pair, line) in zip(
            self.axes_[n_panels - len(pairs) :], pairs, strict=True
        ):
            self.images_.append(self._draw_square(ax, pair, line))
        return self

    def _name(self, dimension: int) -> str:
        return f"latent {dimension}" if self.names is None else self.names[dimension]

    def _steps(self, dimensions: Sequence[int]) -> list[str]:
        """Return labels of the values, if dimensions share them, else their ranks."""
        values = np.asarray(self.values, np.float64)[list(dimensions)]
        if np.allclose(values, values[0]):
            return short_steps(values[0].tolist())
        standard = np.asarray(STEPS)
        if values.shape[1] == len(standard):
            return ["mean" if s == 0.0 else f"{short(s)} sd" for s in standard]
        return [str(i) for i in range(values.shape[1])]

    def _draw_lines(self, ax: Any, single: list[tuple[int, Any]]) -> Any:
        assert self.image_shape is not None, "asked for images only"
        grid = np.stack([pictures(line, self.image_shape) for _, line in single])
        grid = grid.astype(np.float64)
        return draw_mosaic(
            ax,
            grid,
            unit_range(grid),
            row_labels=[self._name(dimension) for dimension, _ in single],
            column_labels=self._steps([dimension for dimension, _ in single]),
        )

    def _draw_square(self, ax: Any, pair: tuple[int, int], line: Any) -> Any:
        assert self.image_shape is not None, "asked for images only"
        found = pictures(line, self.image_shape).astype(np.float64)
        side = np.shape(self.values)[1]
        grid = found.reshape(side, side, *found.shape[1:])
        image = draw_mosaic(
            ax,
            grid,
            unit_range(grid),
            row_labels=self._steps(pair[:1]),
            column_labels=self._steps(pair[1:]),
        )
        ax.set_ylabel(self._name(pair[0]), parse_math=False)
        ax.set_title(self._name(pair[1]), fontsize="medium", parse_math=False)
        return image

    def _table(self, single: list[tuple[int, Any]], max_features: int) -> _Cells:
        tables = [as_table(line, self.feature_names) for _, line in single]
        scale: Float64 = np.asarray(
            spreads(pd.concat(tables)) if self.scale is None else self.scale, np.float64
        )
        texts, names, shades = [], [], []
        for (dimension, _), table in zip(single, tables, strict=True):
            middle = table.iloc[[len(table) // 2] * len(table)].reset_index(drop=True)
            changes = differences(table, middle) / scale
            for i in most_different(changes, max_features):
                texts.append([short(value) for value in table.iloc[:, i]])
                names.append(f"{self._name(dimension)}: {table.columns[i]}")
                shades.append(changes[:, i])
        return _Cells(
            texts, names, np.array(shades), self._steps([d for d, _ in single])
        )


class _Cells(NamedTuple):
    """A table of the features that dimensions change."""

    texts: list[list[str]]
    names: list[str]
    shades: Float64
    steps: list[str]

    def draw(self, ax: Any) -> Any:
        return draw_table(
            ax,
            self.texts,
            self.shades,
            row_labels=self.names,
            column_labels=self.steps,
            meaning="change from the middle\n(standard deviations)",
        )


def _checked_dimensions(
    dimensions: Sequence[Any] | None, latents: NDArray[Any]
) -> list[Any]:
    """Return dimensions as integers and pairs of them.

    Raises
    ------
    ValueError
        If there is no such dimension.
    """
    n_latents = latents.shape[1]
    if dimensions is None:
        order = np.argsort(-latents.var(axis=0), kind="stable")
        return sorted(map(int, order[:MOST_DIMENSIONS]))
    chosen = [d if isinstance(d, Integral) else tuple(d) for d in dimensions]
    every = [i for d in chosen for i in (d if isinstance(d, tuple) else (d,))]
    is_known = all(isinstance(i, Integral) and 0 <= int(i) < n_latents for i in every)
    if (
        not chosen
        or not is_known
        or any(isinstance(d, tuple) and len(d) != 2 for d in chosen)
    ):
        raise ValueError(
            f"dimensions must be integers from 0 to {n_latents - 1}, or pairs of them, "
            f"got {dimensions!r}."
        )
    return chosen


def _values(values: ArrayLike | None, latents: NDArray[Any]) -> Float64:
    """Return what each latent dimension is set to."""
    if values is None:
        steps = np.asarray(STEPS)
        return latents.mean(axis=0)[:, None] + latents.std(axis=0)[:, None] * steps
    given: Float64 = np.asarray(values, np.float64)
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all():
        raise ValueError(f"values must be a sequence of numbers, got {values!r}.")
    return np.tile(given, (latents.shape[1], 1))


def _decoded(
    estimator: Any,
    X: Any,
    row: int,
    latents: NDArray[Any],
    dimension: Any,
    values: Float64,
) -> Any:
    """Return a row with other values in a dimension, or in two."""
    if isinstance(dimension, Integral) and hasattr(estimator, "traverse"):
        chosen = _safe_indexing(X, [row])
        return estimator.traverse(chosen, int(dimension), values[dimension])
    axes = (dimension,) if isinstance(dimension, Integral) else dimension
    meshes = np.meshgrid(*(values[i] for i in axes), indexing="ij")
    path = np.tile(latents, (meshes[0].size, 1))
    for i, mesh in zip(axes, meshes, strict=True):
        path[:, i] = mesh.ravel()
    return estimator.inverse_transform(path)
