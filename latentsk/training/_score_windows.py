"""The score of an image by its worst window, instead of all its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from latentsk.training._inference import Inference, clip_to_finite


def pixel_sums(features: Tensor, shape: Sequence[int]) -> Tensor:
    """Return sums over the channels of images.

    Parameters
    ----------
    features : Tensor of shape (n_rows, channels * height * width)

    shape : sequence of int
        Channels, height and width.

    Returns
    -------
    maps : Tensor of shape (n_rows, height, width)

    Examples
    --------
    >>> pixel_sums(torch.arange(8.0)[None], (2, 2, 2))
    tensor([[[ 4.,  6.],
             [ 8., 10.]]])
    """
    return features.unflatten(1, tuple(shape)).sum(dim=1)


def pixel_maps(
    inference: Inference, shape: Sequence[int]
) -> Callable[[Any, Tensor], Tensor]:
    """Return the function of a network and rows that maps what pixels contribute."""

    def maps(network: Any, rows: Tensor) -> Tensor:
        contributions = inference.contributions(network, rows)
        return clip_to_finite(pixel_sums(contributions, shape))

    return maps


def window_sums(maps: Tensor, size: int) -> Tensor:
    """Return the sums over all windows of so many rows and columns.

    Parameters
    ----------
    maps : Tensor of shape (n_rows, height, width)

    size : int
        At most the height and the width.

    Returns
    -------
    sums : Tensor of shape (n_rows, height - size + 1, width - size + 1)

    Examples
    --------
    >>> window_sums(torch.arange(6.0).reshape(1, 2, 3), 2)
    tensor([[[ 8., 12.]]])
    """
    return F.avg_pool2d(maps[:, None], size, stride=1)[:, 0] * size**2


def lowest_window(maps: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the least of the sums over windows, and which pixels it is over.

    Parameters
    ----------
    maps : Tensor of shape (n_rows, height, width)

    size : int

    Returns
    -------
    sums : Tensor of shape (n_rows,)

    inside : Tensor of shape (n_rows, height, width), dtype bool
        The pixels of the window; of the first, where there are several.

    Examples
    --------
    >>> sums, inside = lowest_window(-torch.eye(3)[None], 2)
    >>> sums, inside.int()
    (tensor([-2.]), tensor([[[1, 1, 0],
             [1, 1, 0],
             [0, 0, 0]]], dtype=torch.int32))
    """
    sums = window_sums(maps, size)
    lowest, place = sums.flatten(1).min(dim=1)
    rows, columns = torch.arange(maps.shape[1]), torch.arange(maps.shape[2])
    top, left = place // sums.shape[2], place % sums.shape[2]
    return lowest, (
        _within(rows.to(place), top, size)[:, :, None]
        & _within(columns.to(place), left, size)[:, None, :]
    )


def _within(numbers: Tensor, start: Tensor, size: int) -> Tensor:
    ahead = numbers - start[:, None]
    return (ahead >= 0) & (ahead < size)


def require_window(size: int, shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Return the shape of images that windows of a size fit into.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> require_window(3, [1, 28, 28])
    (1, 28, 28)
    """
    channels, height, width = require_images("score_window", shape)
    if size > min(height, width):
        raise ValueError(
            f"score_window={size} is larger than images of {height} x {width} pixels. "
            f"Set score_window={min(3, height, width)}, or None, if input_shape="
            f"{tuple(shape or ())} is right: it is (channels, height, width)."
        )
    return channels, height, width


def require_images(what: str, shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Return channels, height and width of images.

    Raises
    ------
    ValueError
        If rows are no images, as far as is known.
    """
    if shape is None or len(shape) != 3:
        known = "" if shape is None else f", not {tuple(shape)}"
        raise ValueError(
            f"{what} needs images. Fit on an array of shape (n_samples, height, "
            "width), (n_samples, height, width, channels) or (n_samples, channels, "
            f"height, width), or set input_shape=(channels, height, width){known}."
        )
    channels, height, width = shape
    return channels, height, width


class WindowInference(Inference):
    """What another inference says of images, with the score of the worst window.

    Parameters
    ----------
    inference : Inference
        Whose score is a sum over features.

    shape : tuple of int
        Channels, height and width of an image.

    size : int
        Rows and columns of a window.
    """

    def __init__(
        self, inference: Inference, shape: tuple[int, int, int], size: int
    ) -> None:
        self.inference = inference
        self.shape = shape
        self.size = size
        self.rows_per_score = inference.rows_per_contribution
        self.rows_per_contribution = inference.rows_per_contribution

    def encode(self, network: Any, rows: Tensor) -> Tensor:
        """Return the latent coordinates."""
        return self.inference.encode(network, rows)

    def decode(self, network: Any, latents: Tensor) -> Tensor:
        """Return the rows that latent coordinates stand for."""
        return self.inference.decode(network, latents)

    def score(self, network: Any, rows: Tensor) -> Tensor:
        """Return the least sum of contributions over a window."""
        maps = pixel_sums(self.inference.contributions(network, rows), self.shape)
        return clip_to_finite(window_sums(maps, self.size).amin(dim=(1, 2)))

    def contributions(self, network: Any, rows: Tensor) -> Tensor:
        """Return the contributions of that window's pixels, and zeros elsewhere."""
        features = self.inference.contributions(network, rows)
        _, inside = lowest_window(pixel_sums(features, self.shape), self.size)
        kept = inside[:, None].expand(-1, self.shape[0], -1, -1).flatten(1)
        return torch.where(kept, features, torch.zeros_like(features))
