"""The VampPrior: a mixture of the posteriors of learned inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from latentsk.vae._component_prior import ComponentPrior, Encode, Turn
from latentsk.vae._mixture import GaussianMixture

MAX_COMPONENTS = 500
# Share of the training after which pseudo-inputs take the place of a normal prior.
STARTS_AT = 0.25


class VampPrior(ComponentPrior):
    """The mean of the posteriors of inputs that are learned (Tomczak & Welling, 2018).

    It is the standard normal prior until it starts: a network that does not tell rows
    apart yet would learn that they, and the pseudo-inputs, are all the same, at no
    cost.

    Parameters
    ----------
    n_latents : int
        Not used.

    n_components : int
        Number of pseudo-inputs.

    n_inputs : int
        Width of the rows that the encoder sees.

    Examples
    --------
    >>> from latentsk.vae._posterior import Posterior
    >>> def encode(rows):
    ...     return Posterior(rows, torch.zeros_like(rows))
    >>> prior = VampPrior(1, n_components=2, n_inputs=1)
    >>> rows = torch.tensor([[-2.0], [2.0]])
    >>> prior.start_from(rows, encode, torch.Generator().manual_seed(0))
    >>> prior.given(encode).log_density(torch.zeros(1, 1))
    tensor([-2.9189], grad_fn=<ToCopyBackward0>)
    """

    has_started: Tensor

    def __init__(self, n_latents: int, n_components: int, n_inputs: int) -> None:
        super().__init__(n_latents, n_components, n_inputs)
        zeros = torch.zeros(n_components, n_inputs, dtype=torch.float32)
        self.inputs = nn.Parameter(zeros)
        # A number that posteriors are multiplied by, so that no step is another one.
        self.register_buffer("has_started", torch.zeros((), dtype=torch.float32))

    @property
    def starts_at(self) -> float:
        """Share of the training after which the pseudo-inputs are set."""
        return STARTS_AT

    @staticmethod
    def automatic_components(n_rows: int) -> int:
        """Return the number of rows, at most 500."""
        return min(MAX_COMPONENTS, n_rows)

    def given(self, encode: Encode) -> GaussianMixture:
        """Return the mixture of the pseudo-inputs' posteriors, without dropout."""
        n_components = self.inputs.shape[0]
        posterior = encode(self.inputs)
        weight = posterior.mean.new_full((n_components,), -math.log(n_components))
        mean, log_variance = (self.has_started * moment for moment in posterior)
        return GaussianMixture(weight, mean, log_variance)

    def start_from(
        self,
        rows: Tensor,
        encode: Encode,
        generator: torch.Generator,
        turn: Turn = lambda matrix: None,
    ) -> None:
        """Take training rows as pseudo-inputs; repeated ones where they are few."""
        numbers = torch.arange(len(self.inputs)).remainder(len(rows))
        with torch.no_grad():
            self.inputs.copy_(rows[numbers.to(rows.device)])
            self.has_started.fill_(1.0)
