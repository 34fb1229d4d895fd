"""The gradient of a variational autoencoder of perceptrons in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.vae import (
    MAX_LOG_VARIANCE,
    VAE,
    Posterior,
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
from latentsk.training.density_derivatives import DENSITY_DERIVATIVES
from latentsk.training.step import Gradient, Layout, Noise
from latentsk.training.variational import (
    BoundSettings,
    doubly_reparameterized_slope,
    iwae,
    log_ratios,
    penalty,
)

LATENT_NOISE = "latent"
SCALE = "raw_log_scale"


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


class _Encoded(NamedTuple):
    """A batch's posterior, with what its derivatives need."""

    posterior: Posterior
    deviation: Tensor
    squashed: Tensor

    @classmethod
    def of(cls, moments: Tensor) -> _Encoded:
        mean, raw = moments.chunk(2, dim=1)
        squashed = torch.tanh(raw / MAX_LOG_VARIANCE)
        deviation = torch.exp(0.5 * MAX_LOG_VARIANCE * squashed)
        return cls(Posterior(mean, MAX_LOG_VARIANCE * squashed), deviation, squashed)


# From the gradient that comes through the decoder to the latents, to the gradient by
# the posterior's mean and log-variance.
PullBack = Callable[[Tensor], tuple[Tensor, Tensor]]


class _Bound(NamedTuple):
    """The losses, and how their mean, weighted by shares, depends on its parts.

    Attributes
    ----------
    losses : Tensor of shape (n_rows,)
    by_density : Tensor of shape (n_samples, n_rows) or (n_rows,)
    pull_back : callable
    """

    losses: Tensor
    by_density: Tensor
    pull_back: PullBack


def _elbo(
    densities: Tensor,
    noise: Tensor,
    encoded: _Encoded,
    shares: Tensor,
    kl_weight: Tensor,
    settings: BoundSettings,
) -> _Bound:
    (mean, log_variance), deviation, _ = encoded
    excess = deviation.square().sub_(1.0)
    divergences = torch.addcmul(excess - log_variance, mean, mean).mul_(0.5)
    slopes, constant = penalty(divergences, kl_weight, settings)
    losses = torch.mv(divergences, slopes).sub_(_mean(densities))
    if constant is not None:
        losses += constant

    def pull_back(by_latents: Tensor) -> tuple[Tensor, Tensor]:
        pressed = torch.outer(shares, slopes)
        by_deviation = _total(by_latents * noise).mul_(deviation)
        return (
            torch.addcmul(_total(by_latents), pressed, mean),
            torch.addcmul(by_deviation, pressed, excess).mul_(0.5),
        )

    return _Bound(losses, shares / -densities.shape[0], pull_back)


def _mean(per_sample: Tensor) -> Tensor:
    return per_sample[0] if per_sample.shape[0] == 1 else per_sample.mean(dim=0)


def _total(per_sample: Tensor) -> Tensor:
    return per_sample[0] if per_sample.shape[0] == 1 else per_sample.sum(dim=0)


def _iwae(
    densities: Tensor,
    noise: Tensor,
    encoded: _Encoded,
    shares: Tensor,
    kl_weight: Tensor,
    settings: BoundSettings,
) -> _Bound:
    posterior, deviation, _ = encoded
    weight = kl_weight * settings.beta
    latents = posterior.at(noise)
    log_weights = densities + weight * log_ratios(latents, posterior)
    normalized = torch.softmax(log_weights, dim=0)

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
    fixed = vae.log_scale().detach()
    bound = _iwae if settings.importance_weighted else _elbo
    spaces: dict[tuple[int, int], tuple[Workspace, Workspace]] = {}
    known: dict[int, _Parameters] = {}
    shares: tuple[Tensor | None, Tensor] = (None, torch.empty(0))

    def gradient(
        flat: Tensor, batch: Tensor, noise: Noise, weights: Tensor, kl_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        nonlocal shares
        rows, drawn = prepare(batch, noise), noise[LATENT_NOISE]
        shape = (drawn.shape[0], rows.shape[0])
        if shape not in spaces:
            spaces[shape] = _spaces(pair, layout, *shape)
        if flat.data_ptr() not in known:
            known[flat.data_ptr()] = _Parameters.of(pair, layout, flat)
        if shares[0] is not weights:  # most batches have the same
            shares = weights, weights / weights.sum()
        space, parameters = spaces[shape], known[flat.data_ptr()]
        passed = _forward(pair, parameters, space, rows, noise)
        raw = parameters.raw_log_scale
        log_scale = fixed if raw is None else floored(raw, vae.log_floor)
        derived = derive(rows, passed.output, log_scale, passed.by_output)
        losses, by_density, pull_back = bound(
            derived.densities, drawn, passed.encoded, shares[1], kl_weight, settings
        )
        place = derivatives.raw_log_scale
        if place is not None and raw is not None and derived.by_log_scale is not None:
            by_scale = (by_density[..., None] * derived.by_log_scale()).sum(dim=(0, 1))
            by_scale *= torch.sigmoid(raw - vae.log_floor)
            place.copy_(by_scale)
        _multiply(passed.by_output, by_density[..., None], derived.factor)
        _backward(pair, parameters, space, passed, noise, pull_back, derivatives)
        return total, losses

    return gradient


class _Passed(NamedTuple):
    """What the forward pass leaves for the backward one.

    Attributes
    ----------
    rows_in, latents_in : list of Tensor
        The input of every layer of the encoder and of the decoder.
    encoded : _Encoded
    latents : Tensor of shape (n_samples, n_rows, n_latents)
    output, by_output : Tensor of shape (n_samples, n_rows, n_features)
        Of the decoder, and the place of the gradient by it.
    """

    rows_in: list[Tensor]
    latents_in: list[Tensor]
    encoded: _Encoded
    latents: Tensor
    output: Tensor
    by_output: Tensor


def _forward(
    pair: DensePair,
    parameters: _Parameters,
    space: tuple[Workspace, Workspace],
    rows: Tensor,
    noise: Noise,
) -> _Passed:
    rows_in = forward(pair.encoder, parameters.encoder, space[0], rows, noise)
    encoded = _Encoded.of(rows_in.pop())
    latents = torch.addcmul(
        encoded.posterior.mean, encoded.deviation, noise[LATENT_NOISE]
    )
    flat = latents.flatten(0, 1)
    latents_in = forward(pair.decoder, parameters.decoder, space[1], flat, noise)
    shape = (*latents.shape[:2], -1)
    output = latents_in.pop().view(shape)
    by_output = space[1].gradients[-1].view(shape)
    return _Passed(rows_in, latents_in, encoded, latents, output, by_output)


def _backward(
    pair: DensePair,
    parameters: _Parameters,
    space: tuple[Workspace, Workspace],
    passed: _Passed,
    noise: Noise,
    pull_back: PullBack,
    derivatives: _Parameters,
) -> None:
    """Fill `derivatives`, from the gradient by the output."""
    inner, outer = space
    backward(
        pair.decoder,
        parameters.decoder,
        outer,
        passed.latents_in,
        noise,
        derivatives.decoder,
    )
    by_latents = torch.mm(outer.gradients[0], parameters.decoder[0].weight)
    by_mean, by_log_variance = pull_back(by_latents.view_as(passed.latents))
    by_raw = by_log_variance.mul_(1.0 - passed.encoded.squashed.square())
    torch.cat([by_mean, by_raw], dim=1, out=inner.gradients[-1])
    backward(
        pair.encoder,
        parameters.encoder,
        inner,
        passed.rows_in,
        noise,
        derivatives.encoder,
    )


def _multiply(values: Tensor, by_row: Tensor, factor: Tensor | None) -> None:
    """Multiply in place by a factor of each row and one of each feature."""
    if factor is None:
        values.mul_(by_row)
    elif factor.numel() == 1:
        values.mul_(by_row * factor)
    else:
        values.mul_(by_row).mul_(factor)


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
