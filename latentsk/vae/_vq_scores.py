"""What a trained vector-quantized autoencoder says of rows: its inference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latentsk._typing import Float64
from latentsk.training._inference import Inference, clip_to_finite
from latentsk.vae._likelihoods import Likelihood
from latentsk.vae._quantizer import Quantized
from latentsk.vae._vq_network import VQVAE

SCORE_METHODS = ("elbo", "reconstruction", "quantization")
# Distances that are kept at a time: rows times positions times codes.
KEPT_ELEMENTS = 2**22


class CodedInference(Inference):
    """Quantized vectors, means of the likelihood, and densities of rows and codes.

    Parameters
    ----------
    likelihood : Likelihood

    method : {"elbo", "reconstruction", "quantization"}
        What the score is.

    n_distances : int
        Numbers of positions times that of codes.

    scale : ndarray of shape (n_features,)
        Of the standardization: densities are those of original units.

    in_parts : bool, default=True
        Whether rows are taken in parts that fit into memory; else the steps are the
        same for any number of rows.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        method: str,
        n_distances: int,
        scale: Float64,
        in_parts: bool = True,
    ) -> None:
        self.likelihood = likelihood
        self.method = method
        self.log_units = np.log(scale)
        self.in_parts = in_parts
        self.rows_at_a_time = max(1, KEPT_ELEMENTS // n_distances)
        self.rows_per_score = self.rows_at_a_time
        self.rows_per_contribution = self.rows_at_a_time

    def encode(self, network: VQVAE, rows: Tensor) -> Tensor:
        """Return the vectors of the codes, side by side."""
        return self._by_parts(lambda part: self._found(network, part).vectors, rows)

    def codes(self, network: VQVAE, rows: Tensor) -> Tensor:
        """Return the codes, of shape (n_rows, n_positions)."""
        return self._by_parts(lambda part: self._found(network, part).codes, rows)

    def decode(self, network: VQVAE, latents: Tensor) -> Tensor:
        """Return the means of the likelihood for vectors that are side by side."""
        return self.likelihood.mean(network.decode(latents[:, None]))

    def decode_codes(self, network: VQVAE, codes: Tensor) -> Tensor:
        """Return the means of the likelihood for codes."""
        vectors = network.quantizer.vectors_of(codes.long())
        return self.likelihood.mean(network.decode(vectors))

    def score(self, network: VQVAE, rows: Tensor) -> Tensor:
        """Return the density or the distance that `method` names."""
        found = self._found(network, rows)
        if self.method == "quantization":
            costs = self.likelihood.penalties(rows).sum(dim=-1)
            return clip_to_finite(-found.errors.sum(dim=1) - costs)
        output, kept = network.decode(found.vectors), self.likelihood.nearest(rows)
        score = self.likelihood.log_density(kept, output, network.log_scale())
        if self.method == "elbo":
            score = score + self._log_codes(network, found)
        return clip_to_finite(score - self._surplus(rows).sum(dim=-1).to(score))

    def contributions(self, network: VQVAE, rows: Tensor) -> Tensor:
        """Return the log-density of each feature, and equal shares of the codes'.

        Raises
        ------
        ValueError
            For the distance.
        """
        if self.method == "quantization":
            raise ValueError(
                "score_method='quantization' is no sum over features; see 'elbo'."
            )
        found = self._found(network, rows)
        output, kept = network.decode(found.vectors), self.likelihood.nearest(rows)
        shares = self.likelihood.by_feature(kept, output, network.log_scale())
        shares = shares - self._surplus(rows).to(shares)
        if self.method == "elbo":
            shared = self._log_codes(network, found) / rows.shape[1]
            shares = shares + shared[:, None]
        return clip_to_finite(shares)

    def _found(self, network: VQVAE, rows: Tensor) -> Quantized:
        return network.quantize(self.likelihood.nearest(rows))

    def _log_codes(self, network: VQVAE, found: Quantized) -> Tensor:
        return network.prior.log_probabilities(found.codes).sum(dim=1)

    def _surplus(self, rows: Tensor) -> Tensor:
        """Return by what each log-density is too high: its unit, and penalties."""
        units = self.likelihood.log_units(rows, self.log_units)
        return units + self.likelihood.penalties(rows)

    def _by_parts(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        parts = rows.split(self.rows_at_a_time) if self.in_parts else [rows]
        return torch.cat([function(part).flatten(1) for part in parts])
