"""Priors that are mixtures of normal components: their abstract class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from latentsk.vae._mixture import GaussianMixture
from latentsk.vae._posterior import Posterior

# From rows, as the encoder sees them, to their posteriors.
Encode = Callable[[Tensor], Posterior]
# Gives the network other latents: those of now, times the transpose of a matrix.
Turn = Callable[[Tensor], None]


class ComponentPrior(nn.Module, ABC):
    """A mixture of normal components that is made anew for every step (abstract).

    A module: what it learns are its parameters, from which, and from what the encoder
    says, :meth:`given` makes the distribution.

    Parameters
    ----------
    n_latents : int

    n_components : int

    n_inputs : int
        Width of the rows that the encoder sees.
    """

    @abstractmethod
    def __init__(self, n_latents: int, n_components: int, n_inputs: int) -> None:
        super().__init__()

    @property
    @abstractmethod
    def starts_at(self) -> float:
        """Share of the training after which :meth:`start_from` is called."""

    @staticmethod
    @abstractmethod
    def automatic_components(n_rows: int) -> int:
        """Return the number of components that "auto" means for so many rows."""

    @abstractmethod
    def given(self, encode: Encode) -> GaussianMixture:
        """Return the distribution, as the encoder is at present."""

    @abstractmethod
    def start_from(
        self,
        rows: Tensor,
        encode: Encode,
        generator: torch.Generator,
        turn: Turn = lambda matrix: None,
    ) -> None:
        """Set the parameters that the training starts from.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_inputs)
            Random training rows, as the encoder sees them.

        encode : callable
            Of the network, which has been trained as long as `starts_at` says.

        generator : torch.Generator
            On the CPU.

        turn : callable
            Of the network. What `encode` returns is another posterior then; it is the
            same, where the network can have no other latents.
        """
