"""Values outside a support: what they cost, and how a fit refuses them."""

import numpy as np
import pytest
import torch

from latentsk.training._support import SUPPORTS, penalty, require_support


def test_the_penalty_is_continuous_ranks_and_ends_nowhere():
    excess = torch.tensor([0.0, 1e-6, 1.5e-6, 2e-6, 1e-3, 1.0, 1e3]).double()
    found = penalty(excess)
    assert found[:2].tolist() == [0.0, 0.0]
    assert found[2] == pytest.approx(5e5, rel=1e-5)
    assert (found.diff()[1:] > 0).all()
    np.testing.assert_allclose(found[3:], 1e6 * (1 + excess[3:]), rtol=1e-8)
    steps = penalty(torch.linspace(0, 1e-5, 10_001).double()).diff()
    assert steps.max() < 2e3  # a nanounit and a thousandth of the whole
    assert torch.isfinite(penalty(torch.tensor([1e30])))


@pytest.mark.parametrize(
    ("support", "value", "nearest", "excess"),
    [
        ("real", -1e9, -1e9, 0.0),
        ("unit interval", 0.25, 0.25, 0.0),
        ("unit interval", 2.0, 1.0, 1.0),
        ("unit interval", -0.5, 0.0, 0.5),
        ("counts", 3.0, 3.0, 0.0),
        ("counts", -2.0, 0.0, 2.0),
        ("counts", 2.75, 3.0, 0.25),
    ],
)
def test_values_and_the_nearest_of_their_support(support, value, nearest, excess):
    found, rows = SUPPORTS[support], torch.tensor([[value]])
    assert found.nearest(rows).item() == nearest
    assert found.excess(rows).item() == excess


def test_a_level_that_is_unknown_is_one_away():
    rows = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert SUPPORTS["one-hot"].excess(rows)[:, 0].tolist() == [0.0, 1.0]
    costs = SUPPORTS["one-hot"].penalties(rows)
    torch.testing.assert_close(costs.sum(dim=1), torch.tensor([0.0, 2e6]))


def test_the_farthest_value_is_named():
    X = np.zeros((5_000, 3), dtype=np.float32)
    X[7, 1], X[4_321, 2], X[8, 0] = 1.5, 3.0, np.nan
    setting = "likelihood='bernoulli'"
    with pytest.raises(ValueError, match=r"3 in column 'c', row 4321\. Divide"):
        require_support(X, "unit interval", setting, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"counts.*: 1.5 in column 'x1', row 7"):
        require_support(X, "counts", "likelihood='poisson'")
    X[7, 1] = 1.0 + 1e-7
    X[4_321, 2] = 1.0
    require_support(X, "unit interval", setting)
    require_support(np.zeros((5, 3), dtype=np.uint8), "counts", setting)
    require_support(np.full((3, 2), np.nan), "counts", setting)
