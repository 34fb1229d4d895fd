"""An encoder and a decoder as one module."""

from __future__ import annotations

import torch
from torch import nn


class Autoencoder(nn.Module):
    """Encode, then decode.

    Parameters
    ----------
    encoder, decoder : nn.Module
        From rows to latent coordinates, and back.

    Examples
    --------
    >>> network = Autoencoder(nn.Linear(3, 2), nn.Linear(2, 3))
    >>> rows, latents = network(torch.zeros(5, 3))
    >>> rows.shape, latents.shape
    (torch.Size([5, 3]), torch.Size([5, 2]))
    """

    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the decoded rows and the latent coordinates."""
        latents = self.encoder(rows)
        return self.decoder(latents), latents
