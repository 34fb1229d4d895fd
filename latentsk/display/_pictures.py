"""Rows as pictures: their shape, and a mosaic of them with labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsk._device import on_host
from latentsk._images import MOST_CHANNELS, as_images, channels_seen

# Inches of a picture in a mosaic: its longer side.
PICTURE_SIZE = 0.8
# Pixels between two pictures, and of a caption, as shares of their longer side.
GAP, CAPTION = 0.08, 0.3
# Inches of a character of a label.
CHARACTER_WIDTH = 0.09


def image_shape_of(
    estimator: Any, X: Any, image_shape: Sequence[int] | None = None
) -> tuple[int, ...] | None:
    """Return channels, height and width of the images that rows are.

    Parameters
    ----------
    estimator : object
        Its `input_shape_` counts, or that of a detector's embedder or of the last step
        of a Pipeline.

    X : array-like
        Rows. An array of images tells its shape itself.

    image_shape : (height, width) or (channels, height, width) or None, default=None
        What the caller says.

    Returns
    -------
    shape : (channels, height, width) or None
        None, if rows are no images.

    Raises
    ------
    ValueError
        If `image_shape` is no such shape, or has another number of values than a row.

    Examples
    --------
    >>> image_shape_of(None, np.zeros((5, 64)), (8, 8))
    (1, 8, 8)
    >>> image_shape_of(None, np.zeros((5, 8, 8, 3)))
    (3, 8, 8)
    """
    if image_shape is not None:
        return _checked_shape(image_shape, X)
    images = as_images(X)
    if images is not None:
        return _shape_of_images(images)
    for found in _parts(estimator):
        shape = getattr(found, "input_shape_", None)
        if shape is not None and len(shape) == 3 and shape[0] <= MOST_CHANNELS:
            return tuple(map(int, shape))
    return None


def _checked_shape(image_shape: Sequence[int], X: Any) -> tuple[int, ...]:
    shape = tuple(image_shape)
    whole = all(isinstance(size, Integral) and size > 0 for size in shape)
    if not whole or len(shape) not in (2, 3):
        raise ValueError(
            "image_shape must be (height, width) or (channels, height, width), got "
            f"{image_shape!r}."
        )
    shape = (1, *shape) if len(shape) == 2 else shape
    n_values = math.prod(np.shape(X)[1:])
    if math.prod(shape) != n_values:
        raise ValueError(
            f"image_shape={tuple(image_shape)} stands for {math.prod(shape)} values, "
            f"but a row of X has {n_values}."
        )
    return tuple(map(int, shape))


def _shape_of_images(images: NDArray[Any]) -> tuple[int, ...] | None:
    seen = channels_seen(images.shape)
    if seen == "none":
        return (1, *images.shape[1:])
    if seen == "last":
        return (images.shape[3], *images.shape[1:3])
    return images.shape[1:] if seen == "first" else None


def _parts(estimator: Any) -> list[Any]:
    """Return an estimator and what it has inside that may know of images."""
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    return [last, getattr(last, "embedder_", None)]


def pictures(rows: ArrayLike, shape: Sequence[int]) -> NDArray[Any]:
    """Return rows as pictures.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_features), or of images
        Flat rows have their channels first.

    shape : (channels, height, width)

    Returns
    -------
    pictures : ndarray of shape (n_rows, height, width[, channels])
        With an axis of channels, last, where there are 3 or 4. Of 2 channels the first
        is shown: grey, without its opacity.

    Examples
    --------
    >>> pictures(np.zeros((5, 192)), (3, 8, 8)).shape
    (5, 8, 8, 3)
    """
    found = np.asarray(on_host(rows))
    if found.ndim == 4 and channels_seen(found.shape) == "last":
        images = found
    else:
        images = np.moveaxis(found.reshape(len(found), *shape), 1, -1)
    return images if shape[0] > 2 else images[..., 0]


def unit_range(*groups: NDArray[Any]) -> tuple[float, float]:
    """Return the range that pictures share: black and white of all of them.

    Examples
    --------
    >>> unit_range(np.array([0.0, 0.4]), np.array([-0.1, 1.0]))
    (-0.1, 1.0)
    """
    low = min(float(np.nanmin(group)) for group in groups)
    high = max(float(np.nanmax(group)) for group in groups)
    return low, high if high > low else low + 1.0


def mosaic(grid: NDArray[Any], gaps: tuple[int, int] = (1, 1)) -> NDArray[Any]:
    """Return pictures beside and below each other, as one picture.

    Parameters
    ----------
    grid : ndarray of shape (n_rows, n_columns, height, width[, channels])

    gaps : (int, int), default=(1, 1)
        Pixels between two rows, and between two columns.

    Returns
    -------
    picture : ndarray of shape (height, width[, channels])
        What lies between them is NaN.

    Examples
    --------
    >>> mosaic(np.ones((1, 2, 2, 2)))
    array([[ 1.,  1., nan,  1.,  1.],
           [ 1.,  1., nan,  1.,  1.]])
    """
    n_rows, n_columns, height, width = grid.shape[:4]
    down, across = height + gaps[0], width + gaps[1]
    sides = n_rows * down - gaps[0], n_columns * across - gaps[1]
    whole = np.full((*sides, *grid.shape[4:]), np.nan)
    for row in range(n_rows):
        for column in range(n_columns):
            top, left = row * down, column * across
            whole[top : top + height, left : left + width] = grid[row, column]
    return whole


def _gaps(picture: tuple[int, int], has_captions: bool) -> tuple[int, int]:
    longer = max(picture)
    across = max(1, round(GAP * longer))
    return (max(1, round(CAPTION * longer)) if has_captions else across), across


def mosaic_size(
    shape: Sequence[int], row_labels: Sequence[str] = (), *, captions: bool = False
) -> tuple[float, float]:
    """Return the inches of a figure that holds a mosaic and its labels.

    Parameters
    ----------
    shape : sequence of int
        Rows, columns, and height and width of a picture.

    row_labels : sequence of str, default=()

    captions : bool, default=False
        Whether pictures have captions.
    """
    n_rows, n_columns, *picture = shape[:4]
    longer = max(picture)
    height = picture[0] / longer + (CAPTION if captions else 0.0)
    width = n_columns * PICTURE_SIZE * picture[1] / longer
    width += 0.3 + CHARACTER_WIDTH * max(map(len, row_labels), default=0)
    return max(3.0, width), max(1.4, n_rows * PICTURE_SIZE * height + 0.5)


def draw_mosaic(
    ax: Any,
    grid: NDArray[Any],
    limits: tuple[float, float],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    cmap: str = "gray",
) -> Any:
    """Draw pictures as a mosaic, with a label for each row and column.

    Parameters
    ----------
    ax : matplotlib Axes

    grid : ndarray of shape (n_rows, n_columns, height, width[, channels])

    limits : (float, float)
        Values that are black and white, of all pictures.

    row_labels, column_labels : sequence of str, default=()
        None where they are empty.

    captions : sequence of n_rows sequences of n_columns str, default=()
        What is written below each picture.

    cmap : str, default="gray"
        Of pictures without colour.

    Returns
    -------
    image : matplotlib AxesImage
    """
    n_rows, n_columns, height, width = grid.shape[:4]
    gaps = _gaps((height, width), len(captions) > 0)
    whole = mosaic(grid, gaps)
    low, high = limits
    if whole.ndim == 3:
        whole = _opaque((whole - low) / (high - low))
    image = ax.imshow(whole, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    rows = np.arange(n_rows) * (height + gaps[0])
    columns = np.arange(n_columns) * (width + gaps[1])
    _label(ax.set_yticks, rows + 0.5 * (height - 1), row_labels)
    _label(ax.set_xticks, columns + 0.5 * (width - 1), column_labels)
    for top, line in zip(rows, captions, strict=False):
        for left, text in zip(columns, line, strict=True):
            place = left + 0.5 * (width - 1), top + height - 0.3
            style = {"ha": "center", "va": "top", "fontsize": "x-small"}
            ax.text(*place, text, **style, parse_math=False)
    if len(captions):
        ax.set_ylim(len(whole) - 0.5 + gaps[0], -0.5)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    return image


def _opaque(colours: NDArray[Any]) -> NDArray[Any]:
    """Return colours in [0, 1], transparent where there is no picture."""
    is_between = np.isnan(colours[..., 0])
    colours = np.clip(np.nan_to_num(colours), 0.0, 1.0)
    if colours.shape[-1] == 3:
        colours = np.concatenate([colours, np.ones_like(colours[..., :1])], axis=-1)
    colours[is_between, 3] = 0.0
    return colours


def _label(set_ticks: Any, centres: NDArray[Any], labels: Sequence[str]) -> None:
    if len(labels):
        set_ticks(centres, list(labels), parse_math=False)
    else:
        set_ticks([])
