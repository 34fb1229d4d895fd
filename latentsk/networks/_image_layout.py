"""How images lie in an array: their shape, and where their channels are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._images import channels_seen, flattening
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import count, list_of, text

# Where channels are: rows may also be flat, or lack the axis of their one channel.
CHANNELS = ("flat", "first", "last", "none")
# Neighbours in a column must be so many times nearer with channels last.
CLEARLY_NEARER = 2.0
# Values of rows that are looked at.
SAMPLE_ELEMENTS = 2**18


@storable()
class ImageLayout(NamedTuple):
    """The shape of images, and where their channels lie in an array.

    Attributes
    ----------
    shape : list of int
        Channels, height and width, in this order. Custom modules may have other axes,
        the first of which is that of the channels.
    channels : {"flat", "first", "last", "none"}
        "flat": rows are flat, channels first; "none": the axis of the channel is left
        out.

    Examples
    --------
    >>> layout = ImageLayout([3, 8, 6], "last")
    >>> layout.image_shape, layout.name_of_pixel(0), layout.name_of_pixel(143)
    ((8, 6, 3), '(0, 0, 0)', '(7, 5, 2)')
    >>> layout.rows(np.zeros((2, 8, 6, 3))).shape
    (2, 144)
    """

    shape: Annotated[list[int], list_of(count(1))]
    channels: Annotated[str, text(*CHANNELS)]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image in an array."""
        first, rest = self.shape[:1], self.shape[1:]
        parts = {
            "flat": [math.prod(self.shape)],
            "first": self.shape,
            "last": rest + first,
            "none": rest,
        }
        return tuple(parts[self.channels])

    def rows(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return images as flat rows, channels first."""
        if self.channels == "last":
            images = np.moveaxis(images, -1, 1)
        return images.reshape(len(images), math.prod(self.shape))

    def images(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return flat rows in this layout."""
        if self.channels != "last":
            return rows.reshape(len(rows), *self.image_shape)
        images = rows.reshape(len(rows), *self.shape)
        return np.ascontiguousarray(np.moveaxis(images, 1, -1))

    def name_of_pixel(self, feature: int) -> str:
        """Return the place of a feature: row, column and, if there are many, channel.

        Of other shapes than images, the place along each axis.
        """
        place = [int(i) for i in np.unravel_index(feature, self.shape)]
        if len(self.shape) == 3:
            place = [*place[1:], place[0]] if self.shape[0] > 1 else place[1:]
        return f"({', '.join(map(str, place))})"

    @property
    def names_of_pixels(self) -> Sequence[str]:
        """The name of every feature."""
        return _PixelNames(self)


class _PixelNames(Sequence[str]):
    """Names that are made when they are needed: images have many pixels."""

    def __init__(self, layout: ImageLayout) -> None:
        self.layout = layout

    def __len__(self) -> int:
        return math.prod(self.layout.shape)

    def __getitem__(self, feature: Any) -> Any:
        return self.layout.name_of_pixel(range(len(self))[feature])


def layout_of(
    shape: tuple[int, ...], X: Any, input_shape: Sequence[int] | None = None
) -> ImageLayout:
    """Return the layout of an array of images.

    Parameters
    ----------
    shape : tuple of int
        Of the array, rows first: at least three.

    X : object
        The rows as they were given, for messages.

    input_shape : sequence of int or None, default=None
        Channels, height and width; None: they are inferred.

    Returns
    -------
    layout : ImageLayout

    Raises
    ------
    ValueError
        If the layout cannot be told, or the images have another shape.

    Examples
    --------
    >>> X = np.zeros((9, 8, 6, 3))
    >>> layout_of(X.shape, X)
    ImageLayout(shape=[3, 8, 6], channels='last')
    >>> layout_of(X.shape, X, (3, 6, 8))
    Traceback (most recent call last):
    ...
    ValueError: X has shape (9, 8, 6, 3), but input_shape=(3, 6, 8), which is channels,
    height and width, stands for arrays of shape (n, 3, 6, 8) or (n, 6, 8, 3).
    """
    seen = channels_seen(shape)
    if input_shape is None:
        if seen is None:
            raise _ambiguous(shape, X)
        return _seen_layout(shape, seen)
    layouts = _possible_layouts([int(size) for size in input_shape])
    fitting = [layout for layout in layouts if layout.image_shape == shape[1:]]
    if not fitting:
        raise _of_another_shape(shape, layouts)
    if len(fitting) > 1 and max(shape[1:]) > 1:
        raise _ambiguous(shape, X)
    (layout, *_) = fitting
    if len(layout.shape) == 3 and seen not in (None, layout.channels):
        raise _contradicted(layout, _seen_layout(shape, seen), shape, X)
    return layout


def _seen_layout(shape: tuple[int, ...], seen: str) -> ImageLayout:
    image = list(shape[1:])
    by_place = {"none": [1, *image], "first": image, "last": image[-1:] + image[:-1]}
    return ImageLayout(by_place[seen], seen)


def _possible_layouts(shape: list[int]) -> list[ImageLayout]:
    """Return the layouts of arrays of images of a shape."""
    layouts = [ImageLayout(shape, "first")]
    if len(shape) > 2:
        layouts.append(ImageLayout(shape, "last"))
        if shape[0] == 1:
            layouts.append(ImageLayout(shape, "none"))
    return layouts


def _ambiguous(shape: tuple[int, ...], X: Any) -> ValueError:
    image = shape[1:]
    begin = f"X has shape {shape}, and where the channels of its images lie"
    if len(set(image)) == 1:
        return ValueError(
            f"{begin} cannot be told, as all axes are equal. Flatten them with "
            f"channels first, {flattening(X, shape)}, and set input_shape={image}."
        )
    return ValueError(
        f"{begin} cannot be told. Set input_shape={image} if channels come first, "
        f"input_shape={(image[-1], *image[:-1])} if last."
    )


def _of_another_shape(shape: tuple[int, ...], layouts: list[ImageLayout]) -> ValueError:
    known = tuple(layouts[0].shape)
    arrays = ["(n, " + ", ".join(map(str, a.image_shape)) + ")" for a in layouts]
    single = any(layout.image_shape == shape for layout in layouts)
    return ValueError(
        f"X has shape {shape}, but input_shape={known}, which is channels, height and "
        f"width, stands for arrays of shape {' or '.join(arrays)}."
        + " Give a single image as X[None]."
        * single
    )


def _contradicted(
    layout: ImageLayout, seen: ImageLayout, shape: tuple[int, ...], X: Any
) -> ValueError:
    channels, height, width = layout.shape
    return ValueError(
        f"input_shape={tuple(layout.shape)} means {channels} channels of {height} x "
        f"{width} pixels, but X of shape {shape} looks like {seen.shape[0]} channels, "
        f"which come {seen.channels}. input_shape is always (channels, height, width): "
        f"set input_shape={tuple(seen.shape)}, or None. If there are {channels} "
        "channels, flatten X with channels first."
    )


def other_order(rows: Any, shape: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """Return the shape of images with channels last that flat rows look like.

    Neighbours in a column of an image are alike, and which pixels are neighbours
    depends on where the channels are. The shape itself may have its channels last.

    Parameters
    ----------
    rows : array of shape (n_rows, n_features)

    shape : tuple of int
        Channels, height and width, as they were given.

    Returns
    -------
    shape : tuple of int or None
        Height, width and channels; None where rows look as they should.

    Examples
    --------
    >>> ramp = np.arange(8.0)[:, None] + np.zeros((1, 8, 8, 3))
    >>> other_order(ramp.reshape(1, -1), (3, 8, 8))
    (8, 8, 3)
    >>> other_order(ramp.transpose(0, 3, 1, 2).reshape(1, -1), (3, 8, 8))
    """
    if 1 in shape:
        return None
    if channels_seen((len(rows), *shape)) == "last":
        return shape
    last = *shape[1:], shape[0]
    with np.errstate(over="ignore", invalid="ignore"):
        n_sampled = min(len(rows), max(4, SAMPLE_ELEMENTS // math.prod(shape)))
        places = np.linspace(0, len(rows) - 1, n_sampled).astype(int)
        sample = np.asarray(rows[places], np.float64)
        as_given = np.diff(sample.reshape(-1, *shape), axis=2)
        otherwise = np.diff(sample.reshape(-1, *last), axis=1)
        if CLEARLY_NEARER * np.mean(otherwise**2) < np.mean(as_given**2):
            return last
    return None
