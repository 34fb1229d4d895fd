"""Approximate search: what it promises however few candidates it looks at."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentIndex, PCAEmbedder
from latentsk.index import _ivf_search
from latentsk.index._exact import ExactSearch, Query
from latentsk.index._fast_rows import FastRows
from latentsk.index._ivf_tuning import IVFFamily
from latentsk.index._metric import MetricSpace
from latentsk.index._recall import found_share
from latentsk.index._search import Training

pytest.importorskip("faiss")

N_ROWS, K = 3_000, 10
METRICS = ["euclidean", "cosine", "inner_product"]
PLAIN = "IVF32,PQ8x4fs,nprobe=6,rerank=3"


def _spec(metric, text=PLAIN):
    # An inner product has one coordinate more.
    return text.replace("PQ8", "PQ9") if metric == "inner_product" else text


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_ROWS + 500, 8)) @ rng.normal(size=(8, 8))


@pytest.fixture(scope="module")
def rows(data):
    return data[:N_ROWS]


@pytest.fixture(scope="module")
def queries(data):
    return data[N_ROWS:]


@pytest.fixture(scope="module")
def searches(rows):
    return {metric: _search(rows, metric) for metric in METRICS}


def _search(rows, metric="euclidean", text=PLAIN, embed=None):
    exact = ExactSearch(rows, metric)
    training = Training(np.arange(len(rows)), np.arange(0), 0, embed)
    return IVFFamily().build(exact, _spec(metric, text), training)


def _recall(found, true, metric="euclidean"):
    sign = -1 if metric == "inner_product" else 1
    return found_share(sign * found[0], sign * true[0]).mean()


def _assert_valid(found, space, queries, own=None):
    """Distinct positions, in order, with the distances of float64."""
    values, positions = found
    assert positions.min() >= 0
    assert positions.max() < len(space.vectors)
    assert (np.diff(np.sort(positions, axis=1), axis=1) > 0).all()
    if own is not None:
        assert not (positions == own[:, None]).any()
    inside = space.queries(queries)[:, None, :]
    measured = space.exact_distances(inside, space.rows(positions))
    np.testing.assert_array_equal(values, space.to_metric(measured))
    # Equal distances in the order of the positions.
    keys = np.lexsort((positions, measured), axis=1)
    np.testing.assert_array_equal(keys, np.tile(range(values.shape[1]), (len(keys), 1)))


def _count_exact(search, monkeypatch):
    """Return a list that gets the number of queries of each exact search."""
    counts = []
    neighbors = search.exact.neighbors

    def counted(query):
        counts.append(len(query.vectors))
        return neighbors(query)

    monkeypatch.setattr(search.exact, "neighbors", counted)
    return counts


# Answers


@pytest.mark.parametrize("metric", METRICS)
def test_most_neighbours_are_found_and_all_are_valid(searches, queries, metric):
    search = searches[metric]
    found = search.neighbors(Query(queries, K))
    _assert_valid(found, search.exact.space, queries)
    recall = _recall(found, search.exact.neighbors(Query(queries, K)), metric)
    assert 0.85 < recall < 1.0


@pytest.mark.parametrize("metric", METRICS)
def test_the_row_itself_is_left_out(searches, rows, metric):
    search = searches[metric]
    own = np.arange(0, N_ROWS, 7)
    found = search.neighbors(Query(rows[own], K, own))
    _assert_valid(found, search.exact.space, rows[own], own)
    # The next neighbour comes in its place.
    with_itself = search.neighbors(Query(rows[own], K + 1))
    led = (with_itself[1][:, 0] == own).mean()
    assert metric == "inner_product" or led == 1.0
    true = search.exact.neighbors(Query(rows[own], K, own))
    assert 0.85 < _recall(found, true, metric) < 1.0


@pytest.mark.parametrize("k", [1, 9, 10, 11, 40])
def test_leaving_the_row_out_needs_no_exact_search(rows, k, monkeypatch):
    """With as many candidates as neighbours there is one more, for the row itself."""
    search = _search(rows, text="IVF32,PQ8x4fs,nprobe=6,rerank=1")
    own = np.arange(0, N_ROWS, 7)
    counts = _count_exact(search, monkeypatch)
    search.neighbors(Query(rows[own], k, own))
    assert sum(counts) < 0.2 * len(own)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("certified", [True, False])
def test_batches_do_not_matter(searches, queries, metric, certified):
    def search(queries, k):
        return searches[metric].neighbors(Query(queries, k, certified=certified))

    whole = search(queries, K)
    for size in (1, 7):
        parts = [
            search(queries[start : start + size], K)
            for start in range(0, len(queries), size)
        ]
        for name, found in zip(("values", "positions"), whole, strict=True):
            which = int(name == "positions")
            joined = np.concatenate([part[which] for part in parts])
            np.testing.assert_array_equal(joined, found)


def test_work_is_cut_in_pieces(searches, rows, monkeypatch):
    search = searches["euclidean"]
    own = np.arange(200)
    whole = search.neighbors(Query(rows[:200], K, own))
    monkeypatch.setattr(_ivf_search, "BATCH_ELEMENTS", 100)
    for found, expected in zip(
        search.neighbors(Query(rows[:200], K, own)), whole, strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_float32_is_close(searches, rows, queries, metric):
    search = searches[metric]
    exactly = search.neighbors(Query(queries, K))
    nearly = search.neighbors(Query(queries, K, certified=False))
    assert nearly[0].dtype == np.float64
    np.testing.assert_allclose(nearly[0], exactly[0], rtol=1e-4, atol=1e-4)
    assert np.mean(nearly[1] == exactly[1]) > 0.99
    assert (np.diff(np.sort(nearly[1], axis=1), axis=1) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precisions_of_rows_and_queries_mix(data, dtype):
    rows, queries = data[:N_ROWS].astype(dtype), data[N_ROWS:]
    search = _search(rows)
    for given in (queries, queries.astype(np.float32)):
        _assert_valid(search.neighbors(Query(given, K)), search.exact.space, given)


def test_no_queries_have_no_neighbours(searches):
    values, positions = searches["euclidean"].neighbors(Query(np.empty((0, 8)), K))
    assert values.shape == positions.shape == (0, K)


def test_the_order_of_rows_added_later_does_not_matter(rows, queries):
    whole, grown = _search(rows), _search(rows)
    grown.lists = type(grown.lists)(grown.codes.codebook)
    for part in np.array_split(np.arange(N_ROWS), 7):
        grown.add(rows, part)
    expected = whole.neighbors(Query(queries, K))
    np.testing.assert_array_equal(grown.neighbors(Query(queries, K))[1], expected[1])


def test_removed_rows_are_not_found(rows, queries):
    search = _search(rows)
    gone = np.arange(0, N_ROWS, 2)
    search.remove(gone)
    left = np.setdiff1d(np.arange(N_ROWS), gone)
    assert search.lists.n_rows == len(left)
    found = search.candidates(queries[:1], N_ROWS)
    assert not np.isin(found, gone).any()
    values, positions = search.neighbors(Query(queries, K, None, left))
    assert np.isin(positions, left).all()
    true = search.exact.neighbors(Query(queries, K, None, left))
    assert found_share(values, true[0]).mean() > 0.85


# Fallbacks


@pytest.mark.parametrize("k", [500, N_ROWS - 1, N_ROWS])
def test_many_neighbours_are_searched_for_exactly(searches, queries, k):
    search = searches["euclidean"]
    found = search.neighbors(Query(queries[:20], k))
    expected = search.exact.neighbors(Query(queries[:20], k))
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("k", [1, 30, 160, 400])
@pytest.mark.parametrize("n_probe", [1, 2])
def test_lists_that_hold_too_few_rows_are_no_answer(rows, queries, k, n_probe):
    """A list holds some 94 rows: FAISS would fill up with -1."""
    search = _search(rows, text=f"IVF32,PQ8x4fs,nprobe={n_probe},rerank=1")
    _assert_valid(search.neighbors(Query(queries, k)), search.exact.space, queries)
    own = np.arange(300)
    found = search.neighbors(Query(rows[:300], k, own))
    _assert_valid(found, search.exact.space, rows[:300], own)


def test_empty_lists_are_no_answer(rows):
    search = _search(rows, text="IVF32,PQ8x4fs,nprobe=1,rerank=1")
    # All rows but those of a few lists are removed, and asked for.
    gone = np.arange(60, N_ROWS)
    search.remove(gone)
    left = np.arange(60)
    found = search.neighbors(Query(rows, 5, None, left))
    assert np.isin(found[1], left).all()
    # With so few rows left, the answer is exact.
    expected = search.exact.neighbors(Query(rows, 5, None, left))
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("certified", [True, False])
def test_a_query_of_zeros_is_at_distance_one_from_all(rows, certified):
    search = _search(rows, "cosine")
    queries = np.stack([np.zeros(8), rows[5], np.zeros(8)])
    values, positions = search.neighbors(Query(queries, K, certified=certified))
    np.testing.assert_array_equal(values[[0, 2]], 1.0)
    np.testing.assert_array_equal(positions[[0, 2]], [range(K), range(K)])
    assert positions[1, 0] == 5


@pytest.mark.parametrize("certified", [True, False])
def test_a_query_of_zeros_has_the_same_product_with_all(searches, rows, certified):
    queries = np.stack([np.zeros(8), rows[5], np.zeros(8)])
    eligible = np.arange(1, N_ROWS, 2)
    for some, first in ((None, [0, 1, 2, 3]), (eligible, [1, 3, 5, 7])):
        query = Query(queries, 4, None, some, certified=certified)
        products, positions = searches["inner_product"].neighbors(query)
        assert positions[[0, 2]].tolist() == [first] * 2
        assert products[[0, 2]].tolist() == [[0.0] * 4] * 2
        assert (products[1] > 0).all()


@pytest.mark.parametrize("certified", [True, False])
def test_rows_of_zeros_are_at_distance_one(rows, certified):
    rows = rows.copy()
    rows[::3] = 0.0
    search = _search(rows, "cosine")
    own = np.arange(60)
    values, positions = search.neighbors(Query(rows[:60], K, own, certified=certified))
    np.testing.assert_array_equal(values[::3], 1.0)
    assert not (positions == own[:, None]).any()
    expected = search.exact.neighbors(Query(rows[:60:3], K, own[::3]))[1]
    np.testing.assert_array_equal(positions[::3], expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("scale", [1e20, 1e30, 1e38, 1e98])
def test_queries_that_overflow_float32_are_answered(
    searches, queries, metric, certified, scale
):
    search = searches[metric]
    far = np.concatenate([scale * queries[:5], queries[:5]])
    found = search.neighbors(Query(far, K, certified=certified))
    if metric == "cosine":
        expected = search.neighbors(Query(np.tile(queries[:5], (2, 1)), K))
    else:
        expected = search.exact.neighbors(Query(far[:5], K))
    np.testing.assert_array_equal(found[1][:5], expected[1][:5])
    np.testing.assert_allclose(found[0][:5], expected[0][:5], rtol=1e-6, atol=1e-6)
    assert np.isfinite(found[0]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_filters_find_as_large_a_share(searches, queries, metric, monkeypatch):
    monkeypatch.setattr(_ivf_search, "EXACT_PATIENCE", 0.0)
    search = searches[metric]
    whole = _recall(
        search.neighbors(Query(queries, K)),
        search.exact.neighbors(Query(queries, K)),
        metric,
    )
    rng = np.random.default_rng(0)
    for share in (0.8, 0.3, 0.05):
        eligible = np.flatnonzero(rng.random(N_ROWS) < share)
        found = search.neighbors(Query(queries, K, None, eligible))
        assert np.isin(found[1], eligible).all()
        true = search.exact.neighbors(Query(queries, K, None, eligible))
        assert _recall(found, true, metric) > whole - 0.03


# Measuring candidates


@pytest.mark.parametrize("similarity", [False, True])
def test_the_best_candidates_are_numpy_s(similarity):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 6)).astype(np.float32)
    queries = rng.normal(size=(9, 6)).astype(np.float32)
    candidates = np.argsort(rng.random((9, 50)), axis=1)[:, :20]
    # Missing ones anywhere, not only at the end.
    candidates[rng.random((9, 20)) < 0.4] = -1
    metric = "inner_product" if similarity else "euclidean"
    fast = FastRows(MetricSpace(rows, metric))
    scores, positions = fast.best_of(queries, candidates, 5)
    near = rows[candidates].astype(float)
    expected = np.sum((near - queries[:, None]) ** 2, axis=2)
    if similarity:
        expected = -np.sum(near * queries[:, None], axis=2)
    expected[candidates < 0] = np.inf
    order = np.argsort(expected, axis=1)[:, :5]
    np.testing.assert_array_equal(
        positions, np.take_along_axis(candidates, order, axis=1)
    )
    np.testing.assert_allclose(
        scores, np.take_along_axis(expected, order, axis=1), rtol=1e-5, atol=1e-5
    )
    assert not np.shares_memory(positions, candidates)


@pytest.mark.parametrize("similarity", [False, True])
def test_too_few_candidates_leave_minus_one(similarity):
    rows = np.eye(4, dtype=np.float32)
    candidates = np.array([[-1, 2, -1, 0], [-1, -1, -1, -1]])
    fast = FastRows(MetricSpace(rows, "inner_product" if similarity else "euclidean"))
    _, positions = fast.best_of(rows[:2], candidates, 3)
    assert set(positions[0, :2].tolist()) == {0, 2}
    assert positions[0, 2] == -1
    np.testing.assert_array_equal(positions[1], -1)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_of_candidates_are_numpy_s(rows, queries, metric):
    exact = ExactSearch(rows, metric)
    fast = exact.space.fast_queries(queries[:9])
    candidates = np.random.default_rng(0).integers(-1, N_ROWS, (9, 30))
    found = exact.fast.scores(fast, candidates)
    near = exact.fast[candidates].astype(float)
    expected = np.sum((near - fast[:, None]) ** 2, axis=2)
    if metric == "inner_product":
        expected = -np.sum(near * fast[:, None], axis=2)
    expected[candidates < 0] = np.inf
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# Between the original rows


class Shifted(TransformerMixin, BaseEstimator):
    """Two of the columns, far from the origin."""

    def fit(self, X, y=None):
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X):
        return 1000.0 + np.asarray(X)[:, :2]


@pytest.fixture(scope="module")
def wide():
    """Rows whose structure is in four directions of twenty."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(N_ROWS + 300, 4)) @ rng.normal(size=(4, 20))
    return latent + 0.02 * rng.normal(size=latent.shape)


ORIGINAL = {"rerank": "original", "n_neighbors": K}
FOUR = "IVF32,PQ4x4fs,nprobe=8,rerank=10"


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize(
    "embedder",
    [PCAEmbedder(4), PCA(4), make_pipeline(StandardScaler(), PCA(4))],
    ids=["ours", "sklearn", "pipeline"],
)
def test_recall_is_that_of_original_rows(wide, embedder, frame, brute_force):
    rows, queries = wide[:N_ROWS], wide[N_ROWS:]
    truth = brute_force(rows, queries)
    if frame:
        names = [f"column {i}" for i in range(20)]
        rows, queries = (pd.DataFrame(part, columns=names) for part in (rows, queries))
    index = LatentIndex(embedder, index_spec=FOUR, **ORIGINAL).fit(rows)
    assert index.vectors_.shape == (N_ROWS, 20)
    assert index.n_features_in_ == 20
    distances, positions = index.kneighbors(queries)
    expected = np.take_along_axis(truth, positions, axis=1)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    share = found_share(distances, np.sort(truth, axis=1)[:, :K]).mean()
    assert share > 0.95
    table = index.measure_recall(queries)
    assert table.loc[K, "recall"] == pytest.approx(share, abs=1e-12)


def test_an_embedder_that_sees_little_finds_little(wide):
    """Recall is counted among the original rows, not where candidates are found."""
    few = LatentIndex(PCAEmbedder(1), index_spec=FOUR.replace("PQ4", "PQ1"), **ORIGINAL)
    assert few.fit(wide).measure_recall().loc[K, "recall"] < 0.5


def test_latent_vectors_far_from_the_origin(wide):
    rows = wide.copy()
    rows[:, 2:] *= 1e-3
    near = LatentIndex(
        PCAEmbedder(2), index_spec=FOUR.replace("PQ4", "PQ2"), **ORIGINAL
    )
    far = LatentIndex(Shifted(), index_spec=FOUR.replace("PQ4", "PQ2"), **ORIGINAL)
    recalls = [one.fit(rows).measure_recall().loc[K, "recall"] for one in (near, far)]
    assert min(recalls) > 0.8


def test_original_rows_are_added_and_removed(wide):
    index = LatentIndex(PCAEmbedder(4), index_spec=FOUR, **ORIGINAL).fit(wide[:N_ROWS])
    index.add(wide[N_ROWS:]).remove(np.arange(100))
    found = index.kneighbors(wide[N_ROWS:], n_neighbors=1)
    np.testing.assert_array_equal(found[1][:, 0], np.arange(N_ROWS, N_ROWS + 300))
    np.testing.assert_array_equal(found[0], 0.0)
    assert index.kneighbors(wide[:100])[1].min() >= 100


def test_original_rows_need_an_embedder_and_a_recall(wide):
    with pytest.raises(ValueError, match="rerank='original' needs an embedder"):
        LatentIndex(rerank="original", target_recall=0.9).fit(wide)
    with pytest.raises(ValueError, match="rerank='original' needs a target_recall"):
        LatentIndex(PCAEmbedder(4), rerank="original").fit(wide)
    with pytest.raises(ValueError, match="rerank"):
        LatentIndex(PCAEmbedder(4), rerank="both", target_recall=0.9).fit(wide)


def test_original_queries_are_checked(wide):
    index = LatentIndex(PCAEmbedder(4), index_spec=FOUR, **ORIGINAL).fit(wide)
    with pytest.raises(ValueError, match="20 features"):
        index.kneighbors(wide[:, :19])
    with pytest.raises(ValueError, match="NaN"):
        index.kneighbors(np.full((1, 20), np.nan))
