"""Likelihoods of counts and of categories: log-probabilities with every constant."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Log-rates are bounded, smoothly, to this on both sides.
MAX_LOG_RATE = 30.0
# Numbers from which on Stirling's series is exact in float64.
_LARGE = 8.0


def log_rate(output: Tensor) -> Tensor:
    """Return the bounded logarithm of a rate; up to 15 nothing changes.

    Examples
    --------
    >>> log_rate(torch.tensor([-1e6, 0.0, 14.0, 16.0, 1e6]))
    tensor([-30.0000,   0.0000,  14.0000,  15.9985,  30.0000])
    """
    half = 0.5 * MAX_LOG_RATE
    within = output.clamp(-half, half)
    return within + half * torch.tanh((output - within) / half)


def _stirling_rest(counts: Tensor) -> Tensor:
    """Return ``log n! - (n + 1/2) log n + n - log(2 pi) / 2`` for n of 8 and more."""
    inverse = 1.0 / counts
    squares = inverse * inverse
    series = 1.0 / 1260.0 - squares * (1.0 / 1680.0 - squares / 1188.0)
    return inverse * (1.0 / 12.0 - squares * (1.0 / 360.0 - squares * series))


def most_probable(counts: Tensor) -> Tensor:
    """Return the log-probability of counts whose rates they are themselves.

    ``n log n - n - log n!``, in plain operations, and with all digits of large counts,
    where the terms cancel out.

    Parameters
    ----------
    counts : Tensor
        0, 1, 2, ...

    Examples
    --------
    >>> most_probable(torch.tensor([0.0, 1.0, 20.0]))
    tensor([ 0.0000, -1.0000, -2.4210])
    """
    large = counts.clamp(min=_LARGE)
    of_large = -0.5 * torch.log(2.0 * math.pi * large) - _stirling_rest(large)
    # log n! of small counts, from that of n + 8.
    small = counts.clamp(max=_LARGE)
    shifted, product = small + 8.0, torch.ones_like(small)
    for i in range(1, 9):
        product = product * (small + i)
    factorial = (shifted + 0.5) * torch.log(shifted) - shifted
    factorial = factorial + _stirling_rest(shifted)
    factorial = factorial + 0.5 * math.log(2.0 * math.pi) - torch.log(product)
    of_small = small * torch.log(small.clamp(min=1.0)) - small - factorial
    return torch.where(counts < _LARGE, of_small, of_large)


def poisson(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-probability of independent counts, from logarithms of their rates.

    Parameters
    ----------
    rows, output : Tensor of shape (..., n_features)
        Counts, and logarithms of rates, as :func:`log_rate` bounds them.

    log_scale : Tensor
        Not used.

    Examples
    --------
    >>> poisson(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2), torch.zeros(()))
    tensor([-2.6931])
    """
    bounded = log_rate(output)
    # Relative to the rate at which the count is most probable: of large counts the
    # other terms are larger by far, and cancel out.
    excess = bounded - torch.log(rows.clamp(min=1.0))
    deviance = rows * (torch.expm1(excess) - excess)
    cost = torch.where(rows > 0.0, deviance, torch.exp(bounded))
    return (most_probable(rows) - cost).sum(dim=-1)


def poisson_mean(output: Tensor) -> Tensor:
    """Return the rates."""
    return torch.exp(log_rate(output))


def draw_poisson(
    output: Tensor, log_scale: Tensor, generator: torch.Generator
) -> Tensor:
    """Return random counts, drawn on the generator's device."""
    rates = poisson_mean(output.double()).to(generator.device)
    return torch.poisson(rates, generator=generator).to(output)


def categorical_cells(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-probability of one category, in the column of its level.

    Parameters
    ----------
    rows, output : Tensor of shape (..., n_levels)
        A single one among zeros, and logits. Zeros alone, which no level has, get 0.

    log_scale : Tensor
        Not used.

    Returns
    -------
    log_probabilities : Tensor of shape (..., n_levels)

    Examples
    --------
    >>> rows = torch.tensor([[0.0, 1.0]])
    >>> categorical_cells(rows, torch.zeros(1, 2), torch.zeros(())).round(decimals=2)
    tensor([[-0.0000, -0.6900]])
    """
    return rows * F.log_softmax(output, dim=-1)


def categorical(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-probability of one category: see :func:`categorical_cells`.

    Examples
    --------
    >>> categorical(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2), torch.zeros(()))
    tensor([-0.6931])
    """
    return categorical_cells(rows, output, log_scale).sum(dim=-1)


def categorical_mean(output: Tensor) -> Tensor:
    """Return the probabilities of the levels."""
    return torch.softmax(output, dim=-1)


def draw_categorical(
    output: Tensor, log_scale: Tensor, generator: torch.Generator
) -> Tensor:
    """Return random one-hot rows, drawn on the generator's device."""
    probabilities = categorical_mean(output.double()).to(generator.device)
    flat = probabilities.flatten(0, -2)
    drawn = torch.multinomial(flat, 1, generator=generator)
    return torch.zeros_like(flat).scatter_(1, drawn, 1.0).view_as(output).to(output)
