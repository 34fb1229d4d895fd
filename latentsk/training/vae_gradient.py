"""The gradient of a variational autoencoder of perceptrons in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.likelihoods import (
    DEGREES_OF_FREEDOM,
    LIKELIHOODS,
    gaussian,
    laplace,
    student_t,
)
from latentsk.modules.vae import (
    MAX_LOG_VARIANCE,
    VAE,
    Posterior,
    bounded,
    floored,
)
from latentsk.training.dense import (
    DenseLayer,
    Weights,
    Workspace,
    backward,
    dense_layers,
    forward,
    operations_per_row,
    widths_of,
)
from latentsk.training.step import Gradient, Layout, Noise
from latentsk.training.variational import (
    BoundSettings,
    doubly_reparameterized_slope,
    elbo,
    iwae,
    kl_divergence,
    penalty,
    weighted_log_weights,
)

LATENT_NOISE = "latent"
SCALE = "raw_log_scale"


class Derived(NamedTuple):
    """A log-density with its derivatives.

    Attributes
    ----------
    densities : Tensor of shape (n_samples, n_rows)
    factor : Tensor or float
        By which what was written to `out` is to be multiplied.
    by_log_scale : Tensor of shape (n_samples, n_rows, n_scales) or None
        Derivative by the logarithm of the scale, of which there may be none.
    """

    densities: Tensor
    factor: Tensor | float
    by_log_scale: Tensor | None = None


def _gaussian(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
    inverse = torch.exp(-log_scale)
    densities = gaussian(rows, output, log_scale)
    torch.sub(rows, output, out=out).mul_(inverse)
    return Derived(densities, inverse, _summed(out.square() - 1.0, log_scale))


def _laplace(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
    inverse = torch.exp(-log_scale)
    densities = laplace(rows, output, log_scale)
    torch.sub(rows, output, out=out)
    by_log_scale = _summed(out.abs() * inverse - 1.0, log_scale)
    out.sign_()
    return Derived(densities, inverse, by_log_scale)


def _student_t(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
    inverse = torch.exp(-log_scale)
    densities = student_t(rows, output, log_scale)
    torch.sub(rows, output, out=out).mul_(inverse)
    squares = out.square()
    pulls = (DEGREES_OF_FREEDOM + 1.0) / (DEGREES_OF_FREEDOM + squares)
    out.mul_(pulls)
    return Derived(densities, inverse, _summed(squares * pulls - 1.0, log_scale))


def _summed(by_log_scale: Tensor, log_scale: Tensor) -> Tensor:
    """Sum over the features that share a scale."""
    shared = log_scale.numel() == 1
    return by_log_scale.sum(dim=-1, keepdim=True) if shared else by_log_scale


def _from_logits(
    name: str,
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Derived]:
    likelihood = LIKELIHOODS[name]

    def derive(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
        # An exponential family: the value minus its mean.
        torch.sub(rows, likelihood.mean(output), out=out)
        return Derived(likelihood.log_density(rows, output, log_scale), 1.0)

    return derive


# Write the derivative of each log-density by the output into `out`, but for a factor.
DENSITY_DERIVATIVES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Derived]] = {
    "gaussian": _gaussian,
    "laplace": _laplace,
    "student_t": _student_t,
    "bernoulli": _from_logits("bernoulli"),
    "continuous_bernoulli": _from_logits("continuous_bernoulli"),
}


class DensePair(NamedTuple):
    """The layers of a variational autoencoder of perceptrons.

    Attributes
    ----------
    encoder, decoder : tuple of DenseLayer
    """

    encoder: tuple[DenseLayer, ...]
    decoder: tuple[DenseLayer, ...]

    @classmethod
    def of(cls, vae: VAE) -> DensePair | None:
        """Return the layers; None if there is anything but perceptrons.

        Examples
        --------
        >>> from latentsk.modules.mlp import mlp
        >>> pair = DensePair.of(VAE(mlp([3, 4, 4]), mlp([2, 3])))
        >>> [layer.name for layer in pair.encoder]
        ['encoder.0', 'encoder.2']
        """
        layers = dense_layers(Autoencoder(vae.encoder, vae.decoder))
        if layers is None:
            return None
        parts = [
            tuple(layer for layer in layers if layer.name.startswith(f"{part}."))
            for part in cls._fields
        ]
        if not all(parts) or any(
            part[-1].activation or part[-1].mask for part in parts
        ):
            return None
        return cls(*parts)

    def operations_per_row(self, layout: Layout, n_samples: int) -> float:
        """Return the floating-point operations of a training step for a row."""
        return operations_per_row(self.encoder, layout) + n_samples * (
            operations_per_row(self.decoder, layout)
        )


class _Bound(NamedTuple):
    """The losses, and their weighted mean's derivatives.

    Attributes
    ----------
    losses : Tensor of shape (n_rows,)
    by_density : Tensor of shape (n_samples, n_rows)
    pull_back : callable
        From the gradient that comes through the decoder to the latents, to the gradient
        by the posterior's mean and log-variance.
    """

    losses: Tensor
    by_density: Tensor
    pull_back: Callable[[Tensor], tuple[Tensor, Tensor]]


def _elbo(
    densities: Tensor,
    noise: Tensor,
    posterior: Posterior,
    shares: Tensor,
    kl_weight: Tensor,
    settings: BoundSettings,
) -> _Bound:
    mean, log_variance = posterior
    divergences = kl_divergence(posterior)
    slopes, constant = penalty(divergences, kl_weight, settings)
    losses = -elbo(densities, divergences @ slopes + constant)

    def pull_back(by_latents: Tensor) -> tuple[Tensor, Tensor]:
        pressed = shares[:, None] * slopes
        by_deviation = (by_latents * noise).sum(dim=0) * torch.exp(0.5 * log_variance)
        return (
            by_latents.sum(dim=0) + pressed * mean,
            0.5 * (by_deviation + pressed * torch.expm1(log_variance)),
        )

    return _Bound(losses, (-shares / len(densities)).expand_as(densities), pull_back)


def _iwae(
    densities: Tensor,
    noise: Tensor,
    posterior: Posterior,
    shares: Tensor,
    kl_weight: Tensor,
    settings: BoundSettings,
) -> _Bound:
    weight = kl_weight * settings.beta
    latents = posterior.at(noise)
    log_weights = weighted_log_weights(densities, latents, posterior, weight)
    normalized = torch.softmax(log_weights, dim=0)
    deviation = torch.exp(0.5 * posterior.log_variance)

    def pull_back(by_latents: Tensor) -> tuple[Tensor, Tensor]:
        scaled = weight * (shares * normalized)[..., None]
        if settings.doubly_reparameterized:
            slope = doubly_reparameterized_slope(normalized, weight)[..., None]
            by_latents = slope * (by_latents + scaled * (latents - noise / deviation))
            by_volume = torch.zeros_like(shares)
        else:
            by_latents = by_latents + scaled * latents
            by_volume = -weight * shares
        by_deviation = (by_latents * noise).sum(dim=0)
        return (
            by_latents.sum(dim=0),
            0.5 * (by_deviation * deviation + by_volume[:, None]),
        )

    return _Bound(-iwae(log_weights), -shares * normalized, pull_back)


def dense_vae_gradient(
    pair: DensePair,
    layout: Layout,
    vae: VAE,
    likelihood: str,
    settings: BoundSettings,
    prepare: Callable[[Tensor, Noise], Tensor],
) -> Gradient:
    """Return the gradient of a variational autoencoder's loss, without autograd.

    Parameters
    ----------
    pair : DensePair
        The layers of `vae`.

    layout : Layout
        Of its parameters.

    vae : VAE

    likelihood : str
        A name in `latentsk.modules.likelihoods.LIKELIHOODS`.

    settings : BoundSettings

    prepare : callable
        ``prepare(batch, noise)``, the rows to learn from.

    Returns
    -------
    gradient : callable
        As that of :func:`latentsk.training.step.autograd`. Its noise holds "latent", of
        shape (n_samples, n_rows, n_latents). It returns the same vector at every call,
        and is not for several threads.

    Examples
    --------
    >>> from torch import nn
    >>> from latentsk.training.step import flatten
    >>> vae = VAE(nn.Sequential(nn.Linear(1, 2)), nn.Sequential(nn.Linear(1, 1)))
    >>> flat, layout = flatten(vae)
    >>> gradient = dense_vae_gradient(
    ...     DensePair.of(vae), layout, vae, "gaussian", BoundSettings(),
    ...     lambda rows, noise: rows,
    ... )
    >>> noise, one = {"latent": torch.zeros(1, 1, 1)}, torch.ones(1)
    >>> gradient(torch.zeros(6), 2 * torch.ones(1, 1), noise, one, torch.tensor(1.0))
    (tensor([ 0.,  0.,  0.,  0.,  0., -2.]), tensor([2.9189]))
    """
    total = torch.zeros(sum(shape.numel() for shape in layout.shapes))
    derivatives = _Parameters.of(pair, layout, total)
    derive = DENSITY_DERIVATIVES[likelihood]
    bound = _iwae if settings.importance_weighted else _elbo
    spaces: dict[tuple[int, int], tuple[Workspace, Workspace]] = {}
    known: dict[int, _Parameters] = {}

    def gradient(
        flat: Tensor, batch: Tensor, noise: Noise, weights: Tensor, kl_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows, drawn = prepare(batch, noise), noise[LATENT_NOISE]
        shape = (len(drawn), len(rows))
        if shape not in spaces:
            spaces[shape] = _spaces(pair, layout, *shape)
        if flat.data_ptr() not in known:
            known[flat.data_ptr()] = _Parameters.of(pair, layout, flat)
        inner, outer = spaces[shape]
        encoder, decoder, raw = known[flat.data_ptr()]
        raw = vae.raw_log_scale if raw is None else raw
        rows_in = forward(pair.encoder, encoder, inner, rows, noise)
        mean, raw_log_variance = rows_in.pop().chunk(2, dim=1)
        posterior = Posterior(mean, bounded(raw_log_variance))
        latents_in = forward(
            pair.decoder, decoder, outer, posterior.at(drawn).flatten(0, 1), noise
        )
        output = latents_in.pop().view(*shape, -1)
        by_output = outer.gradients[-1].view(*shape, -1)
        derived = derive(rows, output, floored(raw, vae.log_floor), by_output)
        losses, by_density, pull_back = bound(
            derived.densities,
            drawn,
            posterior,
            weights / weights.sum(),
            kl_weight,
            settings,
        )
        by_output.mul_(derived.factor).mul_(by_density[..., None])
        backward(pair.decoder, decoder, outer, latents_in, noise, derivatives.decoder)
        by_latents = (outer.gradients[0] @ decoder[0].weight).view(*shape, -1)
        by_mean, by_log_variance = pull_back(by_latents)
        n_latents = mean.shape[1]
        inner.gradients[-1][:, :n_latents] = by_mean
        flatness = 1.0 - (posterior.log_variance / MAX_LOG_VARIANCE).square()
        inner.gradients[-1][:, n_latents:] = by_log_variance * flatness
        backward(pair.encoder, encoder, inner, rows_in, noise, derivatives.encoder)
        if derivatives.raw_log_scale is not None and derived.by_log_scale is not None:
            by_scale = torch.einsum("sr,srk->k", by_density, derived.by_log_scale)
            by_scale *= torch.sigmoid(raw - vae.log_floor)
            derivatives.raw_log_scale.copy_(by_scale)
        return total, losses

    return gradient


class _Parameters(NamedTuple):
    """Views of a variational autoencoder's parameters in a flat vector."""

    encoder: list[Weights]
    decoder: list[Weights]
    raw_log_scale: Tensor | None

    @classmethod
    def of(cls, pair: DensePair, layout: Layout, flat: Tensor) -> _Parameters:
        return cls(
            Weights.all(pair.encoder, layout, flat),
            Weights.all(pair.decoder, layout, flat),
            layout.views(flat).get(SCALE),
        )


def _spaces(
    pair: DensePair, layout: Layout, n_samples: int, n_rows: int
) -> tuple[Workspace, Workspace]:
    return (
        Workspace.of(n_rows, widths_of(pair.encoder, layout)),
        Workspace.of(n_samples * n_rows, widths_of(pair.decoder, layout)),
    )
