"""What FAISS does as it comes, and what a latent index does not suffer from.

One test for each trap. Where it takes no time, FAISS's own behaviour is shown first, so
that a version that behaves better is noticed.
"""

import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import DBSCAN
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from latentsk import LatentIndex, LatentNeighborsTransformer
from latentsk.index import _recall
from latentsk.index._codebook import train_codebook
from latentsk.index._fast_rows import FastRows
from latentsk.index._inverted_lists import InvertedLists
from latentsk.index._metric import MetricSpace
from latentsk.index._recall import found_share

faiss = pytest.importorskip("faiss")

K = 10
SPEC = "IVF32,PQ6x4fs,nprobe=4,rerank=4"
# Exact, and approximate.
SETTINGS = [{}, {"index_spec": SPEC}]
IDS = ["exact", "approximate"]


@pytest.fixture(scope="module", autouse=True)
def _few_held_out():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_recall, "MAX_HELD_OUT", 500)
        yield


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3_000, 6)) @ rng.normal(size=(6, 6))


@pytest.fixture(params=SETTINGS, ids=IDS)
def settings(request):
    return request.param


def _float32(rows):
    return np.ascontiguousarray(rows, dtype=np.float32)


def _flat(rows):
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(_float32(rows))
    return index


def _found_by(index, rows, queries, k=K):
    true = np.sort(cdist(queries, rows), axis=1)[:, :k]
    found = index.kneighbors(queries, n_neighbors=k)[0]
    # scipy's last digits may differ.
    return found_share(found, true * (1 + 1e-12)).mean()


# -1 for a neighbour


def test_no_label_is_minus_one_where_there_are_too_few_rows(rows, settings):
    few = rows[:50]
    assert (_flat(few).search(_float32(few[:1]), 60)[1] == -1).sum() == 10
    spec = dict.fromkeys(settings, "IVF4,PQ6x4fs,nprobe=1,rerank=1")
    index = LatentIndex(**spec).fit(few)
    found = index.kneighbors(few, n_neighbors=50)[1]
    np.testing.assert_array_equal(np.sort(found, axis=1), np.tile(range(50), (50, 1)))
    with pytest.raises(ValueError, match="n_neighbors <= n_samples_fit, but"):
        index.kneighbors(few, n_neighbors=51)
    with pytest.raises(ValueError, match="n_neighbors < n_samples_fit, but"):
        index.kneighbors(n_neighbors=50)


def test_no_label_is_minus_one_where_lists_are_short(rows):
    quantizer = faiss.IndexFlatL2(6)
    raw = faiss.IndexIVFFlat(quantizer, 6, 32)
    raw.cp.min_points_per_centroid = 1
    raw.train(_float32(rows))
    raw.add(_float32(rows))
    assert (raw.search(_float32(rows), 200)[1] == -1).any()
    index = LatentIndex(index_spec="IVF32,PQ6x4fs,nprobe=1,rerank=1").fit(rows)
    for k in (1, 200):
        graph = index.kneighbors_graph(rows[:300], n_neighbors=k, mode="distance")
        assert graph.indices.min() >= 0
        graph.check_format()
    index.remove(np.arange(100, 3_000))
    assert (index.kneighbors(rows, n_neighbors=5)[1] < 100).all()


# Squares


def test_distances_are_not_squared(rows, settings):
    raw, _ = _flat(rows).search(_float32(rows[:1] + 3.0), K)
    exactly = np.sort(cdist(rows[:1] + 3.0, rows), axis=1)[:, :K]
    np.testing.assert_allclose(raw, exactly**2, rtol=1e-3)
    index = LatentIndex(**settings).fit(rows)
    found, positions = index.kneighbors(rows[:50] + 3.0)
    expected = np.take_along_axis(cdist(rows[:50] + 3.0, rows), positions, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# Batches


def test_answers_do_not_change_with_the_batch(settings):
    rng = np.random.default_rng(0)
    rows, queries = (rng.normal(size=(n, 64)) for n in (1_500, 2_000))
    raw = _flat(1000 + rows)
    far = _float32(1000 + queries)
    # 2,000 queries of 64 columns: from 128,000 elements FAISS multiplies matrices.
    together, one = raw.search(far, K)[0], raw.search(far[:1], K)[0]
    assert not np.array_equal(together[:1], one)
    spec = {name: SPEC.replace("PQ6", "PQ64") for name in settings}
    for exactness in ("certified", "float32"):
        index = LatentIndex(n_neighbors=K, exactness=exactness, **spec).fit(1000 + rows)
        whole = index.kneighbors(1000 + queries)
        for size in (1, 7, 500):
            part = index.kneighbors(1000 + queries[:size])
            if exactness == "certified":
                np.testing.assert_array_equal(part[0], whole[0][:size])
                np.testing.assert_array_equal(part[1], whole[1][:size])
            else:
                np.testing.assert_allclose(part[0], whole[0][:size], rtol=1e-4)


# Off-centre


def test_rows_far_from_the_origin_are_found():
    rng = np.random.default_rng(0)
    rows, queries = (1000 + rng.normal(size=(n, 32)) for n in (4_000, 300))
    true = np.argsort(cdist(queries, rows), axis=1)[:, :K]
    # Many more queries would make FAISS multiply matrices; it is told to.
    threshold = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 1
    try:
        raw = _flat(rows).search(_float32(queries), K)[1]
    finally:
        faiss.cvar.distance_compute_blas_threshold = threshold
    hits = [
        len(set(a) & set(b)) for a, b in zip(raw.tolist(), true.tolist(), strict=True)
    ]
    assert np.mean(hits) / K < 0.6
    index = LatentIndex(n_neighbors=K).fit(rows)
    np.testing.assert_array_equal(index.kneighbors(queries)[1], true)
    index = LatentIndex(n_neighbors=K, target_recall=0.9, random_state=1).fit(rows)
    assert index.recall_.loc[K, "lower"] >= 0.9
    assert _found_by(index, rows, queries) > 0.88


# Signs


def test_cosine_distances_suit_dbscan_and_lof(rows, settings):
    directions = rows[:300] / np.linalg.norm(rows[:300], axis=1, keepdims=True)
    copies = np.concatenate([rows[:300] * scale for scale in (1.0, 0.3, 7.0, 11.0)])
    raw = faiss.IndexFlatIP(6)
    raw.add(_float32(directions))
    assert (1.0 - raw.search(_float32(directions), 1)[0]).min() < 0.0
    index = LatentIndex(metric="cosine", n_neighbors=K, **settings).fit(copies)
    graph = index.kneighbors_graph(mode="distance")
    assert graph.data.min() >= 0.0
    graph = LatentNeighborsTransformer(n_neighbors=K, metric="cosine").fit_transform(
        copies
    )
    assert graph.data.min() >= 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = DBSCAN(eps=1e-9, min_samples=4, metric="precomputed").fit_predict(
            graph
        )
    # Every direction is a cluster of its four copies.
    assert len(set(labels.tolist())) == 300
    with warnings.catch_warnings():
        # scikit-learn warns of many copies, rightly.
        warnings.simplefilter("ignore", UserWarning)
        lof = LocalOutlierFactor(n_neighbors=K, metric="precomputed").fit(graph)
    assert np.isfinite(lof.negative_outlier_factor_).all()


# The row itself


@pytest.mark.parametrize("target_recall", [None, 0.5])
def test_graphs_hold_the_row_itself(target_recall):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3_000, 64))
    raw = faiss.IndexHNSWFlat(64, 4)
    raw.hnsw.efConstruction = 8
    raw.add(_float32(rows))
    missed = raw.search(_float32(rows), K)[1] != np.arange(3_000)[:, None]
    assert missed.all(axis=1).mean() > 0.02
    transformer = LatentNeighborsTransformer(n_neighbors=K, target_recall=target_recall)
    graph = transformer.fit_transform(rows)
    assert (transformer.index_.index_spec_ == "Flat") == (target_recall is None)
    positions = graph.indices.reshape(3_000, K + 1)
    np.testing.assert_array_equal(positions[:, 0], np.arange(3_000))
    np.testing.assert_array_equal(graph.data.reshape(3_000, K + 1)[:, 0], 0.0)


# Lists that are scanned


def test_the_number_of_lists_is_not_left_at_one():
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(12_000, 10)), rng.normal(size=(300, 10))
    quantizer = faiss.IndexFlatL2(10)
    raw = faiss.IndexIVFFlat(quantizer, 10, 128)
    raw.train(_float32(rows))
    raw.add(_float32(rows))
    assert raw.nprobe == 1
    true = np.argsort(cdist(queries, rows), axis=1)[:, :K]
    found = raw.search(_float32(queries), K)[1]
    hits = [
        len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)
    ]
    assert np.mean(hits) / K < 0.5
    index = LatentIndex(n_neighbors=K, target_recall=0.9).fit(rows)
    assert index.index_spec_.startswith("IVF")
    assert _found_by(index, rows, queries) > 0.88


# Not a number


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_no_numbers_are_refused(rows, value, settings):
    spoilt = rows.copy()
    spoilt[3, 2] = value
    raw = _flat(spoilt)
    assert raw.ntotal == len(spoilt)
    with pytest.raises(ValueError, match=r"(NaN|infinity)"):
        LatentIndex(**settings).fit(spoilt)
    index = LatentIndex(**settings).fit(rows)
    for method in (index.kneighbors, index.search, index.radius_neighbors, index.add):
        with pytest.raises(ValueError, match=r"(NaN|infinity)"):
            method(spoilt)
    assert index.n_samples_fit_ == len(rows)


# Removal


def test_rows_can_be_removed(rows, settings):
    raw = faiss.IndexHNSWFlat(6, 8)
    raw.add(_float32(rows[:50]))
    with pytest.raises(RuntimeError, match="remove_ids not implemented"):
        raw.remove_ids(np.arange(3))
    index = LatentIndex(n_neighbors=K, **settings).fit(rows)
    gone = np.arange(0, 3_000, 3)
    index.remove(gone)
    found = index.kneighbors(rows)[1]
    assert not np.isin(found, gone).any()
    left = np.setdiff1d(np.arange(3_000), gone)
    assert _found_by(index, rows[left], rows[:300]) > 0.85


def test_rows_added_after_a_removal_are_coded_as_others_are(rows):
    """FAISS's fast-scan lists keep bits of removed rows, and code on top of them."""
    index = LatentIndex(n_neighbors=K, index_spec="IVF8,PQ6x4fs,nprobe=8,rerank=4")
    before = index.fit(rows).measure_recall().loc[K, "recall"]
    rng = np.random.default_rng(0)
    ids = np.arange(3_000)
    for turn in range(1, 4):
        gone = rng.choice(3_000, 500, replace=False)
        index.remove(ids[gone])
        ids[gone] = 10_000 * turn + np.arange(500)
        index.add(rows[gone], ids=ids[gone])
    after = index.measure_recall().loc[K, "recall"]
    assert after == pytest.approx(before, abs=0.02)


def test_faiss_leaves_bits_of_removed_rows_behind(rows):
    """Why lists are filled again; where this fails, that is needed no more."""
    sample, n = _float32(rows), 1_000
    codebook = train_codebook(sample, 1, residual=False, seed=0)
    fresh, used = (InvertedLists(codebook)._index for _ in range(2))
    # Other rows, of which the last 500 go, and what should have been there comes.
    used.add_with_ids(np.r_[sample[:500], sample[n : n + 500]], np.arange(n))
    used.remove_ids(np.arange(500, n))
    used.add_with_ids(sample[500:n], np.arange(500, n))
    fresh.add_with_ids(sample[:n], np.arange(n))
    assert used.ntotal == fresh.ntotal
    (ours, _), (theirs, _) = (one.search(sample[:n], 20) for one in (fresh, used))
    assert not np.allclose(ours, theirs, rtol=0.2)


# Candidates that are missing


def test_candidates_behind_a_missing_one_are_measured():
    """`knn_L2sqr_by_idx` takes the first -1 for the end."""
    rows = np.arange(5, dtype=np.float32)[:, None]
    query = np.zeros((1, 1), dtype=np.float32)
    candidates = np.array([[4, -1, 1]])
    scores = np.empty((1, 2), dtype=np.float32)
    found = np.empty((1, 2), dtype=np.int64)
    pointer = faiss.swig_ptr
    faiss.knn_L2sqr_by_idx(
        pointer(query),
        pointer(rows),
        pointer(candidates),
        1,
        1,
        5,
        3,
        2,
        pointer(scores),
        pointer(found),
        3,
    )
    assert 1 not in found
    fast = FastRows(MetricSpace(rows, "euclidean"))
    assert fast.best_of(query, candidates, 2)[1].tolist() == [[1, 4]]


# Graphs of neighbours


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("target_recall", [None, 0.5])
def test_graphs_have_one_entry_more_sorted_and_not_negative(metric, target_recall):
    rows = np.random.default_rng(0).normal(size=(3_000, 72))
    transformer = LatentNeighborsTransformer(
        n_neighbors=K, metric=metric, target_recall=target_recall
    )
    graph = transformer.fit_transform(rows)
    graph.check_format()
    np.testing.assert_array_equal(np.diff(graph.indptr), K + 1)
    distances = graph.data.reshape(3_000, K + 1)
    positions = graph.indices.reshape(3_000, K + 1)
    np.testing.assert_array_equal(positions[:, 0], np.arange(3_000))
    np.testing.assert_array_equal(distances[:, 0], 0.0)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (distances >= 0).all()
    assert (np.diff(np.sort(positions, axis=1), axis=1) > 0).all()
    queries = transformer.transform(rows[:200] + 0.01)
    np.testing.assert_array_equal(np.diff(queries.indptr), K + 1)
    assert (np.diff(queries.data.reshape(200, K + 1), axis=1) >= 0).all()
    NearestNeighbors(n_neighbors=K, metric="precomputed").fit(graph)


def test_rows_are_not_their_own_neighbours(rows, settings):
    index = LatentIndex(n_neighbors=K, **settings).fit(rows)
    own = np.arange(3_000)
    distances, positions = index.kneighbors()
    assert positions.shape == (3_000, K)
    assert not (positions == own[:, None]).any()
    graph = index.kneighbors_graph(mode="distance")
    np.testing.assert_array_equal(graph.diagonal(), 0.0)
    assert graph.nnz == 3_000 * K
    np.testing.assert_array_equal(graph.data, distances.ravel())
    # Copies are neighbours, at distance zero.
    copies = LatentIndex(n_neighbors=1, **settings).fit(np.tile(rows, (2, 1)))
    distances, positions = copies.kneighbors()
    np.testing.assert_array_equal(positions[:, 0], np.r_[own + 3_000, own])
    np.testing.assert_array_equal(distances, 0.0)
