"""Where many rows are equally near: float64 brute force by position, at little work."""

import numpy as np
import pytest

from latentsk.index import _candidates, _full_scan, _scoring
from latentsk.index._exact import ExactSearch, Query
from latentsk.index._quantized import QuantizedVectors

N, WIDTH = 150, 4
METRICS = ["euclidean", "cosine", "inner_product"]


def _half_the_same(rng, n):
    rows = rng.normal(size=(n, WIDTH))
    rows[rng.random(n) < 0.5] = rows[0]
    return rows


def _blank(rng, n):
    rows = rng.normal(size=(n, WIDTH))
    rows[rng.random(n) < 0.4] = 0.0
    return rows


def _unit(rng, n):
    rows = rng.normal(size=(n, WIDTH))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


DATA = {
    "half the same": _half_the_same,
    "few vectors": lambda rng, n: rng.normal(size=(7, WIDTH))[rng.integers(0, 7, n)],
    "all the same": lambda rng, n: np.tile(rng.normal(size=WIDTH), (n, 1)),
    "blank": _blank,
    "unit": _unit,
    "one-hot": lambda rng, n: np.eye(WIDTH)[rng.integers(0, WIDTH, n)],
    "counts": lambda rng, n: rng.poisson(6, (n, WIDTH)).astype(float),
    "grey values": lambda rng, n: rng.integers(0, 4, (n, WIDTH)) / 16,
    "signed zeros": lambda rng, n: rng.choice([-0.0, 0.0, 1.0], (n, WIDTH)),
    "near copies": lambda rng, n: (
        rng.normal(size=(9, WIDTH))[rng.integers(0, 9, n)]
        + 1e-9 * rng.integers(0, 2, (n, 1))
    ),
    "wide lattice": lambda rng, n: rng.integers(-2000, 2000, (n, WIDTH)).astype(float),
}


def _truth(space, queries, exclude=None, eligible=None):
    """Return values and positions of all eligible rows, sorted, by brute force."""
    eligible = np.arange(len(space.vectors)) if eligible is None else eligible
    rows = space.rows(eligible)
    values = np.array([space.exact_distances(q, rows) for q in space.queries(queries)])
    if exclude is not None:
        values[eligible == exclude[:, None]] = np.inf
    order = np.argsort(values, axis=1, kind="stable")
    values = space.to_metric(np.take_along_axis(values, order, axis=1))
    return values, eligible[order]


def _assert_nearest(search, query):
    values, positions = search.neighbors(query)
    expected = _truth(search.space, query.vectors, query.exclude, query.eligible)
    np.testing.assert_array_equal(positions, expected[1][:, : query.k])
    np.testing.assert_array_equal(values, expected[0][:, : query.k])


def _queries(rows, name, rng):
    """Return some of the rows, others like them, others unlike them, and zeros."""
    others = [DATA[name](rng, 4), rng.normal(size=(2, WIDTH)), np.zeros((2, WIDTH))]
    return np.concatenate([rows[:4], *others]).astype(rows.dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, "int8"], ids=str)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", DATA)
def test_answers_are_those_of_brute_force(name, metric, dtype, backend):
    rng = np.random.default_rng(0)
    vectors = DATA[name](rng, N)
    if dtype == "int8":
        vectors = QuantizedVectors.encode(vectors, "int8")
    else:
        vectors = vectors.astype(dtype)
    search, rows = ExactSearch(vectors, metric), vectors[:]
    queries = _queries(rows, name, rng)
    most = np.flatnonzero(rng.random(N) < 0.95)
    few = np.flatnonzero(rng.random(N) < 0.1)
    for eligible in (None, most, few):
        n_eligible = N if eligible is None else len(eligible)
        own = np.arange(N) if eligible is None else eligible
        for k in (1, n_eligible // 2):
            query = Query(queries, k, None, eligible, backend=backend)
            _assert_nearest(search, query)
        for k in (5, n_eligible - 1):
            _assert_nearest(search, Query(rows[own], k, own, eligible, backend=backend))
        _assert_nearest(search, Query(queries, n_eligible, None, eligible))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", DATA)
def test_all_rows_within_a_radius_are_found(name, metric):
    rng = np.random.default_rng(1)
    rows = DATA[name](rng, N)
    search, queries = ExactSearch(rows, metric), _queries(rows, name, rng)
    most = np.flatnonzero(rng.random(N) < 0.9)
    for eligible in (None, most):
        # A search that knows which rows are the same answers alike.
        search.neighbors(Query(queries, 5, None, eligible))
        values, positions = _truth(search.space, queries, None, eligible)
        for radius in (0.0, 1.0, float(np.median(values[:, 10]))):
            found = search.within(Query(queries, 0, None, eligible), radius)
            for i in range(len(queries)):
                is_near = values[i] <= radius
                order = np.argsort(positions[i][is_near])
                np.testing.assert_array_equal(found[1][i], positions[i][is_near][order])
                np.testing.assert_array_equal(found[0][i], values[i][is_near][order])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["half the same", "few vectors", "counts", "unit"])
def test_answers_follow_changes(name, metric):
    rng = np.random.default_rng(2)
    rows = DATA[name](rng, N)
    search = ExactSearch(rows, metric)
    for step in range(12):
        queries = _queries(rows, name, rng)
        eligible = None if step % 3 else np.flatnonzero(rng.random(len(rows)) < 0.9)
        _assert_nearest(search, Query(queries, 6, None, eligible))
        # Copies of others; the row that stands for others becomes another one; a copy.
        changed = np.unique(np.append(rng.integers(0, len(rows), 3), 0))
        rows = rows.copy()
        rows[changed] = DATA[name](rng, len(changed))
        added = rows[rng.integers(0, len(rows), 5)]
        positions = np.append(changed, len(rows) + np.arange(5))
        rows = np.concatenate([rows, added])
        search.add(rows, positions)
    _assert_nearest(search, Query(_queries(rows, name, rng), 6))


def test_a_row_off_the_lattice_ends_exact_scores():
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 3, (N, WIDTH)).astype(float)
    search = ExactSearch(rows, "euclidean")
    _assert_nearest(search, Query(rows, 5, np.arange(N)))
    assert search.scoring.is_exact(rows).all()
    assert not search.scoring.is_exact(rows + 0.3).any()
    assert not search.scoring.is_exact(rows + 1e5).any()
    rows = np.concatenate([rows, [[0.3, 0.0, 0.0, 0.0]]])
    search.add(rows, np.array([N]))
    assert not search.scoring.is_exact(rows).any()
    _assert_nearest(search, Query(rows, 5, np.arange(N + 1)))


def test_integers_off_the_centre_stay_integers():
    rows = np.random.default_rng(4).poisson(50, (N, WIDTH)).astype(float)
    search = ExactSearch(rows, "euclidean")
    assert search.space.rescaling.shift is not None
    assert search.scoring.is_exact(rows).all()


def test_scores_on_a_lattice_are_exact():
    rng = np.random.default_rng(5)
    rows = (rng.integers(-300, 300, (N, 8)) / 8).astype(np.float32)
    search = ExactSearch(rows, "euclidean")
    assert search.scoring.is_exact(rows.astype(float)).all()
    scores = search.scoring.scores(rows.astype(float), None, np.float32)
    integers = (rows * 8).astype(int)
    squares = ((integers[:, None] - integers) ** 2).sum(axis=2)
    np.testing.assert_array_equal(scores, squares / 64)


def test_in_many_small_blocks(monkeypatch):
    monkeypatch.setattr(_scoring, "FIRST_ROWS", 5)
    monkeypatch.setattr(_scoring, "BLOCK_ROWS", 20)
    monkeypatch.setattr(_full_scan, "PAIR_ELEMENTS", 40)
    rng = np.random.default_rng(6)
    for name in ("counts", "half the same", "near copies"):
        rows = DATA[name](rng, N)
        search = ExactSearch(rows, "euclidean")
        _assert_nearest(search, Query(rows, 9, np.arange(N)))


# How much work it takes


class _Counted:
    """Counts the rows that a search measures in float64, and scores."""

    def __init__(self, search, monkeypatch):
        self.n_measured = self.n_scored = 0
        rows, scores = search.space.rows, search.scoring.scores

        def counted_rows(which):
            found = rows(which)
            self.n_measured += found[..., 0].size
            return found

        def counted_scores(*arguments):
            found = scores(*arguments)
            self.n_scored += found.size
            return found

        monkeypatch.setattr(search.space, "rows", counted_rows)
        monkeypatch.setattr(search.scoring, "scores", counted_scores)


def _asked_once(rows, metric, queries, k=10, certified=True):
    search = ExactSearch(rows, metric)
    search.neighbors(Query(queries, k, certified=certified))
    return search


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "name", ["half the same", "few vectors", "all the same", "one-hot"]
)
def test_ties_take_no_more_measuring_than_other_rows(name, metric, monkeypatch):
    rng = np.random.default_rng(7)
    rows = DATA[name](rng, 4_000)
    queries = np.concatenate([rows[:5], rows[:5] + 0.01 * rng.normal(size=(5, WIDTH))])
    search = _asked_once(rows, metric, queries)
    work = _Counted(search, monkeypatch)
    search.neighbors(Query(queries, 10))
    assert work.n_measured <= len(queries) * (10 + 8)
    assert work.n_scored == 0
    # One row is gone: the same.
    search.neighbors(Query(queries, 10, None, np.delete(np.arange(4_000), 7)))
    assert work.n_measured <= 2 * len(queries) * (10 + 8)
    assert work.n_scored == 0


@pytest.mark.parametrize("metric", ["euclidean", "inner_product"])
def test_unlike_rows_on_a_lattice_tie_without_measuring(metric, monkeypatch):
    rng = np.random.default_rng(8)
    rows = rng.integers(0, 2, (4_000, 24)).astype(float)
    search = _asked_once(rows, metric, rows[:20])
    work = _Counted(search, monkeypatch)
    search.neighbors(Query(rows[:20], 10))
    assert work.n_measured <= 20 * (10 + 8)
    assert work.n_scored == 0


@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("metric", ["cosine", "inner_product"])
def test_zeros_are_answered_without_a_look_at_the_rows(metric, certified, monkeypatch):
    rows = np.random.default_rng(9).normal(size=(50, WIDTH))
    search = ExactSearch(rows, metric)
    work = _Counted(search, monkeypatch)
    monkeypatch.setattr(search, "candidates", lambda *_: pytest.fail("rows are scored"))
    zeros, value = np.zeros((3, WIDTH)), 1.0 if metric == "cosine" else 0.0
    eligible = np.array([4, 6, 7, 30])
    for some in (None, eligible):
        query = Query(zeros, 3, None, some, certified=certified)
        distances, positions = search.neighbors(query)
        first = [0, 1, 2] if some is None else [4, 6, 7]
        np.testing.assert_array_equal(distances, np.full((3, 3), value))
        assert not np.signbit(distances).any()
        assert positions.tolist() == [first] * 3
    query = Query(zeros, 3, np.array([4, 7, 30]), eligible, certified=certified)
    assert search.neighbors(query)[1].tolist() == [[6, 7, 30], [4, 6, 30], [4, 6, 7]]
    assert work.n_measured == 0


def test_zeros_among_other_queries():
    rng = np.random.default_rng(10)
    rows, queries = rng.normal(size=(50, WIDTH)), rng.normal(size=(6, WIDTH))
    queries[[1, 4]] = 0.0
    for certified in (True, False):
        found = ExactSearch(rows, "cosine").neighbors(
            Query(queries, 5, certified=certified)
        )
        alone = [
            ExactSearch(rows, "cosine").neighbors(
                Query(q[None], 5, certified=certified)
            )
            for q in queries
        ]
        distances = np.concatenate([a[0] for a in alone])
        np.testing.assert_allclose(found[0], distances, atol=1e-6)
        np.testing.assert_array_equal(found[1], np.concatenate([a[1] for a in alone]))


def test_zeros_within_a_radius_need_no_measuring(monkeypatch):
    rows = np.random.default_rng(11).normal(size=(50, WIDTH))
    search = ExactSearch(rows, "cosine")
    work = _Counted(search, monkeypatch)
    query = Query(np.zeros((2, WIDTH)), 0, np.array([3, 60]))
    distances, positions = search.within(query, 1.0)
    assert [len(p) for p in positions] == [49, 50]
    assert all((d == 1.0).all() for d in distances)
    assert [len(p) for p in search.within(query, 0.9)[1]] == [0, 0]
    assert work.n_measured + work.n_scored == 0


def test_zeros_amid_rows_of_unit_length_are_measured_once(monkeypatch):
    rows = _unit(np.random.default_rng(12), 2_000)
    zeros = np.zeros((3, WIDTH))
    search = _asked_once(rows, "euclidean", zeros)
    work = _Counted(search, monkeypatch)
    search.neighbors(Query(zeros, 10))
    search.neighbors(Query(zeros, 10, None, np.arange(0, 2_000, 3)))
    assert work.n_measured <= 2 * 3 * (10 + 8)
    assert work.n_scored == 0


def test_copies_that_come_later_are_found_when_that_pays(monkeypatch):
    rng = np.random.default_rng(13)
    rows = DATA["half the same"](rng, 2_000)
    search = _asked_once(rows, "euclidean", rows[:3])
    copies = np.tile(rng.normal(size=WIDTH), (400, 1))
    rows = np.concatenate([rows, copies])
    search.add(rows, 2_000 + np.arange(400))
    query = Query(copies[:1] + 0.1, 10)
    for _ in range(40):
        search.neighbors(query)
    work = _Counted(search, monkeypatch)
    assert search.neighbors(query)[1].tolist() == [list(range(2_000, 2_010))]
    assert work.n_measured <= 18


# Rows that are not eligible


@pytest.mark.parametrize("metric", METRICS)
def test_barred_rows_are_not_gathered(metric, monkeypatch):
    rng = np.random.default_rng(14)
    rows = rng.normal(size=(1_000, WIDTH)).astype(np.float32)
    search, queries = ExactSearch(rows, metric), rng.normal(size=(3, WIDTH))
    monkeypatch.setattr(_candidates, "_among", lambda *_: pytest.fail("gathered"))
    one_gone = np.delete(np.arange(1_000), 5)
    for eligible in (one_gone, np.sort(rng.permutation(1_000)[:600])):
        _assert_nearest(search, Query(queries, 10, None, eligible))


def test_barred_rows_are_not_returned_where_scores_overflow():
    rows = np.random.default_rng(15).normal(size=(60, WIDTH)).astype(np.float32)
    rows[7] = 1e37
    for metric in ("euclidean", "inner_product"):
        search = ExactSearch(rows, metric)
        eligible = np.delete(np.arange(60), [3, 4])
        for scale in (1.0, 1e19, 1e30):
            queries = rows[:5] * np.float32(scale)
            for k in (1, 20, 57, 58):
                for certified in (True, False):
                    query = Query(queries, k, None, eligible, certified=certified)
                    _, positions = search.neighbors(query)
                    assert np.isin(positions, eligible).all()
                    assert all(len(set(p)) == k for p in positions.tolist())
