"""From a recall that is asked for to an index that has it.

Bounds against simulations, choices against a walk over everything that could have been
chosen, and the whole against data that leave nothing to find.
"""

import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from latentsk import LatentIndex
from latentsk.index import _ivf_tuning, _recall, _tuning
from latentsk.index._codebook import train_codebook
from latentsk.index._cost import coding_cost, exact_cost, search_cost
from latentsk.index._exact import ExactSearch, Query
from latentsk.index._inverted_lists import InvertedLists
from latentsk.index._ivf_search import IVFCodes, IVFSearch
from latentsk.index._ivf_tuning import (
    RERANKS,
    CodeTrainer,
    IVFFamily,
    IVFVariant,
    check_fits,
    components_to_try,
    fewest_probes,
    n_lists_for,
    probes,
    training_rows,
)
from latentsk.index._projection import Projection
from latentsk.index._recall import (
    found_share,
    fresh_queries,
    held_out_queries,
    recall_bounds,
    recall_table,
)
from latentsk.index._recall_grid import neighbor_ranks, scanned
from latentsk.index._search import Training, TuningTask
from latentsk.index._spec import IndexSpec
from latentsk.index._tuning import (
    BUDGET_FACTOR,
    budget_for,
    meets_target,
    n_affordable_queries,
    plain_cost,
    tune,
)
from latentsk.index._work import WorkBudget

pytest.importorskip("faiss")

K = 10
FAMILY = IVFFamily()
WHOLE = Projection(None, None, None)


# Confidence


def _graded(rng, mean, shape):
    """Recalls in tenths, as those of ten neighbours are."""
    return rng.binomial(10, mean, shape) / 10


def _uneven(rng, mean, shape):
    """Recalls of queries some of which find much less than others."""
    share = rng.beta(8 * mean, 8 * (1 - mean), shape)
    return rng.binomial(10, share) / 10


def _all_or_nothing(rng, mean, shape):
    return (rng.random(shape) < mean).astype(float)


@pytest.mark.parametrize("draw", [_graded, _uneven, _all_or_nothing])
@pytest.mark.parametrize("mean", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n_queries", [500, 2_000])
def test_bounds_hold_as_often_as_they_say(draw, mean, n_queries):
    rng = np.random.default_rng(0)
    bounds = np.array(
        [recall_bounds(recalls) for recalls in draw(rng, mean, (1_500, n_queries))]
    )
    _, lower, upper = bounds.T
    # 5 %, and three standard errors of 1,500 repetitions would be 1.7 % more.
    assert np.mean(lower > mean) <= 0.065
    assert np.mean(upper < mean) <= 0.065
    # But not by being wide: one query that found nothing, and its share of the error.
    error = draw(rng, mean, 100_000).std() / math.sqrt(n_queries)
    assert np.median(mean - lower) <= 1.7 * error + 3 / n_queries


@pytest.mark.parametrize("n_queries", [20, 500, 2_000])
def test_perfect_samples_do_not_prove_perfect_recall(n_queries):
    mean, lower, upper = recall_bounds(np.ones(n_queries))
    assert mean == upper == 1.0
    # A share p of queries that find nothing stays unseen with probability (1 - p)^n.
    unseen = 1 - 0.05 ** (1 / n_queries)
    assert lower == pytest.approx(1 - unseen, abs=0.4 / n_queries)


def test_no_recall_at_all_is_bounded_likewise():
    mean, lower, upper = recall_bounds(np.zeros(999))
    assert mean == lower == 0.0
    assert upper == pytest.approx(1 - recall_bounds(np.ones(999))[1])


def test_bounds_are_those_of_the_normal_distribution():
    recalls = np.random.default_rng(0).random(10_000)
    error = recalls.std() / 100
    mean, lower, upper = recall_bounds(recalls, 0.99)
    assert mean == recalls.mean()
    assert lower == pytest.approx(mean - norm.ppf(0.99) * error, abs=2e-4)
    assert upper == pytest.approx(mean + norm.ppf(0.99) * error, abs=2e-4)


@pytest.mark.parametrize("recalls", [[1.0], [0.0], [0.5, 1.0], [0.0, 0.0, 1.0]])
def test_bounds_of_few_queries_are_in_order(recalls):
    mean, lower, upper = recall_bounds(np.array(recalls))
    assert 0.0 <= lower <= mean <= upper <= 1.0


# What counts as found


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 3, 4], [1, 2, 3], 2 / 3),
        # Another row as far as the last one is as good.
        ([1, 2, 2], [1, 2, 2], 1.0),
        ([2, 2, 2], [1, 2, 2], 1.0),
        ([0, 0, 5], [0, 0, 0], 2 / 3),
        ([7, 8, 9], [1, 2, 3], 0.0),
    ],
)
def test_what_is_as_near_counts_as_found(found, true, expected):
    values = np.array([found, true], dtype=float)
    truth = np.array([true, true], dtype=float)
    assert found_share(values, truth).tolist() == [expected, 1.0]


# Numbers to try


@pytest.mark.parametrize("n_rows", [10_000, 12_345, 60_000, 10**6, 10**7])
def test_lists_are_about_as_many_as_rows_in_each(n_rows):
    n_lists = n_lists_for(n_rows)
    assert n_lists & (n_lists - 1) == 0
    assert 2**-0.5 <= n_lists / math.sqrt(n_rows) <= 2**0.5


@pytest.mark.parametrize("n_lists", [1, 2, 3, 10, 128, 1_000, 1_024])
def test_probes_go_from_one_to_all_in_steps(n_lists):
    numbers = probes(n_lists)
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    assert numbers[-1] == n_lists
    assert all(b <= 1.5 * a or b == a + 1 for a, b in itertools.pairwise(numbers))


@pytest.mark.parametrize(
    ("shares", "width", "expected"),
    [
        # 90 % in 7 columns, 97 % in 10: by eights.
        ([0.13] * 7 + [0.03] * 3, 100, [8, 16, 100]),
        # Everything in one column.
        ([1.0], 64, [8, 64]),
        # Where nearly all are needed, all are taken.
        ([0.1] * 10, 10, [10]),
        ([1 / 300] * 256, 300, [256]),
        ([0.0] * 50, 50, [50]),
        # 96 of 100 would save too little.
        ([0.01] * 100, 100, [100]),
        ([1.0], 1, [1]),
        ([1.0, 0.0], 2, [2]),
        ([1 / 1000] * 256, 1_000, [256]),
    ],
)
def test_components_are_those_that_explain_enough(shares, width, expected):
    assert components_to_try(np.array(shares), width) == expected


def test_training_rows_are_apart_from_the_held_out_ones():
    rng = np.random.default_rng(0)
    members = np.arange(0, 60_000, 2)
    apart = np.sort(rng.choice(members, 500, replace=False))
    trained = training_rows(members, 16, apart, rng)
    assert len(trained) == _ivf_tuning.MIN_TRAINING_ROWS
    assert len(np.unique(trained)) == len(trained)
    assert not np.isin(trained, apart).any()
    assert np.isin(trained, members).all()
    # Drawn over everything, not the first that come.
    assert trained.max() > 59_900
    few = training_rows(members[:600], 16, members[:100], rng)
    np.testing.assert_array_equal(few, members[100:600])
    many = training_rows(members, 400, apart, rng)
    assert len(many) == 400 * _ivf_tuning.ROWS_PER_LIST


# Held-out rows and their recall


N_ROWS, MANY = 4_000, 12_000


@pytest.fixture(scope="module", autouse=True)
def _few_held_out():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_recall, "MAX_HELD_OUT", 600)
        yield


@pytest.fixture(scope="module")
def rows():
    """Columns that depend on each other a little."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_ROWS, 8)) @ rng.normal(size=(8, 8))


def _built(rows, spec, metric="euclidean", members=None):
    exact = ExactSearch(rows, metric)
    members = np.arange(len(rows)) if members is None else members
    return FAMILY.build(exact, spec, Training(members, np.arange(0), 0, None))


SPECS = {
    "plain": "IVF32,PQ8x4fs,nprobe=4,rerank=2",
    "residual": "IVF32,PQ8x4fsr,nprobe=4,rerank=2",
    "reduced": "PCA5,IVF32,PQ5x4fs,nprobe=4,rerank=2",
    "whole": "IVF32,Flat,nprobe=4,rerank=1",
}


def _held_out(search_or_exact, members=None, k=K):
    exact = getattr(search_or_exact, "exact", search_or_exact)
    members = np.arange(exact.n_rows) if members is None else members
    return held_out_queries(exact, members, k, np.random.default_rng(1))


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
def test_held_out_rows_know_their_true_neighbours(rows, brute_force, metric):
    exact = ExactSearch(rows[:1_000], metric)
    members = np.arange(0, 1_000, 2)
    found = held_out_queries(exact, members, K, np.random.default_rng(0))
    assert np.isin(found.positions, members).all()
    assert len(np.unique(found.positions)) == len(found.positions) == 250
    np.testing.assert_array_equal(found.queries, rows[found.positions])
    truth = brute_force(rows[members], found.queries, metric)
    truth[np.arange(250), found.positions // 2] = np.inf
    expected = np.sort(truth, axis=1)[:, : found.values.shape[1]]
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)
    assert found.values.shape[1] >= K
    assert not (found.neighbors == found.positions[:, None]).any()


def test_as_many_rows_are_held_out_as_are_affordable(rows, monkeypatch):
    exact = ExactSearch(rows, "euclidean")
    monkeypatch.setattr(_recall, "MAX_HELD_OUT", 2_000)
    assert len(_held_out(exact).positions) == 2_000
    monkeypatch.setattr(_recall, "HELD_OUT_WORK", 2.0 * N_ROWS * 8 * 700)
    assert len(_held_out(exact).positions) == 700
    monkeypatch.setattr(_recall, "HELD_OUT_WORK", 1.0)
    assert len(_held_out(exact).positions) == 500
    assert len(_held_out(exact, np.arange(300)).positions) == 150


def _variant(search, held_out, k):
    """Return a variant that knows of every list and of the most candidates."""
    search.spec = search.codes.spec(search.lists.n_lists, RERANKS[-1])
    exact = search.exact
    ranks = neighbor_ranks(search.codes, exact, None, held_out)[:, :k]
    return IVFVariant.of(search, held_out, k, ranks)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("kind", SPECS)
def test_one_scan_tells_the_recall_of_smaller_ones(rows, kind, metric):
    spec = SPECS[kind]
    if metric == "inner_product":
        spec = spec.replace("PQ8", "PQ9")
    search = _built(rows, spec, metric)
    held_out = _held_out(search)
    for n_probe, most in ((1, 2), (3, 6), (8, 16), (32, 32)):
        search.spec = search.codes.spec(most, RERANKS[-1])
        grid = scanned(search, held_out, K)
        for rerank in (1.5, 4.0, 20.0):
            search.spec = search.codes.spec(n_probe, rerank)
            # Scanned anew, with no more lists than these.
            again = scanned(search, held_out, K)
            assert (again.list_ranks[again.list_ranks < 32] < n_probe).all()
            expected = again.recalls(n_probe, search.spec.n_candidates(K))
            found = grid.recalls(n_probe, search.spec.n_candidates(K))
            # Equal scores are cut off in no certain order.
            assert found.mean() == pytest.approx(expected.mean(), abs=0.02)
            assert np.mean(np.abs(found - expected) > 0.101) < 0.05


def test_the_row_itself_takes_no_candidate_s_place(rows):
    """All rows scanned and all measured: every neighbour is found."""
    search = _built(rows[:900], "IVF4,PQ8x4fs,nprobe=4,rerank=100")
    grid = scanned(search, _held_out(search), K)
    np.testing.assert_array_equal(grid.recalls(4, 899), 1.0)
    assert grid.recalls(4, 31).mean() < 1.0
    assert grid.recalls(4, 1).max() == 1 / K


def test_neighbours_are_known_by_their_lists(rows):
    search = _built(rows, SPECS["plain"])
    held_out = _held_out(search)
    ranks = neighbor_ranks(search.codes, search.exact, None, held_out)
    centers = search.codes.codebook.centers.astype(float)
    near = rows[held_out.neighbors[:20]]
    lists = np.linalg.norm(near[:, :, None] - centers, axis=3).argmin(axis=2)
    gaps = np.linalg.norm(held_out.queries[:20, None] - centers, axis=2)
    order = gaps.argsort(axis=1).argsort(axis=1)
    np.testing.assert_array_equal(ranks[:20], np.take_along_axis(order, lists, axis=1))


def _cheapest_of_all(variant, search, target, k):
    """Measure everything that could be chosen."""
    width, n_rows = search.exact.space.n_features, search.lists.n_rows
    good = []
    n_probes = _ivf_tuning.probes(search.lists.n_lists)
    for n_probe, rerank in itertools.product(n_probes, _ivf_tuning.RERANKS):
        spec = search.codes.spec(n_probe, rerank)
        recalls = variant.grid.recalls(n_probe, spec.n_candidates(k))
        cost = search_cost(spec, width, n_rows, k)
        if recall_bounds(recalls)[1] >= target and cost < exact_cost(n_rows, width):
            good.append((cost, spec))
    return min(good, key=lambda pair: pair[0])[1] if good else None


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(("target", "k"), [(0.5, 5), (0.9, 10), (0.98, 1), (0.95, 30)])
def test_the_cheapest_is_the_cheapest_of_all(rows, kind, target, k, monkeypatch):
    for name, few in (("RERANKS", RERANKS[::5]), ("probes", lambda n: range(2, n, 5))):
        monkeypatch.setattr(_ivf_tuning, name, few)
    search = _built(rows, SPECS[kind])
    variant = _variant(search, _held_out(search, k=k), k)
    found = variant.cheapest_spec(target, exact_cost(N_ROWS, 8))
    assert found == _cheapest_of_all(variant, search, target, k)


def test_there_is_none_where_no_code_can_tell(rows):
    noise = np.random.default_rng(0).normal(size=(2_000, 60))
    search = _built(noise, "PCA2,IVF16,PQ2x4fs,nprobe=4,rerank=2")
    variant = _variant(search, _held_out(search), K)
    assert variant.cheapest_spec(0.99, exact_cost(2_000, 60)) is None


def test_lists_alone_tell_how_many_are_needed():
    ranks = np.repeat([[0, 1], [0, 5]], 500, axis=0)
    assert fewest_probes(ranks, 0.45, 8) == 1
    assert fewest_probes(ranks, 0.7, 8) == 2
    assert fewest_probes(ranks, 0.9, 8) == 6
    assert fewest_probes(ranks, 0.9, 5) is None


class _Hopeful:
    """A variant that expects more than is found."""

    def __init__(self, search):
        self.search, self.asked = search, []

    def cheapest_spec(self, target, limit):
        self.asked.append(target)
        return IndexSpec.parse("IVF32,PQ8x4fs,nprobe=1,rerank=1")


def _task(exact, held_out, members, target=0.95, k=K, seed=0, limit=math.inf):
    training = Training(members, held_out.positions, seed, None)
    return TuningTask(exact, training, held_out, target, k, WorkBudget(limit))


def test_more_is_asked_for_where_less_is_found_than_expected(rows):
    search, members = _built(rows, SPECS["plain"]), np.arange(N_ROWS)
    variant = _Hopeful(search)
    task = _task(search.exact, _held_out(search), members)
    assert not meets_target(variant, task, members, math.inf)
    assert variant.asked == sorted(set(variant.asked))
    assert len(variant.asked) == _tuning.ATTEMPTS
    assert variant.asked[0] == 0.95
    # What is found decides, not what was expected.
    variant.asked.clear()
    assert meets_target(variant, task._replace(target=0.1), members, math.inf)
    assert variant.asked == [0.1]


def test_nothing_is_asked_for_beyond_the_budget(rows):
    search, members = _built(rows, SPECS["plain"]), np.arange(N_ROWS)
    variant = _Hopeful(search)
    task = _task(search.exact, _held_out(search), members)
    search.spec = variant.cheapest_spec(0.0, 0.0)
    task.budget.limit = 2.5 * len(task.held_out.queries) * search.cost(K, N_ROWS)
    variant.asked.clear()
    assert not meets_target(variant, task, members, math.inf)
    assert len(variant.asked) == 3
    assert task.budget.spent <= task.budget.limit


@pytest.mark.parametrize("metric", ["euclidean", "inner_product"])
def test_the_table_says_what_brute_force_says(rows, metric):
    spec = SPECS["plain"].replace("PQ8", "PQ9" if metric == "inner_product" else "PQ8")
    search = _built(rows, spec, metric)
    members = np.arange(N_ROWS)
    held_out = _held_out(search)
    table = recall_table(search, held_out, members, 25)
    np.testing.assert_array_equal(table[:, 0], [1, 10, 25, 100])
    for k, share, lower, upper in table:
        asked = held_out.with_neighbors(int(k))
        _, found = search.neighbors(Query(asked.queries, int(k), asked.positions))
        hits = [
            len(set(a) & set(b))
            for a, b in zip(
                found.tolist(), asked.neighbors[:, : int(k)].tolist(), strict=True
            )
        ]
        assert share == pytest.approx(np.mean(hits) / k, abs=1e-12)
        assert lower < share <= upper


def test_the_table_of_an_exact_search_is_perfect(rows):
    exact = ExactSearch(rows[:60], "euclidean")
    table = recall_table(exact, None, np.arange(60), 7)
    np.testing.assert_array_equal(table, [[1, 1, 1, 1], [7, 1, 1, 1], [10, 1, 1, 1]])


def test_recall_of_new_queries(rows):
    search = _built(rows[:-500], SPECS["plain"])
    held_out = fresh_queries(search.exact, rows[-500:], K, None)
    assert held_out.positions is None
    table = recall_table(search, held_out, np.arange(N_ROWS - 500), K)
    found = search.neighbors(Query(rows[-500:], K))[1]
    true = search.exact.neighbors(Query(rows[-500:], K))[1]
    shares = [
        len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)
    ]
    assert table[1, 1] == pytest.approx(np.mean(shares) / K, abs=1e-12)


# Structures


def _decaying():
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(2_000, 64)) * 0.9 ** np.arange(64)
    return sample.astype(np.float32)


def test_codes_come_the_cheapest_first():
    specs = CodeTrainer(_decaying(), 8, WHOLE, 0).specs()
    numbers = [spec.n_codes for spec in specs]
    assert numbers.pop(1) is None
    assert numbers[-2:] == [64, 64]
    assert numbers == sorted(numbers)
    assert [s.residual for s in specs] == [False] * (len(specs) - 1) + [True]
    coded = [s for s in specs if s.n_codes]
    assert [s.n_components for s in coded] == [n if n < 64 else None for n in numbers]
    costs = [search_cost(replace(s, n_probe=4), 64, 20_000, K) for s in coded]
    assert costs == sorted(costs)


def test_codes_share_their_lists():
    """The centres of other codes are the means of the same rows."""
    sample = _decaying()
    trainer = CodeTrainer(sample, 8, WHOLE, 0)
    first, whole, *_, residual = [trainer.codes(spec) for spec in trainer.specs()]
    few = first.projection.reduced(sample)
    gaps = np.linalg.norm(few[:, None] - first.codebook.centers, axis=2)
    lists = gaps.argmin(axis=1)
    means = np.stack([sample[lists == number].mean(axis=0) for number in range(8)])
    for codes in (whole, residual):
        np.testing.assert_allclose(codes.codebook.centers, means, atol=1e-5)
    assert whole.codebook.values is None
    # Differences to a mean have none.
    assert np.abs(residual.codebook.values.mean(axis=1)).max() < 1.5


def test_a_search_is_restored_from_its_state(rows):
    for spec in SPECS.values():
        search = _built(rows, spec)
        flat_over = partial(ExactSearch, rows, "euclidean")
        again = search.to_state().restore(flat_over, np.arange(N_ROWS), None)
        assert again.spec == search.spec == IndexSpec.parse(spec)
        query = Query(rows[:50], K)
        for found, expected in zip(
            again.neighbors(query), search.neighbors(query), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("IVF128,PQ8x4fs,nprobe=4,rerank=2", "128 lists, but there are 100 rows"),
        ("IVF16,PQ7x4fs,nprobe=4,rerank=2", "codes 7 coordinates.* have 8"),
        ("IVF16,PQ9x4fs,nprobe=4,rerank=2", "codes 9 coordinates.* have 8"),
        ("PCA9,IVF16,PQ9x4fs,nprobe=4,rerank=2", "codes 9 coordinates.* have 8"),
    ],
)
def test_what_does_not_fit_is_named(rows, spec, match):
    with pytest.raises(ValueError, match=match):
        check_fits(IndexSpec.parse(spec), 100, 8)
    with pytest.raises(ValueError, match=match):
        _built(rows[:100], spec)


def test_as_many_components_as_columns_fit(rows):
    assert _built(rows, "PCA8,IVF16,PQ8x4fs,nprobe=4,rerank=2").lists.n_rows == N_ROWS


# Everything together


def _tuned(rows, target=0.95, k=K, metric="euclidean", seed=0, members=None):
    exact = ExactSearch(rows, metric)
    members = np.arange(len(rows)) if members is None else members
    reports = []
    held_out = held_out_queries(exact, members, k, np.random.default_rng(seed))
    task = _task(exact, held_out, members, target, k, seed)
    search = tune(task, [FAMILY], reports.append)
    return search, held_out, reports


@pytest.fixture(scope="module")
def many_rows():
    rng = np.random.default_rng(2)
    return rng.normal(size=(MANY, 8)) @ rng.normal(size=(8, 8))


def test_tuning_repeats(many_rows):
    (first, *_), (second, *_), (other, *_) = (
        _tuned(many_rows, seed=seed) for seed in (3, 3, 4)
    )
    assert first.spec == second.spec
    for one, again in zip(first.codes.codebook, second.codes.codebook, strict=True):
        np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(
        first.codes.projection.axes, second.codes.projection.axes
    )
    assert not np.array_equal(
        first.codes.codebook.centers, other.codes.codebook.centers
    )


def test_tuning_meets_its_target_at_less_work(many_rows):
    search, held_out, reports = _tuned(many_rows)
    assert isinstance(search, IVFSearch)
    assert search_cost(search.spec, 8, MANY, K) < exact_cost(MANY, 8)
    table = recall_table(search, held_out, np.arange(MANY), K)
    assert table[table[:, 0] == K][0, 2] >= 0.95
    assert any("trying" in report for report in reports)


def test_a_higher_target_costs_more(many_rows):
    costs = [
        search_cost(_tuned(many_rows, target)[0].spec, 8, MANY, K)
        for target in (0.5, 0.95)
    ]
    assert costs[0] < costs[1]


@pytest.mark.parametrize(("n_rows", "width"), [(999, 300), (3_000, 8), (1_500, 64)])
def test_few_rows_are_searched_exactly(n_rows, width):
    rows = np.random.default_rng(0).normal(size=(n_rows, width))
    index = LatentIndex(target_recall=0.5).fit(rows)
    assert index.index_spec_ == "Flat"
    np.testing.assert_array_equal(index.recall_, 1.0)


def test_many_neighbours_are_searched_for_exactly(many_rows):
    assert isinstance(_tuned(many_rows[:10_000], k=1_000)[0], ExactSearch)


def test_removed_rows_take_no_part(many_rows):
    members = np.union1d(np.arange(0, MANY, 3), np.arange(2_000, 11_500))
    search, held_out, _ = _tuned(many_rows, members=members)
    assert search.lists.n_rows == len(members)
    assert np.isin(held_out.positions, members).all()
    assert np.isin(held_out.neighbors, members).all()
    _, found = search.neighbors(Query(many_rows[:300], K, None, members))
    assert np.isin(found, members).all()


def test_no_codes_are_better_than_those_that_miss():
    """White noise in 300 dimensions: all rows are about as far away."""
    noise = np.random.default_rng(0).normal(size=(2_000, 300)).astype(np.float32)
    search, *_ = _tuned(noise, 0.99)
    assert isinstance(search, ExactSearch)


def test_what_float32_takes_for_ties_is_not_what_is_promised(rows):
    """Beside one enormous row, float32 sees all others at the same place."""
    rows = np.tile(rows[:2_000], (1, 12))
    rows[0] = 1e30
    search, held_out, _ = _tuned(rows, 0.9)
    shares = held_out.recalls(search, np.arange(2_000), K)
    assert recall_bounds(shares)[1] >= 0.9


@pytest.mark.parametrize("scale", [1e16, 1e30, 1e99])
def test_what_float32_cannot_square_is_searched_exactly(rows, scale):
    with np.errstate(over="ignore"):
        search, *_ = _tuned(scale * rows, metric="inner_product")
    assert isinstance(search, ExactSearch)


# Data with traps


def _mixed(rng, n, d):
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d))


def _copies(rng, n):
    return np.resize(_mixed(rng, n // 30, 6), (n, 6))


def _tight(rng, n):
    labels = rng.integers(0, 300, n)
    return rng.normal(size=(300, 8))[labels] + 0.01 * rng.normal(size=(n, 8))


def _groups_far_apart(rng, n):
    return 1e6 * rng.integers(0, 2, (n, 1)) + 1e-3 * rng.normal(size=(n, 5))


def _one_far_away(rng, n, distance):
    data = _mixed(rng, n, 5)
    data[7] = distance
    return data


DATA = {
    "ordinary": lambda rng, n: _mixed(rng, n, 6),
    "copies": _copies,
    "tight": _tight,
    "constant_columns": lambda rng, n: np.hstack(
        [_mixed(rng, n, 5), np.full((n, 3), 7.5)]
    ),
    "constant": lambda _, n: np.full((n, 4), 0.3),
    "zeros": lambda _, n: np.zeros((n, 3)),
    "one_column": lambda rng, n: rng.normal(size=(n, 1)),
    "two_columns": lambda rng, n: rng.normal(size=(n, 2)),
    "off_centre": lambda rng, n: 1e6 + _mixed(rng, n, 6),
    "tiny": lambda rng, n: 1e-200 * _mixed(rng, n, 6),
    "huge": lambda rng, n: 1e98 * _mixed(rng, n, 6),
    "groups_far_apart": _groups_far_apart,
    "one_far_away": lambda rng, n: _one_far_away(rng, n, 1e4),
    "one_very_far_away": lambda rng, n: _one_far_away(rng, n, 1e30),
    "lattice": lambda rng, n: rng.integers(0, 4, (n, 4)).astype(float),
    "rectified": lambda rng, n: np.maximum(_mixed(rng, n, 8), 0),
    "sparse": lambda rng, n: _mixed(rng, n, 8) * (rng.random((n, 8)) < 0.1),
    "heavy_tails": lambda rng, n: rng.standard_cauchy(size=(n, 5)),
    "some_zero_rows": lambda rng, n: _mixed(rng, n, 6) * (rng.random((n, 1)) < 0.9),
    "columns_1e-6_to_1e6": lambda rng, n: (
        rng.normal(size=(n, 6)) * 10.0 ** np.linspace(-6, 6, 6)
    ),
}
NARROW = {"one_column", "two_columns"}
# Under other metrics, what they are sensitive to.
CASES = [
    *(("euclidean", name) for name in DATA if name not in {*NARROW, "zeros"}),
    *(
        ("cosine", name)
        for name in ("ordinary", "copies", "tiny", "huge", "some_zero_rows")
    ),
    *(("inner_product", name) for name in ("ordinary", "copies", "some_zero_rows")),
]
# What they are not, or what takes long.
SLOW = [
    *(("euclidean", name) for name in ("one_column", "two_columns", "zeros")),
    *(("cosine", name) for name in ("constant", "off_centre", "lattice", "sparse")),
    *(("cosine", name) for name in ("zeros", "one_column", "heavy_tails")),
    *(("inner_product", name) for name in ("zeros", "constant", "tiny")),
    *(("inner_product", name) for name in ("off_centre", "one_far_away", "lattice")),
    *(("inner_product", name) for name in ("heavy_tails", "columns_1e-6_to_1e6")),
]


def _fraction_found(found, true, similarity):
    sign = -1 if similarity else 1
    return found_share(sign * found, sign * true)


def _check_case(metric, name, dtype, target=0.9, n_rows=3_000, k=K, width=72):
    rng = np.random.default_rng(7)
    data = DATA[name](rng, n_rows + 400).astype(dtype)
    # More columns that say the same make an exact search of few rows dear.
    data = np.tile(data, (1, max(1, width // data.shape[1])))
    rng.shuffle(data)
    rows, queries = data[:n_rows], data[n_rows:]
    index = LatentIndex(metric=metric, target_recall=target, n_neighbors=k).fit(rows)
    table = index.search(queries)
    values = table.iloc[:, 3].to_numpy().reshape(-1, k)
    positions = table["id"].to_numpy().reshape(-1, k)
    similarity = metric == "inner_product"
    assert positions.min() >= 0
    assert positions.max() < n_rows
    assert (np.diff(np.sort(positions, axis=1), axis=1) > 0).all()
    assert (
        (np.diff(values, axis=1) <= 0) if similarity else (np.diff(values) >= 0)
    ).all()
    space = ExactSearch(rows, metric).space
    with np.errstate(all="ignore"):
        inside = space.queries(queries)[:, None, :]
        measured = space.to_metric(space.exact_distances(inside, space.rows(positions)))
    np.testing.assert_array_equal(values, measured)
    if index.index_spec_ != "Flat":
        assert index.recall_.loc[k, "lower"] >= target
        true = LatentIndex(metric=metric, n_neighbors=k).fit(rows).search(queries)
        true = true.iloc[:, 3].to_numpy().reshape(-1, k)
        shares = _fraction_found(values, true, similarity)
        error = max(shares.std(), 0.02) / math.sqrt(len(shares))
        assert shares.mean() >= target - 3 * error
    return index


@pytest.mark.parametrize(("metric", "name"), CASES)
def test_answers_are_valid_and_targets_met(metric, name):
    _check_case(metric, name, np.float64)


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "name"), SLOW)
def test_answers_are_valid_and_targets_met_elsewhere(metric, name):
    _check_case(metric, name, np.float64, n_rows=20_000, width=1)


@pytest.mark.slow
@pytest.mark.parametrize("target", [0.5, 0.99])
@pytest.mark.parametrize(("metric", "name"), CASES)
def test_answers_are_valid_at_other_targets(metric, name, target):
    if name in ("tiny", "huge", "one_very_far_away"):
        pytest.skip("float32 does not hold it, or its squares")
    _check_case(metric, name, np.float32, target, n_rows=15_000, width=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ordinary", "tight", "copies", "lattice"])
@pytest.mark.parametrize("k", [1, 30])
def test_more_rows_and_other_numbers_of_neighbours(name, k):
    _check_case("euclidean", name, np.float64, n_rows=40_000, k=k, width=1)


def test_small_clusters_are_found_in_too():
    """Codes of the whole space cannot tell rows of the same small cluster apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 32, MANY)
    rows = rng.normal(size=(32, 8))[labels] + 0.01 * rng.normal(size=(MANY, 8))
    search, held_out, _ = _tuned(rows, 0.9)
    shares = held_out.recalls(search, np.arange(MANY), K)
    assert recall_bounds(shares)[1] >= 0.9


def test_projections_and_codebooks_need_no_index(many_rows):
    """What is found is plain arrays: codes made by hand serve as well."""
    sample = many_rows.astype(np.float32)
    codebook = train_codebook(sample, 16, residual=False, seed=0)
    codes = IVFCodes(WHOLE, codebook)
    exact = ExactSearch(many_rows, "euclidean")
    search = IVFSearch(exact, codes.spec(16, 20.0), codes, np.arange(MANY))
    found = search.neighbors(Query(many_rows[:50], K))
    true = exact.neighbors(Query(many_rows[:50], K))
    assert found_share(found[0], true[0]).mean() > 0.99


def test_no_codes_would_have_been_much_cheaper():
    """Few components need many candidates; more of them are tried where that pays."""
    rng = np.random.default_rng(3)
    data = rng.normal(size=(12_000, 48)) + 3.0 * rng.normal(size=(12_000, 6)) @ (
        rng.normal(size=(6, 48))
    )
    data = data.astype(np.float32)
    search, held_out, _ = _tuned(data, 0.9)
    exact = search.exact
    members = np.arange(len(data))
    n_lists = n_lists_for(len(data))
    trained = training_rows(
        members, n_lists, held_out.positions, np.random.default_rng(0)
    )
    costs = []
    trainer = CodeTrainer(data[trained], n_lists, WHOLE, 0)
    for spec in (s for s in trainer.specs() if s.n_codes and not s.residual):
        codes = trainer.codes(spec)
        other = IVFSearch(exact, codes.spec(n_lists, RERANKS[-1]), codes, members)
        ranks = neighbor_ranks(codes, exact, None, held_out)[:, :K]
        variant = IVFVariant.of(other, held_out, K, ranks)
        task = _task(exact, held_out, members, 0.9)
        if meets_target(variant, task, members, exact_cost(len(data), 48)):
            costs.append(search_cost(other.spec, 48, len(data), K))
    assert len(costs) > 1
    found = search_cost(search.spec, 48, len(data), K)
    assert found <= min(costs) / _ivf_tuning.WORTHWHILE_SHARE


@pytest.mark.parametrize("spec", ["IVF4,PQ38x4fs,nprobe=2,rerank=3"])
def test_vectors_beyond_float32_have_no_lists(spec):
    rows = np.random.default_rng(0).normal(size=(500, 37)) * 1e90
    with pytest.raises(ValueError, match="range of float32"):
        LatentIndex(index_spec=spec, metric="inner_product").fit(rows)


# What a fit costs


class _Counted:
    """Counts what a fit does, at the prices of `_cost`."""

    def __init__(self, patch):
        self.work, self.searched, self.coded = 0.0, 0, 0
        candidates, add = ExactSearch.candidates, InvertedLists.add
        scan = InvertedLists.scan

        def compare(search, queries, *others, **named):
            n_pairs = len(queries) * search.n_rows
            self.searched += len(queries)
            self.work += n_pairs * exact_cost(1, search.space.n_features)
            return candidates(search, queries, *others, **named)

        def code(lists, positions, rows, *others):
            spec = IndexSpec(lists.n_lists, _n_codes(lists), 1, 1.0)
            self.work += coding_cost(len(rows), rows.shape[1], spec)
            self.coded += len(rows)
            return add(lists, positions, rows, *others)

        def scanned(lists, queries, numbers, distances, n_candidates, *others):
            n_probe = numbers.shape[1]
            spec = IndexSpec(lists.n_lists, _n_codes(lists), n_probe, 1.0)
            n_columns = queries.shape[1]
            cost = search_cost(spec, n_columns, lists.n_rows, n_candidates)
            self.work += len(queries) * cost
            return scan(lists, queries, numbers, distances, n_candidates, *others)

        patch.setattr(ExactSearch, "candidates", compare)
        patch.setattr(InvertedLists, "add", code)
        patch.setattr(InvertedLists, "scan", scanned)


def _n_codes(lists):
    values = lists.codebook.values
    return None if values is None else len(values)


@pytest.fixture
def counted(monkeypatch):
    return _Counted(monkeypatch)


def _zipf(n_rows, width, spreads, apart, seed=0):
    """Groups whose sizes follow Zipf's law, and whose spreads are unlike."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, 101)
    labels = rng.choice(100, n_rows, p=weights / weights.sum())
    centers = apart * rng.normal(size=(100, width))
    scales = rng.uniform(*spreads, 100)[labels, None]
    noise = scales * rng.normal(size=(n_rows, width))
    return (centers[labels] + noise).astype(np.float32)


def _normal(n_rows, width):
    return np.random.default_rng(0).normal(size=(n_rows, width)).astype(np.float32)


TO_FIT = {
    "wide noise": lambda: _normal(3_000, 700),
    "few wide rows": lambda: _normal(1_200, 900),
    "narrow noise": lambda: _normal(20_000, 8),
    "unlike groups": lambda: _zipf(12_000, 64, (0.05, 2.0), 3.0),
    "overlapping groups": lambda: _zipf(12_000, 48, (0.3, 1.5), 1.0),
    "decaying": lambda: _normal(8_000, 200) * 0.97 ** np.arange(200, dtype=np.float32),
}


@pytest.mark.parametrize("target", [0.9, 0.99])
@pytest.mark.parametrize("name", TO_FIT)
def test_a_fit_costs_a_small_multiple_of_the_cheaper_way(name, target, counted):
    rows = TO_FIT[name]()
    index = LatentIndex(target_recall=target, n_neighbors=10).fit(rows)
    plain = plain_cost([FAMILY], *rows.shape)
    assert plain <= rows.shape[0] * exact_cost(*rows.shape)
    # The table of recall comes on top: a few searches more, and some deep ones.
    assert counted.work <= budget_for(plain) + 0.5 * plain
    assert budget_for(plain) <= BUDGET_FACTOR * plain
    assert index.index_spec_ == "Flat" or index.recall_.loc[10, "lower"] >= target


@pytest.mark.parametrize("shape", [(1_200, 900), (1_000, 784)])
def test_nothing_is_tried_where_all_pairs_cost_less_than_a_build(shape, counted):
    assert FAMILY.build_cost(*shape) > shape[0] * exact_cost(*shape)
    index = LatentIndex(target_recall=0.9).fit(_normal(*shape))
    assert index.index_spec_ == "Flat"
    assert counted.searched == counted.coded == 0


@pytest.mark.parametrize("spreads", [(0.05, 2.0), (0.02, 1.0), (0.3, 1.5)])
def test_groups_of_unlike_sizes_and_spreads_end_with_lists(spreads):
    rows = _zipf(20_000, 64, spreads, 3.0)
    index = LatentIndex(target_recall=0.95, n_neighbors=10).fit(rows[:-300])
    assert index.index_spec_.startswith(("IVF", "PCA"))
    held = LatentIndex(n_neighbors=10).fit(rows[:-300])
    found, true = (i.kneighbors(rows[-300:])[0] for i in (index, held))
    shares = found_share(found, true)
    error = max(shares.std(), 0.02) / math.sqrt(len(shares))
    assert shares.mean() >= 0.95 - 3 * error


def test_as_many_rows_are_held_out_as_the_plain_work_allows():
    exact = exact_cost(100_000, 32)
    share = _tuning.TRUTH_FACTOR
    assert n_affordable_queries(900 * exact / share, 100_000, 32) == 900
    assert n_affordable_queries(0.0, 100_000, 32) == _recall.MIN_HELD_OUT
    assert n_affordable_queries(1e20, 100_000, 32) == _tuning.MAX_HELD_OUT
    assert n_affordable_queries(1e20, 4_000, 32) == 1_000
    assert n_affordable_queries(1e20, 700, 32) == 350
