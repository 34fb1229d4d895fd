"""The joint density of unlike columns, with missing cells left out."""

import itertools
import json

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from latentsk.vae._bounds import BoundSettings
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._mixed import MixedLikelihood, count_moments, likelihood_of
from latentsk.vae._network import VAE
from latentsk.vae._objective import VariationalBound

BLOCKS = [
    ("gaussian", 1),
    ("poisson", 1),
    ("categorical", 3),
    ("gaussian", 2),
    ("bernoulli", 1),
    ("categorical", 2),
    ("student_t", 1),
]
MEANS, SCALES = [0.7], [1.3]
MIXED = MixedLikelihood(BLOCKS, MEANS, SCALES)
# The variables' columns.
VARIABLES = [[0], [1], [2, 3, 4], [5], [6], [7], [8, 9], [10]]
GENERATOR = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(6, 11, generator=GENERATOR, dtype=torch.float64)
LOG_SCALE = torch.linspace(-0.5, 0.5, 11).double()
ROWS = torch.randn(6, 11, generator=GENERATOR, dtype=torch.float64)
ROWS[:, 1] = torch.tensor([0, 1, 2, 5, 9, 30])
ROWS[:, 2:5] = torch.eye(3)[[0, 1, 2, 2, 1, 0]]
ROWS[:, 7] = torch.tensor([0, 1, 0, 1, 1, 1])
ROWS[:, 8:10] = torch.eye(2)[[0, 1, 1, 0, 1, 0]]


def expected_by_variable():
    """Return the log-density of each variable, by scipy and numpy."""
    rows, output, scale = ROWS.numpy(), OUTPUT.numpy(), LOG_SCALE.exp().numpy()
    rates = LIKELIHOODS["poisson"].mean(OUTPUT[:, 1] * 1.3 + 0.7).numpy()

    def level(columns):
        logits = output[:, columns]
        chosen = (rows[:, columns] * logits).sum(axis=1)
        return chosen - np.log(np.exp(logits).sum(axis=1))

    def normal(j):
        return stats.norm.logpdf(rows[:, j], output[:, j], scale[j])

    share = 1 / (1 + np.exp(-output[:, 7]))
    columns = [
        normal(0),
        stats.poisson.logpmf(rows[:, 1], rates),
        level([2, 3, 4]),
        normal(5),
        normal(6),
        stats.bernoulli.logpmf(rows[:, 7].astype(int), share),
        level([8, 9]),
        stats.t.logpdf(rows[:, 10], 4, output[:, 10], scale[10]),
    ]
    return np.stack(columns, axis=1)


def test_the_joint_density_is_the_sum_over_variables():
    expected = expected_by_variable()
    found = MIXED.by_feature(ROWS, OUTPUT, LOG_SCALE).numpy()
    by_variable = [found[:, columns].sum(axis=1) for columns in VARIABLES]
    np.testing.assert_allclose(np.stack(by_variable, axis=1), expected, rtol=1e-7)
    joint = MIXED.log_density(ROWS, OUTPUT, LOG_SCALE)
    np.testing.assert_allclose(joint, expected.sum(axis=1), rtol=1e-7)
    # For several samples of the latents, and one scale for all.
    several = OUTPUT.expand(4, 6, 11)
    torch.testing.assert_close(
        MIXED.log_density(ROWS, several, LOG_SCALE)[3], joint, rtol=1e-12, atol=1e-12
    )
    one = MIXED.log_density(ROWS, OUTPUT, torch.tensor(0.2).double())
    same = MIXED.log_density(ROWS, OUTPUT, torch.full((11,), 0.2).double())
    torch.testing.assert_close(one, same)


@pytest.mark.parametrize("variable", range(len(VARIABLES)))
def test_a_missing_cell_is_left_out(variable):
    rows = ROWS.clone()
    rows[:, VARIABLES[variable]] = torch.nan
    expected = np.delete(expected_by_variable(), variable, axis=1).sum(axis=1)
    found = MIXED.log_density(rows, OUTPUT, LOG_SCALE)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    by_feature = MIXED.by_feature(rows, OUTPUT, LOG_SCALE)
    assert not by_feature[:, VARIABLES[variable]].any()


def test_a_discrete_table_is_enumerated():
    mixed = MixedLikelihood([("bernoulli", 2), ("categorical", 3), ("poisson", 1)])
    output = torch.tensor([0.3, -1.0, 0.1, 0.9, -2.0, 0.4]).double()
    flags = [torch.tensor([float(flag)]) for flag in (0, 1)]
    cases = itertools.product(
        flags, flags, torch.eye(3), torch.arange(40.0)[:, None], repeat=1
    )
    rows = torch.stack([torch.cat(case) for case in cases]).double()
    densities = mixed.log_density(rows, output.expand(len(rows), 6), torch.zeros(()))
    assert float(densities.exp().sum()) == pytest.approx(1.0, abs=1e-10)
    # A gap is the sum over all values that could have been there.
    rows[:, 2:5] = torch.nan
    marginal = mixed.log_density(rows, output.expand(len(rows), 6), torch.zeros(()))
    assert float(marginal.exp().sum()) == pytest.approx(3.0, abs=1e-10)


def test_gradients_are_finite_and_none_comes_from_gaps():
    rows = ROWS.clone()
    gaps = torch.zeros(6, 11, dtype=torch.bool)
    for i, variable in enumerate([0, 1, 2, 5, 6, 7]):
        gaps[i, VARIABLES[variable]] = True
    rows[gaps] = torch.nan
    output, log_scale = OUTPUT.clone().requires_grad_(), LOG_SCALE.clone()
    log_scale.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda o, s: MIXED.log_density(rows, o, s), (output, log_scale)
    )
    MIXED.log_density(rows, output, log_scale).sum().backward()
    assert torch.isfinite(output.grad).all()
    assert torch.isfinite(log_scale.grad).all()
    assert not output.grad[gaps].any()
    # Without a scale there is nothing to learn of one.
    assert not log_scale.grad[[1, 2, 3, 4, 7, 8, 9]].any()


def test_the_encoder_sees_standardized_values_and_zeros_for_gaps():
    rows = torch.tensor([[2.5, 0.0, 1.0, 0.0, 0.0], [-1.0, 6.0, 0.0, 1.0, 0.0]])
    blocks = [("gaussian", 1), ("poisson", 1), ("bernoulli", 1), ("categorical", 2)]
    mixed = MixedLikelihood(blocks, [1.0], [2.0])
    found = mixed.inputs(torch.cat([rows, torch.full((1, 5), torch.nan)]))
    expected = [
        [2.5, -0.5, 1.0, 0.0, 0.0],
        [-1.0, (np.log(7.0) - 1.0) / 2.0, -1.0, 1.0, 0.0],
        [0.0] * 5,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    outside = torch.tensor([[1e9, -3.0, 4.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        mixed.inputs(outside), [[1e9, -0.5, 1.0, 0.0, 0.0]], rtol=1e-6
    )


def test_moments_of_counts_leave_gaps_out():
    counts = np.array([[0.0, 5.0, np.nan], [3.0, 5.0, np.nan], [np.nan, 5.0, np.nan]])
    means, scales = count_moments(counts)
    logs = np.log([1.0, 4.0])
    np.testing.assert_allclose(means, [logs.mean(), np.log(6.0), 0.0])
    np.testing.assert_allclose(scales, [logs.std(), 1.0, 1.0])


def test_means_and_draws_are_of_each_kind():
    mean = MIXED.mean(OUTPUT)
    torch.testing.assert_close(mean[:, [0, 5, 6, 10]], OUTPUT[:, [0, 5, 6, 10]])
    torch.testing.assert_close(mean[:, 2:5], torch.softmax(OUTPUT[:, 2:5], dim=1))
    torch.testing.assert_close(mean[:, 7], torch.sigmoid(OUTPUT[:, 7]))
    output = OUTPUT[:1].expand(40_000, 11)
    generator = torch.Generator().manual_seed(0)
    drawn = MIXED.draw(output, LOG_SCALE, generator)
    error = drawn.std(dim=0) / 200.0
    assert ((drawn.mean(dim=0) - mean[0]).abs() < 5 * error + 1e-9).all()
    expected = torch.tensor([-0.5, 0.0, 0.1]).exp()
    torch.testing.assert_close(
        drawn[:, [0, 5, 6]].std(dim=0), expected.double(), rtol=0.02, atol=0.0
    )
    assert torch.equal(drawn[:, 2:5].sum(dim=1), torch.ones(40_000).double())


def test_units_and_penalties_are_those_of_observed_cells():
    rows = ROWS.clone()
    rows[0, 0] = rows[1, 7] = rows[2, 1] = torch.nan
    rows[3, 7], rows[4, 1], rows[5, 2:5] = 3.0, 2.5, 0.0
    units = MIXED.log_units(rows, np.log(np.arange(1.0, 12.0)))
    assert units[0].tolist() == [0.0, *np.log(np.arange(2.0, 12.0))]
    costs = MIXED.penalties(rows)
    assert not costs[:3].any()
    assert float(costs[3].sum()) == float(costs[3, 7]) == 3e6
    assert float(costs[4].sum()) == float(costs[4, 1]) == 1.5e6
    assert float(costs[5, 2:5].sum()) == pytest.approx(2e6)
    nearest = MIXED.nearest(rows)
    assert (nearest[3, 7], nearest[4, 1]) == (1.0, 2.0)
    assert torch.isnan(nearest[0, 0])
    kept = torch.ones(6, 11, dtype=torch.bool)
    kept[3, 7] = kept[4, 1] = False
    torch.testing.assert_close(nearest[kept], rows[kept], equal_nan=True)


def test_it_is_rebuilt_from_its_description():
    described = json.loads(json.dumps(MIXED.describe()))
    again = likelihood_of(described)
    assert again.describe() == MIXED.describe()
    expected = MIXED.log_density(ROWS, OUTPUT, LOG_SCALE)
    assert torch.equal(again.log_density(ROWS, OUTPUT, LOG_SCALE), expected)
    assert MIXED.is_real.tolist() == [column in (0, 5, 6, 10) for column in range(11)]
    assert MIXED.has_scale
    assert not MixedLikelihood([("poisson", 2)]).has_scale


@pytest.mark.parametrize("weighted", [False, True])
def test_a_bound_on_rows_with_gaps_is_that_of_the_rest(weighted):
    # A network that ignores the last column, with and without it.
    torch.manual_seed(0)
    narrow = VAE(nn.Linear(2, 2), nn.Linear(1, 2))
    wide = VAE(nn.Linear(3, 2), nn.Linear(1, 3))
    with torch.no_grad():
        wide.encoder.weight[:, :2] = narrow.encoder.weight
        wide.encoder.bias[:] = narrow.encoder.bias
        wide.decoder.weight[:2] = narrow.decoder.weight
        wide.decoder.bias[:2] = narrow.decoder.bias
    mixed = MixedLikelihood([("gaussian", 3)])
    wide.inputs = mixed.inputs
    bound = BoundSettings(importance_weighted=weighted)
    sizes = {"bound": bound, "n_samples": 5}
    whole = VariationalBound(wide, mixed, 3, 1, **sizes)
    rest = VariationalBound(narrow, LIKELIHOODS["gaussian"], 2, 1, **sizes)
    rows = torch.randn(7, 3)
    rows[:, 2] = torch.nan
    noise = whole.draw_noise(7, torch.Generator().manual_seed(0))
    found = whole.loss(wide, rows, noise, torch.ones(())).rows
    expected = rest.loss(narrow, rows[:, :2], noise, torch.ones(())).rows
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in wide.parameters())


def test_some_rows_lose_some_variables_in_training():
    mixed = MixedLikelihood(BLOCKS, MEANS, SCALES, tells_gaps=True)
    assert mixed.n_variables == len(VARIABLES)
    uniform = torch.rand(40_000, 10, generator=torch.Generator().manual_seed(0))
    rows = ROWS[:1].expand(40_000, 11)
    is_hidden = torch.isnan(mixed.hide(rows, uniform))
    by_variable = torch.stack([is_hidden[:, c[0]] for c in VARIABLES], dim=1)
    for j, columns in enumerate(VARIABLES):
        assert (is_hidden[:, columns] == by_variable[:, j, None]).all()
    touched = by_variable.any(dim=1).double().mean()
    assert 0.15 < float(touched) < 0.25
    # A quarter of the rows, of which a quarter of the cells on average.
    assert float(by_variable.double().mean()) == pytest.approx(1 / 16, abs=0.002)
    kept = mixed.hide(rows, uniform)[~is_hidden]
    assert torch.equal(kept, rows[~is_hidden])


def test_the_encoder_is_told_of_gaps():
    mixed = MixedLikelihood(
        [("gaussian", 1), ("categorical", 2), ("poisson", 1)], tells_gaps=True
    )
    rows = torch.tensor([[1.0, 0.0, 1.0, 0.0], [torch.nan] * 4])
    rows[1, 3] = 0.0
    expected = [
        [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0],
    ]
    assert mixed.inputs(rows).tolist() == expected


def test_training_hides_cells_and_monitoring_does_not():
    torch.manual_seed(0)
    blocks = [("gaussian", 2), ("categorical", 3)]
    told = MixedLikelihood(blocks, tells_gaps=True)
    vae = VAE(nn.Linear(8, 2), nn.Linear(1, 5), inputs=told.inputs)
    objective = VariationalBound(vae, told, 5, 1)
    rows = torch.cat([torch.randn(50, 2), torch.eye(3)[torch.arange(50) % 3]], dim=1)
    noise = objective.draw_noise(50, torch.Generator().manual_seed(0))
    hidden = told.hide(rows, noise["gaps"])
    assert torch.isnan(hidden).any()
    found = objective.loss(vae, rows, noise, torch.ones(())).rows
    untouched = {**noise, "gaps": torch.ones(50, 5)}
    expected = objective.loss(vae, hidden, untouched, torch.ones(())).rows
    torch.testing.assert_close(found, expected)
    plain = VariationalBound(vae, MixedLikelihood(blocks), 5, 1)
    assert "gaps" not in plain.draw_noise(5, torch.Generator())
    torch.testing.assert_close(
        objective.monitor(vae, rows).rows, plain.monitor(vae, rows).rows
    )


def test_outputs_are_bounded_where_their_kind_asks_for_it():
    mixed = MixedLikelihood([("continuous_bernoulli", 1), ("gaussian", 1)])
    linked = mixed.link(torch.tensor([[1e6, 1e6], [1.0, 1.0]]))
    bound = LIKELIHOODS["continuous_bernoulli"].link(torch.tensor([1e6]))
    assert linked.tolist() == [[bound.item(), 1e6], [1.0, 1.0]]
    rows = torch.tensor([[1e6]])
    assert MixedLikelihood([("gaussian", 1)]).link(rows) is rows
