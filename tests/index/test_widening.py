"""What is expected in lists, and behind candidates, against simulation."""

import numpy as np
import pytest

from latentsk.index._inverted_lists import Scanned
from latentsk.index._list_spread import ListSpread
from latentsk.index._usual import HARD, USUAL, Measures, Usual, contrasts_of
from latentsk.index._widening import (
    expected_beyond,
    farthest_of_best,
    further_lists,
    merged,
)

CENTERS = np.array([[0, 0, 0, 0], [6, 0, 0, 0], [0, 9, 0, 0]], np.float32)


def _spread(draw, n_rows=30_000):
    rng = np.random.default_rng(0)
    lists = rng.integers(0, 3, n_rows)
    rows = (CENTERS[lists] + draw(rng, n_rows)).astype(np.float32)
    spread = ListSpread(CENTERS)
    for part in np.array_split(np.arange(n_rows), 7):
        spread.add(lists[part], rows[part])
    return spread, lists, rows


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.normal(size=(n, 4)),
        lambda rng, n: rng.normal(size=(n, 4)) * [2, 1, 0.5, 0.1],
        lambda rng, n: rng.standard_t(3, size=(n, 4)),
        lambda rng, n: 1.0 + rng.normal(size=(n, 4)),
    ],
    ids=["normal", "flat", "heavy", "shifted"],
)
@pytest.mark.parametrize("quantile", [0.01, 0.1, 0.5])
def test_rates_are_those_of_the_rows(draw, quantile):
    spread, lists, rows = _spread(draw)
    queries = np.array([[3, 3, 0, 0], [-4, 0, 2, 0], [12, 9, 1, 1]], np.float32)
    for query in queries:
        squares = np.sum((rows - query) ** 2, axis=1)
        limit = np.quantile(squares, quantile)
        (rates,) = spread.rates(query[None], np.array([limit]))
        for number in range(3):
            true = np.mean(squares[lists == number] <= limit)
            assert abs(rates[number] - true) < 0.12
            # Small ones, too: not less than a third where there are rows to count.
            if true * 10_000 > 30:
                assert rates[number] > true / 3


def test_rates_of_no_rows_are_those_of_all():
    spread, _, _ = _spread(lambda rng, n: rng.normal(size=(n, 4)))
    before = spread.rates(CENTERS, np.full(3, 4.0))
    spread.clear(1)
    after = spread.rates(CENTERS, np.full(3, 4.0))
    np.testing.assert_allclose(after[:, [0, 2]], before[:, [0, 2]], rtol=1e-4)
    assert after[1, 1] == pytest.approx(before[1, 1], abs=0.1)


def test_equal_rows_are_a_point():
    spread = ListSpread(CENTERS)
    spread.add(np.zeros(500, dtype=int), np.ones((500, 4), np.float32))
    near, far = spread.rates(np.ones((2, 4), np.float32), np.array([1.0, 1e-9]))[:, 0]
    assert near > 0.9
    assert 0 <= far <= 1


def test_lists_are_scanned_until_little_is_missed():
    rng = np.random.default_rng(0)
    rates, counts = rng.random((40, 12)) ** 4, rng.integers(0, 50, 12)
    is_scanned = rng.random((40, 12)) < 0.2
    for missed in (0.0, 0.05, 0.3, 1.0):
        found = further_lists(rates, counts, is_scanned, missed)
        assert not (found & is_scanned).any()
        hits = rates * counts
        left = np.where(found | is_scanned, 0.0, hits).sum(axis=1)
        assert (left <= missed * hits.sum(axis=1) + 1e-12).all()
        for row in range(40):
            # None too many: without the least likely one, too much would be missed.
            if found[row].any():
                least = np.flatnonzero(found[row])[rates[row][found[row]].argmin()]
                assert left[row] + hits[row, least] > missed * hits[row].sum()


def test_lists_that_look_alike_are_all_scanned():
    rates, counts = np.zeros((1, 4)), np.array([3, 0, 5, 2])
    is_scanned = np.array([[True, False, False, False]])
    found = further_lists(rates, counts, is_scanned, 0.1)
    assert found.tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("error", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("n_candidates", [40, 160])
def test_rows_behind_the_candidates(error, n_candidates):
    """Values spaced evenly, and scores that differ from them by normal errors."""
    rng, k, missed, expected = np.random.default_rng(0), 10, [], []
    for _ in range(300):
        values = np.arange(1_000) * 0.25
        scores = values + 3.0 + error * rng.normal(size=1_000)
        behind = np.sort(scores)[k - 1] >= scores[n_candidates:]
        missed.append(np.count_nonzero(behind))
        few = values[None, :n_candidates], scores[None, :n_candidates]
        some = (part.astype(np.float32) for part in few)
        expected.append(expected_beyond(*some, k)[0])
    # The distance of the k-th candidate is that of a worse one, where some are missed.
    assert np.mean(expected) >= 0.9 * np.mean(missed)
    assert np.mean(expected) <= 4.0 * np.mean(missed) + 0.05


def test_nothing_is_behind_all_there_are():
    values = np.array([[1.0, 2.0, 3e38]], np.float32)
    scores = np.array([[9.0, 2.0, np.inf]], np.float32)
    assert expected_beyond(values, scores, 1).tolist() == [0.0]


@pytest.mark.parametrize("value", [0.0, 1.0, 1e30])
@pytest.mark.parametrize("slope", [1.0, None])
def test_rows_behind_that_are_as_near_are_not_missed(value, slope):
    """All candidates are equal, as are those behind them."""
    values = np.full((2, 40), value, np.float32)
    assert (expected_beyond(values, values + 1, 5, slope) < 0.01).all()


def test_scores_on_another_scale():
    """With a slope that is found, or given, as much is expected."""
    rng = np.random.default_rng(0)
    values = np.sort(rng.random((50, 60)), axis=1).astype(np.float32)
    scores = values + (0.3 * rng.normal(size=(50, 60))).astype(np.float32)
    plain = expected_beyond(values, scores, 5)
    halves = expected_beyond(values, 0.5 * scores - 7, 5, slope=0.5)
    np.testing.assert_allclose(halves, plain, rtol=1e-3)
    found = expected_beyond(values, 20 * scores, 5, slope=None)
    assert np.corrcoef(found, plain)[0, 1] > 0.5


def test_codes_that_are_wrong_do_not_hide_what_is_right():
    """All candidates are much farther than their codes say; others would not be."""
    rng = np.random.default_rng(0)
    values = np.sort(rng.random((1, 80)), axis=1).astype(np.float32)
    scores = (values + 50 + rng.random((1, 80))).astype(np.float32)
    assert expected_beyond(values, scores, 5)[0] < 1
    shifts = np.zeros(1, np.float32)
    assert expected_beyond(values, scores, 5, 1.0, shifts)[0] > 100


def test_the_best_of_two_scans():
    first = Scanned(np.array([[1.0, 5.0]]), np.array([[7, 8]]))
    second = Scanned(np.array([[2.0, 9.0]]), np.array([[3, -1]]))
    values, positions = merged(first, second)
    assert (values.tolist(), positions.tolist()) == ([[1.0, 2.0]], [[7, 3]])
    values, scores = np.array([[4.0, 1.0, 2.0]]), np.array([[1.0, 9.0, 2.0]])
    assert farthest_of_best(values, scores, 1).tolist() == [4.0]
    assert farthest_of_best(values, scores, 3).tolist() == [4.0]


# What is usual


def _measures(rng, n_rows, scale=1.0):
    distances = np.sort(scale * rng.random((n_rows, 16)) + 1.0, axis=1)
    distances = distances.astype(np.float32)
    rests = rng.random(n_rows).astype(np.float32)
    return Measures(distances[:, 0], contrasts_of(distances), rests)


def _usual(target=None):
    measures = _measures(np.random.default_rng(0), 4_000)
    sizes = np.full(16, 250)
    return Usual.of(sizes, measures, measures.nearest, measures.rests, target)


def test_nearly_all_rows_are_usual_and_most_are_easy():
    usual, others = _usual(), _measures(np.random.default_rng(1), 4_000)
    assert usual.are_beyond(others, USUAL).mean() < 0.005
    hard = usual.are_beyond(others, HARD).mean()
    assert hard == pytest.approx(usual.hard_shares[4], abs=0.03)
    assert 0.2 < hard < 0.4


def test_queries_far_away_are_unusual():
    usual, rng = _usual(), np.random.default_rng(1)
    near, contrasts, rests = _measures(rng, 100)
    for odd in (
        Measures(near + 9, contrasts, rests),
        Measures(near - 9, contrasts, rests),
        Measures(near, 0 * contrasts, rests),
        Measures(near, contrasts, rests + 9),
        Measures(near * np.nan, contrasts, rests),
    ):
        assert usual.are_beyond(odd, USUAL).all()


def test_lists_that_have_changed():
    usual, near = _usual(), np.tile(np.arange(4), (2, 1))
    is_hard = np.array([True, False])
    sizes = usual.sizes.copy()
    assert not usual.have_changed(sizes, near, is_hard).any()
    sizes[0] = 100
    assert usual.have_changed(sizes, near, is_hard).all()
    sizes[0] = 300
    assert usual.have_changed(sizes, near, is_hard).tolist() == [True, False]
    sizes[0] = 600
    assert usual.have_changed(sizes, near, is_hard).all()
    # As many more everywhere are no change.
    assert not usual.have_changed(2 * usual.sizes, near, ~is_hard & is_hard).any()


def test_warnings_need_a_target_and_many_queries():
    few, many = np.ones(3, dtype=bool), np.arange(100) < 80
    for usual in (_usual(), _usual(0.9)):
        usual.warn_of_many(few, _measures(np.random.default_rng(1), 3))
        usual.warn_of_many(~many, _measures(np.random.default_rng(1), 100))
    _usual().warn_of_many(many, _measures(np.random.default_rng(1), 100))
    with pytest.warns(UserWarning, match=r"measure_recall\(queries\)"):
        _usual(0.9).warn_of_many(many, _measures(np.random.default_rng(1), 100))
