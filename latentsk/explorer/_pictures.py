"""Images as bytes: which rows are images, their grey values, and small ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk._device import on_host
from latentsk._images import MOST_CHANNELS, as_images, channels_seen
from latentsk.embedders._image_rows import image_rows
from latentsk.networks._image_layout import ImageLayout

Bytes = NDArray[np.uint8]
# Weights of red, green and blue in grey (ITU-R BT.601).
GREY = np.array([0.299, 0.587, 0.114])
# Sides of thumbnails that are tried, and how many values all of them may have: at
# 60,000 rows, 14 x 14 in grey.
SIDES = (28, 20, 14, 10, 7)
MOST_THUMBNAIL_VALUES = 12_000_000
MOST_SIDE = 128  # of full images


@dataclass(frozen=True)
class Grey:
    """Which numbers are black and white.

    Examples
    --------
    >>> Grey(0.0, 2.0).bytes(np.array([-1.0, 1.0, 2.0]))
    array([  0, 128, 255], dtype=uint8)
    """

    black: float
    white: float

    @classmethod
    def of(cls, images: NDArray[Any]) -> Grey:
        """Return the scale of images: what is usual for their values, or their range.

        Examples
        --------
        >>> Grey.of(np.array([0.0, 0.9])), Grey.of(np.array([0, 16]))
        (Grey(black=0.0, white=1.0), Grey(black=0.0, white=16.0))
        """
        if images.dtype == np.uint8:
            return cls(0.0, 255.0)
        low, high = float(np.nanmin(images)), float(np.nanmax(images))
        if images.dtype.kind == "f" and low >= 0.0 and 0.5 < high <= 1.0:
            return cls(0.0, 1.0)
        return cls(low, high if high > low else low + 1.0)

    def bytes(self, images: NDArray[Any]) -> Bytes:
        """Return values as bytes; what is beyond black or white is that."""
        if images.dtype == np.uint8 and (self.black, self.white) == (0.0, 255.0):
            return images
        share = (images.astype(np.float32) - self.black) / (self.white - self.black)
        return np.rint(255.0 * np.clip(np.nan_to_num(share), 0.0, 1.0)).astype(np.uint8)


@dataclass(frozen=True)
class Pictures:
    """An image for each row, channels last.

    Attributes
    ----------
    images : ndarray of shape (n_rows, height, width, n_channels)

    grey : Grey

    layout : ImageLayout or None
        How rows of X are images; None where they are none.

    grey_of_rows : Grey or None
        The scale of rows of X, where these are images.
    """

    images: NDArray[Any]
    grey: Grey
    layout: ImageLayout | None
    grey_of_rows: Grey | None

    def bytes(self, rows: Any) -> Bytes:
        """Return some images, of at most 128 pixels a side."""
        return shrunk(self.grey.bytes(self.images[rows]), MOST_SIDE)

    def rebuilt(self, rows: Any) -> Bytes | None:
        """Return reconstructed rows of X as images, whatever their layout is.

        None where they have another number of values than rows of X.
        """
        assert self.layout is not None, "rows are images"
        assert self.grey_of_rows is not None, "rows are images"
        try:
            flat = flat_rows(rows, self.layout.shape).astype(np.float32)
        except ValueError:  # images of another shape
            return None
        if flat.ndim != 2 or flat.shape[1] != math.prod(self.layout.shape):
            return None
        return shrunk(self.grey_of_rows.bytes(_last(flat, self.layout)), MOST_SIDE)


def flat_rows(rows: Any, shape: Any) -> NDArray[Any]:
    """Return images in any layout as flat rows, channels first; other rows as an array.

    Parameters
    ----------
    rows : array-like

    shape : (channels, height, width) or None
        As far as it is known.

    Raises
    ------
    ValueError
        If images have another shape.

    Examples
    --------
    >>> last = np.arange(12).reshape(1, 2, 2, 3)
    >>> flat_rows(last, (3, 2, 2)).tolist()
    [[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]]
    """
    images = as_images(rows)
    if images is None:
        return np.asarray(on_host(rows))
    if shape is None and channels_seen(images.shape) is None:
        return images.reshape(len(images), -1)
    return np.asarray(image_rows(images, shape).rows)


def place_of_pixel(layout: ImageLayout, feature: int) -> str:
    """Return where a feature is in an image, in words.

    Examples
    --------
    >>> place_of_pixel(ImageLayout([3, 8, 6], "last"), 143)
    'row 7, column 5, channel 2'
    >>> place_of_pixel(ImageLayout([1, 8, 6], "none"), 7)
    'row 1, column 1'
    """
    channel, row, column = np.unravel_index(feature, layout.shape)
    place = f"row {row}, column {column}"
    return place if layout.shape[0] == 1 else f"{place}, channel {channel}"


def pictures_of(X: Any, images: Any, embedder: Any) -> Pictures | None:
    """Return the images that rows are shown as.

    Parameters
    ----------
    X : array-like
        Rows.

    images : array-like of shape (n_rows, ...), tuple of int, or None
        Images; the height and width, or channels, height and width, of the images that
        rows of X are; None: what X and the embedder tell.

    embedder : fitted transformer
        Its `input_shape_` tells, too.

    Returns
    -------
    pictures : Pictures or None

    Raises
    ------
    ValueError
        If `images` are not as many as rows, or not of a shape that images have.
    """
    shape = getattr(embedder, "input_shape_", None)
    if images is None:
        return _own_images(X, shape)
    if isinstance(images, tuple | list) and all(np.ndim(n) == 0 for n in images):
        return _of_shape(X, images)
    return _given(X, images, shape)


def _own_images(X: Any, shape: Any) -> Pictures | None:
    """Return the images that rows of X are, as far as X and the embedder tell."""
    if as_images(X) is not None:
        return _of_rows(*image_rows(X, shape))
    rows = _matrix(X)
    if rows is None or shape is None or rows.shape[1] != math.prod(shape):
        return None
    return _of_rows(rows, ImageLayout(list(shape), "flat"))


def _matrix(X: Any) -> NDArray[Any] | None:
    """Return rows as a matrix of numbers; None where they are none."""
    try:
        rows = np.asarray(on_host(X))
    except ValueError:  # lists of unequal length
        return None
    return rows if rows.ndim == 2 and rows.dtype.kind in "fiub" else None


def _of_rows(rows: Any, layout: ImageLayout | None) -> Pictures | None:
    if layout is None or not _are_shown(layout):
        return None
    rows = np.asarray(rows)
    grey = Grey.of(rows)
    return Pictures(_last(rows, layout), grey, layout, grey)


def _are_shown(layout: ImageLayout) -> bool:
    return len(layout.shape) == 3 and layout.shape[0] <= MOST_CHANNELS


def _of_shape(X: Any, shape: Any) -> Pictures | None:
    shape = [int(n) for n in shape]
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(
            "images must be arrays of images, (height, width) or (channels, height, "
            f"width), got {tuple(shape)}."
        )
    if len(shape) == 3 and shape[0] > MOST_CHANNELS:
        channels_first = shape[2], *shape[:2]
        remedy = "Pass the images to show as an array."
        if shape[2] <= MOST_CHANNELS:
            remedy = f"Set images={channels_first}, for rows with channels first."
        raise ValueError(
            f"images={tuple(shape)} is (channels, height, width), and stands for "
            f"{shape[0]} channels; there may be 1 to {MOST_CHANNELS}. {remedy}"
        )
    shape = [1, *shape] if len(shape) == 2 else shape
    if as_images(X) is not None:
        return _of_rows(*image_rows(X, shape))
    rows = np.asarray(on_host(X))
    if math.prod(rows.shape[1:]) != math.prod(shape):
        raise ValueError(
            f"images={tuple(shape)} has {math.prod(shape)} values, but rows of X have "
            f"{math.prod(rows.shape[1:])}. Pass the images themselves as an array."
        )
    return _of_rows(rows, ImageLayout(shape, "flat"))


def _given(X: Any, images: Any, shape: Any) -> Pictures:
    found = as_images(images)
    n_rows = len(X) if hasattr(X, "__len__") else X.shape[0]
    if found is None or len(found) != n_rows:
        got = type(images).__name__ if found is None else f"{len(found)} images"
        raise ValueError(
            f"images must be an array with an image for each of the {n_rows} rows, "
            "such as (n_rows, height, width) or (n_rows, height, width, channels), or "
            f"the shape of the images that rows of X are, got {got}."
        )
    rows, layout = image_rows(found, None)
    rows = np.asarray(rows)
    assert layout is not None, "images have a layout"
    shown, own = _last(rows, layout), _rows_as_images(X, rows, layout, shape)
    if own is None:
        return Pictures(shown, Grey.of(rows), None, None)
    if _are_same(own.images, shown):  # then on the scale of reconstructions
        return own
    return Pictures(shown, Grey.of(rows), own.layout, own.grey)


def _rows_as_images(
    X: Any, images: NDArray[Any], layout: ImageLayout, shape: Any
) -> Pictures | None:
    """Return the images that rows of X are, by themselves or beside images."""
    try:
        own = _own_images(X, shape)
    except ValueError:  # where the channels lie cannot be told
        return None
    rows = _matrix(X)
    if own is not None or rows is None or not _are_same(rows, images):
        return own
    return _of_rows(rows, ImageLayout(layout.shape, "flat"))


def _are_same(some: NDArray[Any], others: NDArray[Any]) -> bool:
    """Tell whether images are the same, but for scale."""
    if some.shape != others.shape:
        return False
    first, second = (np.asarray(p[:64], np.float64).ravel() for p in (some, others))
    if np.std(first) == 0.0 or np.std(second) == 0.0:
        return False
    return bool(np.corrcoef(first, second)[0, 1] > 0.999)


def _last(rows: NDArray[Any], layout: ImageLayout) -> NDArray[Any]:
    """Return flat rows, channels first, as images with channels last."""
    images = np.moveaxis(rows.reshape(len(rows), *layout.shape), 1, -1)
    if images.shape[-1] == 2:  # grey and opacity
        return images[..., :1]
    return images[..., :3]


def shrunk(images: Bytes, side: int) -> Bytes:
    """Return images of at most so many pixels a side, each the mean of an area.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width, n_channels)

    side : int

    Examples
    --------
    >>> shrunk(np.array([[[[0], [100]], [[200], [100]]]], np.uint8), 1).tolist()
    [[[[100]]]]
    """
    height, width = images.shape[1:3]
    largest = max(height, width)
    if largest <= side:
        return images
    size = tuple(max(1, round(n * side / largest)) for n in (height, width))
    found = np.empty((len(images), *size, images.shape[3]), np.uint8)
    for start in range(0, len(images), 4096):
        some = torch.from_numpy(
            np.moveaxis(images[start : start + 4096], -1, 1).astype(np.float32)
        )
        small = torch.nn.functional.adaptive_avg_pool2d(some, size)
        found[start : start + 4096] = np.moveaxis(
            small.round_().to(torch.uint8).numpy(), 1, -1
        )
    return found


def in_grey(images: Bytes) -> Bytes:
    """Return images with one channel.

    Examples
    --------
    >>> in_grey(np.full((1, 1, 1, 3), 10, np.uint8)).tolist()
    [[[[10]]]]
    """
    if images.shape[-1] == 1:
        return images
    return np.rint(images @ GREY)[..., None].astype(np.uint8)


def thumbnail_sizes(n_rows: int, n_channels: int) -> list[tuple[int, bool]]:
    """Return sides of thumbnails, and whether they are grey, in the order to try.

    Examples
    --------
    >>> thumbnail_sizes(60_000, 1)
    [(14, True), (10, True), (7, True)]
    >>> thumbnail_sizes(10_000, 3)[:2]
    [(20, False), (14, False)]
    """
    colours = [False, True] if n_channels > 1 else [True]
    return [
        (side, grey)
        for grey in colours
        for side in SIDES
        if n_rows * side**2 * (1 if grey else n_channels) <= MOST_THUMBNAIL_VALUES
    ] or [(7, True)]


def coarse(images: Bytes, levels: int = 32) -> Bytes:
    """Return images with fewer grey values, as these compress better.

    Examples
    --------
    >>> coarse(np.array([0, 3, 5, 255], np.uint8)).tolist()
    [0, 0, 8, 255]
    """
    step = 255.0 / (levels - 1)
    steps = np.rint(np.arange(256) / step)
    return np.rint(steps * step).astype(np.uint8)[images]
