"""Convolutional networks between images and vectors on a coarse grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import skip_init

from latentsk.networks._conv import (
    Shape,
    activated,
    coarse_size,
    doubling_stages,
    halving_stages,
)
from latentsk.networks._mlp import Dropout


class SideBySide(nn.Module):
    """Lay the vectors of a grid side by side, row by row of the grid.

    Examples
    --------
    >>> images = torch.arange(8.0).reshape(1, 2, 2, 2)
    >>> SideBySide()(images)
    tensor([[0., 4., 1., 5., 2., 6., 3., 7.]])
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return flat rows of images of shape (n_rows, code_dim, height, width)."""
        return images.flatten(2).transpose(1, 2).flatten(1)


class OnGrid(nn.Module):
    """Lay vectors that are side by side on a grid, as :class:`SideBySide` had them.

    Parameters
    ----------
    height, width : int
        Of the grid.

    Examples
    --------
    >>> images = torch.arange(8.0).reshape(1, 2, 2, 2)
    >>> OnGrid(2, 2)(SideBySide()(images)).equal(images)
    True
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return images of shape (n_rows, code_dim, height, width)."""
        vectors = rows.unflatten(1, (self.size[0] * self.size[1], -1))
        return vectors.transpose(1, 2).unflatten(2, self.size)


def conv_grid_encoder(
    input_shape: Shape,
    channels: Sequence[int],
    code_dim: int,
    *,
    activation: str = "relu",
    dropout: float = 0.0,
    normalize: bool = True,
) -> nn.Sequential:
    """Return an encoder of images to vectors on a grid, its weights uninitialized.

    The stages of :func:`~latentsk.networks._conv.conv_encoder`; what is linear at the
    end works at every place of the coarsest image alone.

    Parameters
    ----------
    input_shape, channels, activation, dropout, normalize
        As there.

    code_dim : int
        Length of the vectors.

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> network = conv_grid_encoder((1, 28, 28), (8, 16), 3)
    >>> network = initialize(network, torch.Generator().manual_seed(0))
    >>> network(torch.zeros(5, 28 * 28)).shape  # 7 x 7 vectors
    torch.Size([5, 147])
    """
    layers = halving_stages(input_shape, channels, activation, normalize)
    if dropout:
        coarse = coarse_size(input_shape, channels)
        layers.append(Dropout(dropout, (channels[-1], *coarse)))
    layers.append(skip_init(nn.Conv2d, channels[-1], code_dim, 1))
    return nn.Sequential(*layers, SideBySide())


def conv_grid_decoder(
    input_shape: Shape,
    channels: Sequence[int],
    code_dim: int,
    *,
    activation: str = "relu",
    dropout: float = 0.0,
    normalize: bool = True,
) -> nn.Sequential:
    """Return a decoder from vectors on a grid to images, its weights uninitialized.

    A convolution, then the stages of :func:`~latentsk.networks._conv.conv_decoder`.

    Parameters
    ----------
    input_shape, channels, activation, dropout, normalize
        As there.

    code_dim : int
        Length of the vectors.

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> network = conv_grid_decoder((1, 28, 28), (8, 16), 3)
    >>> network = initialize(network, torch.Generator().manual_seed(0))
    >>> network(torch.zeros(5, 147)).shape
    torch.Size([5, 784])
    """
    coarse = coarse_size(input_shape, channels)
    layers: list[nn.Module] = [
        OnGrid(*coarse),
        skip_init(nn.Conv2d, code_dim, channels[-1], 3, padding=1),
        *activated(channels[-1], activation, normalize),
    ]
    if dropout:
        layers.append(Dropout(dropout, (channels[-1], *coarse)))
    layers += doubling_stages(input_shape, channels, activation, normalize)
    return nn.Sequential(*layers, nn.Flatten())
