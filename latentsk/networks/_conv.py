"""Convolutional networks for images that come as flat rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from latentsk.networks._mlp import ACTIVATIONS, Dropout

Shape = tuple[int, int, int]
MAX_GROUPS = 8


class Pad(nn.Module):
    """Add zeros around images, and lay them out as a GPU likes them.

    Parameters
    ----------
    margins : tuple of four int
        Columns left and right, rows above and below.

    Examples
    --------
    >>> Pad((0, 1, 0, 0))(torch.ones(1, 1, 2, 2))
    tensor([[[[1., 1., 0.],
              [1., 1., 0.]]]])
    """

    def __init__(self, margins: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.margins = margins

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the larger images."""
        if any(self.margins):
            images = F.pad(images, self.margins)
        # cuDNN's convolutions are fastest with the channels last; on the CPU that order
        # gains nothing.
        if images.is_cuda:
            images = images.contiguous(memory_format=torch.channels_last)
        return images


def conv_encoder(
    input_shape: Shape,
    channels: Sequence[int],
    n_outputs: int,
    *,
    activation: str = "relu",
    dropout: float = 0.0,
    normalize: bool = True,
) -> nn.Sequential:
    """Return an encoder of images with uninitialized weights.

    Each stage is a 3x3 convolution, an activation and 2x2 max pooling, which halves
    height and width. Images are padded with zeros so that every halving is even.

    Parameters
    ----------
    input_shape : tuple of three int
        Channels, height and width of an image. The network takes images as flat rows,
        in this order.

    channels : sequence of int
        Channels after each stage. The height and the width of an image must be at least
        two to the power of the number of stages.

    n_outputs : int
        Width of the output, which is linear.

    activation : str, default="relu"
        One of :data:`latentsk.networks._mlp.ACTIVATIONS`.

    dropout : float in [0, 1), default=0.0
        Rate before the last, linear layer.

    normalize : bool, default=True
        Whether to normalize groups of channels of each image before each activation
        (group normalization: unlike batch normalization, it looks at no other row).

    Returns
    -------
    network : nn.Sequential
        Call :func:`latentsk.networks._mlp.initialize` next.

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> network = conv_encoder((1, 28, 28), (32, 64), 10)
    >>> network = initialize(network, torch.Generator().manual_seed(0))
    >>> network(torch.zeros(5, 28 * 28)).shape
    torch.Size([5, 10])
    """
    coarse = coarse_size(input_shape, channels)
    layers = halving_stages(input_shape, channels, activation, normalize)
    width = channels[-1] * coarse[0] * coarse[1]
    layers.append(nn.Flatten())
    if dropout:
        layers.append(Dropout(dropout, width))
    return nn.Sequential(*layers, skip_init(nn.Linear, width, n_outputs))


def conv_decoder(
    input_shape: Shape,
    channels: Sequence[int],
    n_inputs: int,
    *,
    activation: str = "relu",
    dropout: float = 0.0,
    normalize: bool = True,
) -> nn.Sequential:
    """Return a decoder to images, the mirror of :func:`conv_encoder`.

    A linear layer makes the coarsest images; each stage is a transposed convolution,
    which doubles height and width. The output is linear.

    Parameters
    ----------
    input_shape : tuple of int
        Channels, height and width of an image. The network returns images as flat rows,
        in this order.

    channels : sequence of int
        As for the encoder: the decoder goes through it from the end.

    n_inputs : int
        Width of the input.

    activation : str, default="relu"
        One of `ACTIVATIONS`, after the linear layer and each stage but the last.

    dropout : float in [0, 1), default=0.0
        Rate after the linear layer.

    normalize : bool, default=True
        Whether to normalize groups of channels after each stage but the last.

    Returns
    -------
    network : nn.Sequential
        Call :func:`latentsk.networks._mlp.initialize` next.

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> network = conv_decoder((1, 28, 28), (32, 64), 10)
    >>> network = initialize(network, torch.Generator().manual_seed(0))
    >>> network(torch.zeros(5, 10)).shape
    torch.Size([5, 784])
    """
    shape = (channels[-1], *coarse_size(input_shape, channels))
    width = shape[0] * shape[1] * shape[2]
    layers: list[nn.Module] = [
        skip_init(nn.Linear, n_inputs, width),
        ACTIVATIONS[activation](),
    ]
    if dropout:
        layers.append(Dropout(dropout, width))
    layers.append(nn.Unflatten(1, shape))
    layers += doubling_stages(input_shape, channels, activation, normalize)
    return nn.Sequential(*layers, nn.Flatten())


def coarse_size(input_shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    """Return height and width of images after all stages.

    Examples
    --------
    >>> coarse_size((1, 28, 28), (32, 64, 128))
    (4, 4)
    """
    factor = 2 ** len(channels)
    return -(-input_shape[1] // factor), -(-input_shape[2] // factor)


def halving_stages(
    input_shape: Shape, channels: Sequence[int], activation: str, normalize: bool
) -> list[nn.Module]:
    """Return the stages of an encoder, from flat rows to the coarsest images."""
    margins = _margins(input_shape, channels)
    layers: list[nn.Module] = [nn.Unflatten(1, tuple(input_shape)), Pad(margins)]
    for n_in, n_out in pairwise((input_shape[0], *channels)):
        layers.append(skip_init(nn.Conv2d, n_in, n_out, 3, padding=1))
        layers.extend(activated(n_out, activation, normalize))
        layers.append(nn.MaxPool2d(2))
    return layers


def doubling_stages(
    input_shape: Shape, channels: Sequence[int], activation: str, normalize: bool
) -> list[nn.Module]:
    """Return the stages of a decoder, from the coarsest images to the finest."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(channels[::-1]):
        layers.append(_doubling(n_in, n_out))
        layers.extend(activated(n_out, activation, normalize))
    layers.append(_doubling(channels[0], input_shape[0]))
    margins = _margins(input_shape, channels)
    if any(margins):  # negative ones take away what Pad added
        left, right, top, bottom = margins
        layers.append(nn.ZeroPad2d((-left, -right, -top, -bottom)))
    return layers


def _doubling(n_in: int, n_out: int) -> nn.Module:
    # A kernel of twice the stride covers every pixel equally often: no checkerboard.
    return skip_init(nn.ConvTranspose2d, n_in, n_out, 4, stride=2, padding=1)


def activated(n_channels: int, activation: str, normalize: bool) -> list[nn.Module]:
    """Return what follows a convolution: perhaps normalization, and an activation."""
    layers: list[nn.Module] = []
    if normalize:
        n_groups = max(n for n in range(1, MAX_GROUPS + 1) if n_channels % n == 0)
        layers.append(nn.GroupNorm(n_groups, n_channels))
    return [*layers, ACTIVATIONS[activation]()]


def _margins(
    input_shape: Sequence[int], channels: Sequence[int]
) -> tuple[int, int, int, int]:
    """Return the margins to pad with, so that every halving is even."""
    factor = 2 ** len(channels)
    _, height, width = input_shape
    # Half of what is missing on either side; the odd one at the end.
    (left, right), (top, bottom) = (
        (-size % factor // 2, (-size % factor + 1) // 2) for size in (width, height)
    )
    return left, right, top, bottom
