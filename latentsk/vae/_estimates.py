"""Densities of rows given many samples of their latents, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentsk.vae._bounds import log_ratios
from latentsk.vae._density import Density
from latentsk.vae._levels import LatentPosterior
from latentsk.vae._network import VAE

# Values of a linear layer at a time: samples times rows times units.
CHUNK_ELEMENTS = 2**20
# Densities that are kept at a time: samples times rows.
KEPT_ELEMENTS = 2**22


def independent_noise(
    n_samples: int, n_latents: int, generator: torch.Generator
) -> Tensor:
    """Return standard normal noise for all rows, in float64.

    Returns
    -------
    noise : Tensor of shape (n_samples, 1, n_latents)

    Examples
    --------
    >>> independent_noise(5, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([5, 1, 2])
    """
    shape = (n_samples, 1, n_latents)
    # In float64, so that it is the same in every dtype.
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def balanced_noise(
    n_samples: int, n_latents: int, generator: torch.Generator
) -> Tensor:
    """Return standard normal noise in mirrored pairs of unit mean square.

    With as many samples a mean over it comes nearer to the expectation than one over
    independent noise (Hammersley & Morton, 1956): what is odd in the noise cancels out,
    and squares are exact. An odd sample has no mirror image.

    Returns
    -------
    noise : Tensor of shape (n_samples, 1, n_latents)

    Examples
    --------
    >>> noise = balanced_noise(6, 2, torch.Generator().manual_seed(0))
    >>> noise.mean(dim=0).abs().max() < 1e-12, noise.square().mean(dim=0)
    (tensor(True), tensor([[1., 1.]], dtype=torch.float64))
    """
    half = independent_noise((n_samples + 1) // 2, n_latents, generator)
    noise = torch.cat([half, -half])[:n_samples]
    return noise / noise.square().mean(dim=0).sqrt()


def rows_at_a_time(n_samples: int) -> int:
    """Return the rows whose densities for all samples are kept at a time.

    Examples
    --------
    >>> rows_at_a_time(1_000), rows_at_a_time(100_000)
    (4194, 41)
    """
    return max(1, KEPT_ELEMENTS // n_samples)


class Sampled(NamedTuple):
    """What samples of the latents say about rows.

    Attributes
    ----------
    log_densities : Tensor of shape (n_samples, n_rows)
        Of the rows given the samples.
    log_ratios : Tensor of shape (n_samples, n_rows)
        Of the prior's density at the samples to the posterior's.
    posterior : LatentPosterior
        That the samples were drawn from.
    prior : Density
    """

    log_densities: Tensor
    log_ratios: Tensor
    posterior: LatentPosterior
    prior: Density

    @property
    def log_weights(self) -> Tensor:
        """Logarithms of the importance weights."""
        return self.log_ratios + self.log_densities


def samples_at_a_time(vae: VAE, rows: Tensor) -> int:
    """Return the samples decoded at once, so that no layer returns too much."""
    linear = (part for part in vae.decoder.modules() if isinstance(part, nn.Linear))
    widest = max([rows.shape[1], *(part.out_features for part in linear)])
    return max(1, CHUNK_ELEMENTS // (len(rows) * widest))


def sampled(
    vae: VAE,
    rows: Tensor,
    log_density: Callable[[Tensor, Tensor, Tensor], Tensor],
    noise: Iterable[Tensor],
) -> Sampled:
    """Encode rows once, and decode samples of their latents part by part.

    Parameters
    ----------
    vae : VAE

    rows : Tensor of shape (n_rows, n_features)

    log_density : callable
        Of the likelihood.

    noise : iterable of Tensor of shape (n_part, n_rows or 1, n_latents)
        Parts of the samples, as standard normal noise.

    Returns
    -------
    found : Sampled

    Examples
    --------
    >>> from latentsk.vae._likelihoods import gaussian
    >>> vae, rows = VAE(nn.Linear(3, 4), nn.Linear(2, 3)), torch.zeros(5, 3)
    >>> sampled(vae, rows, gaussian, torch.zeros(7, 1, 2).split(3))[1].shape
    torch.Size([7, 5])
    """
    posterior, log_scale, prior = vae.encode(rows), vae.log_scale(), vae.density()
    modelled = vae.modelled(rows)
    densities, ratios = [], []
    for part in noise:
        latents, given = posterior.draw(part)
        output = vae.decode(latents, rows)
        densities.append(log_density(modelled, output, log_scale))
        ratios.append(log_ratios(latents, given, prior))
    return Sampled(torch.cat(densities), torch.cat(ratios), posterior, prior)


def feature_log_densities(
    vae: VAE,
    rows: Tensor,
    by_feature: Callable[[Tensor, Tensor, Tensor], Tensor],
    posterior: LatentPosterior,
    noise: Tensor,
    weights: Tensor,
) -> Tensor:
    """Return weighted means over samples of each feature's log-density.

    Parameters
    ----------
    vae : VAE

    rows : Tensor of shape (n_rows, n_features)
        With their conditions, if there are any.

    by_feature : callable
        Of the likelihood: what each modelled feature contributes to the log-density.

    posterior : LatentPosterior
        Of the rows.

    noise : Tensor of shape (n_samples, n_rows or 1, n_latents)
        The samples, as standard normal noise.

    weights : Tensor of shape (n_samples, n_rows)
        Sums to one over the samples.

    Returns
    -------
    densities : Tensor of shape (n_rows, n_modelled)

    Examples
    --------
    >>> from latentsk.vae._likelihoods import LIKELIHOODS
    >>> vae, rows = VAE(nn.Linear(3, 4), nn.Linear(2, 3)), torch.zeros(5, 3)
    >>> noise, weights = torch.zeros(2, 1, 2), torch.full((2, 5), 0.5)
    >>> posterior, by_feature = vae.encode(rows), LIKELIHOODS["gaussian"].by_feature
    >>> feature_log_densities(vae, rows, by_feature, posterior, noise, weights).shape
    torch.Size([5, 3])
    """
    log_scale, modelled = vae.log_scale(), vae.modelled(rows)
    total = torch.zeros_like(modelled)
    for sample, weight in zip(noise, weights, strict=True):
        output = vae.decode(posterior.draw(sample)[0], rows)
        total += weight[:, None] * by_feature(modelled, output, log_scale)
    return total
