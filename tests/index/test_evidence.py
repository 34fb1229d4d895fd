"""What recall is expected of queries, against what they find."""

import warnings

import numpy as np
import pytest

from latentsk import LatentIndex
from latentsk.index._evidence import GROUPS, Evidence, falls_short, missed_shares

WIDTH, N_ROWS, TARGET = 48, 20_000, 0.95
WARNING = "Many of these queries are unlike the rows"


def test_groups_hold_as_many_queries_each():
    rng = np.random.default_rng(0)
    shares, recalls = rng.random(1_000), rng.random(1_000)
    evidence = Evidence.of(shares, recalls, 5)
    order = np.argsort(shares)
    expected = recalls[order].reshape(GROUPS, -1).mean(axis=1)
    np.testing.assert_allclose(evidence.recalls, expected)
    # So what the queries have found is what is expected of them.
    assert evidence.expected(shares).mean() == pytest.approx(recalls.mean())


def test_equal_shares_expect_what_all_have_found():
    evidence = Evidence.of(np.zeros(50), np.linspace(0.5, 1.0, 50), 5)
    np.testing.assert_allclose(evidence.expected(np.array([0.0, 0.3])), 0.75)
    assert evidence.expected(np.array([-1.0])).item() == pytest.approx(0.75)


def test_shares_are_those_of_the_lists_that_are_left_out():
    rng = np.random.default_rng(0)
    rates, counts = rng.random((20, 6)), rng.integers(0, 9, 6)
    scanned = np.array([rng.permutation(6)[:2] for _ in range(20)])
    found = missed_shares(rates, counts, scanned)
    for share, own, lists in zip(found, rates, scanned, strict=True):
        hits = own * counts
        assert share == pytest.approx(1.0 - hits[lists].sum() / hits.sum())
    np.testing.assert_array_equal(
        missed_shares(np.zeros((2, 6)), counts, scanned[:2]), 0
    )


def test_chance_is_no_shortfall():
    rng = np.random.default_rng(0)
    batches = rng.choice([0.9, 1.0], size=(200, 100))  # 0.95 on average
    assert np.mean([falls_short(batch, 0.95) for batch in batches]) < 0.1
    assert all(falls_short(batch, 0.985) for batch in batches)


class _Zipf:
    """Rows in groups of very different sizes, which overlap."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.centers = 0.6 * self.rng.normal(size=(60, WIDTH))
        sizes = 1 / np.arange(1, 61) ** 1.3
        self.shares = sizes / sizes.sum()
        self.rows = self.draw(self.rng.choice(60, N_ROWS, p=self.shares))

    def draw(self, groups):
        return self.centers[groups] + self.rng.normal(size=(len(groups), WIDTH))


@pytest.fixture(scope="module")
def zipf():
    pytest.importorskip("faiss")
    data = _Zipf(101)
    return data, LatentIndex(target_recall=TARGET, device="cpu").fit(data.rows)


def _recall_and_warnings(index, rows, queries, k=5):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = index.kneighbors(queries, k, return_distance=False)
    squares = np.sum(rows**2, axis=1) - 2.0 * queries @ rows.T
    true = np.argsort(squares, axis=1)[:, :k]
    shares = [len(np.intersect1d(*pair)) / k for pair in zip(found, true, strict=True)]
    return np.mean(shares), [str(w.message) for w in said]


def test_queries_like_the_rows_are_found_without_a_warning(zipf):
    data, index = zipf
    assert index.index_spec_ != "Flat"
    queries = data.draw(data.rng.choice(60, 400, p=data.shares))
    recall, said = _recall_and_warnings(index, data.rows, queries)
    assert recall >= TARGET - 0.015  # 2,000 neighbours: two standard errors
    assert said == []


@pytest.mark.parametrize("groups", [range(60), range(40, 60)], ids=["evenly", "rare"])
def test_a_promise_that_is_not_kept_is_no_secret(zipf, groups, tmp_path):
    """Each group as often as any other, or the rare ones only."""
    data, index = zipf
    queries = data.draw(data.rng.choice(groups, 400))
    recall, said = _recall_and_warnings(index, data.rows, queries)
    assert recall >= TARGET or (said and said[0].startswith(WARNING))
    index.save(tmp_path / "index")
    loaded = LatentIndex.load(tmp_path / "index")
    assert _recall_and_warnings(loaded, data.rows, queries) == (recall, said)


def test_the_expected_recall_is_about_what_is_found(zipf):
    data, index = zipf
    search = index._engine.search
    for groups in (range(60), range(40, 60), range(3)):
        queries = data.draw(data.rng.choice(groups, 600))
        recall, _ = _recall_and_warnings(index, data.rows, queries)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            distances, _ = index.kneighbors(queries, 5)
        shares, is_unusual = search._missed_shares(queries, distances)
        expected = np.where(is_unusual, 1.0, search.evidence.expected(shares))
        assert expected.mean() == pytest.approx(recall, abs=0.02)
