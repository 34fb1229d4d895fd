"""A variational autoencoder as one module: posterior, reparameterization, decoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsk.networks._mlp import initialize, without_dropout
from latentsk.training._data import BeginsWithRows, Rows, StartsFromRows
from latentsk.vae._constants import leave_out_constants
from latentsk.vae._density import Density
from latentsk.vae._levels import LatentPosterior, Levels, OneLevel
from latentsk.vae._likelihood_scale import add_scale, floored
from latentsk.vae._posterior import Posterior, bounded
from latentsk.vae._priors import ComponentPrior, Prior, StandardNormal

# Random training rows that the prior may start from.
MAX_ROWS_TO_START = 10_000


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


class Output(NamedTuple):
    """What a variational autoencoder makes of rows.

    Attributes
    ----------
    output : Tensor of shape (n_samples, n_rows, n_features)
        Of the decoder, for each sample of the latents.
    latents : Tensor of shape (n_samples, n_rows, n_latents)
    posterior : Posterior
        That the latents were drawn from.
    log_scale : Tensor
        Of the likelihood.
    """

    output: Tensor
    latents: Tensor
    posterior: Posterior
    log_scale: Tensor


class VAE(nn.Module, BeginsWithRows, StartsFromRows):
    """An encoder to means and log-variances, a decoder, a prior, and a scale.

    Parameters
    ----------
    encoder : nn.Module
        From rows to means and raw log-variances, one after the other.

    decoder : nn.Module
        From latents to what the likelihood takes.

    prior : Prior, ComponentPrior or None, default=None
        Of the latents; None is the standard normal one.

    levels : Levels or None, default=None
        How the latents lie between the two; None: all in one level.

    n_scales : int, default=0
        Number of scales of the likelihood that are learned: none, one, or one per
        feature.

    min_scale : float, default=1e-3
        Least scale of the likelihood, approached smoothly, in the unit of the rows.

    initial_scale : float, default=1.0
        Scale to start from; the one that stays, where none is learned.

    n_conditions : int, default=0
        How many of the last numbers of a row are given, and not modelled. The encoder
        sees them as a part of the row, the decoder behind the latents.

    inputs : callable, default=_as_they_are
        From what is modelled of rows to what the encoder sees of it, as a likelihood
        has it.

    link : callable, default=_as_they_are
        From what the decoder returns to what the likelihood takes, as that has it.

    is_real : ndarray of shape (n_modelled,), dtype bool, or None, default=None
        Which modelled columns the decoder returns the values of. If they are constant,
        the network starts from neither seeing nor varying them. None: any column may
        be another one, or weights are given.

    Examples
    --------
    >>> vae = VAE(nn.Linear(3, 4), nn.Linear(2, 3), n_scales=1)
    >>> result = vae(torch.zeros(5, 3), torch.zeros(7, 5, 2))
    >>> result.output.shape, result.posterior.mean.shape
    (torch.Size([7, 5, 3]), torch.Size([5, 2]))
    """

    raw_log_scale: Tensor
    log_floor: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: Prior | ComponentPrior | None = None,
        *,
        levels: Levels | None = None,
        n_scales: int = 0,
        min_scale: float = 1e-3,
        initial_scale: float = 1.0,
        n_conditions: int = 0,
        inputs: Callable[[Tensor], Tensor] = _as_they_are,
        link: Callable[[Tensor], Tensor] = _as_they_are,
        is_real: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__()
        self.is_real = is_real
        self.link = link
        self.inputs = inputs
        self.n_conditions = n_conditions
        self.encoder = encoder
        self.decoder = decoder
        self.levels: Levels = OneLevel() if levels is None else levels
        self.prior = StandardNormal() if prior is None else prior
        add_scale(self, n_scales, min_scale, initial_scale)

    def log_scale(self) -> Tensor:
        """Return the logarithm of the likelihood's scale, above that of the floor."""
        return floored(self.raw_log_scale, self.log_floor)

    def encode(self, rows: Tensor) -> LatentPosterior:
        """Return the posterior of the latents."""
        return self.levels.posterior(self._encoded(self.seen(rows)))

    def seen(self, rows: Tensor) -> Tensor:
        """Return what the encoder sees of rows."""
        return self.with_modelled(rows, self.inputs(self.modelled(rows)))

    def encode_top(self, seen: Tensor) -> Posterior:
        """Return the top level's posterior for what the encoder sees."""
        return self.levels.top(self._encoded(seen))

    def _encoded(self, seen: Tensor) -> Posterior:
        mean, raw = self.encoder(seen).chunk(2, dim=-1)
        return Posterior(mean, bounded(raw))

    def density(self) -> Density:
        """Return the distribution that the latents of all rows follow together.

        It is computed from the parameters as they are: once per step or batch.
        """
        if not isinstance(self.prior, ComponentPrior):
            return self.levels.density(self.prior)
        with without_dropout(self.encoder):
            return self.levels.density(self.prior.given(self.encode_top))

    @property
    def starts_at(self) -> float:
        """Share of the training after which prior and levels start."""
        levels = self.levels.starts_at
        if not isinstance(self.prior, ComponentPrior):
            return levels
        return max(self.prior.starts_at, levels)

    def start_from(self, rows: Rows, generator: torch.Generator) -> None:
        """Set what the training starts from, of the prior and the levels."""
        self.levels.start()
        initialize(self.prior, generator)
        if isinstance(self.prior, ComponentPrior):
            some = self.seen(next(rows.epoch(MAX_ROWS_TO_START, generator)).rows)
            with torch.no_grad(), without_dropout(self.encoder):
                self.prior.start_from(some, self.encode_top, generator, self.turn)

    def begin_with(self, rows: Rows) -> None:
        """Leave out columns that are constant."""
        if self.is_real is None:
            return
        # The order of the training is not to change.
        some = next(rows.epoch(MAX_ROWS_TO_START, torch.Generator())).rows
        modelled, n_seen = self.modelled(some), self.seen(some[:1]).shape[1]
        is_real = torch.from_numpy(self.is_real)
        leave_out_constants(self.encoder, self.decoder, modelled, is_real, n_seen)

    def turn(self, matrix: Tensor) -> None:
        """Multiply the latents by a matrix, where encoder and decoder can have that.

        The decoder returns the same for them as before.

        Parameters
        ----------
        matrix : Tensor of shape (n_latents, n_latents)
        """
        self.levels.turn(self.encoder, self.decoder, matrix)

    def modelled(self, rows: Tensor) -> Tensor:
        """Return what is modelled of rows: all but the conditions."""
        return rows[..., : rows.shape[-1] - self.n_conditions]

    def conditions(self, rows: Tensor) -> Tensor:
        """Return what is given of rows, of shape (n_rows, n_conditions)."""
        return rows[..., rows.shape[-1] - self.n_conditions :]

    def with_modelled(self, rows: Tensor, modelled: Tensor) -> Tensor:
        """Return rows with something else before their conditions."""
        if not self.n_conditions:
            return modelled
        return torch.cat([modelled, self.conditions(rows)], dim=-1)

    def decode(self, latents: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the decoder's output, as the likelihood takes it.

        Parameters
        ----------
        latents : Tensor of shape (..., n_rows, n_latents)

        rows : Tensor of shape (n_rows, n_features) or None, default=None
            Their conditions are taken; None: they are behind the latents already, or
            there are none.
        """
        if rows is not None and self.n_conditions:
            given = self.conditions(rows)
            given = given.expand(*latents.shape[:-1], given.shape[-1])
            latents = torch.cat([latents, given], dim=-1)
        inputs = self.levels.decoded(latents.flatten(0, -2))
        flat = self.link(self.decoder(inputs))
        return flat.view(*latents.shape[:-1], -1)

    def forward(
        self, rows: Tensor, noise: Tensor, slope: Tensor | None = None
    ) -> Output:
        """Encode, draw, decode.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_features)

        noise : Tensor of shape (n_samples, n_rows or 1, n_latents)
            Standard normal.

        slope : Tensor of shape (n_samples, n_rows) or None, default=None
            What the gradient that comes to the encoder through the latents is
            multiplied by; no value changes.
        """
        latents, posterior = self.encode(rows).draw(noise)
        if slope is not None:
            part = slope[..., None] * latents
            latents = latents.detach() + (part - part.detach())
        output = self.decode(latents, rows)
        return Output(output, latents, posterior, self.log_scale())


def density_on_host(vae: VAE, dtype: torch.dtype) -> Density:
    """Return the distribution of latents for rows in float64, on the CPU.

    Parameters
    ----------
    vae : VAE

    dtype : torch.dtype
        In which its encoder works: not in float64, where a custom one cannot.
    """
    vae = copy.deepcopy(vae).cpu()
    if not isinstance(vae.prior, ComponentPrior):
        return vae.levels.density(vae.prior.double())
    with torch.no_grad():
        return vae.to(dtype).density()
