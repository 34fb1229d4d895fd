"""Columns that are constant in training, and what a network makes of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentsk.networks._mlp import zero_inputs, zero_outputs


def leave_out_constants(
    encoder: nn.Module, decoder: nn.Module, rows: Tensor, is_real: Tensor, n_seen: int
) -> None:
    """Give no weight to columns that are 0, as standardized constants are.

    With weights that no gradient ever corrects, a constant that changes would move the
    latents anywhere, and the other columns of its row would no longer count.

    Parameters
    ----------
    encoder, decoder : nn.Module
        Changed in place.

    rows : Tensor of shape (n_rows, n_features)
        Training rows, as far as they are modelled. Missing values count as 0.

    is_real : Tensor of shape (n_features,), dtype bool
        On the CPU: which columns the decoder returns the values of.

    n_seen : int
        Numbers that the encoder sees of a row; the columns come first.
    """
    constant = (torch.nan_to_num(rows) == 0).all(dim=0).cpu() & is_real
    if torch.equal(constant, is_real):  # equal rows, which tell of no column
        return
    is_seen = torch.zeros(n_seen, dtype=torch.bool)
    is_seen[: len(constant)] = constant
    zero_inputs(encoder, is_seen)
    zero_outputs(decoder, constant)
