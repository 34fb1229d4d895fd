"""A Gaussian mixture as prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentsk.vae._component_prior import ComponentPrior, Encode
from latentsk.vae._mixture import GaussianMixture
from latentsk.vae._posterior import bounded

N_COMPONENTS = 10


class MixturePrior(ComponentPrior):
    """A mixture of normal distributions, all of whose parameters are learned.

    Parameters
    ----------
    n_latents : int

    n_components : int

    n_inputs : int, default=0
        Not used.

    Examples
    --------
    >>> prior = MixturePrior(2, n_components=3)
    >>> rows = torch.zeros(5, 4)
    >>> prior.start_from(rows, None, torch.Generator().manual_seed(0))
    >>> prior.given(None).log_density(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(self, n_latents: int, n_components: int, n_inputs: int = 0) -> None:
        super().__init__(n_latents, n_components, n_inputs)
        shape = n_components, n_latents
        zeros = torch.zeros(shape, dtype=torch.float32)
        self.logits = nn.Parameter(torch.zeros(n_components, dtype=torch.float32))
        self.means = nn.Parameter(zeros)
        self.raw_log_variances = nn.Parameter(zeros.clone())

    @staticmethod
    def automatic_components(n_rows: int) -> int:
        """Return 10."""
        return N_COMPONENTS

    def given(self, encode: Encode | None) -> GaussianMixture:
        """Return the mixture."""
        log_weights = torch.log_softmax(self.logits, dim=0)
        return GaussianMixture(log_weights, self.means, bounded(self.raw_log_variances))

    def start_from(
        self, rows: Tensor, encode: Encode | None, generator: torch.Generator
    ) -> None:
        """Draw the means, around zero, from the standard normal distribution."""
        drawn = torch.randn(self.means.shape, generator=generator, dtype=torch.float32)
        with torch.no_grad():
            self.means.copy_(drawn - drawn.mean(dim=0))
