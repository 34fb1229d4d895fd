"""Levels of latent coordinates between an encoder and a decoder (abstract)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor, nn

from latentsk.vae._density import Density
from latentsk.vae._latent_basis import turn_latents
from latentsk.vae._posterior import Posterior


class LatentPosterior(Protocol):
    """A distribution of the latent coordinates of rows, level by level."""

    def draw(self, noise: Tensor) -> tuple[Tensor, Posterior]:
        """Return latents, and the distributions that they were drawn from.

        Parameters
        ----------
        noise : Tensor of shape (..., n_rows or 1, n_latents)
            Standard normal.

        Returns
        -------
        latents : Tensor of shape (..., n_rows, n_latents)

        posterior : Posterior
            Of each coordinate, given those of the levels above as they were drawn.
        """

    def central(self) -> Posterior:
        """Return the distributions where the levels above lie at their means."""


class Levels(ABC):
    """How latent coordinates are arranged between an encoder and a decoder (abstract).

    The coordinates of all levels lie side by side, those of the lowest level, which
    lies next to the data, first.
    """

    @property
    @abstractmethod
    def starts_at(self) -> float:
        """Share of the training after which :meth:`start` is called, in [0, 1)."""

    @abstractmethod
    def start(self) -> None:
        """Let the levels depend on each other."""

    @abstractmethod
    def posterior(self, encoded: Posterior) -> LatentPosterior:
        """Return the posterior that an encoder's output means."""

    @abstractmethod
    def top(self, encoded: Posterior) -> Posterior:
        """Return the posterior of the uppermost level."""

    @abstractmethod
    def density(self, top: Density) -> Density:
        """Return the distribution of all coordinates, given that of the top's."""

    @abstractmethod
    def decoded(self, latents: Tensor) -> Tensor:
        """Return what the decoder takes.

        Parameters
        ----------
        latents : Tensor of shape (n_rows, n_latents + n_others)
            What lies behind the latents stays.
        """

    @abstractmethod
    def turn(self, encoder: nn.Module, decoder: nn.Module, matrix: Tensor) -> None:
        """Multiply the latents of the uppermost level by a matrix.

        The decoder returns the same for them as before.

        Parameters
        ----------
        encoder, decoder : nn.Module
            Between which they lie. Nothing changes where these can have no others.

        matrix : Tensor of shape (n_top, n_top)
        """


class OneLevel(Levels):
    """A single level: everything stays as it is."""

    @property
    def starts_at(self) -> float:
        """Return 0."""
        return 0.0

    def start(self) -> None:
        """Do nothing."""

    def posterior(self, encoded: Posterior) -> Posterior:
        """Return what the encoder says."""
        return encoded

    def top(self, encoded: Posterior) -> Posterior:
        """Return what the encoder says."""
        return encoded

    def density(self, top: Density) -> Density:
        """Return the density itself."""
        return top

    def decoded(self, latents: Tensor) -> Tensor:
        """Return the latents themselves."""
        return latents

    def turn(self, encoder: nn.Module, decoder: nn.Module, matrix: Tensor) -> None:
        """Multiply the latents by a matrix."""
        turn_latents(encoder, decoder, matrix)
