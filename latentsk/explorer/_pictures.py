"""Images as bytes: which rows are images, their grey values, and small ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk._images import as_images
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
    """

    images: NDArray[Any]
    grey: Grey
    layout: ImageLayout | None

    def bytes(self, rows: Any) -> Bytes:
        """Return some images, of at most 128 pixels a side."""
        return shrunk(self.grey.bytes(self.images[rows]), MOST_SIDE)

    def rebuilt(self, rows: NDArray[Any]) -> Bytes:
        """Return reconstructed rows of X as images."""
        assert self.layout is not None, "rows are images"
        flat = np.asarray(rows, np.float32).reshape(len(rows), -1)
        return shrunk(self.grey.bytes(_last(flat, self.layout)), MOST_SIDE)


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
    if images is None and as_images(X) is None:
        images = getattr(embedder, "input_shape_", None)
        if images is None or len(images) != 3:
            return None
    if images is None:
        shape = getattr(embedder, "input_shape_", None)
        return _of_rows(*image_rows(X, shape))
    if isinstance(images, tuple | list) and all(np.ndim(n) == 0 for n in images):
        return _of_flat_rows(X, images)
    return _given(X, images)


def _of_rows(rows: Any, layout: ImageLayout | None) -> Pictures | None:
    if layout is None or len(layout.shape) != 3 or layout.shape[0] > 4:
        return None
    rows = np.asarray(rows)
    return Pictures(_last(rows, layout), Grey.of(rows), layout)


def _of_flat_rows(X: Any, shape: Any) -> Pictures | None:
    shape = [int(n) for n in shape]
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(
            "images must be arrays of images, (height, width) or (channels, height, "
            f"width), got {tuple(shape)}."
        )
    shape = [1, *shape] if len(shape) == 2 else shape
    rows = np.asarray(X)
    if math.prod(rows.shape[1:]) != math.prod(shape):
        raise ValueError(
            f"images={tuple(shape)} has {math.prod(shape)} values, but rows of X have "
            f"{math.prod(rows.shape[1:])}. Pass the images themselves as an array."
        )
    return _of_rows(rows.reshape(len(rows), -1), ImageLayout(shape, "flat"))


def _given(X: Any, images: Any) -> Pictures:
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
    of_rows = _layout_of_rows(X, rows, layout)
    if of_rows is not None:  # on the scale of reconstructions
        return Pictures(_last(X, of_rows), Grey.of(X), of_rows)
    return Pictures(_last(rows, layout), Grey.of(rows), None)


def _layout_of_rows(
    X: Any, rows: NDArray[Any], layout: ImageLayout
) -> ImageLayout | None:
    """Return how rows of X are the images, where they are: the same, but for scale."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.shape[1] != rows.shape[1]:
        return None
    given, shown = (np.asarray(part[:64], np.float64).ravel() for part in (X, rows))
    if np.std(given) == 0.0 or np.std(shown) == 0.0:
        return None
    is_same = np.corrcoef(given, shown)[0, 1] > 0.999
    return ImageLayout(layout.shape, "flat") if is_same else None


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
