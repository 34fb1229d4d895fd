"""Arrays of images: how they are recognized, where channels lie, and flat rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentsk._device import on_host

# Grey, grey and opacity, colour, colour and opacity: what channels are without a word.
MOST_CHANNELS = 4


def as_images(X: Any) -> NDArray[Any] | None:
    """Return rows that are arrays as one array; None of any other rows.

    Parameters
    ----------
    X : object
        An array or a tensor of more than two dimensions; a list of arrays, tensors or
        nested lists of at least two.

    Returns
    -------
    images : ndarray of shape (n_rows, ...) or None

    Raises
    ------
    ValueError
        If the images of a list have different shapes.

    Examples
    --------
    >>> as_images([np.zeros((8, 6)), np.ones((8, 6))]).shape
    (2, 8, 6)
    >>> as_images([[0.0, 1.0]])
    """
    if isinstance(X, list | tuple):
        return _stacked(X) if len(X) and _n_dimensions(X[0]) > 1 else None
    if not _is_array(X) or len(X.shape) < 3:
        return None
    X = on_host(X)
    return X if isinstance(X, np.ndarray) else np.asarray(X)


def _is_array(X: Any) -> bool:
    return hasattr(X, "shape") and (hasattr(X, "__array__") or torch.is_tensor(X))


def _n_dimensions(row: Any) -> int:
    if hasattr(row, "shape"):
        return len(row.shape)
    try:
        return int(np.ndim(row))  # of a list, or of an image of another library
    except ValueError:  # ragged
        return 0


def _stacked(X: Any) -> NDArray[Any]:
    images = [np.asarray(on_host(image)) for image in X]
    for row, image in enumerate(images):
        if image.shape != images[0].shape:
            raise ValueError(
                f"X holds images of different shapes: {images[0].shape} in row 0, "
                f"{image.shape} in row {row}. Resize or crop them to one shape."
            )
    return np.stack(images)


def channels_seen(shape: tuple[int, ...]) -> str | None:
    """Return where the channels of images lie, as far as an array's shape tells.

    Channels are 1 to 4, and the other end of an image is longer.

    Parameters
    ----------
    shape : tuple of int
        Of the array, rows first.

    Returns
    -------
    channels : {"first", "last", "none"} or None
        None if it cannot be told.

    Examples
    --------
    >>> [channels_seen((9, *shape)) for shape in ((28, 28), (3, 8, 8), (8, 8, 3))]
    ['none', 'first', 'last']
    >>> channels_seen((9, 3, 3, 3)), channels_seen((9, 32, 32, 5))
    (None, None)
    """
    if len(shape) == 3:
        return "none"
    if len(shape) != 4:
        return None
    is_first, is_last = shape[1] <= MOST_CHANNELS, shape[3] <= MOST_CHANNELS
    if is_first == is_last:
        return None
    return "first" if is_first else "last"


def flattening(X: Any, shape: tuple[int, ...]) -> str:
    """Return code that flattens images with channels first.

    Examples
    --------
    >>> X = np.zeros((9, 8, 8, 3))
    >>> flattening(X, X.shape)
    'np.asarray(X).transpose(0, 3, 1, 2).reshape(len(X), -1)'
    """
    as_it_is = f"{'X' if _is_array(X) else 'np.asarray(X)'}.reshape(len(X), -1)"
    if len(shape) == 3:
        return as_it_is
    axes = (0, len(shape) - 1, *range(1, len(shape) - 1))
    # Of an array: what is given may be a tensor that has become one meanwhile.
    move = "X.permute" if torch.is_tensor(X) else "np.asarray(X).transpose"
    moved = f"{move}{axes}.reshape(len(X), -1)"
    seen = channels_seen(shape)
    if seen is None:
        return f"{as_it_is} if channels come first, {moved} if they come last"
    return moved if seen == "last" else as_it_is


def finite_only(X: Any) -> str:
    """Return code that leaves out images with values that are no finite numbers.

    Examples
    --------
    >>> finite_only(np.zeros((9, 8, 8)))
    'X[np.isfinite(X).all(axis=(1, 2))]'
    """
    if torch.is_tensor(X):
        return "X[X.flatten(1).isfinite().all(dim=1)]"
    if not _is_array(X):
        return "[image for image in X if np.isfinite(image).all()]"
    return f"X[np.isfinite(X).all(axis={tuple(range(1, len(X.shape)))})]"


class MappedImages:
    """Images in a file with channels last, as rows that are flattened when read.

    Such rows have no strides in the file, and a copy of them may not fit into memory.

    Parameters
    ----------
    images : ndarray of shape (n_rows, ..., n_channels)
        A memory map.

    dtype : dtype
        Of the rows that are read.

    Attributes
    ----------
    shape, dtype, size, ndim
        Those of the flat rows.

    Examples
    --------
    >>> rows = MappedImages(np.arange(12).reshape(1, 2, 2, 3), np.dtype("float32"))
    >>> rows.shape, rows[:1]
    ((1, 12), array([[ 0.,  3.,  6.,  9.,  1.,  4.,  7., 10.,  2.,  5.,  8., 11.]],
          dtype=float32))
    """

    ndim = 2

    def __init__(self, images: NDArray[Any], dtype: np.dtype[Any]) -> None:
        self.images = images
        self.dtype = dtype
        self.shape = len(images), math.prod(images.shape[1:])
        self.size = images.size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Return a row, or some: numbers, a slice, or that and all columns."""
        if isinstance(rows, tuple):
            rows, columns = rows
            assert columns == slice(None), "rows are read whole"
        images = np.asarray(self.images[rows])
        n_axes = self.images.ndim - 1  # of one image
        moved = np.moveaxis(images, -1, -n_axes)
        flat = moved.reshape(*images.shape[: images.ndim - n_axes], self.shape[1])
        return flat.astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows, in memory."""
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)
