"""A recall that is promised holds for the queries that are asked, or a warning says so.

With filters that leave out what is near, after rows have come or gone, and for queries
unlike the rows.
"""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from latentsk import LatentIndex, PCAEmbedder
from latentsk.index import _ivf_search
from latentsk.index._exact import ExactSearch

pytest.importorskip("faiss")

N_ROWS, WIDTH, N_GROUPS, K = 8_000, 24, 30, 5
# Four standard errors of 300 queries whose recall varies by .2.
SPARE = 0.045


def _groups(seed, sizes=None, spread=1.0):
    rng = np.random.default_rng(seed)
    centers = spread * rng.normal(size=(N_GROUPS, WIDTH))
    shares = None if sizes is None else sizes / sizes.sum()
    labels = rng.choice(N_GROUPS, N_ROWS, p=shares)
    return rng, centers, labels, centers[labels] + rng.normal(size=(N_ROWS, WIDTH))


def _scores(rows, queries, metric):
    if metric == "euclidean":
        return np.linalg.norm(rows[None] - queries[:, None], axis=2)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return -queries @ rows.T


def _recall(index, rows, queries, mask=None, k=K):
    """Return the recall by position, with numpy's own distances."""
    found = index.search(queries, k, filter=mask)["id"].to_numpy().reshape(-1, k)
    allowed = np.isin(np.arange(len(rows)), index.ids_[index.active_])
    if mask is not None:
        allowed &= mask
    recalls = []
    for start in range(0, len(queries), 50):
        part = slice(start, start + 50)
        scores = _scores(rows, queries[part], index.metric)
        scores[:, ~allowed] = np.inf
        limit = np.partition(scores, k - 1, axis=1)[:, k - 1 : k]
        own = np.take_along_axis(scores, found[part], axis=1)
        assert np.isfinite(own).all()
        recalls.append((own <= limit + 1e-9).mean(axis=1))
    return float(np.concatenate(recalls).mean())


@pytest.fixture(scope="module")
def data():
    return _groups(0)


@pytest.fixture(scope="module", params=["euclidean", "cosine", "inner_product"])
def fitted(request, data):
    return LatentIndex(metric=request.param, target_recall=0.9).fit(data[3])


def _anew(index):
    """Return a copy that changes leave alone."""
    return pickle.loads(pickle.dumps(index))


@pytest.fixture
def patience(monkeypatch):
    """Let filters be searched in lists, however few rows pass."""
    monkeypatch.setattr(_ivf_search, "EXACT_PATIENCE", 0.0)


# Filters


def _masks(labels, group, rng):
    return {
        "random": rng.random(N_ROWS) < 0.4,
        "anti-correlated": labels != group,
        "half of the groups, without the own": labels % 2 != group % 2,
        "correlated": labels == group,
        "few": rng.random(N_ROWS) < 0.01,
    }


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("kind", list(_masks(np.zeros(N_ROWS), 0, np.random)))
def test_filters(data, fitted, kind, patient, monkeypatch):
    if not patient:
        monkeypatch.setattr(_ivf_search, "EXACT_PATIENCE", 0.0)
    _, centers, labels, rows = data
    rng, recalls = np.random.default_rng(1), []
    for group in range(0, N_GROUPS, 6):
        queries = centers[group] + rng.normal(size=(60, WIDTH))
        mask = _masks(labels, group, rng)[kind]
        recalls.append(_recall(fitted, rows, queries, mask))
    assert np.mean(recalls) >= 0.9


def test_filters_by_what_is_near(data, fitted, patience):
    """The thousand nearest rows of a query may not be returned."""
    _, centers, _, rows = data
    queries = centers[3] + np.random.default_rng(1).normal(size=(60, WIDTH))
    scores = _scores(rows, queries.mean(axis=0, keepdims=True), fitted.metric)[0]
    mask = scores > np.partition(scores, 1_000)[1_000]
    assert _recall(fitted, rows, queries, mask) >= 0.9


def test_a_filter_that_lets_all_by_changes_nothing(data, fitted):
    rows = data[3]
    queries = rows[:200] + 0.1
    plain = fitted.search(queries, K)
    masked = fitted.search(queries, K, filter=np.ones(N_ROWS, dtype=bool))
    pd.testing.assert_frame_equal(plain, masked)


def test_ordinary_queries_need_no_exact_search(data, monkeypatch):
    _, centers, labels, rows = data
    index = LatentIndex(target_recall=0.9).fit(rows)
    asked = []
    neighbors = ExactSearch.neighbors

    def counted(self, query):
        asked.append(len(query.vectors))
        return neighbors(self, query)

    monkeypatch.setattr(ExactSearch, "neighbors", counted)
    queries = centers[labels[:1_000]] + np.random.default_rng(1).normal(
        size=(1_000, WIDTH)
    )
    assert _recall(index, rows, queries) >= 0.9 - SPARE
    assert sum(asked) <= 10


# Rows that go


def test_regions_that_were_removed(data, fitted):
    _, centers, labels, rows = data
    index = _anew(fitted).remove(np.flatnonzero(labels < 6))
    queries = centers[np.arange(300) % 6]
    queries = queries + np.random.default_rng(1).normal(size=queries.shape)
    assert _recall(index, rows, queries) >= 0.9
    again = _anew(index)
    assert _recall(again, rows, queries) >= 0.9
    others = centers[6 + np.arange(300) % 24]
    others = others + np.random.default_rng(2).normal(size=queries.shape)
    assert _recall(index, rows, others) >= 0.9 - SPARE


def test_a_hole_around_a_query(data, fitted):
    _, centers, _, rows = data
    scores = _scores(rows, centers[:1], fitted.metric)[0]
    gone = np.argsort(scores)[:800]
    index = _anew(fitted).remove(gone)
    queries = centers[0] + 0.5 * np.random.default_rng(1).normal(size=(100, WIDTH))
    assert _recall(index, rows, queries) >= 0.9


def test_a_row_that_goes_changes_little(data, fitted):
    rows = data[3]
    index = _anew(fitted).remove([7])
    queries = rows[:300] + 0.1
    before = fitted.search(queries, K)["id"].to_numpy()
    after = index.search(queries, K)["id"].to_numpy()
    assert 7 not in after
    assert np.mean(before == after) > 0.95


# Rows that come


@pytest.mark.parametrize(
    ("metric", "speed"),
    [
        ("euclidean", 0.03),
        pytest.param("euclidean", 0.15, marks=pytest.mark.slow),
        pytest.param("cosine", 0.03, marks=pytest.mark.slow),
        pytest.param("cosine", 0.15, marks=pytest.mark.slow),
        pytest.param("inner_product", 0.1, marks=pytest.mark.slow),
    ],
)
def test_drifting_rows(data, metric, speed):
    """Thirty batches, each a little farther away: the newest rows are asked for."""
    _, centers, _, rows = data
    rng = np.random.default_rng(1)
    index = LatentIndex(metric=metric, target_recall=0.9).fit(rows)
    direction = rng.normal(size=(N_GROUPS, WIDTH))

    def batch(number, size):
        groups = rng.integers(0, N_GROUPS, size)
        middles = centers[groups] + speed * number * direction[groups]
        return middles + rng.normal(size=(size, WIDTH))

    for number in range(1, 31):
        index.add(added := batch(number, 200))
        rows = np.concatenate([rows, added])
        if number % 10 == 0:
            queries = batch(number, 300)
            assert _warned_or_found(index, rows, queries, 0.9 - SPARE)


def _warned_or_found(index, rows, queries, target):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recall = _recall(index, rows, queries)
    assert all("unlike the rows" in str(each.message) for each in caught)
    return bool(caught) or recall >= target


def test_rows_far_away_are_found(data, fitted):
    rng, _, _, rows = data
    far = 40.0 + np.random.default_rng(1).normal(size=(100, WIDTH))
    index = _anew(fitted).add(far)
    everything = np.concatenate([rows, far])
    queries = far + 0.1 * rng.normal(size=far.shape)
    assert _recall(index, everything, queries) >= 0.95
    mask = np.arange(len(everything)) % 2 == 0
    assert _recall(index, everything, queries, mask) >= 0.95
    index.remove(np.arange(N_ROWS, N_ROWS + 40))
    assert _recall(index, everything, queries) >= 0.95


def test_rows_far_away_are_kept_apart(data):
    """The lists are as they were for the others, and so is a file."""
    rows = data[3]
    index = LatentIndex(target_recall=0.9).fit(rows)
    index.add(40.0 + np.zeros((100, WIDTH))).add(rows[:100])
    outside = np.arange(N_ROWS, N_ROWS + 100)
    np.testing.assert_array_equal(index._engine.search.outside, outside)
    assert index._engine.search.lists.n_rows == N_ROWS + 100
    index.remove(outside[:40])
    for one in (index, _anew(index)):
        one.kneighbors(rows[:1])
        np.testing.assert_array_equal(one._engine.search.outside, outside[40:])
    assert index.kneighbors(40.0 + np.zeros((1, WIDTH)), 60)[1].min() == outside[40]


def test_a_region_that_fills_up(data, fitted):
    """One group of thirty gets as many rows as all others have."""
    _, centers, _, rows = data
    rng = np.random.default_rng(1)
    added = centers[4] + rng.normal(size=(5_000, WIDTH))
    index = _anew(fitted).add(added)
    queries = centers[4] + rng.normal(size=(300, WIDTH))
    assert _recall(index, np.concatenate([rows, added]), queries) >= 0.9 - SPARE


# Rows, and queries, of other kinds


@pytest.mark.parametrize("exponent", [1.0, 1.6])
def test_groups_of_uneven_sizes(exponent):
    sizes = np.arange(1, N_GROUPS + 1) ** -exponent
    rng, centers, labels, rows = _groups(2, sizes)
    index = LatentIndex(target_recall=0.9).fit(rows)
    queries = centers[labels[:300]] + rng.normal(size=(300, WIDTH))
    assert _recall(index, rows, queries) >= 0.9 - SPARE
    # From the largest groups, whose rows may not be returned.
    for group in (0, 1, 9):
        own = centers[group] + rng.normal(size=(100, WIDTH))
        assert _recall(index, rows, own, labels != group) >= 0.9


OTHERS = {
    "wide": lambda rng, rows: 3.0 * rng.normal(size=(300, WIDTH)),
    "uniform": lambda rng, rows: rng.uniform(-5.0, 5.0, (300, WIDTH)),
    "the middle": lambda rng, rows: 0.1 * rng.normal(size=(300, WIDTH)),
    "between two groups": lambda rng, rows: 0.5 * (rows[:300] + rows[300:600]),
    "constant": lambda rng, rows: rng.normal(size=(300, 1)) + np.zeros(WIDTH),
}


@pytest.mark.parametrize("kind", list(OTHERS))
def test_queries_unlike_the_rows(data, fitted, kind):
    if fitted.metric == "inner_product" and kind in ("between two groups", "constant"):
        pytest.skip("of these only the directions count, which are not unusual")
    rows = data[3]
    queries = OTHERS[kind](np.random.default_rng(1), rows)
    assert _warned_or_found(fitted, rows, queries, 0.9 - SPARE)


def test_single_queries_get_what_many_get(data, fitted):
    """However unusual they are: a warning may come, and nothing else changes."""
    queries = 3.0 * np.random.default_rng(1).normal(size=(40, WIDTH))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        many = fitted.search(queries, K)["id"].to_numpy().reshape(-1, K)
    for query, expected in zip(queries, many, strict=True):
        found = fitted.search(query[None], K)["id"].to_numpy()
        np.testing.assert_array_equal(found, expected)


def test_measuring_recall_does_not_warn(data, fitted):
    queries = 0.5 * (data[3][:300] + data[3][300:600])
    assert 0 < fitted.measure_recall(queries).loc[K, "recall"] <= 1


def test_no_warning_where_no_recall_was_asked_for(data):
    index = LatentIndex(index_spec="IVF64,PQ24x4fs,nprobe=1,rerank=1").fit(data[3])
    queries = 0.5 * (data[3][:300] + data[3][300:600])
    index.kneighbors(queries, K)


@pytest.mark.parametrize("spec", ["IVF64,PQ24x4fs,nprobe=6,rerank=4", "flat"])
def test_a_pinned_search_looks_at_more_too(data, spec):
    _, centers, labels, rows = data
    spec = None if spec == "flat" else spec
    index = LatentIndex(index_spec=spec).fit(rows)
    queries = centers[2] + np.random.default_rng(1).normal(size=(100, WIDTH))
    assert _recall(index, rows, queries, labels != 2) >= 0.95


def test_quantized_rows(data):
    _, centers, labels, rows = data
    spec = "IVF64,PQ24x4fs,nprobe=8,rerank=6,rows=int8"
    index = LatentIndex(index_spec=spec, target_recall=0.85).fit(rows)
    queries = centers[2] + np.random.default_rng(1).normal(size=(100, WIDTH))
    assert _recall(index, rows, queries, labels != 2) >= 0.85
    index.remove(np.flatnonzero(labels == 2))
    assert _recall(index, rows, queries) >= 0.85


def test_rows_between_which_is_measured_in_full(data):
    """Candidates are looked for among latent vectors, of less."""
    _, centers, labels, rows = data
    index = LatentIndex(
        PCAEmbedder(16), rerank="original", target_recall=0.85, n_neighbors=K
    ).fit(rows)
    queries = centers[2] + np.random.default_rng(1).normal(size=(100, WIDTH))
    assert _recall(index, rows, queries, labels != 2) >= 0.85


def test_equal_rows(data):
    """Half of the rows are one, whose copies may be returned or not."""
    _, centers, labels, rows = data
    rows = rows.copy()
    rows[::2] = rows[0]
    index = LatentIndex(target_recall=0.9).fit(rows)
    queries = np.concatenate([rows[:100] + 0.1, centers[:20]])
    is_copy = np.arange(N_ROWS) % 2 == 0
    for mask in (None, is_copy, ~is_copy, labels != labels[0]):
        assert _recall(index, rows, queries, mask) >= 0.9
    index.remove(np.flatnonzero(is_copy)[1:])
    assert _recall(index, rows, queries) >= 0.9


@pytest.mark.parametrize("target", [0.8, 0.99])
def test_targets(data, target, patience):
    _, centers, labels, rows = data
    index = LatentIndex(target_recall=target).fit(rows)
    queries = centers[2] + np.random.default_rng(1).normal(size=(200, WIDTH))
    assert _recall(index, rows, queries, labels != 2) >= target
    if index.index_spec_ != "Flat":
        assert index._engine.search.usual.target == target
