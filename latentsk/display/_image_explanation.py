"""What each pixel adds to the score of an image, as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._device import on_host
from latentsk._typing import Float64
from latentsk.display._axes import given_or_new_panels, require_matplotlib
from latentsk.display._estimators import DETECTOR, EMBEDDER, require_methods
from latentsk.display._numbers import short
from latentsk.display._pictures import image_shape_of, pictures, unit_range
from latentsk.outliers._image_input import image_embedder

# Inches of the image and of the heat map, with the room that the bar takes of both.
PANEL_SIZES = ((3.3, 2.8), (3.3, 2.8))
# What is black below the heat map: a light grey, on which colours are seen.
LIGHTEST_BLACK = 0.6


class ImageExplanationDisplay:
    """An image beside the heat map of what its pixels add to the score.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        The image.

    contributions : array-like of shape (height, width)
        What each pixel adds to the score: the lower, the less normal.

    score : float or None, default=None
        Score of the image. None: the sum of the contributions.

    window : int or None, default=None
        Rows and columns of the window that the score is the sum of: the window with the
        lowest sum is framed. None: the score is the sum over all pixels.

    name : str or None, default=None
        Name of the image.

    Attributes
    ----------
    axes_ : ndarray of shape (2,) of matplotlib Axes
        That of the image, and that of the heat map.

    figure_ : matplotlib Figure
        The figure of the axes.

    heat_map_ : matplotlib AxesImage
        The contributions.

    frame_ : matplotlib Rectangle or None
        Around the window, on the heat map.

    See Also
    --------
    ExplanationDisplay : The same for rows of a table.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk.display import ImageExplanationDisplay
    >>> contributions = np.zeros((8, 8))
    >>> contributions[2, 5] = -9.0
    >>> display = ImageExplanationDisplay(np.ones((8, 8)), contributions).plot()
    >>> display.axes_[1].get_title()
    'score −9'
    """

    axes_: NDArray[Any]
    figure_: Any
    heat_map_: Any
    frame_: Any

    def __init__(
        self,
        image: ArrayLike,
        contributions: ArrayLike,
        *,
        score: float | None = None,
        window: int | None = None,
        name: str | None = None,
    ) -> None:
        self.image = image
        self.contributions = contributions
        self.score = score
        self.window = window
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        row: int = 0,
        *,
        image_shape: Sequence[int] | None = None,
        axes: Any = None,
        name: str | None = None,
    ) -> Self:
        """Explain one image and draw the heat map.

        Parameters
        ----------
        estimator : object
            Anything fitted that has `score_samples` and one of `score_map`,
            `score_contributions` and `explain`: an embedder, a LatentOutlierDetector.
            A detector with ``method="embedder_score"`` is drawn as its embedder.

        X : array-like of images, or of shape (n_samples, n_features)
            Images.

        row : int, default=0
            Position of the image among `X`, counted from 0.

        image_shape : (height, width) or (channels, height, width) or None, default=None
            Of images that are flat rows. None: what the estimator or `X` tells.

        axes : array-like of 2 matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        name : str or None, default=None
            Name of the image. None: its position.

        Returns
        -------
        display : ImageExplanationDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If `X` or a parameter is not valid, or rows are no images.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from latentsk import PCAEmbedder
        >>> from latentsk.display import ImageExplanationDisplay
        >>> X = load_digits().data
        >>> embedder = PCAEmbedder(20).fit(X[10:])
        >>> display = ImageExplanationDisplay.from_estimator(
        ...     embedder, X, row=3, image_shape=(8, 8)
        ... )
        >>> display.contributions.shape
        (8, 8)
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        ways = (
            ("score_samples", how)
            for how in ("score_contributions", "score_map", "explain")
        )
        require_methods(estimator, *ways, remedy=f"{EMBEDDER} {DETECTOR}")
        n_rows = _num_samples(X)
        if not isinstance(row, Integral) or not 0 <= row < n_rows:
            raise ValueError(f"row must be an integer in [0, {n_rows}), got {row!r}.")
        shape = image_shape_of(estimator, X, image_shape)
        if shape is None:
            raise ValueError(
                "X holds flat rows. Say what they are with image_shape=(height, "
                "width), or draw rows of a table with ExplanationDisplay."
            )
        chosen = _safe_indexing(X, [int(row)])
        display = cls(
            pictures(chosen, shape)[0],
            _contributions(estimator, chosen, shape),
            score=float(np.asarray(estimator.score_samples(chosen))[0]),
            window=getattr(mapping_embedder(estimator), "score_window", None),
            name=f"image {row}" if name is None else name,
        )
        return display.plot(axes)

    def plot(self, axes: Any = None) -> Self:
        """Draw the image and the heat map.

        Parameters
        ----------
        axes : array-like of 2 matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : ImageExplanationDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If there are not as many contributions as pixels, or not two axes.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk.display import ImageExplanationDisplay
        >>> ones = np.ones((8, 8))
        >>> display = ImageExplanationDisplay(ones, -ones, window=3).plot()
        >>> display.frame_.get_width()
        3
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        image: Float64 = np.asarray(self.image, np.float64)
        found: Float64 = np.asarray(self.contributions, np.float64)
        if found.ndim != 2 or image.shape[:2] != found.shape:
            raise ValueError(
                f"An image of shape {image.shape} needs contributions of shape "
                f"{image.shape[:2]}, got {found.shape}."
            )
        self.axes_ = given_or_new_panels(
            axes, PANEL_SIZES, "for image and heat map", is_picture=True
        )
        self.figure_ = self.axes_[0].figure
        low, high = unit_range(image)
        grey = (image - low) / (high - low)
        self.axes_[0].imshow(grey, cmap="gray", vmin=0.0, vmax=1.0)
        self._draw_heat_map(self.axes_[1], grey, found)
        if self.name is not None:
            self.axes_[0].set_title(self.name, parse_math=False)
        score = float(found.sum()) if self.score is None else self.score
        self.axes_[1].set_title(f"score {short(score)}", parse_math=False)
        for ax in self.axes_:
            ax.set(xticks=[], yticks=[])
        return self

    def _draw_heat_map(self, ax: Any, grey: Float64, found: Float64) -> None:
        # A faint image below, so that one sees where a pixel lies.
        below = grey[..., :3].mean(axis=2) if grey.ndim == 3 else grey
        faint = LIGHTEST_BLACK + (1.0 - LIGHTEST_BLACK) * below
        ax.imshow(faint, cmap="gray", vmin=0.0, vmax=1.0)
        reach = float(np.abs(found).max()) or 1.0
        self.heat_map_ = ax.imshow(
            found,
            cmap="RdBu",
            vmin=-reach,
            vmax=reach,
            alpha=np.clip(np.abs(found) / (0.5 * reach), 0.0, 1.0),
        )
        # Both panels make room for it, and so stay alike in size.
        panels = list(self.axes_)
        bar = self.figure_.colorbar(self.heat_map_, ax=panels, shrink=0.8)
        bar.set_label("contribution to the score\n(negative = less normal)")
        self.frame_ = None
        if self.window is not None:
            top, left = lowest_window(found, int(self.window))
            from matplotlib.patches import Rectangle

            self.frame_ = Rectangle(
                (left - 0.5, top - 0.5),
                int(self.window),
                int(self.window),
                fill=False,
                edgecolor="black",
                linewidth=1.5,
            )
            ax.add_patch(self.frame_)


def lowest_window(contributions: Float64, window: int) -> tuple[int, int]:
    """Return the first row and column of the window with the lowest sum.

    Examples
    --------
    >>> lowest_window(-np.eye(4)[:3], 2)
    (0, 0)
    """
    views = np.lib.stride_tricks.sliding_window_view(contributions, (window, window))
    sums = views.sum(axis=(2, 3))
    top, left = np.unravel_index(int(sums.argmin()), sums.shape)
    return int(top), int(left)


def mapping_embedder(estimator: Any) -> Any:
    """Return the embedder whose `score_map` says what pixels add to a score.

    Parameters
    ----------
    estimator : fitted object
        An embedder, or a detector that has the score of one.

    Returns
    -------
    embedder : fitted embedder or None
        None: no map says it.
    """
    found = estimator
    if getattr(estimator, "method", None) == "embedder_score":
        found = getattr(estimator, "embedder_", None)
    found = image_embedder(found) or found
    has_map = hasattr(found, "input_shape_") and hasattr(found, "score_map")
    return found if has_map else None


def _contributions(estimator: Any, row: Any, shape: Sequence[int]) -> Float64:
    """Return what each pixel of an image adds to its score, channels together."""
    embedder = mapping_embedder(estimator)
    if embedder is not None:
        found = np.asarray(embedder.score_map(row))[0]
    else:
        found = (
            np.asarray(_flat_contributions(estimator, row)).reshape(shape).sum(axis=0)
        )
    return found.astype(np.float64)


def _flat_contributions(estimator: Any, row: Any) -> Any:
    """Return the contributions of flat features, channels first."""
    if hasattr(estimator, "explain"):
        return estimator.explain(row)["contribution"].to_numpy()
    return np.asarray(on_host(estimator.score_contributions(row)))
