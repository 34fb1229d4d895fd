"""A vector-quantized autoencoder as one module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from latentsk.networks._mlp import initialize, without_dropout
from latentsk.training._data import (
    BeginsWithRows,
    EndsWithRows,
    Rows,
    StartsFromRows,
)
from latentsk.training._inference import in_batches
from latentsk.vae._code_prior import CodePrior
from latentsk.vae._constants import leave_out_constants
from latentsk.vae._likelihood_scale import (
    INITIAL_SCALE,
    MIN_SCALE,
    add_scale,
    floored,
)
from latentsk.vae._quantizer import Quantized, Quantizer

# Codes of an encoder that has learned something are better, and change less.
STARTS_AT = 0.1
# Random training rows that the codes may start from, and how many vectors for each.
MAX_ROWS_TO_START = 10_000
VECTORS_PER_CODE = 50
# Rows at a time when codes are counted.
ROWS_TO_COUNT = 1_024


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


class VQVAE(nn.Module, BeginsWithRows, StartsFromRows, EndsWithRows):
    """An encoder to vectors, a quantizer, a decoder, a prior of codes, and a scale.

    Parameters
    ----------
    encoder : nn.Module
        From rows to vectors, side by side.

    decoder : nn.Module
        From quantized vectors, side by side, to what the likelihood takes.

    quantizer : Quantizer

    prior : CodePrior

    n_scales : int, default=0
        Number of scales of the likelihood that are learned: none, one, or one per
        feature.

    initial_scale : float, default=0.3
        Scale to start from; the one that stays, where none is learned.

    inputs, link : callable, default=_as_they_are
        From rows to what the encoder sees, and from what the decoder returns to what
        the likelihood takes, as that has them.

    is_real : bool, default=True
        Whether the decoder returns values of the columns. If one is constant, the
        network starts from neither seeing nor varying it.

    Attributes
    ----------
    code_counts : Tensor of shape (n_codes,), dtype int64
        How often training rows had each code, after the training.

    Examples
    --------
    >>> from latentsk.vae._code_prior import IndependentCodes
    >>> from latentsk.vae._fsq import ScalarQuantizer
    >>> parts = ScalarQuantizer((5, 4)), IndependentCodes(3, 20)
    >>> network = VQVAE(nn.Linear(7, 6), nn.Linear(6, 7), *parts).eval()
    >>> found = network.quantize(torch.zeros(9, 7))
    >>> found.codes.shape, found.vectors.shape, network.decode(found.vectors).shape
    (torch.Size([9, 3]), torch.Size([9, 3, 2]), torch.Size([9, 7]))
    """

    raw_log_scale: Tensor
    log_floor: Tensor
    code_counts: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        quantizer: Quantizer,
        prior: CodePrior,
        *,
        n_scales: int = 0,
        initial_scale: float = INITIAL_SCALE,
        inputs: Callable[[Tensor], Tensor] = _as_they_are,
        link: Callable[[Tensor], Tensor] = _as_they_are,
        is_real: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.quantizer = quantizer
        self.prior = prior
        self.inputs = inputs
        self.link = link
        self.is_real = is_real
        add_scale(self, n_scales, MIN_SCALE, initial_scale)
        counts = torch.zeros(quantizer.n_codes, dtype=torch.int64)
        self.register_buffer("code_counts", counts)

    def log_scale(self) -> Tensor:
        """Return the logarithm of the likelihood's scale, above that of the floor."""
        return floored(self.raw_log_scale, self.log_floor)

    def encode(self, rows: Tensor) -> Tensor:
        """Return the vectors of rows, of shape (n_rows, n_positions, code_dim)."""
        flat = self.encoder(self.inputs(rows))
        return flat.unflatten(1, (self.prior.n_positions, self.quantizer.code_dim))

    def quantize(self, rows: Tensor) -> Quantized:
        """Return the codes of rows, one for each position."""
        return self.quantizer(self.encode(rows))

    def decode(self, vectors: Tensor) -> Tensor:
        """Return the decoder's output, as the likelihood takes it.

        Parameters
        ----------
        vectors : Tensor of shape (n_rows, n_positions, code_dim)
        """
        return self.link(self.decoder(vectors.flatten(1)))

    def observe(self, vectors: Tensor, codes: Tensor, uniform: Tensor) -> None:
        """Learn from the rows of a training step, where gradients do not.

        Parameters
        ----------
        vectors : Tensor of shape (n_rows, n_positions, code_dim)

        codes : Tensor of shape (n_rows, n_positions), dtype int64

        uniform : Tensor of shape (n_codes,)
            Random numbers in [0, 1).
        """
        flat = vectors.detach().flatten(0, 1)
        self.quantizer.observe(flat, codes.flatten(), uniform)
        self.prior.observe(codes)

    @property
    def starts_at(self) -> float:
        """Share of the training after which the codes start from rows."""
        return STARTS_AT

    def begin_with(self, rows: Rows) -> None:
        """Leave out columns that are constant."""
        # The order of the training is not to change.
        some = next(rows.epoch(MAX_ROWS_TO_START, torch.Generator())).rows
        is_real = torch.full((some.shape[1],), self.is_real)
        leave_out_constants(self.encoder, self.decoder, some, is_real, some.shape[1])

    def start_from(self, rows: Rows, generator: torch.Generator) -> None:
        """Set what the training starts from: the prior and the codes."""
        fresh = type(self.prior)(self.prior.n_positions, self.prior.n_codes).float()
        self.prior.load_state_dict(initialize(fresh, generator).state_dict())
        some = next(rows.epoch(MAX_ROWS_TO_START, generator)).rows
        with torch.no_grad(), without_dropout(self.encoder):
            vectors = in_batches(self.encode, some).flatten(0, 1)
        n_kept = VECTORS_PER_CODE * self.quantizer.n_codes
        kept = torch.randperm(len(vectors), generator=generator)[:n_kept]
        vectors = vectors.index_select(0, kept.to(vectors.device))
        self.quantizer.start_from(vectors, generator)

    def end_with(self, rows: Rows) -> None:
        """Count the codes of training rows."""
        self.code_counts.zero_()
        # Their order does not matter.
        for batch in rows.epoch(ROWS_TO_COUNT, torch.Generator()):
            codes = self.quantize(batch.rows[batch.weights > 0]).codes.flatten()
            self.code_counts += torch.bincount(codes, minlength=len(self.code_counts))
