"""Low-precision candidates against scores in float64, on numbers float32 holds."""

import numpy as np
import pytest

from latentsk.index import _candidates
from latentsk.index._candidates import (
    barred_scores,
    query_chunks,
    score_blocks,
    smallest_scores,
)


def _integers(n_queries=9, n_rows=50, n_features=6, seed=0):
    """Small integers: every sum of products is exact in float32."""
    rng = np.random.default_rng(seed)
    queries = rng.integers(-9, 10, (n_queries, n_features)).astype(np.float32)
    rows = rng.integers(-9, 10, (n_rows, n_features)).astype(np.float32)
    return queries, rows


def _squared_norms(rows):
    return np.sum(rows.astype(float) ** 2, axis=1).astype(np.float32)


def _true_scores(queries, rows, inner_product):
    queries, rows = queries.astype(float), rows.astype(float)
    if inner_product:
        return -queries @ rows.T
    return np.sum((queries[:, None] - rows) ** 2, axis=2)


@pytest.mark.parametrize("inner_product", [False, True])
@pytest.mark.parametrize("n_queries", [1, 9, 600])
@pytest.mark.parametrize("n_candidates", [1, 7, 50])
def test_scores_are_the_smallest(backend, inner_product, n_queries, n_candidates):
    queries, rows = _integers(n_queries)
    norms = None if inner_product else _squared_norms(rows)
    scores, positions = smallest_scores(queries, rows, norms, n_candidates, backend)
    truth = _true_scores(queries, rows, inner_product)
    np.testing.assert_array_equal(scores, np.sort(truth, axis=1)[:, :n_candidates])
    np.testing.assert_array_equal(np.take_along_axis(truth, positions, axis=1), scores)
    assert scores.dtype == np.float64
    assert all(len(set(row)) == n_candidates for row in positions.tolist())


@pytest.mark.parametrize("inner_product", [False, True])
@pytest.mark.parametrize("block_rows", [1, 7, 49, 50, 51])
@pytest.mark.parametrize("n_candidates", [1, 10, 50])
def test_blocks_of_rows_are_merged(
    inner_product, block_rows, n_candidates, monkeypatch
):
    monkeypatch.setattr(_candidates, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(_candidates, "SCORE_BYTES", 12 * block_rows)
    queries, rows = _integers()
    norms = None if inner_product else _squared_norms(rows)
    scores, positions = smallest_scores(queries, rows, norms, n_candidates, "torch")
    truth = _true_scores(queries, rows, inner_product)
    np.testing.assert_array_equal(scores, np.sort(truth, axis=1)[:, :n_candidates])
    np.testing.assert_array_equal(np.take_along_axis(truth, positions, axis=1), scores)


def test_auto_chooses_by_size(monkeypatch):
    pytest.importorskip("faiss")
    chosen = []
    for name in ("_with_faiss", "_with_torch"):
        monkeypatch.setattr(
            _candidates, name, lambda *_, name=name: chosen.append(name)
        )
    rows = np.ones((1000, 2), dtype=np.float32)
    smallest_scores(rows[:511], rows, None, 10)
    smallest_scores(rows[:512], rows, None, 10)
    # FAISS's selection slows down with the number of neighbours.
    smallest_scores(rows[:512], rows, None, 129)
    assert chosen == ["_with_torch", "_with_faiss", "_with_torch"]


@pytest.mark.parametrize("inner_product", [False, True])
@pytest.mark.parametrize("value", [1e30, -1e30])
@pytest.mark.parametrize("n_queries", [2, 30])
def test_overflow_gives_no_position_that_is_none(
    backend, inner_product, value, n_queries
):
    """FAISS labels rows whose score is infinite or no number with -1."""
    queries = np.full((n_queries, 4), value, dtype=np.float32)
    rows = np.float32(1e30) * np.random.default_rng(0).normal(size=(20, 4))
    rows = rows.astype(np.float32)
    with np.errstate(over="ignore"):
        norms = None if inner_product else _squared_norms(rows)
    _, positions = smallest_scores(queries, rows, norms, 20, backend)
    expected = np.tile(np.arange(20), (n_queries, 1))
    np.testing.assert_array_equal(np.sort(positions, axis=1), expected)


def test_read_only_arrays_serve(backend):
    queries, rows = _integers()
    expected = smallest_scores(queries, rows, _squared_norms(rows), 5, backend)
    queries.flags.writeable = rows.flags.writeable = False
    found = smallest_scores(queries, rows, _squared_norms(rows), 5, backend)
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("inner_product", [False, True])
@pytest.mark.parametrize("block_rows", [7, 50, 100])
def test_score_blocks_leave_out_what_a_query_s_rows_share(
    dtype, inner_product, block_rows, monkeypatch
):
    monkeypatch.setattr(_candidates, "BLOCK_ROWS", block_rows)
    queries, rows = (a.astype(dtype) for a in _integers())
    norms = None if inner_product else _squared_norms(rows).astype(dtype)
    kept = queries.copy()
    found = np.full((len(queries), len(rows)), np.nan)
    for start, scores in score_blocks(queries, rows, norms):
        assert scores.dtype == dtype
        found[:, start : start + scores.shape[1]] = scores
    truth = _true_scores(queries, rows, inner_product)
    if not inner_product:
        truth -= np.sum(queries.astype(float) ** 2, axis=1)[:, None]
    np.testing.assert_array_equal(found, truth)
    np.testing.assert_array_equal(queries, kept)


@pytest.mark.parametrize("n_queries", [0, 1, 5, 100])
@pytest.mark.parametrize("n_scores", [1, 10, 1000])
def test_query_chunks_cover_every_query_once(n_queries, n_scores, monkeypatch):
    monkeypatch.setattr(_candidates, "SCORE_BYTES", 400)
    chunks = list(query_chunks(n_queries, n_scores, np.float32))
    covered = [i for chunk in chunks for i in range(chunk.start, chunk.stop)]
    assert covered == list(range(n_queries))
    for chunk in chunks:
        assert chunk.stop - chunk.start == 1 or (
            (chunk.stop - chunk.start) * n_scores <= 100
        )


@pytest.mark.parametrize("similarity", [False, True])
def test_barred_rows_are_not_returned(similarity):
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(200, 5)).astype(np.float32)
    queries = rng.normal(size=(9, 5)).astype(np.float32)
    eligible = np.sort(rng.permutation(200)[:150])
    norms = None if similarity else _squared_norms(rows)
    penalties = np.full(200, np.inf, dtype=np.float32)
    penalties[eligible] = 0.0 if similarity else norms[eligible]
    for k in (1, 10, 150):
        scores, positions = barred_scores(queries, rows, norms, penalties, k)
        expected = smallest_scores(queries, rows, norms, k, "torch", eligible)
        np.testing.assert_array_equal(positions, expected[1])
        np.testing.assert_allclose(scores, expected[0], atol=1e-5)
