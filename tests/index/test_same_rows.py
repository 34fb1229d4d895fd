"""Groups of the same vector, and the nearest of their members."""

import numpy as np
import pytest

from latentsk.index import _same_rows
from latentsk.index._metric import MetricSpace
from latentsk.index._quantized import QuantizedVectors
from latentsk.index._same_rows import SameRows, equal_pairs, nearest_rows


def _numbered(numbers):
    """Return rows of which those with the same number are the same."""
    vectors = np.random.default_rng(1).normal(size=(max(numbers) + 1, 4))
    return vectors[list(numbers)]


def _first_positions(numbers):
    return sorted({numbers.index(n) for n in numbers})


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_are_those_of_equal_rows(metric, dtype):
    numbers = np.random.default_rng(0).integers(0, 40, 60).tolist()
    space = MetricSpace(_numbered(numbers).astype(dtype), metric)
    groups = SameRows(space).among(None)
    assert groups.rows.tolist() == _first_positions(numbers)
    same = np.equal.outer(numbers, numbers)
    is_grouped = groups.labels >= 0
    np.testing.assert_array_equal(is_grouped, same.sum(axis=1) > 1)
    by_label = np.equal.outer(groups.labels, groups.labels)
    np.testing.assert_array_equal(
        by_label[np.ix_(is_grouped, is_grouped)], same[np.ix_(is_grouped, is_grouped)]
    )


def test_rows_without_copies_have_no_groups():
    rows = SameRows(MetricSpace(_numbered(range(30)), "euclidean"))
    assert rows.among(None) is None


def test_both_zeros_are_the_same_and_parallel_rows_only_under_cosine():
    vectors = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 4.0], [0.0, -1.0]])
    groups = SameRows(MetricSpace(vectors, "euclidean")).among(None)
    assert groups.rows.tolist() == [0, 2, 3]
    groups = SameRows(MetricSpace(vectors, "cosine")).among(None)
    assert groups.rows.tolist() == [0, 3]


def test_quantized_rows_are_the_same_by_their_codes():
    rows = np.array([[0.0], [0.1], [255.0], [0.2], [128.0]])
    space = MetricSpace(QuantizedVectors.encode(rows, "int8"), "euclidean")
    assert SameRows(space).among(None).rows.tolist() == [0, 2, 4]


def test_equal_hashes_are_no_proof(monkeypatch):
    monkeypatch.setattr(
        _same_rows, "row_hashes", lambda _, p: np.zeros(len(p), dtype=np.uint64)
    )
    space = MetricSpace(_numbered([0, 1, 1, 2, 0]), "euclidean")
    assert [p.tolist() for p in equal_pairs(space, np.arange(5))] == [[1], [2]]


def test_the_first_eligible_row_of_a_group_stands_for_it():
    rows = SameRows(MetricSpace(_numbered([0, 1, 0, 1, 2, 0, 1]), "euclidean"))
    assert rows.among(np.array([2, 3, 4, 5])).rows.tolist() == [2, 3, 4]
    # One of each: nobody has a copy.
    assert rows.among(np.array([2, 3, 4])) is None


def test_changed_rows_leave_their_groups_and_new_rows_have_none():
    numbers = [0, 1, 0, 1, 0]
    rows = SameRows(MetricSpace(_numbered(numbers), "euclidean"))
    # The row that stands for the others is another now; one comes at the end.
    rows.revise(np.array([0, 5]))
    groups = rows.among(None)
    assert groups.rows.tolist() == [0, 1, 2, 5]
    values, positions = groups.nearest(
        np.array([[1.0, 2.0, 3.0]]), np.array([[0, 2, 5]]), 4, None
    )
    assert positions.tolist() == [[0, 2, 4, 5]]
    assert values.tolist() == [[1.0, 2.0, 2.0, 3.0]]
    assert rows.has_changed


def _nearest_by_hand(numbers, values, k, exclude, eligible):
    among = [(values[n], p) for p, n in enumerate(numbers) if p in eligible]
    among = sorted((v, p) for v, p in among if p != exclude)
    return among[:k]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("has_excluded", [True, False])
def test_nearest_members_are_those_of_a_sorted_list(seed, has_excluded, monkeypatch):
    # Members are sorted in many small parts.
    monkeypatch.setattr(_same_rows, "MEMBER_ELEMENTS", 50)
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 6, 30).tolist()
    eligible = np.flatnonzero(rng.random(30) < 0.8)
    groups = SameRows(MetricSpace(_numbered(numbers), "euclidean")).among(eligible)
    # Distances of few different values, so that groups tie with each other.
    distances = rng.integers(0, 4, (5, 6)).astype(float)
    values = distances[:, np.array(numbers)[groups.rows]]
    order = np.argsort(values, axis=1, kind="stable")
    exclude = rng.choice(eligible, 5) if has_excluded else None
    for k in (1, 4, len(eligible) - has_excluded):
        found = groups.nearest(
            np.take_along_axis(values, order, axis=1), groups.rows[order], k, exclude
        )
        for i in range(5):
            left_out = exclude[i] if has_excluded else -1
            expected = _nearest_by_hand(
                numbers, distances[i], k, left_out, set(eligible.tolist())
            )
            assert list(zip(*(f[i].tolist() for f in found), strict=True)) == expected


def test_all_members_come_by_position():
    groups = SameRows(MetricSpace(_numbered([0, 1, 0, 2, 1]), "euclidean")).among(None)
    values, positions = groups.all_members(np.array([5.0, 7.0]), np.array([1, 0]))
    assert positions.tolist() == [0, 1, 2, 4]
    assert values.tolist() == [7.0, 5.0, 7.0, 5.0]


def test_nearest_rows_without_the_excluded():
    values, rows = np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[4, 2], [4, 2]])
    found = nearest_rows(values, rows, 1, np.array([4, 3]))
    assert found[1].tolist() == [[2], [4]]
