"""What a trained variational autoencoder says of rows: its inference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from latentsk._typing import Float64
from latentsk.training._inference import Inference, clip_to_finite
from latentsk.vae._bounds import elbo, iwae, kl_divergence, log_ratios
from latentsk.vae._density import Density
from latentsk.vae._estimates import (
    Sampled,
    balanced_noise,
    feature_log_densities,
    independent_noise,
    rows_at_a_time,
    sampled,
    samples_at_a_time,
)
from latentsk.vae._levels import LatentPosterior
from latentsk.vae._likelihoods import Likelihood
from latentsk.vae._mixed import MixedLikelihood
from latentsk.vae._network import VAE
from latentsk.vae._posterior import Posterior

# Seed of the random numbers that all rows have in common when they are scored.
SCORE_SEED = 0
SCORE_METHODS = ("elbo", "iwae", "reconstruction", "kl")


class VariationalInference(Inference):
    """Posterior means, means of the likelihood, and bounds on the log-likelihood.

    Parameters
    ----------
    likelihood : Likelihood or MixedLikelihood

    method : {"elbo", "iwae", "reconstruction", "kl"}
        What the score is.

    n_samples : int
        Samples of the latents for a score.

    n_latents : int

    scale : ndarray of shape (n_features,)
        Of the standardization: densities are those of original units.

    n_parts : int or None, default=None
        In how many parts samples are decoded, at most; then the steps are the same for
        any number of rows. None: in as many as memory asks for.

    shares : ndarray of shape (n_features,) or None, default=None
        What each feature gets of what belongs to none; None: all get the same.

    kept : sequence of int or None, default=None
        Places of the latents that are returned, and taken; None: all. Scores are of
        all.
    """

    def __init__(
        self,
        likelihood: Likelihood | MixedLikelihood,
        method: str,
        n_samples: int,
        n_latents: int,
        scale: Float64,
        n_parts: int | None = None,
        shares: Float64 | None = None,
        kept: Sequence[int] | None = None,
    ) -> None:
        self.likelihood = likelihood
        self.method = method
        self.log_units = np.log(scale)
        self.n_parts = n_parts
        equal = np.full(len(scale), 1.0 / len(scale))
        self.shares = equal if shares is None else shares
        generator = torch.Generator().manual_seed(SCORE_SEED)
        # A bound by importance weights takes independent samples, a mean better ones.
        source = independent_noise if method == "iwae" else balanced_noise
        self.noise = source(n_samples, n_latents, generator)
        self.rows_per_score = rows_at_a_time(n_samples)
        self.rows_per_contribution = rows_at_a_time(n_samples * len(scale))
        self.n_latents = n_latents
        self.kept = None if kept is None else list(kept)

    def encode(self, network: VAE, rows: Tensor) -> Tensor:
        """Return the means of the posteriors, or the kept ones of them."""
        means = network.encode(rows).central().mean
        return means if self.kept is None else means[:, self.kept]

    def decode(self, network: VAE, latents: Tensor) -> Tensor:
        """Return the means of the likelihood; latents that are not kept are 0."""
        if self.kept is not None:
            latents = self._whole(latents)
        return self.likelihood.mean(network.decode(latents))

    def _whole(self, latents: Tensor) -> Tensor:
        """Return all latents, and the conditions that lie behind the kept ones."""
        assert self.kept is not None, "asked where some are not"
        columns = latents.unbind(dim=1)
        zero = torch.zeros_like(columns[0])
        found = dict(zip(self.kept, columns, strict=False))
        whole = [found.get(place, zero) for place in range(self.n_latents)]
        return torch.stack([*whole, *columns[len(self.kept) :]], dim=1)

    def score(self, network: VAE, rows: Tensor) -> Tensor:
        """Return the bound or part of it that `method` names."""
        kept = self.in_range(network, rows)
        if self.method == "kl":
            costs = self.likelihood.penalties(network.modelled(rows))
            value = -self._divergence(network, kept)
            return clip_to_finite(value - costs.sum(dim=-1))
        found = self._sampled(network, kept)
        if self.method == "iwae":
            bound = iwae(found.log_weights)
        elif self.method == "elbo":
            bound = elbo(found.log_densities, self._divergence(network, kept, found))
        else:
            bound = found.log_densities.mean(dim=0)
        surplus = self.surplus(network, rows).sum(dim=-1)
        return clip_to_finite(bound - surplus.to(bound))

    def contributions(self, network: VAE, rows: Tensor) -> Tensor:
        """Return the log-density of each feature, and shares of what belongs to none.

        Raises
        ------
        ValueError
            For the divergence alone.
        """
        if self.method == "kl":
            raise ValueError("score_method='kl' is no sum over features; see 'elbo'.")
        kept = self.in_range(network, rows)
        found = self._sampled(network, kept)
        weights = torch.full_like(found.log_weights, 1.0 / len(self.noise))
        rest = torch.zeros_like(weights[0])
        if self.method == "elbo":
            rest = -self._divergence(network, kept, found)
        elif self.method == "iwae":
            weights = torch.softmax(found.log_weights, dim=0)
            rest = iwae(found.log_weights)
            rest = rest - (weights * found.log_densities).sum(dim=0)
        densities = feature_log_densities(
            network,
            kept,
            self.likelihood.by_feature,
            found.posterior,
            self.noise.to(rows),
            weights,
        )
        surplus, shares = self.surplus(network, rows), torch.as_tensor(self.shares)
        shared = rest[:, None] * shares.to(rows)
        return clip_to_finite(densities - surplus.to(rows) + shared)

    def log_likelihood(
        self, network: VAE, rows: Tensor, n_samples: int, generator: torch.Generator
    ) -> Tensor:
        """Estimate log-likelihoods from random numbers of their own for every row.

        Parameters
        ----------
        network : VAE

        rows : Tensor of shape (n_rows, n_features)

        n_samples : int

        generator : torch.Generator
            On the CPU.

        Returns
        -------
        estimates : Tensor of shape (n_rows, 2)
            With the standard error of each.
        """
        at_a_time = samples_at_a_time(network, rows)

        def draw(start: int) -> Tensor:
            n_drawn = min(at_a_time, n_samples - start)
            shape = (n_drawn, len(rows), self.noise.shape[-1])
            noise = torch.randn(shape, generator=generator, dtype=rows.dtype)
            return noise.to(rows.device)

        parts = map(draw, range(0, n_samples, at_a_time))
        kept, density = self.in_range(network, rows), self.likelihood.log_density
        weights = sampled(network, kept, density, parts).log_weights
        value = iwae(weights)
        error = torch.exp(weights - value).std(dim=0) / math.sqrt(n_samples)
        unknown = torch.nan_to_num(error, nan=torch.inf)
        surplus = self.surplus(network, rows).sum(dim=-1).to(value)
        return torch.stack([clip_to_finite(value - surplus), unknown], dim=1)

    def in_range(self, network: VAE, rows: Tensor) -> Tensor:
        """Return rows whose values have been brought into the likelihood's support."""
        nearest = self.likelihood.nearest(network.modelled(rows))
        return network.with_modelled(rows, nearest)

    def surplus(self, network: VAE, rows: Tensor) -> Tensor:
        """Return by what each log-density of a row in range is too high.

        By the logarithm of its unit, and for a value that lay outside of the support by
        a penalty.

        Returns
        -------
        surplus : Tensor of shape (n_rows, n_modelled) or (n_modelled,), dtype float64
        """
        modelled = network.modelled(rows)
        units = self.likelihood.log_units(modelled, self.log_units)
        return units + self.likelihood.penalties(modelled)

    def _sampled(self, network: VAE, rows: Tensor) -> Sampled:
        parts = self._noise_parts(network, rows)
        return sampled(network, rows, self.likelihood.log_density, parts)

    def _noise_parts(self, network: VAE, rows: Tensor) -> Sequence[Tensor]:
        noise = self.noise.to(rows)
        if self.n_parts is not None:
            return noise.chunk(self.n_parts)
        return noise.split(samples_at_a_time(network, rows))

    def _divergence(
        self, network: VAE, rows: Tensor, found: Sampled | None = None
    ) -> Tensor:
        """Return the divergence of each row's posterior from the prior."""
        posterior = network.encode(rows) if found is None else found.posterior
        prior = network.density() if found is None else found.prior
        if not isinstance(posterior, Posterior):
            return self._mean_divergences(network, rows, posterior, prior).sum(dim=1)
        divergences = prior.divergence(posterior)
        if divergences is not None:
            return divergences.sum(dim=1)
        if found is not None:
            return -found.log_ratios.mean(dim=0)
        parts = self._noise_parts(network, rows)
        ratios = [log_ratios(posterior.at(part), posterior, prior) for part in parts]
        return -torch.cat(ratios).mean(dim=0)

    def by_level(self, network: VAE, rows: Tensor, widths: Sequence[int]) -> Tensor:
        """Split the evidence lower bound of each row by levels of its latents.

        Parameters
        ----------
        network : VAE

        rows : Tensor of shape (n_rows, n_features)

        widths : sequence of int
            Latent dimensions of each level.

        Returns
        -------
        parts : Tensor of shape (n_rows, 1 + n_levels)
            The mean log-density, and minus the divergence of each level.
        """
        kept = self.in_range(network, rows)
        found = self._sampled(network, kept)
        posterior, prior = found.posterior, found.prior
        divergences = self._mean_divergences(network, kept, posterior, prior)
        by_level = [part.sum(dim=1) for part in divergences.split(list(widths), dim=1)]
        surplus = self.surplus(network, rows).sum(dim=-1).to(divergences)
        density = found.log_densities.mean(dim=0) - surplus
        return clip_to_finite(torch.stack([density, *(-kl for kl in by_level)], dim=1))

    def _mean_divergences(
        self, network: VAE, rows: Tensor, posterior: LatentPosterior, prior: Density
    ) -> Tensor:
        """Return the divergence of each latent, on average over the levels above."""
        parts = self._noise_parts(network, rows)
        sums = [
            len(part) * kl_divergence(*posterior.draw(part), prior) for part in parts
        ]
        return torch.stack(sums).sum(dim=0) / len(self.noise)
