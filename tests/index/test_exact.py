"""Certified search equals float64 brute force; float32 search is close to it."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentsk import _chunks
from latentsk.index import _candidates, _exact, _full_scan
from latentsk.index._exact import ExactSearch, Query

K = 6


def _search(rows, metric="euclidean", certified=True, backend="torch"):
    search = ExactSearch(rows, metric)
    neighbors = search.neighbors

    def as_asked(query):
        return neighbors(query._replace(certified=certified, backend=backend))

    search.neighbors = as_asked
    return search


def _in_batches(search, queries, k, batch):
    parts = [
        search.neighbors(Query(queries[start : start + batch], k))
        for start in range(0, len(queries), batch)
    ]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


# Certified, Euclidean


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_certified_equals_brute_force(
    hard_case, backend, batch, brute_force, assert_nearest
):
    search = _search(hard_case.rows, backend=backend)
    distances, positions = _in_batches(search, hard_case.queries, K, batch)
    truth = brute_force(hard_case.rows, hard_case.queries)
    assert_nearest(distances, positions, truth)


@pytest.mark.parametrize("k", [1, 199])
def test_certified_leaves_the_row_itself_out(
    hard_case, backend, k, brute_force, assert_nearest
):
    rows = hard_case.rows
    found = _search(rows, backend=backend).neighbors(
        Query(rows, k, np.arange(len(rows)))
    )
    assert_nearest(*found, brute_force(rows, rows, own=True))
    assert not (found[1] == np.arange(len(rows))[:, None]).any()


def test_certified_sorts_all_rows(hard_case, backend, brute_force, assert_nearest):
    rows, queries = hard_case
    found = _search(rows, backend=backend).neighbors(Query(queries, len(rows)))
    assert_nearest(*found, brute_force(rows, queries))


@pytest.mark.parametrize("distance", [1e2, 1e6, 1e12, 1e18])
def test_certified_with_queries_far_outside(
    distance, backend, make_case, brute_force, assert_nearest
):
    rows, queries = make_case("ordinary")
    found = _search(rows, backend=backend).neighbors(Query(distance * queries, K))
    assert_nearest(*found, brute_force(rows, distance * queries))


def test_certified_where_faiss_changes_its_algorithm(
    backend, brute_force, assert_nearest
):
    # 2,000 x 64 = 128,000: from here FAISS multiplies matrices.
    rng = np.random.default_rng(1)
    rows, queries = 100 + rng.normal(size=(150, 64)), 100 + rng.normal(size=(2000, 64))
    found = _search(rows, backend=backend).neighbors(Query(queries, K))
    assert_nearest(*found, brute_force(rows, queries))


def test_backends_and_batches_agree_to_the_last_bit(hard_case):
    pytest.importorskip("faiss")
    answers = [
        _in_batches(_search(hard_case.rows, backend=name), hard_case.queries, K, batch)
        for name in ("faiss", "torch", "auto")
        for batch in (1, 7, 1000)
    ]
    for distances, positions in answers[1:]:
        np.testing.assert_array_equal(distances, answers[0][0])
        np.testing.assert_array_equal(positions, answers[0][1])


def test_certified_in_many_small_blocks(
    hard_case, monkeypatch, brute_force, assert_nearest
):
    # The sizes at which work is cut in pieces are too large to meet in a test.
    monkeypatch.setattr(_exact, "QUERY_ELEMENTS", 40)
    monkeypatch.setattr(_full_scan, "PAIR_ELEMENTS", 100)
    monkeypatch.setattr(_candidates, "SCORE_BYTES", 4_800)
    monkeypatch.setattr(_candidates, "BLOCK_ROWS", 60)
    monkeypatch.setattr(_chunks, "SLICE_ELEMENTS", 50)
    rows, queries = hard_case
    search = _search(rows)
    truth = brute_force(rows, queries)
    assert_nearest(*search.neighbors(Query(queries, K)), truth)
    radius = float(np.sort(truth[0])[10])
    distances, positions = search.within(Query(queries, 0), radius)
    for found, reached, true in zip(positions, distances, truth, strict=True):
        np.testing.assert_array_equal(found, np.flatnonzero(true <= radius))
        np.testing.assert_allclose(reached, true[found], rtol=1e-12)


@pytest.mark.parametrize("n_rows", [12, 100])
def test_squares_that_differ_may_be_a_tie(n_rows, backend, brute_force, assert_nearest):
    """Neighbouring floats can have the same root: then the position decides."""
    steps = np.random.default_rng(0).permutation(n_rows)
    rows = np.stack([np.ones(n_rows), 1.0 + steps * 2.0**-52], axis=1)
    truth = brute_force(rows, np.zeros((1, 2)))
    squares = np.sum(rows**2, axis=1)
    assert len(np.unique(truth)) < len(np.unique(squares))
    search = _search(rows, backend=backend)
    for k in (1, 5, n_rows):
        assert_nearest(*search.neighbors(Query(np.zeros((1, 2)), k)), truth)


def test_certified_equals_exact_integers(backend):
    """Python's integers do not round; and squares of 2.0**-700 would vanish."""
    data = np.random.default_rng(0).integers(-20, 21, (60, 4))
    rows, queries = data[:50], data[50:]
    search = _search(np.ldexp(rows.astype(float), -700), backend=backend)
    distances, positions = search.neighbors(
        Query(np.ldexp(queries.astype(float), -700), K)
    )
    for query, near, found in zip(queries, distances, positions, strict=True):
        squares = [
            sum((int(a) - int(b)) ** 2 for a, b in zip(x, query, strict=True))
            for x in rows
        ]
        expected = sorted(range(50), key=lambda i: (squares[i], i))[:K]
        assert found.tolist() == expected
        lengths = [math.ldexp(math.sqrt(squares[i]), -700) for i in expected]
        np.testing.assert_allclose(near, lengths, rtol=1e-15)


@pytest.mark.parametrize("name", ["ordinary", "many_columns", "lattice", "off_centre"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_truth_agrees_with_scipy(name, metric, make_case, brute_force):
    rows, queries = make_case(name)
    if metric == "cosine":
        # scipy has no answer for a row of zeros.
        rows, queries = rows[rows.any(axis=1)], queries[queries.any(axis=1)]
    truth = brute_force(rows, queries, metric)
    np.testing.assert_allclose(
        truth, cdist(queries, rows, metric), rtol=1e-12, atol=1e-14
    )


# How it comes about


def _count_second_passes(search, queries, monkeypatch):
    passed = []
    in_float64 = search.scan.in_float64

    def counted(query, groups):
        passed.append(len(query.vectors))
        return in_float64(query, groups)

    monkeypatch.setattr(search.scan, "in_float64", counted)
    search.neighbors(Query(queries, K))
    return sum(passed)


@pytest.mark.parametrize("name", ["ordinary", "many_columns", "off_centre"])
def test_float32_certifies_ordinary_data(name, make_case, backend, monkeypatch):
    rows, queries = make_case(name)
    search = _search(rows, backend=backend)
    assert _count_second_passes(search, queries, monkeypatch) == 0


@pytest.mark.parametrize("name", ["two_clusters", "enormous_row"])
def test_float32_does_not_certify_what_it_cannot_tell(
    name, make_case, backend, monkeypatch
):
    rows, queries = make_case(name)
    search = _search(rows, backend=backend)
    assert _count_second_passes(search, queries, monkeypatch) > len(queries) / 4


def test_adversarial_candidates_do_not_pass(
    make_case, monkeypatch, brute_force, assert_nearest
):
    """Scores at the very edge of the error that is allowed for still cannot mislead."""
    rows, queries = make_case("off_centre")
    honest = _exact.smallest_scores

    def wrong(queries, rows, norms, n_candidates, backend, eligible):
        scores, _ = honest(queries, rows, norms, len(rows), backend, eligible)
        all_positions = np.argsort(-scores, axis=1, kind="stable")[:, :n_candidates]
        # The farthest rows, said to be as far as the nearest ones are.
        return np.sort(scores, axis=1)[:, :n_candidates], all_positions

    monkeypatch.setattr(_exact, "smallest_scores", wrong)
    assert_nearest(
        *_search(rows).neighbors(Query(queries, K)), brute_force(rows, queries)
    )


# Certified, cosine


def test_certified_cosine(hard_case, backend, brute_force, assert_nearest_within):
    rows, queries = hard_case
    found = _search(rows, "cosine", backend=backend).neighbors(Query(queries, K))
    truth = brute_force(rows, queries, "cosine")
    assert_nearest_within(*found, truth, 1e-12)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_cosine_ties_come_by_position(backend, batch, make_case, brute_force):
    # Multiples by a power of two have the very same direction.
    directions, queries = make_case("ordinary")
    directions = directions[:20]
    rows = np.concatenate([directions * 2.0**power for power in (0, -30, 7, 300, -300)])
    search = _search(rows, "cosine", backend=backend)
    _, positions = _in_batches(search, queries, 12, batch)
    truth = np.tile(brute_force(directions, queries, "cosine"), 5)
    expected = np.argsort(truth, axis=1, kind="stable")[:, :12]
    np.testing.assert_array_equal(positions, expected)


@pytest.mark.parametrize("certified", [True, False])
def test_cosine_zero_query_is_at_distance_one_from_all(backend, certified, make_case):
    rows = make_case("ordinary").rows.copy()
    rows[[3, 50, 51]] = 0.0
    search = _search(rows, "cosine", certified, backend)
    distances, positions = search.neighbors(Query(np.zeros((2, 8)), 60))
    np.testing.assert_array_equal(distances, np.ones((2, 60)))
    np.testing.assert_array_equal(positions, np.tile(np.arange(60), (2, 1)))


@pytest.mark.parametrize("certified", [True, False])
def test_cosine_zero_rows_are_at_distance_one(backend, certified):
    rows = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    search = _search(rows, "cosine", certified, backend)
    distances, positions = search.neighbors(Query(np.array([[2.0, 0.0]]), 5))
    np.testing.assert_array_equal(positions, [[0, 4, 1, 3, 2]])
    expected = [[0.0, 1.0 - np.sqrt(0.5), 1.0, 1.0, 2.0]]
    np.testing.assert_allclose(distances, expected, atol=1e-15 if certified else 1e-6)


def test_cosine_zero_rows_among_themselves():
    rows = np.zeros((6, 3))
    rows[4] = 1.0
    distances, positions = _search(rows, "cosine").neighbors(
        Query(rows, 5, np.arange(6))
    )
    np.testing.assert_array_equal(distances, np.ones((6, 5)))
    expected = [[j for j in range(6) if j != i] for i in range(6)]
    np.testing.assert_array_equal(positions, expected)


# Certified, inner product


@pytest.mark.parametrize(
    "name",
    [
        "ordinary",
        "one_column",
        "many_columns",
        "off_centre",
        "two_clusters",
        "near_duplicates",
        "norms_1e-6_to_1e6",
        "enormous_row",
        "zeros",
    ],
)
def test_certified_inner_product(name, backend, make_case, brute_force, global_dtype):
    rows, queries = make_case(name, global_dtype)
    found, positions = _search(rows, "inner_product", backend=backend).neighbors(
        Query(queries, K)
    )
    truth = -brute_force(rows, queries, "inner_product")
    expected = -np.sort(-truth, axis=1)[:, :K]
    # Relative to the sum of absolute products: that is what float64 can promise.
    lengths = np.abs(rows.astype(float)) @ np.abs(queries.astype(float)).T
    allowed = 1e-14 * np.max(lengths, axis=0)[:, None]
    assert (np.abs(found - expected) <= allowed).all()
    claimed = np.take_along_axis(truth, positions, axis=1)
    assert (np.abs(found - claimed) <= allowed).all()
    assert (np.diff(found, axis=1) <= 0).all()


def test_inner_product_ties_come_by_position(backend, make_case):
    rows, queries = make_case("lattice")
    _, positions = _search(rows, "inner_product", backend=backend).neighbors(
        Query(queries, K)
    )
    expected = np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :K]
    np.testing.assert_array_equal(positions, expected)


def test_inner_product_of_huge_rows(backend):
    rows = np.arange(1.0, 41.0)[:, None] * 2.0**300
    search = _search(rows, "inner_product", backend=backend)
    found, positions = search.neighbors(Query(np.array([[3.0]]), 2))
    np.testing.assert_array_equal(positions, [[39, 38]])
    np.testing.assert_array_equal(found, [[120 * 2.0**300, 117 * 2.0**300]])


# Within a radius


def test_within_equals_brute_force_up_to_the_boundary(hard_case, brute_force):
    rows, queries = hard_case
    search = _search(rows)
    for query, truth in zip(queries, brute_force(rows, queries), strict=True):
        # A radius that is a distance: the row at it belongs to the answer.
        radius = float(np.sort(truth)[10])
        (distances,), (positions,) = search.within(Query(query[None], 0), radius)
        np.testing.assert_array_equal(positions, np.flatnonzero(truth <= radius))
        np.testing.assert_allclose(distances, truth[positions], rtol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_within_leaves_the_row_itself_out(hard_case, share, brute_force):
    rows = hard_case.rows
    truth = brute_force(rows, rows, own=True)
    radius = float(np.sort(truth[0, 1:])[int(share * (len(rows) - 2))])
    _, positions = _search(rows).within(Query(rows, 0, np.arange(len(rows))), radius)
    for found, distances in zip(positions, truth, strict=True):
        np.testing.assert_array_equal(found, np.flatnonzero(distances <= radius))


@pytest.mark.parametrize("radius", [0.0, 0.3, 1.0, 1.9, 2.1])
def test_within_cosine(radius, make_case, brute_force):
    rows, queries = make_case("ordinary")
    rows = rows.copy()
    rows[[3, 50]] = 0.0
    queries = np.concatenate([queries, np.zeros((1, 8))])
    truth = brute_force(rows, queries, "cosine")
    _, positions = _search(rows, "cosine").within(Query(queries, 0), radius)
    for found, distances in zip(positions, truth, strict=True):
        sure = np.flatnonzero(distances <= radius - 1e-12)
        maybe = np.flatnonzero(distances <= radius + 1e-12)
        assert set(sure) <= set(found) <= set(maybe)


def test_within_cosine_of_a_zero_query_reaches_all_at_one():
    rows = np.array([[1.0, 2.0], [0.0, 0.0], [-3.0, 1.0]])
    search = _search(rows, "cosine")
    distances, positions = search.within(Query(np.zeros((1, 2)), 0), 1.0)
    np.testing.assert_array_equal(positions[0], [0, 1, 2])
    np.testing.assert_array_equal(distances[0], [1.0, 1.0, 1.0])
    assert search.within(Query(np.zeros((1, 2)), 0), 0.999)[1][0].size == 0


# float32


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_float32_answers_are_valid(hard_case, backend, metric, own):
    rows = hard_case.rows
    queries = rows if own else hard_case.queries
    left_out = np.arange(len(rows)) if own else None
    search = _search(rows, metric, False, backend)
    distances, positions = search.neighbors(Query(queries, len(rows) - own, left_out))
    assert np.isfinite(distances).all()
    assert (distances >= 0).all()
    assert (np.diff(distances, axis=1) >= 0).all()
    everything = np.sort(positions, axis=1)
    if own:
        expected = [np.delete(np.arange(len(rows)), i) for i in range(len(rows))]
    else:
        expected = np.tile(np.arange(len(rows)), (len(queries), 1))
    np.testing.assert_array_equal(everything, expected)


def test_float32_distances_keep_the_documented_bound(hard_case, backend, brute_force):
    rows, queries = hard_case
    found, _ = _search(rows, certified=False, backend=backend).neighbors(
        Query(queries, K)
    )
    truth = np.sort(brute_force(rows, queries), axis=1)[:, :K]
    # Scaled, as the squares of the norms of huge rows overflow.
    largest = np.abs(rows).max() or 1.0
    longest = largest * np.linalg.norm(rows.astype(float) / largest, axis=1).max()
    assert (np.abs(found - truth) <= 1e-3 * longest).all()


@pytest.mark.parametrize("name", ["ordinary", "many_columns", "off_centre"])
def test_float32_is_right_on_ordinary_data(name, backend, make_case, brute_force):
    rows, queries = make_case(name)
    new = queries[8:]
    found, positions = _search(rows, certified=False, backend=backend).neighbors(
        Query(new, K)
    )
    truth = brute_force(rows, new)
    expected = np.argsort(truth, axis=1)[:, :K]
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(found, np.sort(truth, axis=1)[:, :K], rtol=1e-5)


def test_float32_answers_in_float64_where_it_overflows(backend):
    rows = np.random.default_rng(0).normal(size=(50, 4))
    search = _search(rows, certified=False, backend=backend)
    distances, _ = search.neighbors(Query(np.full((3, 4), 1e30), 3))
    np.testing.assert_allclose(distances, np.full((3, 3), 2e30))
