"""What an autoencoder learns: to reconstruct rows, also from corrupted ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._mlp import dropout_layers, perceptron_operations
from latentsk.training._losses import LOSSES, contraction, sparsity
from latentsk.training._objective import (
    Gradient,
    Losses,
    Noise,
    Objective,
    autocast,
)
from latentsk.training._perceptron_gradient import perceptron_gradient

INPUT_NOISE = "input"
PROBES = "probes"


class Reconstruction(Objective):
    """The loss of an autoencoder, summed over features, with its penalties.

    Its terms are "reconstruction", and "contraction" and "sparsity" where these are
    penalized, without their weights.

    Parameters
    ----------
    network : Autoencoder
        Its dropout layers, its device and its latent dimensions are taken note of.

    n_features : int

    n_latents : int, default=1
        Needed for the contractive penalty.

    loss : str, default="squared_error"
        A name in `LOSSES`.

    noise : {"gaussian", "masking"} or None, default=None
        What is done to the input, not to the target.

    noise_level : float, default=0.1
        Standard deviation of the Gaussian noise; share of the features masked.

    contractive_penalty, sparse_penalty : float, default=0.0
        Weights of :func:`contraction` and :func:`sparsity`.

    precision : {"float32", "bfloat16"}, default="float32"
        Of the matrix products.

    Examples
    --------
    >>> from torch import nn
    >>> network = Autoencoder(nn.Identity(), nn.Identity())
    >>> objective = Reconstruction(network, 2, noise="gaussian", noise_level=1.0)
    >>> rows, noise = torch.zeros(1, 2), {"input": torch.tensor([[1.0, 2.0]])}
    >>> objective.loss(network, rows, noise, torch.ones(())).rows
    tensor([5.])
    """

    settled_at = 0.0

    def __init__(
        self,
        network: Autoencoder,
        n_features: int,
        n_latents: int = 1,
        *,
        loss: str = "squared_error",
        noise: str | None = None,
        noise_level: float = 0.1,
        contractive_penalty: float = 0.0,
        sparse_penalty: float = 0.0,
        precision: str = "float32",
    ) -> None:
        self.masked = dropout_layers(network)
        self.n_features = n_features
        self.n_latents = n_latents
        self.loss_name = loss
        self.noise = noise
        self.noise_level = noise_level
        self.contractive_penalty = contractive_penalty
        self.sparse_penalty = sparse_penalty
        self.precision = precision

    def draw_noise(self, n_rows: int, generator: torch.Generator) -> Noise:
        """Return masks of dropout, what corrupts the input, and random signs."""
        noise = {k: layer.draw(n_rows, generator) for k, layer in self.masked.items()}
        options: dict[str, Any] = {"generator": generator, "device": generator.device}
        real = {**options, "dtype": torch.float32}
        if self.noise == "gaussian":
            normal = torch.randn(n_rows, self.n_features, **real)
            noise[INPUT_NOISE] = self.noise_level * normal
        elif self.noise == "masking":
            uniform = torch.rand(n_rows, self.n_features, **real)
            noise[INPUT_NOISE] = (uniform >= self.noise_level).to(uniform.dtype)
        if self.contractive_penalty:
            signs = torch.randint(2, (n_rows, self.n_latents), **options)
            noise[PROBES] = (2 * signs - 1).to(torch.float32)
        return noise

    def loss(
        self, network: Autoencoder, batch: Tensor, noise: Noise, progress: Tensor
    ) -> Losses:
        """Return the loss of clean rows, reconstructed from what the network sees."""
        seen = self._corrupt(batch, noise)
        with autocast(self.precision, batch.device):
            output, latents = network(seen)
        losses = LOSSES[self.loss_name](output.float(), batch)
        terms: dict[str, Any] = {"reconstruction": losses}
        if self.sparse_penalty:
            terms["sparsity"] = sparsity(latents.float())
            losses = losses + self.sparse_penalty * terms["sparsity"]
        if self.contractive_penalty:
            terms["contraction"] = contraction(network.encoder, seen, noise[PROBES])
            losses = losses + self.contractive_penalty * terms["contraction"]
        return Losses(losses, terms)

    def monitor(self, network: Autoencoder, rows: Tensor) -> Losses:
        """Return the loss without noise and penalties."""
        losses = LOSSES[self.loss_name](network(rows)[0], rows)
        return Losses(losses, {"reconstruction": losses})

    def gradient(self, network: Autoencoder) -> Gradient | None:
        """Return the gradient in closed form for plain perceptrons on the CPU."""
        if self.contractive_penalty or self.sparse_penalty:
            return None
        if self.precision != "float32":
            return None
        return perceptron_gradient(network, self.loss_name, self._corrupt)

    def operations_per_row(self, network: Autoencoder) -> float:
        """Return the operations of encoding and decoding a row."""
        return perceptron_operations(network)

    def _corrupt(self, batch: Tensor, noise: Noise) -> Tensor:
        if self.noise == "gaussian":
            return batch + noise[INPUT_NOISE]
        if self.noise == "masking":
            return batch * noise[INPUT_NOISE]
        return batch
