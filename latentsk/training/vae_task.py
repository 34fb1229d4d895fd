"""What a variational autoencoder learns, as a task for the training engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.modules.likelihoods import LIKELIHOODS
from latentsk.modules.mlp import dropout_layers
from latentsk.modules.own import train_mode
from latentsk.modules.vae import VAE, Output, Posterior
from latentsk.training.run import ClosedForm, Task
from latentsk.training.step import Noise, Objective, Parameters
from latentsk.training.vae_gradient import LATENT_NOISE, DensePair, dense_vae_gradient
from latentsk.training.variational import (
    BoundSettings,
    doubly_reparameterized_slope,
    elbo_loss,
    iwae,
    kl_divergence,
    log_ratios,
)

UNIFORM_NOISE = "binarization"
# Of the random numbers that the monitored rows meet at every epoch.
MONITOR_SEED = 0
# Few rows meet several, so that their bound is not mostly noise.
MONITORED_VALUES = 1_024
MAX_MONITOR_SAMPLES = 8
# Values that the decoder returns at a time: samples times rows times features.
MAX_MONITORED_ELEMENTS = 2**22


class VAESettings(NamedTuple):
    """What is learned.

    Attributes
    ----------
    likelihood : str
        A name in `latentsk.modules.likelihoods.LIKELIHOODS`.
    bound : BoundSettings
    n_samples : int
        Of the latents, per row and step.
    n_features, n_latents : int
    binarize : bool
        Whether zeros and ones are drawn anew in every step, with the values of the rows
        as probabilities.
    """

    likelihood: str
    bound: BoundSettings
    n_samples: int
    n_features: int
    n_latents: int
    binarize: bool = False


def binarized(rows: Tensor, uniform: Tensor) -> Tensor:
    """Return ones with the rows' values as probabilities, else zeros.

    Examples
    --------
    >>> binarized(torch.tensor([0.0, 0.3, 0.3]), torch.tensor([0.0, 0.2, 0.4]))
    tensor([0., 1., 0.])
    """
    return (uniform < rows).to(rows.dtype)


def vae_task(vae: VAE, settings: VAESettings, precision: str) -> Task:
    """Return the task of training a variational autoencoder.

    Parameters
    ----------
    vae : VAE
        On the device to train on.

    settings : VAESettings

    precision : {"float32", "bfloat16"}
        Of the matrix products.

    Returns
    -------
    task : Task

    Examples
    --------
    >>> from torch import nn
    >>> vae = VAE(nn.Linear(3, 4), nn.Linear(2, 3))
    >>> settings = VAESettings("gaussian", BoundSettings(), 5, 3, 2)
    >>> task = vae_task(vae, settings, "float32")
    >>> task.draw_noise(7, torch.Generator())["latent"].shape
    torch.Size([5, 7, 2])
    """
    return Task(
        vae,
        lambda: _objective(vae, settings, precision),
        _evaluation(vae, settings),
        _noise_source(vae, settings),
        _closed_form(vae, settings, precision),
    )


def _prepare(binarize: bool) -> Callable[[Tensor, Noise], Tensor]:
    if binarize:
        return lambda batch, noise: binarized(batch, noise[UNIFORM_NOISE])
    return lambda batch, noise: batch


def _closed_form(vae: VAE, settings: VAESettings, precision: str) -> ClosedForm | None:
    pair = DensePair.of(vae)
    on_cpu = next(vae.parameters()).device.type == "cpu"
    if pair is None or not on_cpu or precision != "float32":
        return None
    prepare = _prepare(settings.binarize)
    likelihood, bound = settings.likelihood, settings.bound
    return ClosedForm(
        lambda layout: dense_vae_gradient(
            pair, layout, vae, likelihood, bound, prepare
        ),
        lambda layout: pair.operations_per_row(layout, settings.n_samples),
    )


def _objective(vae: VAE, settings: VAESettings, precision: str) -> Objective:
    template = train_mode(copy.deepcopy(vae))
    log_density = LIKELIHOODS[settings.likelihood].log_density
    prepare, bound = _prepare(settings.binarize), settings.bound
    device_type = next(vae.parameters()).device.type
    loss = _iwae_loss if bound.importance_weighted else _elbo_loss

    def objective(
        parameters: Parameters, batch: Tensor, noise: Noise, kl_weight: Tensor
    ) -> Tensor:
        own = (LATENT_NOISE, UNIFORM_NOISE)
        values = {**parameters, **{k: v for k, v in noise.items() if k not in own}}
        rows = prepare(batch, noise)

        def run(slope: Tensor | None = None) -> tuple[Output, Tensor]:
            with torch.autocast(
                device_type,
                torch.bfloat16,
                enabled=precision == "bfloat16",
                cache_enabled=False,
            ):
                result = torch.func.functional_call(
                    template, values, (rows, noise[LATENT_NOISE], slope)
                )
            posterior = Posterior(*(m.float() for m in result.posterior))
            output, latents = result.output.float(), result.latents.float()
            result = Output(output, latents, posterior, result.log_scale)
            return result, log_density(rows, output, result.log_scale)

        return loss(run, kl_weight, bound)

    return objective


Run = Callable[..., tuple[Output, Tensor]]


def _elbo_loss(run: Run, kl_weight: Tensor, settings: BoundSettings) -> Tensor:
    result, densities = run()
    divergences = kl_divergence(result.posterior)
    return elbo_loss(densities, divergences, kl_weight, settings)


def _iwae_loss(run: Run, kl_weight: Tensor, settings: BoundSettings) -> Tensor:
    weight = kl_weight * settings.beta
    result, densities = run()
    log_weights = densities + weight * log_ratios(result.latents, result.posterior)
    if not settings.doubly_reparameterized:
        return -iwae(log_weights)
    bound = iwae(log_weights).detach()
    normalized = torch.softmax(log_weights, dim=0).detach()
    slope = doubly_reparameterized_slope(normalized, weight)
    result, densities = run(slope)
    # The encoder learns through the latents alone.
    fixed = type(result.posterior)(*(moment.detach() for moment in result.posterior))
    ratios = slope * weight * log_ratios(result.latents, fixed)
    surrogate = (normalized * (densities + ratios)).sum(dim=0)
    return -(bound + surrogate - surrogate.detach())


def _evaluation(
    vae: VAE, settings: VAESettings
) -> Callable[[Parameters, Tensor], Tensor]:
    """Return the objective with its full weights, for rows without dropout."""
    template = copy.deepcopy(vae).eval()
    log_density = LIKELIHOODS[settings.likelihood].log_density
    bound = settings.bound

    def evaluate(parameters: Parameters, rows: Tensor) -> Tensor:
        # The same at every epoch, but of its own for every row, so that it averages
        # out over them.
        generator = torch.Generator().manual_seed(MONITOR_SEED)
        n_samples = _monitor_samples(settings, len(rows))
        shape = (n_samples, len(rows), settings.n_latents)
        noise = torch.randn(shape, generator=generator).to(rows)
        if settings.binarize:
            uniform = torch.rand(rows.shape, generator=generator)
            rows = binarized(rows, uniform.to(rows))
        per_part = max(1, MAX_MONITORED_ELEMENTS // (n_samples * rows.shape[1]))
        densities, ratios, divergences = [], [], []
        for part, drawn in zip(
            rows.split(per_part), noise.split(per_part, dim=1), strict=True
        ):
            result = torch.func.functional_call(template, parameters, (part, drawn))
            densities.append(log_density(part, result.output, result.log_scale))
            ratios.append(log_ratios(result.latents, result.posterior))
            divergences.append(kl_divergence(result.posterior))
        one = torch.ones((), device=rows.device)
        if not bound.importance_weighted:
            joined = torch.cat(densities, dim=1), torch.cat(divergences)
            return elbo_loss(*joined, one, bound)
        weights = torch.cat(densities, dim=1) + bound.beta * torch.cat(ratios, dim=1)
        return -iwae(weights)

    return evaluate


def _monitor_samples(settings: VAESettings, n_rows: int) -> int:
    if settings.bound.importance_weighted:  # another number is another bound
        return settings.n_samples
    return min(MAX_MONITOR_SAMPLES, -(-MONITORED_VALUES // n_rows))


def _noise_source(
    vae: VAE, settings: VAESettings
) -> Callable[[int, torch.Generator], Noise]:
    layers = {
        name: (layer, settings.n_samples if name.startswith("decoder.") else 1)
        for name, layer in dropout_layers(vae).items()
    }

    def draw(n_rows: int, generator: torch.Generator) -> Noise:
        noise = {
            name: layer.draw(n_rows * times, generator)
            for name, (layer, times) in layers.items()
        }
        shape = (settings.n_samples, n_rows, settings.n_latents)
        device = generator.device
        noise[LATENT_NOISE] = torch.randn(shape, generator=generator, device=device)
        if settings.binarize:
            noise[UNIFORM_NOISE] = torch.rand(
                n_rows, settings.n_features, generator=generator, device=device
            )
        return noise

    return draw
