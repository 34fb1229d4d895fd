"""Functions of columns of different kinds, whatever their order."""

import itertools

import numpy as np
import pytest
import torch

from latentsk.vae._blocks import Blocks
from latentsk.vae._likelihoods import LIKELIHOODS, Likelihood

KINDS = [("gaussian", 2), ("poisson", 1), ("categorical", 3), ("categorical", 2)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_results_are_in_the_order_of_the_columns(order):
    described = [KINDS[i] for i in order] + [("bernoulli", 1), ("gaussian", 1)]
    described += [("categorical", 3)]
    blocks = Blocks(described)
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(5, blocks.n_columns, generator=generator).round()
    output = torch.randn(2, 5, blocks.n_columns, generator=generator)
    log_scale = torch.linspace(-1, 1, blocks.n_columns)
    found = blocks.apply(Likelihood.by_feature, rows, output, log_scale)
    start = 0
    for kind, width in described:
        here = slice(start, start + width)
        start += width
        expected = LIKELIHOODS[kind].by_feature(
            rows[:, here], output[..., here], log_scale[here]
        )
        torch.testing.assert_close(found[..., here], expected)
    one = torch.tensor([0.3])
    torch.testing.assert_close(
        blocks.apply(Likelihood.by_feature, rows, output, one),
        blocks.apply(Likelihood.by_feature, rows, output, one.expand(blocks.n_columns)),
    )


def test_each_kind_is_computed_once():
    blocks = Blocks([("gaussian", 1), ("poisson", 1), ("categorical", 2)] * 20)
    shapes = []

    def count(likelihood, values):
        shapes.append(tuple(values.shape))
        return values

    values = torch.arange(80.0)[None]
    assert torch.equal(blocks.apply(count, values), values)
    assert shapes == [(1, 20), (1, 20), (1, 20, 2)]


def test_variables_are_columns_or_blocks_of_levels():
    blocks = Blocks([("gaussian", 2), ("categorical", 3), ("poisson", 1)])
    assert blocks.variables.tolist() == [0, 1, 2, 2, 2, 3]
    assert blocks.firsts.tolist() == [0, 1, 2, 5]
    assert (blocks.n_columns, blocks.n_variables) == (6, 4)
    np.testing.assert_array_equal(
        blocks.of_support("one-hot"), [False, False, True, True, True, False]
    )


def test_a_single_level_is_a_column():
    blocks = Blocks([("categorical", 1)])
    found = blocks.apply(
        Likelihood.by_feature, torch.ones(1, 1), torch.ones(1, 1), torch.zeros(())
    )
    assert found.tolist() == [[0.0]]
