"""A Gaussian mixture as prior."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from latentsk._device import to_numpy
from latentsk.vae._component_prior import ComponentPrior, Encode, Turn
from latentsk.vae._graph_clusters import graph_clusters
from latentsk.vae._latent_basis import cluster_means, discriminant_basis
from latentsk.vae._mixture import GaussianMixture
from latentsk.vae._posterior import MAX_LOG_VARIANCE, Posterior, bounded

N_COMPONENTS = 10
# Share of the training after which the components are placed.
STARTS_AT = 0.25
# Log-variances that components begin with are less than this share of their bound.
MAX_SHARE = 0.95


class MixturePrior(ComponentPrior):
    """A mixture of normal distributions, all of whose parameters are learned.

    Its components are all the same at first, which is one normal distribution. They
    are placed when the network has learned something of the rows: on the clusters of
    the graph of neighbours among latents, which are found in nearly the same way from
    every start, in coordinates that tell them apart.

    Parameters
    ----------
    n_latents : int

    n_components : int

    n_inputs : int, default=0
        Not used.

    Examples
    --------
    >>> def encode(rows):
    ...     return Posterior(rows, torch.full_like(rows, -4.0))
    >>> prior = MixturePrior(1, n_components=2)
    >>> rows = torch.tensor([[-2.0], [-2.1], [-1.9], [2.0], [2.1], [1.9]])
    >>> prior.start_from(rows, encode, torch.Generator().manual_seed(0))
    >>> prior.given(None).means.sort(dim=0).values.round(decimals=3)
    tensor([[-2.],
            [ 2.]], dtype=torch.float64, grad_fn=<RoundBackward1>)
    """

    def __init__(self, n_latents: int, n_components: int, n_inputs: int = 0) -> None:
        super().__init__(n_latents, n_components, n_inputs)
        shape = n_components, n_latents
        zeros = torch.zeros(shape, dtype=torch.float32)
        self.logits = nn.Parameter(torch.zeros(n_components, dtype=torch.float32))
        self.means = nn.Parameter(zeros)
        self.raw_log_variances = nn.Parameter(zeros.clone())

    @property
    def starts_at(self) -> float:
        """Share of the training after which the components are placed."""
        return STARTS_AT

    @staticmethod
    def automatic_components(n_rows: int) -> int:
        """Return 10, or the number of rows, if that is less."""
        return min(N_COMPONENTS, n_rows)

    def given(self, encode: Encode | None) -> GaussianMixture:
        """Return the mixture."""
        log_weights = torch.log_softmax(self.logits, dim=0)
        return GaussianMixture(log_weights, self.means, bounded(self.raw_log_variances))

    def start_from(
        self,
        rows: Tensor,
        encode: Encode,
        generator: torch.Generator,
        turn: Turn = lambda matrix: None,
    ) -> None:
        """Place the components on clusters of latents, in discriminant coordinates.

        Where there are fewer different latents than components, some are the same.
        """
        labels = self._clusters(encode(rows), generator)
        turn(discriminant_basis(encode(rows), labels))
        self._place(encode(rows), labels)

    def _clusters(self, posterior: Posterior, generator: torch.Generator) -> Tensor:
        codes = to_numpy(posterior.mean.double())
        seed = int(torch.randint(2**31, (), generator=generator))
        different, numbers = np.unique(codes, axis=0, return_inverse=True)
        labels = np.arange(len(different))
        if len(different) > len(self.logits):
            labels = graph_clusters(different, len(self.logits), seed)
            labels = np.unique(labels, return_inverse=True)[1]  # none left out
        return torch.from_numpy(labels[numbers.ravel()]).to(posterior.mean.device)

    def _place(self, posterior: Posterior, labels: Tensor) -> None:
        codes = posterior.mean.double()
        means = cluster_means(codes, labels)
        spreads = (codes - means[labels]).square() + posterior.log_variance.exp()
        log_variances = cluster_means(spreads, labels).log() / MAX_LOG_VARIANCE
        raw = MAX_LOG_VARIANCE * torch.atanh(log_variances.clamp(-MAX_SHARE, MAX_SHARE))
        sizes = torch.bincount(labels).double()
        taken = torch.arange(len(self.logits), device=labels.device) % len(means)
        shared = torch.bincount(taken).double()
        with torch.no_grad():
            self.logits.copy_((sizes / shared).log()[taken])
            self.means.copy_(means[taken])
            self.raw_log_variances.copy_(raw[taken])
