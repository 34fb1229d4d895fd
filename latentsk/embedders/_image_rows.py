"""Rows that may be images, as the flat rows that a network takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import row_blocks
from latentsk._images import MappedImages, as_images, finite_only
from latentsk._validation import reject_masked
from latentsk._warnings import warn
from latentsk.networks._architecture import checked_sizes
from latentsk.networks._image_layout import (
    ImageLayout,
    layout_of,
    other_order,
)
from latentsk.training._data import is_memory_mapped


class ImageRows(NamedTuple):
    """Rows as a network takes them.

    Attributes
    ----------
    rows : array-like of shape (n_rows, n_features)
        Flat rows, channels first, where they were images; else as they were given.
    layout : ImageLayout or None
        That of the images.
    """

    rows: Any
    layout: ImageLayout | None


def image_rows(X: Any, input_shape: Sequence[int] | None) -> ImageRows:
    """Return images as flat rows, and all other rows as they are.

    Parameters
    ----------
    X : object

    input_shape : sequence of int or None
        Channels, height and width, as far as they are known.

    Returns
    -------
    rows : ImageRows

    Raises
    ------
    ValueError
        If the layout cannot be told, or the images have another shape.

    Examples
    --------
    >>> rows, layout = image_rows(np.zeros((9, 8, 6, 3)), None)
    >>> rows.shape, layout
    ((9, 144), ImageLayout(shape=[3, 8, 6], channels='last'))
    """
    images = as_images(reject_masked(X))
    if images is None:
        return ImageRows(X, None)
    if input_shape is not None:
        input_shape = checked_sizes(input_shape, "input_shape")
    layout = layout_of(images.shape, X, input_shape)
    if layout.channels == "last" and is_memory_mapped(images):
        return ImageRows(MappedImages(images, images.dtype), layout)
    return ImageRows(layout.rows(images), layout)


def known_shape(embedder: Any, X: Any) -> Sequence[int] | None:
    """Return the shape of the images of a fit, which new ones must have.

    Parameters
    ----------
    embedder : fitted embedder

    X : object
        New rows.

    Raises
    ------
    ValueError
        If these are images, and the embedder knows of none.
    """
    shape: Sequence[int] | None = getattr(embedder, "input_shape_", None)
    images = as_images(X) if shape is None else None
    if images is not None:
        raise ValueError(
            f"Expected 2D array, got {images.ndim}D array instead: this "
            f"{type(embedder).__name__} was fitted on flat rows, whose pixels have no "
            "known order. Flatten X as these were, or fit on images."
        )
    return shape


@contextmanager
def pixels_diagnosed(given: Any, images: ImageRows) -> Iterator[None]:
    """Let an error about missing or infinite values name the pixel.

    Parameters
    ----------
    given : object
        The rows as they were given.

    images : ImageRows

    Raises
    ------
    ValueError
    """
    try:
        yield
    except ValueError as error:
        kind = re.search("contains (NaN|infinity)", str(error))
        if images.layout is None or kind is None:
            raise
        row, feature = _first_not_finite(images.rows)
        raise ValueError(
            f"Input X contains {kind[1]}: image {row}, pixel "
            f"{images.layout.name_of_pixel(feature)} (by row and column). Leave such "
            f"images out: {finite_only(given)}."
        ) from error


def _first_not_finite(rows: Any) -> tuple[int, int]:
    start = 0
    for block in row_blocks(rows):
        found = np.argwhere(~np.isfinite(np.asarray(block, np.float64)))
        if len(found):
            return start + int(found[0, 0]), int(found[0, 1])
        start += len(block)
    raise AssertionError("some value is not finite")


def warn_of_order(rows: NDArray[Any], shape: Sequence[int]) -> None:
    """Warn of flat rows that look like images with channels last.

    Warns
    -----
    UserWarning
    """
    if len(shape) != 3:
        return
    channels, height, width = shape
    last = other_order(rows, (channels, height, width))
    if last is not None:
        known = last[2], *last[:2]
        warn(
            f"input_shape={tuple(shape)} says that rows hold {channels} channels of "
            f"{height} x {width} pixels, one after the other, but X looks like images "
            "that were flattened with channels last: the network sees scrambled "
            f"pixels. Set input_shape={known} and give X.reshape(len(X), "
            f"{', '.join(map(str, last))}), or flatten with channels first."
        )
