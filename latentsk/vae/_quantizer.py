"""What turns vectors into codes: its abstract class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Quantized(NamedTuple):
    """Vectors as a quantizer sees them.

    Attributes
    ----------
    vectors : Tensor of shape (..., code_dim)
        Those of the codes; in training with a gradient to the vectors that were given.
    codes : Tensor of shape (...), dtype int64
    errors : Tensor of shape (...)
        Squared distances of the two, whose gradient moves the vectors that were given.
    """

    vectors: Tensor
    codes: Tensor
    errors: Tensor


class Quantizer(nn.Module, ABC):
    """A map from vectors to codes, and from codes to vectors (abstract).

    Parameters
    ----------
    n_codes : int
        A code is an integer from 0 to ``n_codes - 1``.

    code_dim : int
        Length of the vectors.

    Attributes
    ----------
    needs_commitment : bool
        Whether an encoder has to be drawn towards the vectors of the codes.
    """

    needs_commitment: bool

    @abstractmethod
    def __init__(self, n_codes: int, code_dim: int) -> None:
        super().__init__()
        self.n_codes = n_codes
        self.code_dim = code_dim

    @abstractmethod
    def bounded(self, vectors: Tensor) -> Tensor:
        """Return vectors of shape (..., code_dim) where those of the codes are."""

    @abstractmethod
    def codes_of(self, bounded: Tensor) -> Tensor:
        """Return the codes of bounded vectors, of shape (...)."""

    @abstractmethod
    def vectors_of(self, codes: Tensor) -> Tensor:
        """Return the vectors of codes, of shape (..., code_dim)."""

    @abstractmethod
    def passed(self, bounded: Tensor, quantized: Tensor) -> Tensor:
        """Return quantized vectors with a gradient to the bounded ones."""

    @abstractmethod
    def observe(self, vectors: Tensor, codes: Tensor, uniform: Tensor) -> None:
        """Learn from the vectors of a training step, where gradients do not.

        Parameters
        ----------
        vectors : Tensor of shape (n_vectors, code_dim)

        codes : Tensor of shape (n_vectors,), dtype int64

        uniform : Tensor of shape (n_codes,)
            Random numbers in [0, 1).
        """

    @abstractmethod
    def start_from(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Set what the training starts from.

        Parameters
        ----------
        vectors : Tensor of shape (n_vectors, code_dim)

        generator : torch.Generator
            On the CPU.
        """

    def forward(self, vectors: Tensor) -> Quantized:
        """Quantize vectors of shape (..., code_dim)."""
        bounded = self.bounded(vectors)
        with torch.no_grad():
            codes = self.codes_of(bounded)
            quantized = self.vectors_of(codes)
        errors = (bounded - quantized).square().sum(dim=-1)
        if self.training:
            quantized = self.passed(bounded, quantized)
        return Quantized(quantized, codes, errors)
