"""What a variational autoencoder learns: a bound on the log-likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from latentsk.networks._mlp import dropout_layers, perceptron_operations
from latentsk.training._objective import (
    Gradient,
    Losses,
    Noise,
    Objective,
    autocast,
)
from latentsk.vae._bounds import (
    BoundSettings,
    divergence_cost,
    doubly_reparameterized_slope,
    iwae,
    kl_divergence,
    log_ratios,
    warm_up,
)
from latentsk.vae._density import Density
from latentsk.vae._likelihoods import Likelihood
from latentsk.vae._mixed import MixedLikelihood
from latentsk.vae._network import VAE, Output
from latentsk.vae._posterior import Posterior

LATENT_NOISE = "latent"
UNIFORM_NOISE = "binarization"
GAP_NOISE = "gaps"
# Of the random numbers that the monitored rows meet at every epoch.
MONITOR_SEED = 0
# Few rows meet several, so that their bound is not mostly noise.
MONITORED_VALUES = 1_024
MAX_MONITOR_SAMPLES = 8
ELBO = BoundSettings()
# Of the divergence, before the prior starts from the rows: latents that are free to
# spread keep apart what differs.
PRETRAINING_WEIGHT = 0.1
# Values that the decoder returns at a time: samples times rows times features.
MAX_MONITORED_ELEMENTS = 2**22


def binarized(rows: Tensor, uniform: Tensor) -> Tensor:
    """Return ones with the rows' values as probabilities, else zeros.

    Examples
    --------
    >>> binarized(torch.tensor([0.0, 0.3, 0.3]), torch.tensor([0.0, 0.2, 0.4]))
    tensor([0., 1., 0.])
    """
    return (uniform < rows).to(rows.dtype)


def _hiding(likelihood: Likelihood | MixedLikelihood) -> MixedLikelihood | None:
    """Return a likelihood whose encoder is told of gaps; None of any other."""
    if isinstance(likelihood, MixedLikelihood) and likelihood.tells_gaps:
        return likelihood
    return None


def _with_binarized(network: VAE, rows: Tensor, uniform: Tensor) -> Tensor:
    """Return rows whose modelled part is zeros and ones."""
    drawn = binarized(network.modelled(rows), uniform)
    return network.with_modelled(rows, drawn)


class VariationalBound(Objective):
    """Minus a bound on the log-likelihood, in nats of standardized units.

    Its terms are "reconstruction", minus the log-density of a row given its latents;
    "kl", the divergence from the prior; and "kl_weight", what that is multiplied by.

    Parameters
    ----------
    network : VAE
        Its dropout layers are taken note of.

    likelihood : Likelihood or MixedLikelihood

    n_features, n_latents : int
        Modelled features, and latent dimensions.

    bound : BoundSettings, default=ELBO

    n_samples : int, default=1
        Samples of the latents per row and step.

    pretraining : float in [0, 1), default=0.0
        Share of the training in which the divergence counts little, before the prior
        starts from the rows. Not so with a capacity.

    binarize : bool, default=False
        Whether zeros and ones are drawn anew in every step, with the values of the rows
        as probabilities.

    precision : {"float32", "bfloat16"}, default="float32"
        Of the matrix products.

    Examples
    --------
    >>> from torch import nn
    >>> from latentsk.vae._likelihoods import LIKELIHOODS
    >>> vae = VAE(nn.Linear(3, 4), nn.Linear(2, 3))
    >>> objective = VariationalBound(vae, LIKELIHOODS["gaussian"], 3, 2, n_samples=5)
    >>> noise = objective.draw_noise(7, torch.Generator())
    >>> noise["latent"].shape
    torch.Size([5, 7, 2])
    >>> losses = objective.loss(vae, torch.zeros(7, 3), noise, torch.ones(()))
    >>> losses.rows.shape, list(losses.terms)
    (torch.Size([7]), ['reconstruction', 'kl', 'kl_weight'])
    """

    def __init__(
        self,
        network: VAE,
        likelihood: Likelihood | MixedLikelihood,
        n_features: int,
        n_latents: int,
        *,
        bound: BoundSettings = ELBO,
        n_samples: int = 1,
        pretraining: float = 0.0,
        binarize: bool = False,
        precision: str = "float32",
    ) -> None:
        self.masked = dropout_layers(network)
        self.likelihood = likelihood
        self.n_features = n_features
        self.n_latents = n_latents
        self.bound = bound
        self.n_samples = n_samples
        self.binarize = binarize
        self.precision = precision
        # An encoder that is told of gaps learns to do without some cells.
        self.hiding = _hiding(likelihood)
        self.pretraining = 0.0 if bound.capacity is not None else pretraining
        self.settled_at = max(bound.warm_up, pretraining)

    def draw_noise(self, n_rows: int, generator: torch.Generator) -> Noise:
        """Return masks of dropout, noise of the latents, and what binarizes rows."""
        noise = {}
        for name, layer in self.masked.items():
            times = 1 if name.startswith("encoder.") else self.n_samples
            noise[name] = layer.draw(n_rows * times, generator)
        shape = (self.n_samples, n_rows, self.n_latents)
        noise[LATENT_NOISE] = _random(torch.randn, shape, generator)
        if self.binarize:
            width = (n_rows, self.n_features)
            noise[UNIFORM_NOISE] = _random(torch.rand, width, generator)
        if self.hiding is not None:
            width = (n_rows, self.hiding.n_variables + 2)
            noise[GAP_NOISE] = _random(torch.rand, width, generator)
        return noise

    def loss(
        self, network: VAE, batch: Tensor, noise: Noise, progress: Tensor
    ) -> Losses:
        """Return minus the bound, with its divergence weighted as is set."""
        rows = batch
        if self.binarize:
            rows = _with_binarized(network, batch, noise[UNIFORM_NOISE])
        if self.hiding is not None:
            kept = self.hiding.hide(network.modelled(batch), noise[GAP_NOISE])
            rows = network.with_modelled(batch, kept)
        bound, drawn = self.bound, noise[LATENT_NOISE]
        weight = warm_up(progress, bound.warm_up, bound.schedule)
        if self.pretraining:
            early = progress < self.pretraining
            weight = torch.where(early, PRETRAINING_WEIGHT * weight, weight)
        if bound.doubly_reparameterized:
            return self._doubly_reparameterized(network, rows, drawn, weight)
        if self.n_samples == 1 and not bound.importance_weighted:
            drawn = drawn.squeeze(0)  # a single sample needs no axis
        result = self._decode(network, rows, drawn)
        evidence = self._evidence(network, rows, result, network.density())
        return self._minus_bound(*evidence, weight)

    def monitor(self, network: VAE, rows: Tensor) -> Losses:
        """Return minus the bound at full weights, with the same noise at every call."""
        # Noise of its own for every row, so that it averages out over them.
        generator = torch.Generator().manual_seed(MONITOR_SEED)
        n_samples = self._n_monitor_samples(len(rows))
        shape = (n_samples, len(rows), self.n_latents)
        noise = _random(torch.randn, shape, generator).to(rows)
        if self.binarize:
            width = (len(rows), self.n_features)
            uniform = _random(torch.rand, width, generator).to(rows)
            rows = _with_binarized(network, rows, uniform)
        per_part = max(1, MAX_MONITORED_ELEMENTS // (n_samples * rows.shape[1]))
        density = network.density()
        parts = [
            self._evidence(network, part, network(part, drawn), density)
            for part, drawn in zip(
                rows.split(per_part), noise.split(per_part, dim=1), strict=True
            )
        ]
        densities, divergences = zip(*parts, strict=True)
        axis = 1 if self.bound.importance_weighted else 0
        joined = torch.cat(densities, dim=1), torch.cat(divergences, dim=axis)
        return self._minus_bound(*joined, weight=1.0)

    def gradient(self, network: VAE) -> Gradient | None:
        """Return None: autograd computes it."""
        return None

    def operations_per_row(self, network: VAE) -> float:
        """Return the operations of encoding a row and decoding its samples."""
        decoding = perceptron_operations(network.decoder)
        if isinstance(network.levels, nn.Module):  # once to draw, once to decode
            decoding += 2 * perceptron_operations(network.levels)
        return perceptron_operations(network.encoder) + self.n_samples * decoding

    def _decode(
        self, network: VAE, rows: Tensor, noise: Tensor, slope: Tensor | None = None
    ) -> Output:
        with autocast(self.precision, rows.device):
            result = network(rows, noise, slope)
        if self.precision == "float32":
            return result
        posterior = Posterior(*(moment.float() for moment in result.posterior))
        output, latents = result.output.float(), result.latents.float()
        return Output(output, latents, posterior, result.log_scale)

    def _evidence(
        self, network: VAE, rows: Tensor, result: Output, density: Density
    ) -> tuple[Tensor, Tensor]:
        """Return log-densities, and what they are balanced by.

        That is the divergence, of shape (n_rows, n_latents) or (n_rows, 1), or, for the
        bound with importance weights, the log-ratios, of shape (n_samples, n_rows).
        """
        output, latents, posterior, log_scale = result
        modelled = network.modelled(rows)
        densities = self.likelihood.log_density(modelled, output, log_scale)
        balance = log_ratios if self.bound.importance_weighted else kl_divergence
        return densities, balance(latents, posterior, density)

    def _minus_bound(
        self, densities: Tensor, balance: Tensor, weight: Tensor | float
    ) -> Losses:
        bound, scaled = self.bound, weight * self.bound.beta
        density = densities.mean(dim=0) if densities.ndim > 1 else densities
        if bound.importance_weighted:
            losses = -iwae(densities + scaled * balance)
            return Losses(losses, _terms(density, -balance.mean(dim=0), scaled))
        kl, cost = divergence_cost(balance, weight, bound, self.n_latents)
        return Losses(cost - density, _terms(density, kl, scaled))

    def _doubly_reparameterized(
        self, network: VAE, rows: Tensor, noise: Tensor, weight: Tensor | float
    ) -> Losses:
        scaled = weight * self.bound.beta
        with torch.no_grad():
            result = self._decode(network, rows, noise)
            evidence = self._evidence(network, rows, result, network.density())
            densities, ratios = evidence
            losses, terms = self._minus_bound(densities, ratios, weight)
            normalized = torch.softmax(densities + scaled * ratios, dim=0)
            slope = doubly_reparameterized_slope(normalized, scaled)
        result = self._decode(network, rows, noise, slope)
        # The encoder learns through the latents alone.
        fixed = Posterior(*(moment.detach() for moment in result.posterior))
        result = result._replace(posterior=fixed)
        density = network.density()
        densities, ratios = self._evidence(network, rows, result, density)
        surrogate = (normalized * (densities + scaled * ratios)).sum(dim=0)
        return Losses(losses - (surrogate - surrogate.detach()), terms)

    def _n_monitor_samples(self, n_rows: int) -> int:
        if self.bound.importance_weighted:  # another number is another bound
            return self.n_samples
        return min(MAX_MONITOR_SAMPLES, -(-MONITORED_VALUES // n_rows))


def _terms(
    density: Tensor, kl: Tensor, kl_weight: Tensor | float
) -> dict[str, Tensor | float]:
    return {"reconstruction": -density.detach(), "kl": kl, "kl_weight": kl_weight}


def _random(
    draw: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator
) -> Tensor:
    options = {"generator": generator, "device": generator.device}
    return draw(tuple(shape), **options, dtype=torch.float32)
