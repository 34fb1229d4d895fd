"""All rows of a latent space on a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import column_or_1d

from latentsk._typing import Float64
from latentsk._validation import require_count
from latentsk.display._axes import given_or_new, require_matplotlib
from latentsk.display._estimators import EMBEDDER, embedder_of, require_methods
from latentsk.display._pictures import image_shape_of, pictures, unit_range
from latentsk.vae._network import VAE, density_on_host

METHODS = ("auto", "pca", "tsne", "umap")
# Classes that colours can tell apart.
MOST_CLASSES = 20
DENSITY_STEPS, DENSITY_LINES = 80, 6
# Share of the numbers at either end that colours do not tell apart.
TAIL = 0.02
# Of the longer side of the map: no two thumbnails are nearer to each other.
THUMBNAIL_SIDE = 0.09


class LatentMapDisplay:
    """Rows as points of a latent space, in two dimensions.

    Create it with :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    coordinates : array-like of shape (n_samples, 2)
        Where the rows are.

    color : array-like of shape (n_samples,) or None, default=None
        Classes (strings, flags, whole numbers of 20 kinds at most), or numbers such as
        scores. None: all points have one colour.

    is_outlier : array-like of shape (n_samples,), dtype bool, or None, default=None
        Rows to ring.

    thumbnails : ndarray of shape (n_samples, height, width[, channels]) or None, \
default=None
        Images to draw at some of the points, framed in the colours of these.

    density : (ndarray, ndarray, ndarray) or None, default=None
        Both coordinates of a grid, and the density of the prior there.

    axis_names : (str, str), default=("latent 0", "latent 1")
        What the coordinates are.

    name : str or None, default=None
        What `color` is, for the legend or the colour bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.

    figure_ : matplotlib Figure
        The figure of `ax_`.

    points_ : list of matplotlib PathCollection
        Points: of each class in the order of the legend, or all.

    rings_ : matplotlib PathCollection or None
        Around outliers; black, which is no colour of a class.

    See Also
    --------
    NeighborsDisplay : The rows most like a given one.

    Examples
    --------
    >>> from latentsk.display import LatentMapDisplay
    >>> display = LatentMapDisplay([[0.0, 1.0], [2.0, 3.0]], color=["a", "b"]).plot()
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['a', 'b']
    """

    ax_: Any
    figure_: Any
    points_: list[Any]
    rings_: Any

    def __init__(
        self,
        coordinates: ArrayLike,
        *,
        color: ArrayLike | None = None,
        is_outlier: ArrayLike | None = None,
        thumbnails: NDArray[Any] | None = None,
        density: tuple[Any, Any, Any] | None = None,
        axis_names: Sequence[str] = ("latent 0", "latent 1"),
        name: str | None = None,
    ) -> None:
        self.coordinates = coordinates
        self.color = color
        self.is_outlier = is_outlier
        self.thumbnails = thumbnails
        self.density = density
        self.axis_names = axis_names
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        color: ArrayLike | str | None = None,
        method: str = "auto",
        outliers: bool = True,
        thumbnails: bool = False,
        n_thumbnails: int = 40,
        image_shape: Sequence[int] | None = None,
        density: bool = True,
        random_state: int = 0,
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Embed rows and draw them.

        Parameters
        ----------
        estimator : object
            Anything fitted that has `transform`, or a detector with an `embedder_` that
            has it.

        X : array-like of shape (n_samples, n_features), or of images
            Rows.

        color : array-like of shape (n_samples,), "score" or None, default=None
            Classes or numbers. "score": what `score_samples` says.

        method : {"auto", "pca", "tsne", "umap"}, default="auto"
            How more than two latent dimensions become two: the first two principal
            components ("auto"), scikit-learn's TSNE, or UMAP, which needs umap-learn.
            Two latent dimensions are drawn as they are.

        outliers : bool, default=True
            Whether to ring the rows that the estimator's `predict` says are outliers.

        thumbnails : bool, default=False
            Whether to draw images at some of the points, framed in their colours.

        n_thumbnails : int, default=40
            Number of these images, at most.

        image_shape : (height, width) or (channels, height, width) or None, default=None
            Of images that are flat rows. None: what the estimator or `X` tells.

        density : bool, default=True
            Whether to draw lines of equal density of the prior, where the latent space
            has two dimensions and a prior.

        random_state : int, default=0
            Seed of t-SNE and UMAP.

        name : str or None, default=None
            What `color` is.

        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        Returns
        -------
        display : LatentMapDisplay
            The picture and what it shows.

        Raises
        ------
        ImportError
            If there is no matplotlib, or no UMAP where it is asked for.

        ValueError
            If `estimator`, `X` or a parameter is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from latentsk import PCAEmbedder
        >>> from latentsk.display import LatentMapDisplay
        >>> X, y = load_digits(return_X_y=True)
        >>> embedder = PCAEmbedder(16).fit(X)
        >>> display = LatentMapDisplay.from_estimator(embedder, X, color=y)
        >>> display.axis_names
        ('principal component 1 of 16', 'principal component 2 of 16')
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        if method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, got {method!r}.")
        require_count("n_thumbnails", n_thumbnails, least=0)
        embedder = embedder_of(estimator)
        require_methods(embedder, ("transform",), remedy=EMBEDDER)
        latents: NDArray[Any] = np.asarray(embedder.transform(X))
        coordinates, names = _on_plane(latents, method, random_state)
        if isinstance(color, str):
            if color != "score":
                raise ValueError(f"color must be 'score' or an array, got {color!r}.")
            require_methods(
                estimator, ("score_samples",), remedy="Give color=y, or leave it out."
            )
            color, name = np.asarray(estimator.score_samples(X)), name or "score"
        shape = image_shape_of(estimator, X, image_shape) if thumbnails else None
        if thumbnails and shape is None:
            raise ValueError(
                "thumbnails=True is for images, and X holds flat rows. Say what they "
                "are with image_shape=(height, width)."
            )
        return cls(
            coordinates,
            color=color,
            is_outlier=_outliers(estimator, X) if outliers else None,
            thumbnails=None if shape is None else pictures(X, shape),
            density=_density_of(embedder, coordinates) if density else None,
            axis_names=names,
            name=name,
        ).plot(ax, n_thumbnails=n_thumbnails)

    def plot(
        self, ax: Any = None, *, size: float | None = None, n_thumbnails: int = 40
    ) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            What to draw on. None: a new figure.

        size : float or None, default=None
            Area of a point, as matplotlib has it; None: the smaller the more there are.

        n_thumbnails : int, default=40
            Number of images, at most.

        Returns
        -------
        display : LatentMapDisplay
            The display itself.

        Raises
        ------
        ImportError
            If there is no matplotlib.

        ValueError
            If there are not two coordinates, or not as many colours as points.

        Examples
        --------
        >>> from latentsk.display import LatentMapDisplay
        >>> display = LatentMapDisplay([[0.0, 1.0]], color=[0.5], name="age").plot()
        >>> display.figure_.axes[1].get_ylabel()
        'age'
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        require_count("n_thumbnails", n_thumbnails, least=0)
        points: Float64 = np.asarray(self.coordinates, np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"coordinates must have 2 columns, got {points.shape}.")
        area = float(np.clip(2e4 / len(points), 2.0, 25.0)) if size is None else size
        self.ax_ = given_or_new(ax, size=(6.0, 4.8))
        self.figure_ = self.ax_.figure
        if self.density is not None:
            style = {"colors": "0.75", "linewidths": 0.8, "zorder": 0}
            self.ax_.contour(*self.density, levels=DENSITY_LINES, **style)
            self.ax_.use_sticky_edges = False  # the lines end where the points do
        shades = self._draw_points(points, area)
        self._draw_rings(points, area)
        if self.thumbnails is not None:
            self._draw_thumbnails(points, shades, int(n_thumbnails))
        self.ax_.set_xlabel(self.axis_names[0], parse_math=False)
        self.ax_.set_ylabel(self.axis_names[1], parse_math=False)
        return self

    def _draw_points(self, points: Float64, area: float) -> NDArray[Any]:
        """Draw the points, and return the colour of each."""
        style = {"s": area, "linewidths": 0.0, "alpha": 0.7}
        if self.color is None:
            drawn = self.ax_.scatter(*points.T, **style)
            self.points_ = [drawn]
            return np.tile(drawn.get_facecolor()[:, :3], (len(points), 1))
        color = column_or_1d(np.asarray(self.color))
        if len(color) != len(points):
            raise ValueError(
                f"{len(points)} points need as many colours, got {len(color)}."
            )
        if not _are_classes(color):
            # A few extreme values would leave the others one colour.
            low, high = np.quantile(color, [TAIL, 1.0 - TAIL])
            scale = {"c": color, "cmap": "viridis", "vmin": low, "vmax": high}
            drawn = self.ax_.scatter(*points.T, **scale, **style)
            self.points_ = [drawn]
            bar = self.figure_.colorbar(drawn, ax=self.ax_, extend="both")
            bar.set_label(self.name or "", parse_math=False)
            return np.asarray(drawn.to_rgba(color))[:, :3]
        classes = pd.unique(pd.Series(color).sort_values())
        palette = _palette(len(classes))
        shades = np.zeros((len(points), 3))
        for kind, shade in zip(classes, palette, strict=True):
            shades[color == kind] = shade
        self.points_ = [
            self.ax_.scatter(
                *points[color == kind].T, color=[shade], label=str(kind), **style
            )
            for kind, shade in zip(classes, palette, strict=True)
        ]
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}
        legend = self.ax_.legend(title=self.name, markerscale=2.0, **place)
        for text in (*legend.get_texts(), legend.get_title()):
            text.set_parse_math(False)
        return shades

    def _draw_rings(self, points: Float64, area: float) -> None:
        self.rings_ = None
        if self.is_outlier is None or not np.any(self.is_outlier):
            return
        from matplotlib.patheffects import withStroke

        ringed = points[np.asarray(self.is_outlier, bool)]
        self.rings_ = self.ax_.scatter(
            *ringed.T,
            s=area + 30.0,
            facecolors="none",
            edgecolors="black",
            linewidths=1.0,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )
        note = f"ringed: {len(ringed)} of {len(points)} are outliers"
        self.ax_.set_title(note, fontsize="medium")

    def _draw_thumbnails(
        self, points: Float64, shades: NDArray[Any], n_most: int
    ) -> None:
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        assert self.thumbnails is not None, "asked where there are some"
        low, high = unit_range(self.thumbnails)
        for i in spread_out(points, n_most):
            pixels = (np.asarray(self.thumbnails[i], np.float64) - low) / (high - low)
            zoom = 22.0 / max(pixels.shape[:2])
            image = OffsetImage(pixels, zoom=zoom, cmap="gray")
            image.image.set_clim(0.0, 1.0)
            box = AnnotationBbox(image, points[i], pad=0.15)
            box.patch.set(linewidth=0.0, facecolor=shades[i])  # a frame of the padding
            self.ax_.add_artist(box)


def spread_out(points: Float64, n_most: int) -> list[int]:
    """Return points no two of which lie near each other, in their order.

    Examples
    --------
    >>> spread_out(np.array([[0.0, 0.0], [0.01, 0.0], [1.0, 1.0]]), 5)
    [0, 2]
    """
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0.0, span, 1.0)
    chosen: list[int] = []
    for i, point in enumerate(scaled):
        if len(chosen) == n_most:
            break
        apart = np.abs(scaled[chosen] - point).max(axis=1) > THUMBNAIL_SIDE
        if apart.all():
            chosen.append(i)
    return chosen


def _on_plane(
    latents: NDArray[Any], method: str, random_state: int
) -> tuple[NDArray[Any], tuple[str, str]]:
    """Return two coordinates for each row, and what they are."""
    n_latents = latents.shape[1]
    if n_latents == 1:
        along = np.column_stack([latents[:, 0], np.zeros(len(latents))])
        return along, ("latent 0", "")
    if n_latents == 2 and method == "auto":
        return latents, ("latent 0", "latent 1")
    if method in ("auto", "pca"):
        names = (f"principal component {i} of {n_latents}" for i in (1, 2))
        return PCA(2).fit_transform(latents), (next(names), next(names))
    if method == "tsne":
        perplexity = min(30.0, (len(latents) - 1) / 3.0)
        found = TSNE(2, perplexity=perplexity, random_state=random_state)
        return found.fit_transform(latents), ("t-SNE 1", "t-SNE 2")
    try:
        from umap import UMAP  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "method='umap' needs umap-learn: pip install umap-learn."
        ) from error
    found = UMAP(2, random_state=random_state, n_jobs=1)
    return np.asarray(found.fit_transform(latents)), ("UMAP 1", "UMAP 2")


def _outliers(estimator: Any, X: Any) -> NDArray[np.bool_] | None:
    """Return which rows are outliers, of an estimator that tells."""
    if not hasattr(estimator, "decision_function"):
        return None
    return np.asarray(estimator.decision_function(X)) < 0.0


def _density_of(
    embedder: Any, coordinates: NDArray[Any]
) -> tuple[Any, Any, Any] | None:
    """Return the prior's density on a grid, of two latent dimensions that have one."""
    network = getattr(embedder, "module_", None)
    if not isinstance(network, VAE) or embedder.n_components_ != 2:
        return None
    import torch

    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    sides = (np.linspace(low[i], high[i], DENSITY_STEPS) for i in (0, 1))
    first, second = np.meshgrid(*sides)
    points = np.column_stack([first.ravel(), second.ravel()]).astype(np.float64)
    with torch.no_grad():
        density = density_on_host(network, torch.float32)
        found = density.log_density(torch.from_numpy(points)).exp().numpy()
    return first, second, found.reshape(first.shape)


def _are_classes(color: NDArray[Any]) -> bool:
    if color.dtype.kind in "OUSb":
        return True
    whole = color.dtype.kind in "iu" or bool((color == np.round(color)).all())
    return whole and len(np.unique(color)) <= MOST_CLASSES


def _palette(n_classes: int) -> list[Any]:
    import matplotlib as mpl

    names = "tab10" if n_classes <= 10 else "tab20"
    shades = mpl.colormaps[names]
    return [shades(i % shades.N)[:3] for i in range(n_classes)]
