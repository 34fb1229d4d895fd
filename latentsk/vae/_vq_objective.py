"""What a vector-quantized autoencoder learns: rows given codes, and the codes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.networks._mlp import dropout_layers, perceptron_operations
from latentsk.training._objective import (
    Gradient,
    Losses,
    Noise,
    Objective,
    autocast,
)
from latentsk.vae._likelihoods import Likelihood
from latentsk.vae._vq_network import VQVAE

RESTART_NOISE = "restart"


class Costs(NamedTuple):
    """What the rows of a batch cost, and what the network learns from besides.

    Attributes
    ----------
    reconstruction, codes, commitment : Tensor of shape (n_rows,)
    vectors : Tensor of shape (n_rows, n_positions, code_dim)
    chosen : Tensor of shape (n_rows, n_positions), dtype int64
        The codes.
    """

    reconstruction: Tensor
    codes: Tensor
    commitment: Tensor
    vectors: Tensor
    chosen: Tensor


class CodedDensity(Objective):
    """Minus the log-density of rows and their codes, in nats of standardized units.

    Its terms are "reconstruction", minus the log-density of a row given its codes;
    "codes", minus their log-probability by the prior; and, for a codebook that follows
    the encoder, "commitment", the squared distance of the encoder's vectors from those
    of the codes. What epochs are compared by has no commitment.

    Parameters
    ----------
    network : VQVAE
        Its dropout layers, its codes and their quantizer are taken note of.

    likelihood : Likelihood

    commitment : float, default=0.25
        Weight of the commitment.

    starts_at : float in [0, 1), default=0.0
        Share of the training before the codes start: the decoder is given the encoder's
        vectors as they are until then.

    precision : {"float32", "bfloat16"}, default="float32"
        Of the matrix products of encoder and decoder.

    Examples
    --------
    >>> from torch import nn
    >>> from latentsk.vae._code_prior import IndependentCodes
    >>> from latentsk.vae._codebook import Codebook
    >>> from latentsk.vae._likelihoods import LIKELIHOODS
    >>> parts = Codebook(5, 2), IndependentCodes(1, 5)
    >>> network = VQVAE(nn.Linear(3, 2), nn.Linear(2, 3), *parts)
    >>> objective = CodedDensity(network, LIKELIHOODS["gaussian"])
    >>> noise = objective.draw_noise(7, torch.Generator())
    >>> losses = objective.loss(network, torch.zeros(7, 3), noise, torch.ones(()))
    >>> losses.rows.shape, list(losses.terms)
    (torch.Size([7]), ['reconstruction', 'codes', 'commitment'])
    """

    def __init__(
        self,
        network: VQVAE,
        likelihood: Likelihood,
        *,
        commitment: float = 0.25,
        starts_at: float = 0.0,
        precision: str = "float32",
    ) -> None:
        self.starts_at = self.settled_at = starts_at
        self.masked = dropout_layers(network)
        self.n_codes = network.quantizer.n_codes
        self.likelihood = likelihood
        self.commitment = commitment
        self.is_committed = network.quantizer.needs_commitment
        self.precision = precision

    def draw_noise(self, n_rows: int, generator: torch.Generator) -> Noise:
        """Return masks of dropout, and numbers that choose where codes begin anew."""
        noise = {k: layer.draw(n_rows, generator) for k, layer in self.masked.items()}
        noise[RESTART_NOISE] = torch.rand(
            self.n_codes,
            generator=generator,
            device=generator.device,
            dtype=torch.float32,
        )
        return noise

    def loss(
        self, network: VQVAE, batch: Tensor, noise: Noise, progress: Tensor
    ) -> Losses:
        """Return the loss with the commitment; the codes learn from the rows."""
        costs = self._costs(network, batch, progress)
        network.observe(costs.vectors, costs.chosen, noise[RESTART_NOISE])
        coding = costs.codes
        if self.is_committed:
            coding = coding + self.commitment * costs.commitment
        # Before the codes start, they are none of the network's business.
        coding = torch.where(
            progress < self.starts_at, torch.zeros_like(coding), coding
        )
        return Losses(costs.reconstruction + coding, self._terms(costs))

    def monitor(self, network: VQVAE, rows: Tensor) -> Losses:
        """Return minus the log-density."""
        costs = self._costs(network, rows)
        return Losses(costs.reconstruction + costs.codes, self._terms(costs))

    def gradient(self, network: VQVAE) -> Gradient | None:
        """Return None: autograd computes it."""
        return None

    def operations_per_row(self, network: VQVAE) -> float:
        """Return the operations of encoding and decoding a row."""
        parts = (network.encoder, network.decoder)
        return sum(map(perceptron_operations, parts))

    def _costs(
        self, network: VQVAE, rows: Tensor, progress: Tensor | None = None
    ) -> Costs:
        with autocast(self.precision, rows.device):
            vectors = network.encode(rows)
        vectors = vectors.float()
        found = network.quantizer(vectors)
        decoded = found.vectors
        if self.starts_at and progress is not None:
            plain = network.quantizer.bounded(vectors)
            decoded = torch.where(progress < self.starts_at, plain, decoded)
        with autocast(self.precision, rows.device):
            output = network.decode(decoded)
        scale, density = network.log_scale(), self.likelihood.log_density
        return Costs(
            -density(rows, output.float(), scale),
            -network.prior.log_probabilities(found.codes).sum(dim=1),
            found.errors.sum(dim=1),
            vectors,
            found.codes,
        )

    def _terms(self, costs: Costs) -> dict[str, Tensor | float]:
        terms = {"reconstruction": costs.reconstruction, "codes": costs.codes}
        if self.is_committed:
            terms["commitment"] = costs.commitment
        return {name: term.detach() for name, term in terms.items()}
