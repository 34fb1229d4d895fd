"""Priors: distributions that the latent coordinates of all rows follow together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentsk.vae._component_prior import ComponentPrior
from latentsk.vae._density import Prior
from latentsk.vae._flow_prior import FlowPrior
from latentsk.vae._mixture_prior import MixturePrior
from latentsk.vae._posterior import Posterior, standard_divergence
from latentsk.vae._vamp_prior import VampPrior

__all__ = ["PRIORS", "ComponentPrior", "Prior", "StandardNormal"]


class StandardNormal(Prior):
    """Independent standard normal coordinates (Kingma & Welling, 2014).

    Parameters
    ----------
    n_latents : int, default=1

    Examples
    --------
    >>> import torch
    >>> prior = StandardNormal(1)
    >>> prior.log_density(torch.zeros(1, 1))
    tensor([-0.9189])
    >>> log_variance = 2 * torch.tensor([[0.8]]).log()
    >>> prior.divergence(Posterior(torch.tensor([[0.5]]), log_variance))
    tensor([[0.1681]])
    >>> prior.draw(3, np.random.default_rng(0)).shape
    (3, 1)
    """

    def __init__(self, n_latents: int = 1) -> None:
        super().__init__()
        self.n_latents = n_latents

    def log_density(self, latents: Tensor) -> Tensor:
        """Return the log-density of latents, in nats."""
        squares = latents.square() + math.log(2.0 * math.pi)
        return -0.5 * squares.sum(dim=-1)

    def divergence(self, posterior: Posterior) -> Tensor:
        """Return ``(mean**2 + variance - 1 - log variance) / 2``, at least 0."""
        return standard_divergence(posterior)

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[Any]:
        """Return random latents, of shape (n_rows, n_latents), in float64."""
        return generator.standard_normal((n_rows, self.n_latents))


# By the names that a parameter `prior` takes.
PRIORS: dict[str, type[Prior] | type[ComponentPrior]] = {
    "normal": StandardNormal,
    "mixture": MixturePrior,
    "vamp": VampPrior,
    "flow": FlowPrior,
}


def describe_prior(
    name: str, n_components: int | str, n_rows: int, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a JSON-able description of the prior that parameters mean.

    Parameters
    ----------
    name : str
        In `PRIORS`.

    n_components : int or "auto"

    n_rows : int
        Number of rows that "auto" is for.

    known : mapping of str to object
        Description that a training continues with, in which "auto" was decided.

    Raises
    ------
    ValueError
        If a number is given, and the prior has no components, or a new mixture more
        than there are rows.

    Examples
    --------
    >>> describe_prior("normal", "auto", 150, {})
    {'prior': 'normal'}
    >>> describe_prior("vamp", "auto", 150, {})
    {'prior': 'vamp', 'n_prior_components': 150}
    """
    kind = PRIORS[name]
    if issubclass(kind, ComponentPrior):
        number = n_components
        if number == "auto":
            automatic = kind.automatic_components(n_rows)
            number = known.get("n_prior_components", automatic)
        number = int(number)
        if kind is MixturePrior and not known and number > n_rows:
            raise ValueError(
                f"n_prior_components={number}, but X has {n_rows} rows, and every "
                f"component starts on some. Set it to {n_rows} or less."
            )
        return {"prior": name, "n_prior_components": number}
    if n_components != "auto":
        raise ValueError(
            "n_prior_components is for priors with components, 'mixture' and 'vamp', "
            f"got {n_components!r} for prior={name!r}. Leave it at 'auto'."
        )
    return {"prior": name}


def make_prior(
    architecture: Mapping[str, Any], n_latents: int, n_inputs: int
) -> Prior | ComponentPrior:
    """Return the prior that a description of a network means, as it starts.

    Parameters
    ----------
    architecture : mapping of str to object
        "prior", a name in `PRIORS`, and "n_prior_components", where it has some.

    n_latents : int

    n_inputs : int
        Width of the rows that the encoder sees.

    Examples
    --------
    >>> make_prior({"prior": "normal"}, 2, 5)
    StandardNormal()
    """
    kind = PRIORS[architecture["prior"]]
    if issubclass(kind, ComponentPrior):
        return kind(n_latents, architecture["n_prior_components"], n_inputs)
    return kind(n_latents)
