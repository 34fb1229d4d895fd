"""How probable the codes of a row are: the abstract class, and how codes are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class CodePrior(nn.Module, ABC):
    """A distribution of the codes of a row (abstract).

    A row has one code at each of its positions. A module: what it learns are its
    parameters, which are trained with the network, or its buffers.

    Parameters
    ----------
    n_positions : int

    n_codes : int
        A code is an integer from 0 to ``n_codes - 1``.
    """

    @abstractmethod
    def __init__(self, n_positions: int, n_codes: int) -> None:
        super().__init__()
        self.n_positions = n_positions
        self.n_codes = n_codes

    @abstractmethod
    def log_probabilities(self, codes: Tensor) -> Tensor:
        """Return how probable each code is, given those of the positions before it.

        Parameters
        ----------
        codes : Tensor of shape (n_rows, n_positions), dtype int64

        Returns
        -------
        log_probabilities : Tensor of shape (n_rows, n_positions)
            In nats, at most 0. Their sum over the positions is that of the row.
        """

    @abstractmethod
    def observe(self, codes: Tensor) -> None:
        """Count codes, where counts are what is learned; else do nothing.

        Parameters
        ----------
        codes : Tensor of shape (n_rows, n_positions), dtype int64
            Of the rows of a training step.
        """

    @abstractmethod
    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the codes of random rows, of shape (n_rows, n_positions)."""


def drawn_codes(
    probabilities: Tensor, uniform: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the codes at which cumulated probabilities pass random numbers.

    Parameters
    ----------
    probabilities : Tensor of shape (n_rows, n_codes), dtype float64
        Their sums are 1, up to rounding.

    uniform : ndarray of shape (n_rows,)
        In [0, 1).

    Examples
    --------
    >>> drawn_codes(torch.tensor([[0.5, 0.0, 0.5]] * 3), np.array([0.0, 0.49, 0.5]))
    array([0, 0, 2])
    """
    cumulated = probabilities.cumsum(dim=1)
    # Of their own sum, so that the last number is above every random one.
    levels = torch.from_numpy(uniform)[:, None] * cumulated[:, -1:]
    found = torch.searchsorted(cumulated, levels, right=True)[:, 0]
    return np.asarray(found.clamp(max=probabilities.shape[1] - 1).numpy())
