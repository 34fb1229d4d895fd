"""Codes of vectors: nearest ones, moving means, levels, and the gradients past them."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from latentsk.embedders._vq_description import automatic_levels
from latentsk.vae._codebook import (
    LEAST_SHARE,
    Codebook,
    decay_of,
    nearest_codes,
    rotated,
    sums_by_code,
)
from latentsk.vae._fsq import ScalarQuantizer, factored

LEVELS = [(3,), (4, 3), (8, 8, 8), (7, 5, 4)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def codebook(n_codes=6, code_dim=3):
    quantizer = Codebook(n_codes, code_dim)
    quantizer.codebook.copy_(normal(n_codes, code_dim, seed=1))
    return quantizer


@pytest.mark.parametrize("code_dim", [1, 3])
def test_the_nearest_codes_are_those_of_scipy(code_dim):
    vectors, book = normal(200, code_dim), normal(17, code_dim, seed=1)
    expected = cdist(vectors, book).argmin(axis=1)
    np.testing.assert_array_equal(nearest_codes(vectors, book), expected)


def test_of_equal_codes_the_first_is_taken():
    codes = nearest_codes(torch.ones(3, 2), torch.ones(4, 2))
    assert codes.tolist() == [0, 0, 0]


def test_vectors_out_of_range_have_a_code():
    vectors = torch.tensor([[torch.inf, 0.0], [torch.nan, 1.0], [3e38, -3e38]])
    for quantizer in (codebook(4, 2), ScalarQuantizer((4, 3))):
        codes = quantizer.eval()(vectors).codes
        assert ((codes >= 0) & (codes < quantizer.n_codes)).all()


def test_a_rotation_leads_to_the_code_and_turns_the_gradient():
    vectors = normal(50, 4).double().requires_grad_()
    quantized, slope = normal(50, 4, seed=1).double(), normal(50, 4, seed=2).double()
    turned = rotated(vectors, quantized)
    torch.testing.assert_close(turned.detach(), quantized)
    turned.backward(slope)
    # The angle between gradient and vector, and their lengths over the vector's.
    scale = quantized.norm(dim=1) / vectors.detach().norm(dim=1)
    before = (slope * quantized).sum(dim=1) / quantized.norm(dim=1)
    after = (vectors.grad * vectors.detach()).sum(dim=1) / vectors.detach().norm(dim=1)
    torch.testing.assert_close(after, scale * before)
    torch.testing.assert_close(vectors.grad.norm(dim=1), scale * slope.norm(dim=1))


@pytest.mark.parametrize("quantized", [[[0.0, 0.0]], [[-1.0, 2.0]], [[1.0, -2.0]]])
def test_rotations_without_a_direction_are_finite(quantized):
    vectors = torch.tensor([[1.0, -2.0]], requires_grad=True)
    turned = rotated(vectors, torch.tensor(quantized))
    turned.sum().backward()
    assert torch.isfinite(turned).all()
    assert torch.isfinite(vectors.grad).all()


def test_codes_are_moving_means():
    quantizer, vectors = codebook(), normal(40, 3)
    before, shares = quantizer.codebook.clone(), quantizer.shares.clone()
    codes = quantizer(vectors).codes
    quantizer.observe(vectors, codes, torch.zeros(6))
    decay = decay_of(40, 6)
    for code in range(6):
        own = vectors[codes == code]
        share = decay * shares[code] + (1 - decay) * len(own) / 40
        total = decay * shares[code] * before[code]
        total = total + (1 - decay) * own.sum(dim=0) / 40
        assert share > LEAST_SHARE / 6
        torch.testing.assert_close(quantizer.shares[code], share)
        torch.testing.assert_close(quantizer.codebook[code], total / share)


def test_the_mean_of_one_code_is_that_of_the_rows():
    quantizer, vectors = Codebook(1, 2), normal(500, 2) + 3.0
    quantizer.start_from(vectors, torch.Generator().manual_seed(0))
    for _ in range(3):
        quantizer.observe(vectors, quantizer(vectors).codes, torch.zeros(1))
    torch.testing.assert_close(quantizer.codebook[0], vectors.mean(dim=0))


def test_an_idle_code_begins_anew_at_a_vector_of_the_step():
    quantizer, vectors = Codebook(2, 1), torch.arange(10.0)[:, None]
    quantizer.codebook.copy_(torch.tensor([[4.5], [1e6]]))
    for _ in range(60):
        uniform = torch.tensor([0.0, 0.75])
        quantizer.observe(vectors, quantizer(vectors).codes, uniform)
    assert quantizer.codebook.max() < 10.0
    assert quantizer(vectors).codes.unique().tolist() == [0, 1]
    assert (quantizer.shares > LEAST_SHARE / 2).all()


def test_evaluation_learns_nothing():
    quantizer = codebook().eval()
    before = quantizer.codebook.clone()
    quantizer(normal(40, 3))
    assert torch.equal(quantizer.codebook, before)


def test_codes_start_on_clusters():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = centres.repeat(100, 1) + 0.01 * normal(300, 2)
    quantizer = Codebook(3, 2)
    quantizer.start_from(vectors, torch.Generator().manual_seed(0))
    found = cdist(centres, quantizer.codebook).min(axis=1)
    assert found.max() < 0.01


def test_few_vectors_are_codes_themselves():
    quantizer = Codebook(5, 2)
    quantizer.start_from(torch.eye(2), torch.Generator())
    assert quantizer.codebook.unique(dim=0).tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_a_code_dim_of_one_has_a_start_from_constant_vectors():
    quantizer = Codebook(4, 1)
    with np.errstate(all="raise"):
        quantizer.start_from(torch.full((3, 1), 2.0), torch.Generator())
    assert (quantizer.codebook == 2.0).all()


def test_sums_do_not_depend_on_the_device_path():
    vectors, codes = normal(100, 3), torch.arange(100) % 7
    expected = torch.nn.functional.one_hot(codes, 8).float().T @ vectors
    torch.testing.assert_close(sums_by_code(vectors, codes, 8), expected)


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_every_product_of_levels_is_a_code(levels):
    quantizer = ScalarQuantizer(levels).eval()
    codes = torch.arange(quantizer.n_codes)
    vectors = quantizer.vectors_of(codes)
    assert len(vectors.unique(dim=0)) == np.prod(levels)
    assert vectors.min() >= -1.0
    assert vectors.max() <= 1.0
    torch.testing.assert_close(quantizer.codes_of(vectors), codes)


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_levels_are_the_nearest_and_all_within_reach(levels):
    quantizer = ScalarQuantizer(levels).eval()
    found = quantizer(5.0 * normal(5_000, len(levels)))
    for position, n in enumerate(levels):
        assert len(found.vectors[:, position].unique()) == n
    bounded = quantizer.bounded(normal(500, len(levels)))
    book = quantizer.vectors_of(torch.arange(quantizer.n_codes))
    # Levels of a coordinate are as far apart as its number of them tells.
    weights = quantizer.halves
    expected = cdist(bounded * weights, book * weights).argmin(axis=1)
    np.testing.assert_array_equal(quantizer.codes_of(bounded), expected)


def test_the_gradient_passes_the_rounding():
    quantizer = ScalarQuantizer((5, 4)).train()
    vectors = normal(20, 2).requires_grad_()
    quantizer(vectors).vectors.sum().backward()
    gradient = vectors.grad.clone()
    vectors.grad = None
    quantizer.bounded(vectors).sum().backward()
    torch.testing.assert_close(gradient, vectors.grad)


def test_levels_in_float64():
    quantizer = ScalarQuantizer((5, 4)).double().eval()
    found = quantizer(normal(20, 2).double())
    assert found.vectors.dtype == torch.float64


@pytest.mark.parametrize("n_codes", [3, 8, 64, 256, 512, 1_000, 1_024, 4_375, 65_536])
def test_automatic_levels_make_the_number(n_codes):
    levels = automatic_levels(n_codes)
    assert np.prod(levels) == n_codes
    assert all(3 <= n <= 16 for n in levels)


@pytest.mark.parametrize("n_codes", [1, 2, 17, 38, 514])
def test_numbers_that_no_levels_make(n_codes):
    assert automatic_levels(n_codes) == ()
    assert factored(n_codes, 2) == ()
