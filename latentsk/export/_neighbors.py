"""Distances to the rows of a neighborhood, as products with all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from latentsk.export._modules import constant
from latentsk.outliers._neighborhood import Neighborhood
from latentsk.outliers._neighbors import (
    IDENTITY_SHARE,
    SPARE,
    nearest_weights,
    neighbor_weights,
)


class Measured(NamedTuple):
    """Distances of rows to those of a neighborhood; as `Measured` of the detector.

    Attributes
    ----------
    local, global_ : Tensor of shape (n_rows,)
    in_support, own : Tensor of shape (n_rows,)
    """

    local: Tensor
    global_: Tensor
    in_support: Tensor
    own: Tensor


class NeighborhoodGraph(nn.Module):
    """Measure latents against the rows of a neighborhood.

    Products are in float64, about the mean of the rows, and find candidates; these are
    measured by differences.
    """

    rows: Tensor
    centre: Tensor
    centred: Tensor
    squares: Tensor
    spacings: Tensor
    factors: Tensor
    is_support: Tensor
    is_sampled: Tensor
    within: Tensor
    sampled: Tensor
    sampled_squares: Tensor
    local_weights: Tensor
    global_weights: Tensor
    least_spacing: Tensor
    share: Tensor
    least_limit: Tensor

    def __init__(self, neighborhood: Neighborhood) -> None:
        super().__init__()
        vectors = neighborhood.latent_index.vectors_
        self.dtype = torch.float32 if vectors.dtype == np.float32 else torch.float64
        rows = vectors.astype(np.float64)
        self.n = min(neighborhood.n_neighbors, len(rows) - 1) + 1
        self.n_candidates = min(self.n + SPARE, len(rows))
        centred = rows - rows.mean(axis=0)
        squares = np.einsum("ij,ij->i", centred, centred)
        spacings, sample = neighborhood.spacings, neighborhood.sample
        weights = spacings ** (-2.0 / 3.0)
        extremes = np.array([0.0, 1.0])
        for name, array in {
            "rows": rows,
            "centre": rows.mean(axis=0),
            "centred": centred.T.copy(),
            "squares": squares,
            "spacings": spacings,
            "factors": weights / weights.max(),
            "is_support": neighborhood.is_support.astype(np.float64),
            "is_sampled": np.isin(np.arange(len(rows)), sample).astype(np.float64),
            "within": neighborhood.within,
            "sampled": centred[sample].T.copy(),
            "sampled_squares": squares[sample],
            # For rows that are not there, and for rows that are.
            "local_weights": neighbor_weights(extremes, self.n).T.copy(),
            "global_weights": nearest_weights(extremes, len(sample)).T.copy(),
            "least_spacing": spacings.min(),
            "share": IDENTITY_SHARE,
            "least_limit": 1e-300,
        }.items():
            self.register_buffer(name, constant(array))

    def forward(self, latents: Tensor) -> Measured:
        """Return the distances of rows."""
        queries = latents.to(self.dtype).double()
        centred = queries - self.centre
        own_squares = (centred * centred).sum(dim=1, keepdim=True)
        scaled, positions = self._nearest(queries, centred, own_squares)
        presences = self._presences(scaled)
        in_support = presences * self.is_support[positions]
        support_sum = in_support.sum(dim=1)
        owned = (in_support * self.within[positions]).sum(dim=1)
        is_near = support_sum > 0
        own = owned / torch.where(is_near, support_sum, torch.ones_like(support_sum))
        return Measured(
            self._mixed(scaled, self.local_weights, presences.amax(dim=1)),
            self._mixed(
                self._sampled(centred, own_squares),
                self.global_weights,
                (presences * self.is_sampled[positions]).amax(dim=1),
            ),
            in_support.amax(dim=1),
            torch.where(is_near, own, torch.zeros_like(own)),
        )

    def _nearest(
        self, queries: Tensor, centred: Tensor, own_squares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the least scaled distances, and to which rows."""
        products = own_squares - 2 * (centred @ self.centred) + self.squares
        products = products * self.factors
        candidates = torch.topk(products, self.n_candidates, 1, largest=False)[1]
        differences = self.rows[candidates] - queries[:, None, :]
        distances = (differences * differences).sum(dim=2).sqrt()
        scaled = distances * (distances / self.spacings[candidates]).sqrt()
        nearest, order = torch.topk(scaled, self.n, 1, largest=False)
        return nearest, candidates.gather(1, order)

    def _presences(self, scaled: Tensor) -> Tensor:
        """Return how much each row is each of the nearest."""
        spacing = scaled[:, 1:].mean(dim=1)
        spacing = torch.where(spacing > self.least_spacing, spacing, self.least_spacing)
        limit = self.share * spacing
        limit = torch.where(limit > self.least_limit, limit, self.least_limit)
        share = scaled / limit[:, None]
        share = torch.where(share < 1, share, torch.ones_like(share))
        return 1 - share * share * (3 - 2 * share)

    def _sampled(self, centred: Tensor, own_squares: Tensor) -> Tensor:
        """Return distances to the sampled rows, in ascending order."""
        squared = own_squares - 2 * (centred @ self.sampled) + self.sampled_squares
        squared = torch.where(squared > 0, squared, torch.zeros_like(squared))
        n_sampled = len(self.sampled_squares)
        return torch.topk(squared.sqrt(), n_sampled, 1, largest=False)[0]

    @staticmethod
    def _mixed(distances: Tensor, weights: Tensor, present: Tensor) -> Tensor:
        """Return weighted sums, as far as rows are there and are not."""
        sums = distances @ weights
        # Not a sum of both: infinite distances have a weight of zero in one.
        mixed = sums[:, 0] + present * (sums[:, 1] - sums[:, 0])
        return torch.where(present > 0, mixed, sums[:, 0])
