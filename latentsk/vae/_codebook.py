"""A codebook that follows the vectors it stands for."""

from __future__ import annotations

import math

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor
from torch.nn import functional as F

from latentsk._device import to_numpy
from latentsk.vae._quantizer import Quantizer

# Means are of about so many vectors for each code, and of a hundred steps at most: a
# codebook that is slower than the encoder is left behind, and few codes are used.
WINDOW = 40
MAX_DECAY = 0.99
# Of the vectors that a code has if all codes have equally many: with fewer than this
# share it is given up.
LEAST_SHARE = 0.05
# Lengths and shares below this are none.
TINY = 1e-12
# Vectors that k-means sees at a time, and how often it sees all of them.
ROWS_PER_STEP, PASSES = 4_096, 20


def decay_of(n_vectors: int, n_codes: int) -> float:
    """Return the factor of the past in moving means, for steps of so many vectors.

    Examples
    --------
    >>> [round(decay_of(n_vectors, 512), 2) for n_vectors in (32, 512, 8192)]
    [0.99, 0.98, 0.67]
    """
    return min(MAX_DECAY, math.exp(-n_vectors / (WINDOW * n_codes)))


def nearest_codes(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the numbers of the nearest vectors of a codebook.

    Parameters
    ----------
    vectors : Tensor of shape (n_vectors, code_dim)

    codebook : Tensor of shape (n_codes, code_dim)

    Examples
    --------
    >>> nearest_codes(torch.tensor([[0.4], [0.6]]), torch.tensor([[0.0], [1.0]]))
    tensor([0, 1])
    """
    # Half the squared distances, up to what all codes have in common.
    lengths = 0.5 * codebook.square().sum(dim=1)
    return torch.addmm(lengths, vectors, codebook.T, alpha=-1.0).argmin(dim=1)


def rotated(vectors: Tensor, quantized: Tensor) -> Tensor:
    """Return quantized vectors as rotated and scaled vectors (Fifty et al., 2025).

    Rotation and scale have no gradient: the gradient keeps its angle to the vector.

    Parameters
    ----------
    vectors, quantized : Tensor of shape (..., code_dim)

    Examples
    --------
    >>> vector = torch.tensor([[2.0, 0.0]], requires_grad=True)
    >>> turned = rotated(vector, torch.tensor([[0.0, 1.0]]))
    >>> torch.allclose(turned, torch.tensor([[0.0, 1.0]]), atol=1e-6)
    True
    >>> turned[0, 1].backward()
    >>> vector.grad.round(decimals=4)
    tensor([[0.5000, 0.0000]])
    """
    first, length = _direction(vectors.detach())
    second, wanted = _direction(quantized)
    between, _ = _direction(first + second)
    # A reflection at the bisector takes the first direction to the second, and a
    # reflection at what is orthogonal to that makes a rotation of it.
    along = (vectors * between).sum(dim=-1, keepdim=True)
    onto = (vectors * first).sum(dim=-1, keepdim=True)
    turned = vectors - 2.0 * along * between + 2.0 * onto * second
    return wanted / length * turned


def _direction(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors of length one, and lengths."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp(min=TINY)
    return vectors / length, length


def sums_by_code(vectors: Tensor, codes: Tensor, n_codes: int) -> Tensor:
    """Return the sums of the vectors with each code, in an order that is always one.

    Parameters
    ----------
    vectors : Tensor of shape (n_vectors, code_dim)

    codes : Tensor of shape (n_vectors,), dtype int64

    n_codes : int

    Examples
    --------
    >>> vectors, codes = torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([1, 1, 0])
    >>> sums_by_code(vectors, codes, 3).ravel()
    tensor([5., 3., 0.])
    """
    if vectors.is_cuda:  # where index_add_ adds in the order of the moment
        return F.one_hot(codes, n_codes).to(vectors.dtype).T @ vectors
    zeros = vectors.new_zeros(n_codes, vectors.shape[1])
    return zeros.index_add_(0, codes, vectors)


class Codebook(Quantizer):
    """Vectors that are moving means of the vectors nearest to them.

    Means are exponentially weighted over steps (van den Oord et al., 2017). A code that
    hardly any vector is nearest to begins anew, at a random vector of the step.

    Parameters
    ----------
    n_codes, code_dim : int

    Examples
    --------
    >>> quantizer = Codebook(2, 1)
    >>> quantizer.start_from(torch.tensor([[0.0], [4.0]]), torch.Generator())
    >>> quantizer.codebook.ravel()
    tensor([0., 4.])
    >>> found = quantizer.eval()(torch.tensor([[1.0], [3.5]]))
    >>> found.codes, found.vectors.ravel(), found.errors
    (tensor([0, 1]), tensor([0., 4.]), tensor([1.0000, 0.2500]))
    """

    needs_commitment = True
    codebook: Tensor
    shares: Tensor

    def __init__(self, n_codes: int, code_dim: int) -> None:
        super().__init__(n_codes, code_dim)
        book = torch.zeros(n_codes, code_dim, dtype=torch.float32)
        self.register_buffer("codebook", book)
        # Of the vectors of a step, as a moving mean.
        shares = torch.full((n_codes,), 1.0 / n_codes, dtype=torch.float32)
        self.register_buffer("shares", shares)

    def bounded(self, vectors: Tensor) -> Tensor:
        """Return vectors as they are."""
        return vectors

    def codes_of(self, bounded: Tensor) -> Tensor:
        """Return the codes of the nearest vectors."""
        codes = nearest_codes(bounded.flatten(0, -2), self.codebook)
        return codes.view(bounded.shape[:-1])

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Return the vectors of codes."""
        return F.embedding(codes, self.codebook)

    def passed(self, bounded: Tensor, quantized: Tensor) -> Tensor:
        """Return quantized vectors, whose gradient is rotated to the given ones."""
        return rotated(bounded, quantized)

    @torch.no_grad()
    def observe(self, vectors: Tensor, codes: Tensor, uniform: Tensor) -> None:
        """Move the codebook towards the means of the vectors with each code."""
        n_vectors, usual = len(vectors), 1.0 / self.n_codes
        rate = 1.0 - decay_of(n_vectors, self.n_codes)
        ones = torch.ones_like(codes, dtype=vectors.dtype)
        counts = torch.zeros_like(self.shares).scatter_add_(0, codes, ones)
        shares = counts / n_vectors
        sums = sums_by_code(vectors, codes, self.n_codes) / n_vectors
        mean_shares = torch.lerp(self.shares, shares, rate)
        moves = rate * (sums - shares[:, None] * self.codebook)
        moved = self.codebook + moves / mean_shares.clamp(min=TINY)[:, None]
        is_idle = mean_shares < LEAST_SHARE * usual
        others = vectors.index_select(0, (uniform * n_vectors).long())
        self.codebook.copy_(torch.where(is_idle[:, None], others, moved))
        self.shares.copy_(torch.where(is_idle, usual, mean_shares))

    @torch.no_grad()
    def start_from(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Place the codes on clusters of vectors, by k-means."""
        seed = int(torch.randint(2**31, (), generator=generator))
        places = to_numpy(vectors)
        if len(places) > self.n_codes:
            means = MiniBatchKMeans(
                self.n_codes,
                batch_size=ROWS_PER_STEP,
                max_iter=PASSES,
                n_init=1,
                random_state=seed,
            )
            places = means.fit(places).cluster_centers_
        # Where vectors are few, several codes start on one of them.
        numbers = torch.arange(self.n_codes).remainder(len(places))
        self.codebook.copy_(torch.from_numpy(places)[numbers])
        self.shares.fill_(1.0 / self.n_codes)
