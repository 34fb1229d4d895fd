"""Codes that depend on those before them: a masked network over positions."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from latentsk.networks._mlp import linear
from latentsk.vae._code_distribution import CodePrior, drawn_codes

# Numbers that stand for a code.
N_FEATURES = 16
# Of the vectors' weights, which are drawn with a variance of 1 / (3 features): their
# numbers start with about 1.
VECTOR_SCALE = 7.0
# Hidden units of all positions together, and of one.
N_UNITS = 512
MIN_UNITS, MAX_UNITS = 4, 32
# Logits of a row that are computed at a time: they stay in the processor's cache.
MAX_LOGITS = 2_048
# Rows that are drawn at a time.
ROWS_PER_DRAW = 4_096


class ZeroLinear(nn.Module):
    """A linear layer that starts at zero, and stays there when weights are drawn.

    Parameters
    ----------
    n_inputs, n_outputs : int
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        zeros = torch.zeros(n_outputs, n_inputs, dtype=torch.float32)
        self.weight = nn.Parameter(zeros)
        self.bias = nn.Parameter(torch.zeros(n_outputs, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """Return values of shape (..., n_outputs)."""
        return F.linear(values, self.weight, self.bias)


class CausalLayer(nn.Module):
    """A linear layer from each position to those behind it (Germain et al., 2015).

    Every pair of positions has weights of its own; those from a position to the ones
    before it are masked.

    Parameters
    ----------
    linear : nn.Linear or ZeroLinear
        From the inputs of all positions to the outputs of all.

    n_positions : int

    sees_itself : bool
        Whether a position depends on its own input, too.

    Examples
    --------
    >>> layer = CausalLayer(ZeroLinear(6, 3), 3, sees_itself=False)
    >>> layer.mask
    tensor([[0., 0., 0., 0., 0., 0.],
            [1., 1., 0., 0., 0., 0.],
            [1., 1., 1., 1., 0., 0.]])
    >>> layer(torch.ones(5, 3, 2)).shape
    torch.Size([5, 3, 1])
    """

    mask: Tensor

    def __init__(
        self, linear: nn.Linear | ZeroLinear, n_positions: int, *, sees_itself: bool
    ) -> None:
        super().__init__()
        self.linear = linear
        self.n_outputs, self.n_inputs = (n // n_positions for n in linear.weight.shape)
        pairs = torch.ones(n_positions, n_positions, dtype=torch.float32)
        pairs = pairs.tril(0 if sees_itself else -1)
        mask = pairs.repeat_interleave(self.n_outputs, dim=0)
        mask = mask.repeat_interleave(self.n_inputs, dim=1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return values of shape (n_rows, n_positions, n_outputs).

        Parameters
        ----------
        values : Tensor of shape (n_rows, n_positions, n_inputs)
        """
        weight = self.linear.weight * self.mask
        outputs = F.linear(values.flatten(1), weight, self.linear.bias)
        return outputs.unflatten(1, (-1, self.n_outputs))

    def at(self, position: int, values: Tensor) -> Tensor:
        """Return what :meth:`forward` does for one position.

        Parameters
        ----------
        position : int

        values : Tensor of shape (n_rows, n_positions, n_inputs)
            Those behind the position are not read.
        """
        own = slice(position * self.n_outputs, (position + 1) * self.n_outputs)
        n_seen = (position + 1) * self.n_inputs
        weight = self.linear.weight[own, :n_seen] * self.mask[own, :n_seen]
        return F.linear(values.flatten(1)[:, :n_seen], weight, self.linear.bias[own])


class AutoregressiveCodes(CodePrior):
    """The code at a position depends on the codes at all positions before it.

    A network with masks, as in MADE (Germain et al., 2015): a vector stands for each
    code, and hidden units at each position see the vectors of those before it. How
    well the vectors fit to what comes out are the codes' logits. All codes are equally
    probable before the training.

    Parameters
    ----------
    n_positions : int

    n_codes : int

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> prior = AutoregressiveCodes(2, 4)
    >>> prior = initialize(prior, torch.Generator().manual_seed(0))
    >>> prior.log_probabilities(torch.tensor([[0, 3]])).exp().detach()
    tensor([[0.2500, 0.2500]])
    >>> prior.draw(3, np.random.default_rng(0)).shape
    (3, 2)
    """

    def __init__(self, n_positions: int, n_codes: int) -> None:
        super().__init__(n_positions, n_codes)
        n_units = min(max(N_UNITS // n_positions, MIN_UNITS), MAX_UNITS)
        n_inputs, n_hidden = n_positions * N_FEATURES, n_positions * n_units
        self.vectors = skip_init(nn.Linear, N_FEATURES, n_codes, bias=False)
        self.hidden = CausalLayer(
            linear(n_inputs, n_hidden), n_positions, sees_itself=False
        )
        self.output = CausalLayer(
            ZeroLinear(n_hidden, n_inputs), n_positions, sees_itself=True
        )
        zeros = torch.zeros(n_positions, n_codes, dtype=torch.float32)
        self.bias = nn.Parameter(zeros)

    def log_probabilities(self, codes: Tensor) -> Tensor:
        """Return the logarithms of a softmax at each position."""
        vectors = self._vectors()
        units = F.silu(self.hidden(F.embedding(codes, vectors)))
        n_together = max(1, MAX_LOGITS // self.n_codes)
        parts = zip(
            self.output(units).split(n_together, dim=1),
            self.bias.split(n_together),
            codes.split(n_together, dim=1),
            strict=True,
        )
        chosen = [
            torch.log_softmax(F.linear(outputs, vectors) + bias, dim=2).gather(
                2, own.unsqueeze(2)
            )
            for outputs, bias, own in parts
        ]
        return torch.cat(chosen, dim=1).squeeze(2)

    def _vectors(self) -> Tensor:
        """Return the vectors of all codes, whose numbers start with a variance of 1."""
        return VECTOR_SCALE * self.vectors.weight

    def observe(self, codes: Tensor) -> None:
        """Do nothing: gradients change the parameters."""

    def draw(self, n_rows: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return random codes, one position after the other."""
        uniform = generator.random((n_rows, self.n_positions))
        prior = copy.deepcopy(self).to("cpu", torch.float64)
        starts = range(0, n_rows, ROWS_PER_DRAW)
        parts = [uniform[start : start + ROWS_PER_DRAW] for start in starts]
        with torch.no_grad():
            drawn = [prior._drawn(part) for part in parts]
        return np.concatenate([np.empty((0, self.n_positions), np.int64), *drawn])

    def _drawn(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the codes that random numbers in [0, 1) mean."""
        vectors = self._vectors()
        codes = np.zeros(uniform.shape, np.int64)
        given = vectors.new_zeros(*codes.shape, N_FEATURES)
        units = vectors.new_zeros(*codes.shape, self.hidden.n_outputs)
        for position in range(self.n_positions):
            units[:, position] = F.silu(self.hidden.at(position, given))
            outputs = self.output.at(position, units)
            logits = F.linear(outputs, vectors) + self.bias[position]
            probabilities = torch.softmax(logits, dim=1)
            codes[:, position] = drawn_codes(probabilities, uniform[:, position])
            given[:, position] = vectors[codes[:, position]]
        return codes
