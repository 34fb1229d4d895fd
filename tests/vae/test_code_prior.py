"""Priors over codes: normalization, frequencies, order, draws, what is learned."""

import itertools
import math

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import stats

from latentsk.embedders._onnx_file import traced, write_model
from latentsk.networks._mlp import initialize
from latentsk.vae._autoregressive_codes import AutoregressiveCodes
from latentsk.vae._code_prior import CODE_PRIORS, CodePrior, IndependentCodes

N_POSITIONS, N_CODES = 3, 4
ALL = torch.tensor(list(itertools.product(range(N_CODES), repeat=N_POSITIONS)))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_codes(n_rows, n_positions=N_POSITIONS, n_codes=N_CODES, seed=1):
    # Not all equally probable.
    uniform = torch.rand(n_rows, n_positions, generator=generator(seed))
    return (n_codes * uniform.square()).long()


def prior_of(name, n_positions=N_POSITIONS, n_codes=N_CODES, seed=0, scale=0.05):
    """Return a prior in float64 that is not uniform."""
    prior = initialize(CODE_PRIORS[name](n_positions, n_codes), generator(seed))
    prior.observe(random_codes(40, n_positions, n_codes))
    source = generator(seed + 1)
    with torch.no_grad():
        for weight in prior.parameters():
            weight.add_(scale * torch.randn(weight.shape, generator=source))
    return prior.double()


def train(prior, codes, n_steps=300):
    optimizer = torch.optim.Adam(prior.parameters(), 0.01)
    for _ in range(n_steps):
        optimizer.zero_grad()
        (-prior.log_probabilities(codes).sum(dim=1).mean()).backward()
        optimizer.step()
    return prior


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_probabilities_of_all_rows_sum_to_one(name):
    prior = prior_of(name)
    found = prior.log_probabilities(ALL)
    assert found.shape == (N_CODES**N_POSITIONS, N_POSITIONS)
    assert found.dtype == torch.float64
    probabilities = found.sum(dim=1).exp()
    one = torch.ones((), dtype=torch.float64)
    torch.testing.assert_close(probabilities.sum(), one, rtol=1e-12, atol=0)
    assert probabilities.max() > 1.5 * probabilities.min()
    assert found.max() < 0


@pytest.mark.parametrize("name", CODE_PRIORS)
@pytest.mark.parametrize(("n_positions", "n_codes"), [(1, 1), (1, 6), (4, 1), (64, 2)])
def test_any_number_of_positions_and_codes(name, n_positions, n_codes):
    prior = prior_of(name, n_positions, n_codes)
    rows = torch.arange(n_codes)[:, None].expand(-1, n_positions)
    found = prior.log_probabilities(rows)
    first = found[:, 0].exp().sum()
    torch.testing.assert_close(first, torch.ones_like(first))
    drawn = prior.draw(5, np.random.default_rng(0))
    assert drawn.shape == (5, n_positions)
    assert drawn.min() >= 0
    assert drawn.max() < n_codes


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_codes_are_equally_probable_before_any_training(name):
    prior = initialize(CODE_PRIORS[name](5, 512), generator())
    found = prior.log_probabilities(random_codes(7, 5, 512))
    expected = torch.full((7, 5), -math.log(512))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_a_position_depends_on_those_before_it_alone(name):
    prior, codes = prior_of(name, 6, 5), random_codes(20, 6, 5)
    before = prior.log_probabilities(codes)
    for position in range(6):
        changed = codes.clone()
        changed[:, position] = (codes[:, position] + 1) % 5
        after = prior.log_probabilities(changed)
        assert torch.equal(after[:, :position], before[:, :position])
        assert (after[:, position] != before[:, position]).any()
        behind = (after != before).any(dim=0)[position + 1 :]
        assert behind.all() if name == "autoregressive" else not behind.any()


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_conditional_probabilities_are_those_of_the_joint_distribution(name):
    prior = prior_of(name)
    found = prior.log_probabilities(ALL).detach().exp()
    joint = found.prod(dim=1).view([N_CODES] * N_POSITIONS)
    second = joint.sum(dim=2) / joint.sum(dim=(1, 2))[:, None]
    torch.testing.assert_close(found[:, 1], second[ALL[:, 0], ALL[:, 1]])


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_draws_have_the_frequencies_of_the_model(name):
    prior = prior_of(name)
    probabilities = prior.log_probabilities(ALL).sum(dim=1).exp().detach().numpy()
    drawn = prior.draw(50_000, np.random.default_rng(0))
    assert drawn.dtype == np.int64
    numbers = drawn @ [N_CODES**2, N_CODES, 1]
    counts = np.bincount(numbers, minlength=len(ALL))
    expected = 50_000 * probabilities / probabilities.sum()
    assert expected.min() > 5
    assert stats.chisquare(counts, expected).pvalue > 0.01


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_draws_come_from_the_generator_and_not_from_how_many(name):
    prior = prior_of(name).float()
    few, many, other = (
        prior.draw(n_rows, np.random.default_rng(seed))
        for n_rows, seed in [(10, 0), (5_000, 0), (10, 1)]
    )
    np.testing.assert_array_equal(few, many[:10])
    assert (few != other).any()
    assert prior.draw(0, np.random.default_rng(0)).shape == (0, N_POSITIONS)
    assert all(weight.dtype == torch.float32 for weight in prior.parameters())


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_float32_agrees_with_float64(name):
    prior, codes = prior_of(name, 28, 512), random_codes(50, 28, 512)
    exact = prior.log_probabilities(codes)
    found = prior.float().log_probabilities(codes)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_a_row_has_the_same_probability_in_any_company(name):
    prior, codes = prior_of(name), random_codes(9)
    together = prior.log_probabilities(codes)
    alone = torch.cat([prior.log_probabilities(row[None]) for row in codes])
    torch.testing.assert_close(alone, together, rtol=1e-12, atol=1e-12)


# Independent


def test_independent_codes_have_smoothed_relative_frequencies():
    prior = IndependentCodes(2, 4)
    codes = torch.tensor([[0, 3], [0, 3], [0, 1], [2, 3]])
    for _ in range(50):
        prior.observe(codes)
    # A row more, of which each code has a quarter; over five rows.
    first = torch.tensor([3.25, 0.25, 1.25, 0.25]) / 5
    second = torch.tensor([0.25, 1.25, 0.25, 3.25]) / 5
    found = prior.log_probabilities(torch.arange(4)[:, None].expand(-1, 2)).exp()
    torch.testing.assert_close(found, torch.stack([first, second], dim=1))


def test_counts_forget_what_is_long_ago():
    prior = IndependentCodes(1, 3)
    for code in [0] * 50 + [1] * 1_000:
        prior.observe(torch.full((8, 1), code))
    found = prior.log_probabilities(torch.arange(3)[:, None]).exp()[:, 0]
    expected = torch.tensor([1 / 3, 8 + 1 / 3, 1 / 3]) / 9
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_counts_of_few_steps_are_not_biased_towards_the_start():
    prior = IndependentCodes(1, 2)
    prior.observe(torch.tensor([[0], [0], [0]]))
    once = prior.log_probabilities(torch.tensor([[0]]))
    prior.observe(torch.tensor([[0], [0], [0]]))
    torch.testing.assert_close(prior.log_probabilities(torch.tensor([[0]])), once)
    torch.testing.assert_close(once.exp(), torch.tensor([[3.5 / 4]]))


# Autoregressive


def test_a_gradient_reaches_all_parameters():
    prior = prior_of("autoregressive", 4, 5)
    prior.log_probabilities(random_codes(30, 4, 5)).sum().backward()
    for name, weight in prior.named_parameters():
        assert weight.grad.abs().max() > 0, name
    # And nothing but what looks back moves.
    for layer in (prior.hidden, prior.output):
        slopes = layer.linear.weight.grad
        assert torch.equal(slopes != 0, layer.mask != 0)


def test_logits_of_few_positions_at_a_time_are_the_same(monkeypatch):
    prior, codes = prior_of("autoregressive", 7, 5), random_codes(9, 7, 5)
    expected = prior.log_probabilities(codes)
    for most in (1, 10, 15):
        monkeypatch.setattr("latentsk.vae._autoregressive_codes.MAX_LOGITS", most)
        torch.testing.assert_close(prior.log_probabilities(codes), expected)


def test_parameters_come_from_the_generator():
    first, same, other = (
        initialize(AutoregressiveCodes(3, 8), generator(seed)).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["vectors.weight"], other["vectors.weight"])


def test_positions_that_determine_each_other_cost_their_entropy():
    """The third code is the exclusive or of two fair ones: two bits for three codes."""
    pairs = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
    prior = train(initialize(AutoregressiveCodes(3, 2), generator()), pairs)
    found = -prior.log_probabilities(pairs).detach().mean(dim=0)
    expected = torch.tensor([math.log(2), math.log(2), 0.0])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
    drawn = prior.draw(200, np.random.default_rng(0))
    assert ((drawn[:, 0] ^ drawn[:, 1]) == drawn[:, 2]).mean() > 0.97
    # Independent codes cannot know that.
    independent = IndependentCodes(3, 2)
    for _ in range(100):
        independent.observe(pairs)
    single = independent.log_probabilities(pairs)
    torch.testing.assert_close(single, torch.full((4, 3), -math.log(2)))


def test_independent_codes_cost_their_entropy():
    probabilities = np.array([0.5, 0.25, 0.125, 0.125])
    codes = np.random.default_rng(0).choice(4, size=(4_000, 2), p=probabilities)
    prior = initialize(AutoregressiveCodes(2, 4), generator())
    train(prior, torch.from_numpy(codes), 100)
    fresh = np.random.default_rng(1).choice(4, size=(4_000, 2), p=probabilities)
    found = -prior.log_probabilities(torch.from_numpy(fresh)).detach().mean(dim=0)
    entropy = stats.entropy(probabilities)
    torch.testing.assert_close(
        found, torch.full((2,), entropy).float(), rtol=0.02, atol=0
    )


# Graphs


class Both(torch.nn.Module):
    def __init__(self, prior: CodePrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, codes):
        self.prior.observe(codes)
        return self.prior.log_probabilities(codes).sum(dim=1)


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_a_step_is_one_graph(name):
    codes = random_codes(6)
    plain, traced = (Both(prior_of(name)) for _ in range(2))
    compiled = torch.compile(traced, fullgraph=True, backend="aot_eager")
    found, expected = compiled(codes), plain(codes)
    torch.testing.assert_close(found, expected)
    if name == "autoregressive":
        expected.sum().backward()
        found.sum().backward()
        pairs = zip(traced.parameters(), plain.parameters(), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours.grad, theirs.grad)
    else:
        assert torch.equal(traced.prior.counts, plain.prior.counts)


class Scores(torch.nn.Module):
    def __init__(self, prior: CodePrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, codes):
        return self.prior.log_probabilities(codes).sum(dim=1)


@pytest.mark.parametrize("name", CODE_PRIORS)
def test_probabilities_are_exported(name, tmp_path):
    module, codes = Scores(prior_of(name)).eval(), random_codes(6)
    path = tmp_path / "prior.onnx"
    write_model(path, traced(module, {"codes": codes}, ["scores"]), {})
    session = onnxruntime.InferenceSession(path)
    more = random_codes(11, seed=3)
    (found,) = session.run(None, {"codes": more.numpy()})
    np.testing.assert_allclose(found, module(more).detach().numpy(), rtol=1e-8)
