"""Rows in few bytes: how wrong they are, and what is searched among them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse.csgraph import connected_components

from latentsk import LatentIndex
from latentsk.index._exact import ExactSearch, Query
from latentsk.index._metric import MetricSpace
from latentsk.index._quantized import QuantizedVectors

DTYPES = ["float32", "float16", "int8"]
# Share of a column's range by which a coordinate is wrong at most.
SHARE = {"float32": 0.0, "float16": 1 / 4096, "int8": 1 / 510}
SPEC = "IVF16,PQ8x4fs,nprobe=8,rerank=8"
METRICS = ["euclidean", "cosine", "inner_product"]


@pytest.fixture(params=DTYPES)
def code_dtype(request):
    return request.param


@pytest.fixture(params=METRICS)
def metric(request):
    return request.param


def bound(rows, code_dtype):
    """Return what is documented: a share of the range, and the rounding of float32."""
    rows = np.asarray(rows, dtype=np.float64)
    spread = rows.max(axis=0) - rows.min(axis=0)
    rounding = 2.0**-23 * np.abs(rows).max(axis=0)
    # Below the normal numbers of float32, the scale has few digits.
    smallest = 256 * 2.0**-149
    return SHARE[code_dtype] * spread * (1 + 1e-5) + 2 * rounding + smallest


def assert_close(found, rows, code_dtype):
    assert found.dtype == np.float32
    assert (np.abs(found.astype(np.float64) - rows) <= bound(rows, code_dtype)).all()


# Errors


def test_hard_rows_are_within_the_bounds(code_dtype, global_dtype, make_case):
    names = [
        "ordinary",
        "one_column",
        "many_columns",
        "off_centre",
        "two_clusters",
        "near_duplicates",
        "columns_1e-6_to_1e6",
        "lattice",
        "constant",
        "zeros",
        "enormous_row",
    ]
    for name in names:
        rows = make_case(name, global_dtype).rows
        compact = QuantizedVectors.encode(rows, code_dtype)
        assert_close(compact[:], rows, code_dtype)
        assert compact.quantization.dtype == code_dtype
        assert compact.quantization.reaches(rows)


COLUMNS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.integers(1, 4)),
    elements=st.floats(-1e37, 1e37),
)


@settings(max_examples=150, deadline=None)
@given(rows=COLUMNS, code_dtype=st.sampled_from(DTYPES))
def test_any_rows_are_within_the_bounds(rows, code_dtype):
    compact = QuantizedVectors.encode(rows, code_dtype)
    assert_close(compact[:], rows, code_dtype)
    assert compact.quantization.reaches(rows)
    np.testing.assert_array_equal(compact.quantization.encode(rows), compact.codes)


@pytest.mark.parametrize("code_dtype", DTYPES)
def test_rows_of_which_float32_keeps_few_digits(code_dtype):
    rows = np.array([[2.22871664e-41], [0.0]])
    compact = QuantizedVectors.encode(rows, code_dtype)
    assert_close(compact[:], rows, code_dtype)
    assert compact.quantization.reaches(rows)


@settings(max_examples=80, deadline=None)
@given(
    middle=st.floats(-1e6, 1e6),
    exponent=st.floats(-20, 2),
    seed=st.integers(0, 1000),
    code_dtype=st.sampled_from(DTYPES),
)
def test_narrow_columns_far_from_zero(middle, exponent, seed, code_dtype):
    """Their middle is rounded by more than their range."""
    rng = np.random.default_rng(seed)
    rows = middle + 10.0**exponent * rng.uniform(-1, 1, (9, 2))
    compact = QuantizedVectors.encode(rows, code_dtype)
    assert_close(compact[:], rows, code_dtype)
    assert compact.quantization.reaches(rows)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 0.1, -1e6, 1e-30, 1e30, 255.0])
def test_constant_columns_keep_their_value(code_dtype, value):
    rows = np.full((5, 3), value)
    np.testing.assert_array_equal(
        QuantizedVectors.encode(rows, code_dtype)[:], rows.astype(np.float32)
    )


def test_constant_columns_do_not_move_queries_away(code_dtype):
    """Pixels that are the same in all pictures are at distance zero to a query's."""
    rows = np.zeros((50, 100))
    rows[:, 0] = np.arange(50)
    distances, positions = ExactSearch(
        QuantizedVectors.encode(rows, code_dtype), "euclidean"
    ).neighbors(Query(rows, 1))
    np.testing.assert_array_equal(positions[:, 0], np.arange(50))
    assert distances.max() <= bound(rows, code_dtype).max()


@pytest.mark.parametrize("exponent", [-44, -40, -38, -20, 20, 37])
def test_tiny_and_huge_columns(code_dtype, exponent):
    rows = 10.0**exponent * np.random.default_rng(0).uniform(-1, 1, (40, 3))
    assert_close(QuantizedVectors.encode(rows, code_dtype)[:], rows, code_dtype)


@pytest.mark.parametrize("value", [1e39, -1e200])
def test_values_beyond_float32_are_refused(code_dtype, value):
    rows = np.array([[0.0], [value]])
    with pytest.raises(ValueError, match="beyond the range of float32"):
        QuantizedVectors.encode(rows, code_dtype)


def test_the_limits_of_float32(code_dtype):
    largest = np.finfo(np.float32).max
    rows = np.array([[largest, 0.0], [-largest, largest]], dtype=np.float32)
    assert_close(QuantizedVectors.encode(rows, code_dtype)[:], rows, code_dtype)


def test_an_index_of_values_beyond_float32_says_so(code_dtype):
    rows = 1e90 * np.random.default_rng(0).normal(size=(700, 8))
    index = LatentIndex(index_spec=f"{SPEC},rows={code_dtype}")
    with pytest.raises(ValueError, match="beyond the range of float32"):
        index.fit(rows)
    assert not hasattr(index, "ids_")


# A matrix


def test_its_size(code_dtype):
    compact = QuantizedVectors.encode(
        np.random.default_rng(0).normal(size=(7, 5)), code_dtype
    )
    itemsize = {"float32": 4, "float16": 2, "int8": 1}[code_dtype]
    assert compact.shape == (7, 5)
    assert len(compact) == 7
    assert compact.ndim == 2
    assert compact.dtype == np.float32
    assert compact.codes.nbytes == 35 * itemsize


@pytest.mark.parametrize(
    "which",
    [
        slice(None),
        slice(3, 3),
        slice(2, 11, 3),
        slice(-4, None),
        np.array([4, 0, 4]),
        np.array([], dtype=int),
        np.array([-1, -20]),
        np.array([[1, 2, 3], [3, 2, 19]]),
        np.arange(20) % 3 == 0,
        5,
        [2, 1],
    ],
    ids=repr,
)
def test_indexing_is_that_of_the_decoded_matrix(code_dtype, which):
    rows = np.random.default_rng(0).normal(size=(20, 6))
    compact = QuantizedVectors.encode(rows, code_dtype)
    found = compact[which]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, compact[:][which])


def test_decoding_leaves_the_codes_alone(code_dtype):
    compact = QuantizedVectors.encode(
        np.random.default_rng(0).normal(size=(20, 6)), code_dtype
    )
    before = compact.codes.copy()
    if code_dtype != "float32":
        compact[:][:] = 7.0
    compact[np.array([0, 1])][:] = 7.0
    np.testing.assert_array_equal(compact.codes, before)


def test_encoding_leaves_the_rows_alone(code_dtype, global_dtype):
    rows = np.random.default_rng(0).normal(size=(20, 6)).astype(global_dtype)
    before = rows.copy()
    compact = QuantizedVectors.encode(rows, code_dtype)
    assert not np.shares_memory(compact.codes, rows)
    np.testing.assert_array_equal(rows, before)


def test_rows_in_blocks_are_those_in_one(code_dtype, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(97, 6))
    whole = QuantizedVectors.encode(rows, code_dtype)
    monkeypatch.setattr("latentsk._chunks.SLICE_ELEMENTS", 60)
    np.testing.assert_array_equal(
        QuantizedVectors.encode(rows, code_dtype).codes, whole.codes
    )


# Further rows


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_rows_within_the_range_are_held(code_dtype, factor):
    rows = np.random.default_rng(0).uniform(-3, 5, (50, 4))
    compact = QuantizedVectors.encode(rows, code_dtype)
    others = rows.mean(axis=0) + factor * (rows - rows.mean(axis=0))
    assert compact.quantization.reaches(others)
    decoded = QuantizedVectors(
        compact.quantization.encode(others), compact.quantization
    )[:]
    assert (np.abs(decoded - others) <= bound(rows, code_dtype)).all()


@pytest.mark.parametrize("step", [1e-4, 1e-3, 3e-3, 5e-3, 0.009, 0.011, 0.1, 1e10])
def test_what_is_held_is_within_the_bounds(code_dtype, step):
    """Whether or not a row out of range counts as held, one that does is precise."""
    rows = np.random.default_rng(0).uniform(-3, 5, (50, 4))
    compact = QuantizedVectors.encode(rows, code_dtype)
    for others in (rows.max(axis=0) + step, rows.min(axis=0) - step):
        others = others[None]
        if compact.quantization.reaches(others):
            decoded = QuantizedVectors(
                compact.quantization.encode(others), compact.quantization
            )
            limit = bound(rows, code_dtype) + 2.0**-23 * np.abs(others)
            assert (np.abs(decoded[:] - others) <= limit).all()
        else:
            assert code_dtype != "float32"


def test_rows_out_of_range_are_not_held_and_become_the_ends():
    rows = np.array([[0.0], [10.0]])
    for code_dtype in ("float16", "int8"):
        compact = QuantizedVectors.encode(rows, code_dtype)
        for value in (10.2, -0.2, 1e3, -1e30, 1e300, -1e300):
            other = np.array([[value]])
            assert not compact.quantization.reaches(other)
            codes = compact.quantization.encode(other)
            end = QuantizedVectors(codes, compact.quantization)[:].item()
            assert end == pytest.approx(10.0 if value > 5 else 0.0, abs=0.06)


def test_one_value_out_of_range_is_enough():
    rows = np.random.default_rng(0).uniform(-1, 1, (50, 4))
    others = rows.copy()
    others[17, 2] = 5.0
    assert not QuantizedVectors.encode(rows, "int8").quantization.reaches(others)
    assert not QuantizedVectors.encode(rows, "float16").quantization.reaches(others)


# Search


def own_values(search, metric):
    """Return what the space measures between all rows, each behind its own."""
    rows = search.space.rows(slice(None))
    values = np.array([search.space.exact_distances(row[None], rows) for row in rows])
    np.fill_diagonal(values, np.nan)
    return values


HARD = ["ordinary", "off_centre", "two_clusters", "lattice", "duplicated_rows"]


@pytest.mark.parametrize("name", [*HARD, "one_column", "zeros", "constant"])
def test_exact_search_equals_brute_force_over_the_decoded_rows(
    code_dtype, metric, name, make_case, brute_force, assert_nearest_within, backend
):
    rows, queries = make_case(name)
    compact = QuantizedVectors.encode(rows, code_dtype)
    search = ExactSearch(compact, metric)
    truth = brute_force(compact[:], queries, metric)
    found = search.neighbors(Query(queries, 12, backend=backend))
    values = -found[0] if metric == "inner_product" else found[0]
    scale = 1.0 if metric == "cosine" else max(1.0, np.abs(truth).max())
    assert_nearest_within(values, found[1], truth, 1e-12 * scale)


def test_the_answer_is_that_over_a_plain_array(code_dtype, metric, backend):
    """Bit for bit, certified, whatever is kept and how it is looked through."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 6)) * 10.0 ** rng.uniform(-2, 2, 6) + 50
    compact = QuantizedVectors.encode(rows, code_dtype)
    plain, ours = ExactSearch(compact[:], metric), ExactSearch(compact, metric)
    queries, exclude = rows[:40], np.arange(40)
    eligible = np.flatnonzero(rng.random(500) < 0.3)
    for options in ({}, {"exclude": exclude}, {"eligible": eligible}):
        expected = plain.neighbors(Query(queries, 9, **options, backend=backend))
        found = ours.neighbors(Query(queries, 9, **options, backend=backend))
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


def fitted(code_dtype, metric="euclidean", n=900, seed=0, **options):
    rows = np.random.default_rng(seed).normal(size=(n, 8)) + 0.3
    spec = SPEC.replace("PQ8", "PQ9") if metric == "inner_product" else SPEC
    index = LatentIndex(
        index_spec=f"{spec},rows={code_dtype}", metric=metric, **options
    )
    return index.fit(rows), rows


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_radius_neighbors_equal_brute_force(code_dtype, metric, brute_force):
    index, rows = fitted(code_dtype, metric)
    truth = brute_force(index.vectors_, rows[:20], metric)
    for share in (0.01, 0.1, 0.3):
        # Between two distances that occur, so that rounding cannot decide.
        values = np.sort(truth.ravel())
        at = int(share * len(values))
        radius = 0.5 * (values[at] + values[at + 1])
        distances, positions = index.radius_neighbors(rows[:20], radius)
        for query in range(20):
            expected = np.flatnonzero(truth[query] <= radius)
            np.testing.assert_array_equal(positions[query], expected)
            np.testing.assert_allclose(
                distances[query], truth[query][expected], rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_duplicates_equal_brute_force(code_dtype, metric):
    index, _ = fitted(code_dtype, metric)
    space = MetricSpace(index.vectors_, metric)
    values = own_values(ExactSearch(index.vectors_, metric), metric)
    for share in (0.0005, 0.003):
        ordered = np.sort(values[np.triu_indices(len(values), 1)])
        threshold = ordered[int(share * len(ordered))]
        _, parts = connected_components(values <= threshold, directed=False)
        sizes = np.bincount(parts)
        table = index.duplicates(threshold)
        expected = np.flatnonzero(sizes[parts] > 1)
        assert sorted(table["position"]) == expected.tolist()
        together = table.groupby("group")["position"].agg(list)
        assert sorted(map(sorted, together)) == sorted(
            np.flatnonzero(parts == part).tolist() for part in np.flatnonzero(sizes > 1)
        )
    assert space.n_features == 8


# Changes


def assert_finds_its_rows(index, rows, active=None):
    """Every row is its own nearest, and within the error of the codes."""
    positions = np.arange(len(rows)) if active is None else np.flatnonzero(active)
    distances, found = index.kneighbors(rows[positions], n_neighbors=1)
    assert np.mean(found[:, 0] == positions) > 0.99
    assert (
        distances.max()
        <= np.linalg.norm(bound(rows, index._engine.vectors.quantization.dtype)) * 2
    )


def test_rows_that_come_change_and_go(code_dtype):
    index, rows = fitted(code_dtype)
    limit = bound(rows, code_dtype)
    rng = np.random.default_rng(1)
    inside = rows[rng.integers(0, 900, 60)] * 0.5
    index.add(inside, ids=np.arange(1000, 1060))
    rows = np.concatenate([rows, inside])
    changed = rng.permutation(900)[:50]
    rows[changed] = rows[changed] * 0.25
    index.update(rows[changed], ids=changed)
    gone = np.setdiff1d(rng.permutation(900)[:80], changed)
    index.remove(gone)
    active = np.ones(len(rows), dtype=bool)
    active[gone] = False
    assert index._engine.vectors.quantization.dtype == code_dtype
    assert (np.abs(index.vectors_ - rows) <= limit)[active].all()
    assert_finds_its_rows(index, rows, active)
    _, found = index.kneighbors(rows[gone], n_neighbors=5)
    assert not np.isin(found, gone).any()


def test_rows_out_of_range_code_all_rows_again(code_dtype):
    index, rows = fitted(code_dtype)
    middle = index._engine.vectors.quantization.middle.copy()
    far = 20.0 + np.random.default_rng(2).normal(size=(10, 8))
    index.add(far)
    rows = np.concatenate([rows, far])
    assert index._engine.vectors.quantization.dtype == code_dtype
    assert (index._engine.vectors.quantization.middle == middle).all() == (
        code_dtype == "float32"
    )
    # Twice coded: once in the old range, once in the new.
    assert (np.abs(index.vectors_ - rows) <= 1.5 * bound(rows, code_dtype)).all()
    distances, found = index.kneighbors(far, n_neighbors=1)
    np.testing.assert_array_equal(found[:, 0], np.arange(900, 910))
    assert distances.max() < 0.5
    index.update(-50.0 * np.ones((1, 8)), ids=[3])
    rows[3] = -50.0
    assert (np.abs(index.vectors_ - rows) <= 2 * bound(rows, code_dtype)).all()
    assert index.kneighbors([[-50.0] * 8], n_neighbors=1)[1].item() == 3


def test_rows_that_are_coded_again_stay_removed(code_dtype):
    index, rows = fitted(code_dtype)
    index.remove([5, 6])
    index.add(np.full((1, 8), 30.0), ids=[5])
    _, found = index.kneighbors(rows[5:7], n_neighbors=20)
    assert not np.isin(found, [5, 6]).any()
    assert index.search(np.full((1, 8), 30.0), n_neighbors=1)["id"].item() == 5
    truth = np.sort(np.linalg.norm(index.vectors_[7:900] - rows[10], axis=1))
    distances, _ = index.kneighbors(rows[10:11], n_neighbors=3)
    np.testing.assert_allclose(distances[0], truth[:3], rtol=0.2, atol=0.1)


@pytest.mark.parametrize("n_out", [0, 1])
def test_changes_equal_a_fit_of_what_is_there(code_dtype, metric, n_out):
    """Searches after changes compare what `vectors_` says, in every metric."""
    index, _ = fitted(code_dtype, metric)
    rng = np.random.default_rng(3)
    more = rng.uniform(-0.5, 0.5, (30, 8))
    more[:n_out] += 9.0
    index.add(more)
    index.remove(np.arange(0, 200, 7))
    active = np.ones(930, dtype=bool)
    active[np.arange(0, 200, 7)] = False
    truth = ExactSearch(index.vectors_[active], metric).neighbors(Query(more, 4))
    table = index.search(more, n_neighbors=4)
    values = table.iloc[:, 3].to_numpy().reshape(-1, 4)
    found = np.searchsorted(np.flatnonzero(active), table["id"].to_numpy())
    shared = [
        len(np.intersect1d(a, b))
        for a, b in zip(found.reshape(-1, 4), truth[1], strict=True)
    ]
    assert np.mean(shared) > 3.0
    # The best are the same rows, at the same distances.
    same = found.reshape(-1, 4)[:, 0] == truth[1][:, 0]
    np.testing.assert_allclose(values[same, 0], truth[0][same, 0], rtol=1e-12)


def test_too_large_values_are_refused_and_change_nothing(code_dtype):
    index, rows = fitted(code_dtype)
    before = index.vectors_
    for change in (lambda x: index.add(x), lambda x: index.update(x, ids=[0])):
        with pytest.raises(ValueError, match="beyond the range of float32"):
            change(np.full((1, 8), 1e39))
        np.testing.assert_array_equal(index.vectors_, before)
    assert len(index.ids_) == 900
    assert_finds_its_rows(index, rows)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "update"]), st.floats(-40, 40)), max_size=5
    ),
    code_dtype=st.sampled_from(DTYPES),
)
def test_any_changes_keep_rows_within_the_bounds(steps, code_dtype):
    index, rows = fitted(code_dtype, n=500)
    for number, (step, offset) in enumerate(steps):
        some = offset + np.random.default_rng(number).normal(size=(5, 8))
        if step == "add":
            index.add(some)
            rows = np.concatenate([rows, some])
        else:
            index.update(some, ids=np.arange(number, number + 5))
            rows[number : number + 5] = some
    # Every coding anew may add an error of its own range, of which the last is widest.
    wrong = np.abs(index.vectors_ - rows)
    widest = np.concatenate([rows, np.full((1, 8), 45.0), np.full((1, 8), -45.0)])
    assert (wrong <= (1 + len(steps)) * bound(widest, code_dtype)).all()
    # Of an approximate search, which may miss a row.
    _, found = index.kneighbors(rows, n_neighbors=1)
    assert np.mean(found[:, 0] == np.arange(len(rows))) >= 0.8
