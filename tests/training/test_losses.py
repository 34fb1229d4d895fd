"""Losses against torch's, and their shape."""

import pytest
import torch
from torch.nn import functional as F

from latentsk.training._losses import LOSSES

REFERENCES = {
    "squared_error": F.mse_loss,
    "absolute_error": F.l1_loss,
    "huber": F.huber_loss,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
}


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("shape", [(6, 4), (6, 1, 3, 5)])
def test_one_loss_per_row_summed_over_features(name, shape):
    generator = torch.Generator().manual_seed(0)
    output = 3 * torch.randn(shape, generator=generator)
    target = torch.rand(shape, generator=generator)
    losses = LOSSES[name](output, target)
    expected = [
        REFERENCES[name](o, t, reduction="sum")
        for o, t in zip(output, target, strict=True)
    ]
    torch.testing.assert_close(losses, torch.stack(expected))


def test_cross_entropy_of_large_logits_is_finite():
    logits = torch.tensor([[200.0, -200.0]])
    losses = LOSSES["binary_cross_entropy"](logits, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(losses, torch.tensor([400.0]))
