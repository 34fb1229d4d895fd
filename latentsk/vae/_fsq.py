"""Finite scalar quantization: every coordinate has a few levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from latentsk.vae._quantizer import Quantizer

# Levels of a coordinate.
MIN_LEVELS, MAX_LEVELS = 3, 16
# By which share the range of a coordinate is wider than its levels, so that the
# outermost ones can be reached.
MARGIN = 1e-3


@cache
def factored(n_codes: int, n_factors: int, most: int = MAX_LEVELS) -> tuple[int, ...]:
    """Return so many factors of a number, as equal as can be, or none.

    Parameters
    ----------
    n_codes : int

    n_factors : int

    most : int, default=16
        Largest factor; the least is 3.

    Examples
    --------
    >>> factored(512, 3), factored(1_000, 4), factored(14, 2)
    ((8, 8, 8), (8, 5, 5, 5), ())
    """
    if n_factors == 1:
        return (n_codes,) if MIN_LEVELS <= n_codes <= most else ()
    found = []
    for first in range(min(most, n_codes), MIN_LEVELS - 1, -1):
        if n_codes % first == 0:
            rest = factored(n_codes // first, n_factors - 1, first)
            found += [(first, *rest)] if rest else []
    return min(found, key=lambda levels: levels[0] / levels[-1], default=())


class ScalarQuantizer(Quantizer):
    """Coordinates between -1 and 1, rounded to levels (Mentzer et al., 2024).

    Nothing of it is learned. Codes count the levels, those of the first coordinate
    fastest.

    Parameters
    ----------
    levels : sequence of int
        Number of levels of each coordinate. There are as many codes as their product.

    Examples
    --------
    >>> quantizer = ScalarQuantizer((5, 4)).eval()
    >>> found = quantizer(torch.tensor([[0.0, 0.0], [9.0, 9.0], [-9.0, -9.0]]))
    >>> found.codes
    tensor([12, 19,  0])
    >>> found.vectors
    tensor([[ 0.0000,  0.0000],
            [ 1.0000,  0.5000],
            [-1.0000, -1.0000]])
    """

    needs_commitment = False
    levels: Tensor
    strides: Tensor
    halves: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(math.prod(levels), len(levels))
        strides = [math.prod(levels[:k]) for k in range(len(levels))]
        for name, values in {"levels": levels, "strides": strides}.items():
            numbers = torch.tensor(list(values), dtype=torch.int64)
            self.register_buffer(name, numbers, persistent=False)
        halves = (self.levels // 2).float()  # what a step is divided by
        self.register_buffer("halves", halves, persistent=False)

    def bounded(self, vectors: Tensor) -> Tensor:
        """Return coordinates between -1 and 1, at 0 for 0."""
        # Of an even number of levels one more lies below 0 than above.
        offset = 0.5 * (1 - self.levels % 2).to(vectors)
        reach = 0.5 * (1.0 + MARGIN) * (self.levels - 1).to(vectors)
        shift = torch.atanh(offset / reach)
        return (torch.tanh(vectors + shift) * reach - offset) / self.halves

    def codes_of(self, bounded: Tensor) -> Tensor:
        """Return the codes of the nearest levels."""
        steps = (bounded * self.halves).round().long() + self.levels // 2
        steps = torch.minimum(steps.clamp(min=0), self.levels - 1)
        return (steps * self.strides).sum(dim=-1)

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Return the levels that codes stand for."""
        digits = codes[..., None] // self.strides % self.levels
        return (digits - self.levels // 2) / self.halves

    def passed(self, bounded: Tensor, quantized: Tensor) -> Tensor:
        """Return quantized vectors, whose gradient is that of the bounded ones."""
        return bounded + (quantized - bounded).detach()

    def observe(self, vectors: Tensor, codes: Tensor, uniform: Tensor) -> None:
        """There is nothing to learn."""

    def start_from(self, vectors: Tensor, generator: torch.Generator) -> None:
        """There is nothing to start from."""
