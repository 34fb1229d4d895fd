"""Priors over the codes of a row: relative frequencies, and the list of all."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk.vae._autoregressive_codes import AutoregressiveCodes
from latentsk.vae._code_distribution import CodePrior, drawn_codes

__all__ = ["CODE_PRIORS", "AutoregressiveCodes", "CodePrior", "IndependentCodes"]

# Of the counts, at every step: they are those of the last hundred steps or so.
DECAY = 0.99


class IndependentCodes(CodePrior):
    """Every position has a distribution of its own: the relative frequencies.

    They are those of the last training rows. One row more is counted, which is spread
    evenly over all codes, so that none has probability 0. All codes are equally
    probable as long as none were counted.

    Parameters
    ----------
    n_positions : int

    n_codes : int

    Examples
    --------
    >>> prior = IndependentCodes(2, 3)
    >>> codes = torch.tensor([[0, 2], [0, 1], [0, 1]])
    >>> prior.observe(codes)
    >>> prior.log_probabilities(codes).exp()
    tensor([[0.8333, 0.3333],
            [0.8333, 0.5833],
            [0.8333, 0.5833]])
    >>> prior.draw(4, np.random.default_rng(0)).shape
    (4, 2)
    """

    counts: Tensor
    n_steps: Tensor

    def __init__(self, n_positions: int, n_codes: int) -> None:
        super().__init__(n_positions, n_codes)
        counts = torch.zeros(n_positions, n_codes, dtype=torch.float32)
        self.register_buffer("counts", counts)
        # With an axis: of one without, torch.compile loses what is added in float64.
        self.register_buffer("n_steps", torch.zeros(1, dtype=torch.float32))

    def log_probabilities(self, codes: Tensor) -> Tensor:
        """Return the logarithms of relative frequencies."""
        table = self._probabilities().log()
        return table.gather(1, codes.T).T

    def _probabilities(self) -> Tensor:
        """Return the table, of shape (n_positions, n_codes)."""
        # Counts of a mean step; a decayed sum of few steps would weigh less.
        mean = self.counts / self.n_steps.clamp(min=1.0)
        smoothed = mean + 1.0 / self.n_codes
        return smoothed / smoothed.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def observe(self, codes: Tensor) -> None:
        """Count codes, and let the counts of earlier steps decay."""
        # Counts alone are whole numbers, whose sum does not depend on the order.
        new = torch.zeros_like(self.counts)
        new.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=new.dtype))
        self.counts.mul_(DECAY).add_(new)
        self.n_steps.mul_(DECAY).add_(1.0)

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return random codes, each position by itself."""
        uniform = generator.random((n_rows, self.n_positions))
        table = self._probabilities().double().cpu()
        columns = [
            drawn_codes(probabilities.expand(n_rows, -1), uniform[:, position])
            for position, probabilities in enumerate(table)
        ]
        return np.stack(columns, axis=1)


# By the names that a parameter `prior` takes.
CODE_PRIORS: dict[str, type[CodePrior]] = {
    "independent": IndependentCodes,
    "autoregressive": AutoregressiveCodes,
}
