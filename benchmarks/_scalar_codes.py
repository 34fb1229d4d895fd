"""Latent coordinates as whole numbers: uniform quantizers, and bits to share out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 8
# Half the range that cells divide, in standard deviations; the best is taken.
RANGES = (0.8, 1.2, 1.6, 2.0, 2.4, 2.8, 3.4, 4.0, 5.0)

Floats = NDArray[np.floating]


class Quantizer(NamedTuple):
    """Cells of equal width, the outer ones open, each decoded to its mean."""

    low: float
    width: float
    levels: Floats

    def encode(self, values: Floats) -> NDArray[np.int64]:
        numbers = np.floor((values - self.low) / self.width)
        return np.clip(numbers, 0, len(self.levels) - 1).astype(np.int64)

    def decode(self, codes: NDArray[np.int64]) -> Floats:
        return self.levels[codes]

    def __call__(self, values: Floats) -> Floats:
        return self.decode(self.encode(values))


def fitted_quantizer(values: Floats, n_bits: int) -> Quantizer:
    """Return the uniform quantizer with the least squared error on some values."""
    candidates = [_quantizer(values, n_bits, half) for half in RANGES]
    return min(candidates, key=lambda one: np.square(one(values) - values).mean())


def _quantizer(values: Floats, n_bits: int, half: float) -> Quantizer:
    n_cells, centre, spread = 2**n_bits, values.mean(), half * values.std()
    width = max(2 * spread / n_cells, 1e-12)
    low = centre - spread
    middles = low + width * (np.arange(n_cells) + 0.5)
    plain = Quantizer(low, width, middles)
    codes = plain.encode(values)
    counts = np.bincount(codes, minlength=n_cells)
    sums = np.bincount(codes, values, minlength=n_cells)
    return plain._replace(
        levels=np.where(counts, sums / np.maximum(counts, 1), middles)
    )


def squared_errors(values: Floats) -> Floats:
    """Return the squared error of each column for each number of bits."""
    return np.array(
        [
            [
                np.square(fitted_quantizer(column, n_bits)(column) - column).mean()
                for n_bits in range(MAX_BITS + 1)
            ]
            for column in values.T
        ]
    )


def decoded_errors(
    latents: Floats, rows: Floats, decode: Callable[[Floats], Floats]
) -> Floats:
    """Return the error of decoded rows if one column alone is in so many bits."""
    errors = np.empty((latents.shape[1], MAX_BITS + 1))
    for number, column in enumerate(latents.T):
        for n_bits in range(MAX_BITS + 1):
            changed = latents.copy()
            changed[:, number] = fitted_quantizer(column, n_bits)(column)
            errors[number, n_bits] = np.square(decode(changed) - rows).sum(1).mean()
    return errors


def shared_out(errors: Floats, n_bits: int) -> NDArray[np.int64]:
    """Give one bit after the other to the column that gains most by it.

    For independent normal columns this is reverse water-filling: the error that is left
    is the same in all columns that have bits.
    """
    bits = np.zeros(len(errors), np.int64)
    columns = np.arange(len(errors))
    for _ in range(min(n_bits, MAX_BITS * len(errors))):
        more = np.minimum(bits + 1, MAX_BITS)
        gains = errors[columns, bits] - errors[columns, more]
        bits[np.where(bits < MAX_BITS, gains, -np.inf).argmax()] += 1
    return bits


def quantizers_of(latents: Floats, bits: NDArray[np.int64]) -> list[Quantizer]:
    pairs = zip(latents.T, bits, strict=True)
    return [fitted_quantizer(column, int(n_bits)) for column, n_bits in pairs]


def encoded(quantizers: list[Quantizer], latents: Floats) -> NDArray[np.int64]:
    pairs = zip(quantizers, latents.T, strict=True)
    return np.column_stack([one.encode(column) for one, column in pairs])


def decoded(quantizers: list[Quantizer], codes: NDArray[np.int64]) -> Floats:
    pairs = zip(quantizers, codes.T, strict=True)
    return np.column_stack([one.decode(column) for one, column in pairs])


def independent_bits(
    train: NDArray[np.int64], test: NDArray[np.int64], sizes: list[int]
) -> float:
    """Return the bits of a row by the relative frequencies of each position.

    A row more is counted, which is spread evenly over the codes of the position.
    """
    bits = 0.0
    for seen, new, size in zip(train.T, test.T, sizes, strict=True):
        counts = np.bincount(seen, minlength=size) + 1.0 / size
        bits -= np.log2(counts[new] / counts.sum()).mean()
    return float(bits)
