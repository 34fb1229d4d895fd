"""Densities of rows given many samples of their latents, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.modules.vae import VAE, Posterior
from latentsk.training.variational import log_importance_weights

# Values that the decoder returns at a time: samples times rows times features.
CHUNK_ELEMENTS = 2**20


class Sampled(NamedTuple):
    """What samples of the latents say about rows.

    Attributes
    ----------
    log_densities : Tensor of shape (n_samples, n_rows)
        Of the rows given the samples.
    log_weights : Tensor of shape (n_samples, n_rows)
        Importance weights.
    posterior : Posterior
        That the samples were drawn from.
    """

    log_densities: Tensor
    log_weights: Tensor
    posterior: Posterior


def sampled(
    vae: VAE,
    rows: Tensor,
    log_density: Callable[[Tensor, Tensor, Tensor], Tensor],
    draw: Callable[[int], Tensor],
    n_samples: int,
) -> Sampled:
    """Encode rows once, and decode samples of their latents chunk by chunk.

    Parameters
    ----------
    vae : VAE

    rows : Tensor of shape (n_rows, n_features)

    log_density : callable
        Of the likelihood.

    draw : callable
        ``draw(n)`` returns the next n samples of standard normal noise, of shape
        (n, n_rows or 1, n_latents).

    n_samples : int

    Returns
    -------
    found : Sampled

    Examples
    --------
    >>> from torch import nn
    >>> from latentsk.modules.likelihoods import gaussian
    >>> vae, rows = VAE(nn.Linear(3, 4), nn.Linear(2, 3)), torch.zeros(5, 3)
    >>> sampled(vae, rows, gaussian, lambda n: torch.zeros(n, 1, 2), 7)[1].shape
    torch.Size([7, 5])
    """
    posterior, log_scale = vae.encode(rows), vae.log_scale()
    per_chunk = max(1, CHUNK_ELEMENTS // max(1, rows.numel()))
    densities, weights = [], []
    for start in range(0, n_samples, per_chunk):
        latents = posterior.at(draw(min(per_chunk, n_samples - start)))
        densities.append(log_density(rows, vae.decode(latents), log_scale))
        weights.append(log_importance_weights(densities[-1], latents, posterior))
    return Sampled(torch.cat(densities), torch.cat(weights), posterior)
