"""Codes against the best there are, and lists against numpy's own scan of them."""

import numpy as np
import pytest
from scipy.cluster.vq import vq
from scipy.spatial.distance import cdist

from latentsk.index import _codebook, _inverted_lists
from latentsk.index._codebook import Codebook, scalar_codes, train_codebook
from latentsk.index._inverted_lists import InvertedLists

pytest.importorskip("faiss")

N_ROWS, N_LISTS = 1_500, 12


def _distortion(column, values):
    codes, distances = vq(column[:, None].astype(float), values[:, None].astype(float))
    assert codes.max() < 16
    return np.mean(distances**2)


def _least_distortion(column, n_values=16):
    """Return that of the best values there are, by dynamic programming."""
    column = np.sort(column.astype(float))
    n = len(column)
    sums = np.concatenate([[0.0], np.cumsum(column)])
    squares = np.concatenate([[0.0], np.cumsum(column**2)])
    start, stop = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    of_one = squares[stop] - squares[start]
    of_one -= (sums[stop] - sums[start]) ** 2 / np.maximum(stop - start, 1)
    of_one = np.where(stop >= start, of_one, np.inf)
    best = of_one[0]
    for _ in range(n_values - 1):
        best = np.min(best[:, None] + of_one, axis=0)
    return max(best[n], 0.0) / n


# Codes of one coordinate


@pytest.mark.parametrize(
    "column",
    [
        np.arange(16.0),
        np.repeat(np.arange(16.0) ** 3, np.arange(1, 17)),
        # Sixteen groups, far apart.
        np.repeat(10.0 * np.arange(16), 9) + np.resize([-1, 0, 1], 144),
        # One value is far more frequent than all others.
        np.repeat(np.arange(16.0), [1000] + [1] * 15),
        np.repeat([-5.0, 0.0, 1.0], [1, 5000, 2]),
    ],
    ids=["sixteen", "unequal", "groups", "one_frequent", "three"],
)
def test_codes_are_the_best_there_are(column):
    values = scalar_codes(column.astype(np.float32)[:, None])[0]
    least = _least_distortion(column[:: max(1, len(column) // 400)])
    if len(column) <= 400:
        assert _distortion(column, values) == pytest.approx(least, abs=1e-9)
    else:
        assert _distortion(column, values) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("draw", "most"),
    [
        (lambda rng: rng.normal(size=300), 2.0),
        (lambda rng: rng.random(300), 1.6),
        # Half of the values are zero: they take one code, not half of them.
        (lambda rng: np.maximum(rng.normal(size=300), 0), 3.0),
    ],
    ids=["normal", "uniform", "rectified"],
)
def test_codes_are_not_far_from_the_best(draw, most):
    column = draw(np.random.default_rng(0)).astype(np.float32)
    values = scalar_codes(column[:, None])[0]
    assert _distortion(column, values) <= most * _least_distortion(column)


def test_distortion_of_a_normal_is_that_of_lloyd_and_max(monkeypatch):
    """Max (1960), table 1: 16 levels leave 0.009497 of the variance."""
    column = np.random.default_rng(0).normal(size=(40_000, 1)).astype(np.float32)
    found = _distortion(column[:, 0], scalar_codes(column)[0])
    assert found == pytest.approx(0.0095, rel=0.25)
    monkeypatch.setattr(_codebook, "LLOYD_ITERATIONS", 500)
    found = _distortion(column[:, 0], scalar_codes(column)[0])
    assert found == pytest.approx(0.009497, rel=0.04)


def test_every_value_is_the_mean_of_its_cell(monkeypatch):
    monkeypatch.setattr(_codebook, "LLOYD_ITERATIONS", 3_000)
    rng = np.random.default_rng(0)
    sample = np.stack(
        [rng.normal(size=2_000), rng.exponential(size=2_000), rng.random(2_000)], axis=1
    )
    for column, values in zip(sample.T, scalar_codes(sample), strict=True):
        cells, _ = vq(column[:, None], values[:, None].astype(float))
        for cell, value in enumerate(values):
            assert column[cells == cell].mean() == pytest.approx(value, abs=1e-5)


def test_codes_ascend_within_the_range():
    rng = np.random.default_rng(0)
    sample = rng.standard_cauchy(size=(500, 6)).astype(np.float32)
    values = scalar_codes(sample)
    assert values.shape == (6, 16)
    assert values.dtype == np.float32
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values >= sample.min(axis=0)[:, None]).all()
    assert (values <= sample.max(axis=0)[:, None]).all()


@pytest.mark.parametrize("n_distinct", [1, 2, 7, 15, 16])
def test_few_distinct_values_have_codes_without_error(n_distinct):
    rng = np.random.default_rng(0)
    distinct = np.sort(rng.normal(size=n_distinct)).astype(np.float32)
    weights = 2.0 ** -np.arange(n_distinct)
    column = rng.choice(distinct, 1_000, p=weights / weights.sum())
    column = np.concatenate([distinct, column])
    values = scalar_codes(column[:, None])[0]
    np.testing.assert_array_equal(np.unique(values), distinct)


@pytest.mark.parametrize("value", [0.0, -7.5, 1e30, 1e-38])
@pytest.mark.parametrize("n_rows", [1, 3, 100])
def test_constant_columns_have_their_value(value, n_rows):
    values = scalar_codes(np.full((n_rows, 2), value, dtype=np.float32))
    np.testing.assert_array_equal(values, np.full((2, 16), np.float32(value)))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_codes_have_the_unit_of_the_data(scale):
    column = np.random.default_rng(0).normal(size=(500, 1))
    expected = scale * scalar_codes(column.astype(np.float32)).astype(float)
    found = scalar_codes((scale * column).astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * scale)


# Training


@pytest.fixture(scope="module")
def clusters():
    """Clusters that are small, compared with the distances between them."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(N_LISTS, 6))
    noise = 0.05 * rng.normal(size=(N_ROWS, 6))
    return (centers[rng.integers(0, N_LISTS, N_ROWS)] + noise).astype(np.float32)


@pytest.fixture(scope="module")
def normal():
    return np.random.default_rng(1).normal(size=(N_ROWS, 6)).astype(np.float32)


@pytest.fixture(params=["clusters", "normal"])
def rows(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=[False, True], ids=["plain", "residual"])
def codebook(request, rows):
    return train_codebook(rows, N_LISTS, residual=request.param, seed=0)


def _reconstructed(codebook, rows):
    lists = cdist(rows, codebook.centers).argmin(axis=1)
    base = codebook.centers[lists] if codebook.residual else np.zeros_like(rows)
    rest = rows - base
    for column, values in enumerate(codebook.values):
        codes = np.abs(rest[:, column, None] - values).argmin(axis=1)
        base[:, column] += values[codes]
    return lists, base


def _error(codebook, rows):
    return np.mean((_reconstructed(codebook, rows)[1] - rows) ** 2)


@pytest.mark.parametrize("residual", [False, True])
def test_training_repeats_to_the_last_bit(rows, residual):
    first, second, other = (
        train_codebook(rows, N_LISTS, residual=residual, seed=seed)
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.centers, second.centers)
    np.testing.assert_array_equal(first.values, second.values)
    assert not np.array_equal(first.centers, other.centers)


def test_training_leaves_the_sample_alone(rows):
    before = rows.copy()
    train_codebook(rows, N_LISTS, residual=True, seed=0)
    np.testing.assert_array_equal(rows, before)


def test_codes_say_more_than_the_lists(codebook, rows):
    lists, _ = _reconstructed(codebook, rows)
    by_lists = np.mean((codebook.centers[lists] - rows) ** 2)
    assert _error(codebook, rows) < 0.25 * by_lists
    assert codebook.centers.shape == (N_LISTS, 6)
    assert codebook.values.shape == (6, 16)


def test_differences_are_better_in_small_clusters(clusters):
    plain, residual = (
        _error(train_codebook(clusters, N_LISTS, residual=kind, seed=0), clusters)
        for kind in (False, True)
    )
    assert residual < 0.5 * plain


@pytest.mark.parametrize("n_rows", [12, 13, 40])
def test_few_rows_train_without_a_warning(normal, n_rows):
    codebook = train_codebook(normal[:n_rows], 12, residual=True, seed=0)
    assert np.isfinite(codebook.centers).all()
    assert np.isfinite(codebook.values).all()


@pytest.mark.parametrize("residual", [False, True])
def test_equal_rows_train(residual):
    rows = np.full((100, 3), 0.25, dtype=np.float32)
    codebook = train_codebook(rows, 4, residual=residual, seed=0)
    np.testing.assert_allclose(_reconstructed(codebook, rows)[1], rows, atol=1e-3)


# Lists


@pytest.fixture
def lists(codebook, rows):
    lists = InvertedLists(codebook)
    lists.add(np.arange(N_ROWS), rows)
    return lists


def _sets(found):
    return [set(row[row >= 0].tolist()) for row in found]


def _assert_likeliest_first(lists, rows, queries, found, members):
    """Distances to the codes are as short as any, up to FAISS's eight bits for each."""
    _, coded = _reconstructed(lists.codebook, rows)
    squares = cdist(queries, coded, "sqeuclidean")
    ours = np.take_along_axis(squares, found, axis=1)
    best = np.sort(squares[:, members], axis=1)[:, : found.shape[1]]
    # Tables of 8 bits, whose step is the widest table's range over 255; half a step of
    # error for each of the columns, on either side.
    reach = [
        ((queries[:, c, None] - lists.codebook.values[c]) ** 2).max(axis=1)
        for c in range(rows.shape[1])
    ]
    step = np.sum(reach, axis=0) / 255
    allowed = step[:, None] * rows.shape[1]
    assert (ours <= best + allowed).all()


def test_a_full_scan_finds_every_row_once(lists, rows):
    found = lists.candidates(rows[:5], N_ROWS, N_LISTS)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(
        np.sort(found, axis=1), np.tile(range(N_ROWS), (5, 1))
    )
    assert lists.n_rows == N_ROWS


def test_rows_that_are_missing_are_minus_one(lists, rows):
    found = lists.candidates(rows[:5], N_ROWS + 7, N_LISTS)
    np.testing.assert_array_equal(found[:, -7:], -1)
    assert (found[:, :-7] >= 0).all()


def test_the_likeliest_come_first(normal):
    for residual in (False, True):
        codebook = train_codebook(normal, N_LISTS, residual=residual, seed=0)
        lists = InvertedLists(codebook)
        lists.add(np.arange(N_ROWS), normal)
        found = lists.candidates(normal[:50], 20, N_LISTS)
        _assert_likeliest_first(lists, normal, normal[:50], found, np.arange(N_ROWS))
        # Codes tell near from far: a row's own code is among the nearest ten.
        assert (found[:, :10] == np.arange(50)[:, None]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("n_probe", [1, 3])
def test_only_the_nearest_lists_are_scanned(lists, codebook, rows, n_probe):
    queries = rows[:40] + np.float32(0.01)
    held = cdist(rows, codebook.centers).argmin(axis=1)
    nearest = np.argsort(cdist(queries, codebook.centers), axis=1)[:, :n_probe]
    found = lists.candidates(queries, N_ROWS, n_probe)
    for got, scanned in zip(_sets(found), nearest, strict=True):
        assert got == set(np.flatnonzero(np.isin(held, scanned)).tolist())


def test_positions_are_what_was_given(codebook, rows):
    lists = InvertedLists(codebook)
    positions = 1_000_000 + 3 * np.arange(N_ROWS)[::-1]
    lists.add(positions, rows)
    found = lists.candidates(rows[:3], N_ROWS, N_LISTS)
    assert _sets(found) == [set(positions.tolist())] * 3


def test_batches_of_rows_and_queries_do_not_matter(lists, codebook, rows):
    piecewise = InvertedLists(codebook)
    for start in range(0, N_ROWS, 37):
        part = np.arange(start, min(start + 37, N_ROWS))
        piecewise.add(part, rows[part])
    whole = lists.candidates(rows[:100], 30, 4)
    np.testing.assert_array_equal(piecewise.candidates(rows[:100], 30, 4), whole)
    for size in (1, 7):
        parts = [
            lists.candidates(rows[start : min(start + size, 100)], 30, 4)
            for start in range(0, 100, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


# Removal


def _removed(lists, rows, gone):
    lists.add(others := lists.remove(gone), rows[others])
    return others


def test_removed_rows_are_not_found_and_others_are(lists, rows):
    gone = np.arange(0, N_ROWS, 5)
    left = np.setdiff1d(np.arange(N_ROWS), gone)
    others = _removed(lists, rows, gone)
    assert not np.isin(gone, others).any()
    assert len(np.unique(others)) == len(others)
    assert lists.n_rows == len(left)
    found = lists.candidates(rows[:5], N_ROWS, N_LISTS)
    assert _sets(found) == [set(left.tolist())] * 5


@pytest.mark.parametrize("residual", [False, True])
def test_lists_are_as_good_after_removals_as_new_ones(normal, residual):
    """FAISS's own removal would leave bits behind that spoil what is added later."""
    lists = InvertedLists(train_codebook(normal, N_LISTS, residual=residual, seed=0))
    lists.add(np.arange(N_ROWS), normal)
    rng = np.random.default_rng(3)
    for _ in range(4):
        gone = rng.choice(N_ROWS, 300, replace=False)
        _removed(lists, normal, gone)
        lists.add(gone, normal[gone])
    queries = normal[:60]
    found = lists.candidates(queries, 20, N_LISTS)
    _assert_likeliest_first(lists, normal, queries, found, np.arange(N_ROWS))
    assert (found[:, :10] == np.arange(60)[:, None]).any(axis=1).mean() > 0.9


def test_a_list_is_coded_anew_once_a_quarter_of_it_is_gone(lists, codebook, rows):
    held = np.flatnonzero(cdist(rows, codebook.centers).argmin(axis=1) == 3)
    n_lazy = len(held) // 4
    for row in held[:n_lazy]:
        assert len(lists.remove(np.array([row]))) == 0
    assert lists.n_rows == N_ROWS - n_lazy
    others = lists.remove(held[n_lazy : n_lazy + 1])
    np.testing.assert_array_equal(others, held[n_lazy + 1 :])
    assert lists.n_rows == N_ROWS - len(held)


@pytest.mark.parametrize("step", [1, 40])
def test_removals_code_few_rows_for_each_that_goes(lists, rows, step):
    """However they are divided: three, as a list is coded anew for a quarter of it."""
    order = np.random.default_rng(0).permutation(N_ROWS)[:900]
    coded = sum(
        len(_removed(lists, rows, order[start : start + step]))
        for start in range(0, 900, step)
    )
    assert 0 < coded <= 3 * 900
    assert lists.n_rows == N_ROWS - 900


@pytest.mark.parametrize("n_gone", [1, 40])
def test_candidates_are_the_same_without_removed_rows(lists, rows, n_gone):
    queries = rows[-50:] + np.float32(0.01)
    gone = np.random.default_rng(0).permutation(N_ROWS)[:n_gone]
    before = lists.candidates(queries, N_ROWS, 3)
    assert len(lists.remove(gone)) == 0
    after = lists.candidates(queries, N_ROWS, 3)
    for old, new in zip(before, after, strict=True):
        left = old[(old >= 0) & ~np.isin(old, gone)]
        assert set(new[new >= 0]) == set(left)


def test_removed_rows_take_no_place_among_the_candidates(lists, rows):
    """The likeliest ones are gone: as many others come."""
    gone = np.unique(lists.candidates(rows[:1], 5, N_LISTS))
    lists.remove(gone)
    found = lists.candidates(rows[:1], 5, N_LISTS)
    assert (found >= 0).all()
    assert not np.isin(found, gone).any()


def test_rows_come_back_where_they_were(lists, rows):
    """Changed, and under the same position: their old codes are not found again."""
    moved = np.arange(20)
    _removed(lists, rows, moved)
    lists.add(moved, rows[moved + 700])
    found = lists.candidates(rows[moved + 700], N_ROWS, 1)
    assert (found == moved[:, None]).any(axis=1).all()
    whole = lists.candidates(rows[:3], N_ROWS, N_LISTS)
    np.testing.assert_array_equal(np.sort(whole, axis=1), [range(N_ROWS)] * 3)


def test_filters_leave_removed_rows_out(lists, rows):
    eligible = np.arange(0, N_ROWS, 3)
    _removed(lists, rows, eligible[:40])
    found = lists.candidates(rows[:5], N_ROWS, N_LISTS, eligible)
    assert _sets(found) == [set(eligible[40:].tolist())] * 5


def test_counts_of_lists_are_those_of_numpy(lists, codebook, rows):
    held = cdist(rows, codebook.centers).argmin(axis=1)
    gone = np.random.default_rng(0).permutation(N_ROWS)[:500]
    _removed(lists, rows, gone)
    left = np.delete(held, gone)
    np.testing.assert_array_equal(
        lists.n_live, np.bincount(left, minlength=N_LISTS + 1)
    )


def test_infinite_rows_are_in_no_list(lists, rows):
    infinite = np.full((8, 6), np.inf, dtype=np.float32)
    lists.add(np.arange(N_ROWS, N_ROWS + 8), infinite)
    assert lists.n_rows == N_ROWS + 8
    assert lists.n_live[-1] == 8
    assert len(lists.remove(np.arange(N_ROWS, N_ROWS + 3))) == 0
    assert lists.n_rows == N_ROWS + 5
    assert lists.candidates(rows[:1], N_ROWS + 1, N_LISTS).max() == N_ROWS - 1


def test_nothing_is_removed_where_nothing_is_asked_for(lists, rows):
    assert len(lists.remove(np.empty(0, dtype=np.intp))) == 0
    assert lists.n_rows == N_ROWS


def test_unknown_positions_are_not_found_and_nothing_is_lost(lists):
    assert len(lists.remove(np.array([10 * N_ROWS]))) == 0
    assert lists.n_rows == N_ROWS


def test_all_rows_can_be_removed_and_added_again(lists, rows):
    assert len(lists.remove(np.arange(N_ROWS))) == 0
    assert lists.n_rows == 0
    np.testing.assert_array_equal(lists.candidates(rows[:2], 5, 2), -1)
    lists.add(np.arange(10), rows[:10])
    found = lists.candidates(rows[:2], 10, N_LISTS)
    assert _sets(found) == [set(range(10))] * 2


# Some rows only


@pytest.mark.parametrize("n_eligible", [1, 3, 50, 800, N_ROWS])
def test_only_eligible_rows_are_found(lists, rows, n_eligible):
    rng = np.random.default_rng(n_eligible)
    eligible = np.sort(rng.choice(N_ROWS, n_eligible, replace=False))
    found = lists.candidates(rows[:30], 5, 2, eligible)
    assert found.shape == (30, 5)
    assert np.isin(found, [-1, *eligible]).all()
    # Two lists of ordinary size hold 250 rows; so many eligible ones are looked at.
    assert (np.sum(found >= 0, axis=1) == min(5, n_eligible)).all()


def test_scanning_all_lists_finds_all_eligible_rows(lists, rows):
    eligible = np.arange(100, 900, 2)
    found = lists.candidates(rows[:10], 500, N_LISTS, eligible)
    assert _sets(found) == [set(eligible.tolist())] * 10


def test_enough_lists_are_scanned_for_rows_far_away(clusters):
    """All eligible rows are in one cluster, and the query in another."""
    codebook = train_codebook(clusters, N_LISTS, residual=False, seed=0)
    lists = InvertedLists(codebook)
    lists.add(np.arange(N_ROWS), clusters)
    held = cdist(clusters, codebook.centers).argmin(axis=1)
    for number in range(N_LISTS):
        eligible = np.flatnonzero(held == number)
        found = lists.candidates(clusters[:20], 3, 1, eligible)
        assert np.isin(found, eligible).all()


def test_the_likeliest_of_some_come_first(normal):
    codebook = train_codebook(normal, N_LISTS, residual=False, seed=0)
    lists = InvertedLists(codebook)
    lists.add(np.arange(N_ROWS), normal)
    eligible = np.arange(0, N_ROWS, 3)
    found = lists.candidates(normal[:50], 20, N_LISTS, eligible)
    _assert_likeliest_first(lists, normal, normal[:50], found, eligible)


def test_every_row_may_be_found_gives_what_a_search_gives(normal):
    codebook = train_codebook(normal, N_LISTS, residual=False, seed=0)
    lists = InvertedLists(codebook)
    lists.add(np.arange(N_ROWS), normal)
    found = lists.candidates(normal[:50], 10, 4, np.arange(N_ROWS))
    expected = lists.candidates(normal[:50], 10, 4)
    # More lists may be scanned, where the nearest ones are smaller than others.
    agree = [len(a & b) for a, b in zip(_sets(found), _sets(expected), strict=True)]
    assert np.mean(agree) > 9


def test_queries_are_ranked_in_parts(lists, rows, monkeypatch):
    eligible = np.arange(0, N_ROWS, 3)
    whole = lists.candidates(rows[:50], 10, 2, eligible)
    monkeypatch.setattr(_inverted_lists, "RANKING_ELEMENTS", 3 * N_LISTS)
    parts = lists.candidates(rows[:50], 10, 2, eligible)
    np.testing.assert_array_equal(parts, whole)


def test_no_queries_have_no_candidates(lists):
    none = np.empty((0, 6), dtype=np.float32)
    assert lists.candidates(none, 5, 2).shape == (0, 5)
    assert lists.candidates(none, 5, 2, np.arange(9)).shape == (0, 5)


def test_a_codebook_alone_makes_the_same_lists(lists, codebook, rows):
    """Nothing that training found is kept elsewhere."""
    copied = Codebook(
        codebook.centers.copy(), codebook.values.copy(), codebook.residual
    )
    again = InvertedLists(copied)
    again.add(np.arange(N_ROWS), rows)
    np.testing.assert_array_equal(
        again.candidates(rows[:50], 30, 4), lists.candidates(rows[:50], 30, 4)
    )


def test_wide_rows_are_scanned_in_order():
    """FAISS adds the codes of 256 coordinates in 16 bits."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 256)).astype(np.float32)
    lists = InvertedLists(train_codebook(rows, 4, residual=False, seed=0))
    lists.add(np.arange(600), rows)
    found = lists.candidates(rows[:50], 5, 4)
    np.testing.assert_array_equal(found[:, 0], np.arange(50))
