"""A recall that is asked for, as a user sees it."""

import copy
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from latentsk import LatentIndex, LatentNeighborsTransformer, PCAEmbedder, _faiss
from latentsk.index import _recall
from latentsk.index._spec import IndexSpec

pytest.importorskip("faiss")

N_ROWS, K = 3_000, 10
PINNED = "PCA16,IVF32,PQ16x4fsr,nprobe=8,rerank=2.5"


@pytest.fixture(scope="module", autouse=True)
def _few_held_out():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_recall, "MAX_HELD_OUT", 800)
        yield


@pytest.fixture(scope="module")
def data():
    """Seventy columns that depend on each other."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(N_ROWS + 400, 8)) @ rng.normal(size=(8, 70))
    return latent + 0.1 * rng.normal(size=latent.shape)


@pytest.fixture(scope="module")
def rows(data):
    return data[:N_ROWS]


@pytest.fixture(scope="module")
def queries(data):
    return data[N_ROWS:]


@pytest.fixture(scope="module")
def tuned(rows):
    return LatentIndex(n_neighbors=K, target_recall=0.9).fit(rows)


@pytest.fixture(scope="module")
def true_positions(rows, queries):
    return np.argsort(cdist(queries, rows), axis=1)[:, :100]


def _share(positions, true):
    k = positions.shape[1]
    hits = [
        len(set(a) & set(b))
        for a, b in zip(positions.tolist(), true[:, :k].tolist(), strict=True)
    ]
    return np.mean(hits) / k


def _answers(index, queries):
    return [
        *index.kneighbors(queries),
        *index.kneighbors(),
        index.search(queries)["id"].to_numpy(),
    ]


def _assert_same_answers(one, other, queries):
    pairs = zip(_answers(one, queries), _answers(other, queries), strict=True)
    for found, expected in pairs:
        np.testing.assert_array_equal(found, expected)


# What is found


def test_the_target_is_met(tuned, queries, true_positions):
    assert tuned.index_spec_ != "Flat"
    positions = tuned.kneighbors(queries, return_distance=False)
    # Three standard errors of 4,000 neighbours.
    assert 0.9 - 0.015 < _share(positions, true_positions) < 1.0


def test_recall_is_a_table_by_neighbours(tuned):
    table = tuned.recall_
    assert isinstance(table, pd.DataFrame)
    assert table.index.name == "n_neighbors"
    assert table.index.tolist() == [1, 10, 100]
    assert table.columns.tolist() == ["recall", "lower", "upper"]
    assert table.loc[K, "lower"] >= 0.9
    assert (
        (table["lower"] < table["recall"]) & (table["recall"] <= table["upper"])
    ).all()
    assert ((table >= 0) & (table <= 1)).all(axis=None)


def test_the_table_is_a_copy(tuned):
    table = tuned.recall_
    table.loc[K, "recall"] = 0.0
    assert tuned.recall_.loc[K, "recall"] > 0.9


@pytest.mark.parametrize(
    "k",
    [
        3,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(20, marks=pytest.mark.slow),
    ],
)
def test_the_number_of_neighbours_is_the_one_that_counts(rows, queries, k):
    index = LatentIndex(n_neighbors=k, target_recall=0.8).fit(rows)
    assert index.recall_.index.tolist() == sorted({1, k, 10, 100})
    assert index.recall_.loc[k, "lower"] >= 0.8


def test_measured_recall_is_that_of_the_queries(tuned, queries, true_positions):
    table = tuned.measure_recall(queries, 25)
    assert table.index.tolist() == [1, 10, 25, 100]
    for k in (1, 10, 25):
        found = tuned.kneighbors(queries, n_neighbors=k, return_distance=False)
        expected = _share(found, true_positions)
        assert table.loc[k, "recall"] == pytest.approx(expected, abs=1e-12)
        assert table.loc[k, "lower"] < expected <= table.loc[k, "upper"]


def test_measured_recall_repeats(tuned):
    first, second = tuned.measure_recall(), tuned.measure_recall()
    pd.testing.assert_frame_equal(first, second)
    assert first.loc[K, "recall"] == pytest.approx(
        tuned.recall_.loc[K, "recall"], abs=0.03
    )


def test_recall_of_an_exact_index_is_perfect(rows, queries):
    index = LatentIndex().fit(rows)
    np.testing.assert_array_equal(index.measure_recall(), 1.0)
    assert index.measure_recall(queries)["recall"].tolist() == [1.0] * 4
    with pytest.raises(AttributeError, match="recall_ exists after a fit with target"):
        _ = index.recall_
    assert not hasattr(index, "recall_")


def test_radii_remain_exact(tuned, rows, queries):
    exact = LatentIndex().fit(rows)
    radius = float(np.median(exact.kneighbors(queries)[0]))
    for ours, theirs in zip(
        tuned.radius_neighbors(queries, radius, return_distance=False),
        exact.radius_neighbors(queries, radius, return_distance=False),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_filter_costs_no_recall(tuned, rows, queries):
    mask = np.random.default_rng(0).random(N_ROWS) < 0.4
    found = tuned.kneighbors(queries, filter=mask, return_distance=False)
    assert mask[found].all()
    eligible = np.flatnonzero(mask)
    true = eligible[np.argsort(cdist(queries, rows[mask]), axis=1)[:, :K]]
    assert _share(found, true) > 0.87


# The specification


def test_the_specification_can_be_read(tuned):
    spec = IndexSpec.parse(tuned.index_spec_)
    assert 1 <= spec.n_probe <= spec.n_lists


def test_a_pinned_index_finds_nearly_as_much(tuned, rows, queries, true_positions):
    pinned = LatentIndex(n_neighbors=K, index_spec=tuned.index_spec_).fit(rows)
    assert pinned.index_spec_ == tuned.index_spec_
    shares = [
        _share(index.kneighbors(queries, return_distance=False), true_positions)
        for index in (pinned, tuned)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
    with pytest.raises(AttributeError, match="recall_"):
        _ = pinned.recall_


def test_a_pinned_index_with_a_target_tells_its_recall(tuned, rows):
    pinned = LatentIndex(
        n_neighbors=K, index_spec=tuned.index_spec_, target_recall=0.999
    )
    with pytest.warns(UserWarning, match=r"less than target_recall=0\.999"):
        pinned.fit(rows)
    assert pinned.index_spec_ == tuned.index_spec_
    expected = tuned.recall_.loc[K, "recall"]
    assert pinned.recall_.loc[K, "recall"] == pytest.approx(expected, abs=0.03)


def test_flat_is_a_specification(rows, queries, true_positions):
    index = LatentIndex(n_neighbors=K, index_spec="Flat", target_recall=0.5).fit(rows)
    assert index.index_spec_ == "Flat"
    found = index.kneighbors(queries, return_distance=False)
    np.testing.assert_array_equal(found, true_positions[:, :K])


def test_fits_repeat_whatever_was_fitted_before(tuned, rows, queries):
    again = clone(tuned).fit(rows[:500])
    assert again.index_spec_ == "Flat"
    again.fit(rows)
    assert again.index_spec_ == tuned.index_spec_
    pd.testing.assert_frame_equal(again.recall_, tuned.recall_)
    _assert_same_answers(again, tuned, queries)


# Copies


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))],
    ids=["deepcopy", "pickle"],
)
def test_copies_answer_the_same(tuned, queries, copied):
    again = copied(tuned)
    assert again.index_spec_ == tuned.index_spec_
    pd.testing.assert_frame_equal(again.recall_, tuned.recall_)
    _assert_same_answers(again, tuned, queries)


def test_copies_after_changes_answer_the_same(rows, queries):
    index = LatentIndex(n_neighbors=K, index_spec=PINNED).fit(rows)
    index.remove(np.arange(0, 900, 3)).add(queries, ids=N_ROWS + np.arange(400))
    again = pickle.loads(pickle.dumps(index))
    found, expected = (one.measure_recall() for one in (again, index))
    np.testing.assert_allclose(found["recall"], expected["recall"], atol=0.01)
    np.testing.assert_array_equal(again.ids_, index.ids_)
    assert not np.isin(np.arange(0, 900, 3), again.kneighbors(rows)[1]).any()


def test_parameters_are_those_that_were_given():
    given = {"target_recall": 0.9, "index_spec": None, "rerank": "latent"}
    index = LatentIndex(**given, random_state=3)
    params = index.get_params()
    assert {name: params[name] for name in given} == given
    cloned = clone(index)
    assert cloned.get_params() == params
    assert not hasattr(cloned, "index_spec_")
    with pytest.raises(NotFittedError):
        cloned.measure_recall()


# Errors


@pytest.mark.parametrize("target", [0, 1, 0.0, 1.0, -0.5, 95, "0.9", np.nan])
def test_targets_are_between_zero_and_one(rows, target):
    with pytest.raises(InvalidParameterError, match=r"target_recall.*\(0\.0, 1\.0\)"):
        LatentIndex(target_recall=target).fit(rows)


@pytest.mark.parametrize("spec", ["", "Flat,", "flat", "HNSW32", "IVF4,PQ4"])
def test_specifications_are_named_before_any_work(rows, spec):
    with pytest.raises(ValueError, match="index_spec must be like"):
        LatentIndex(index_spec=spec).fit(rows)


@pytest.mark.parametrize("settings", [{"target_recall": 0.9}, {"index_spec": PINNED}])
def test_torch_alone_builds_no_approximate_index(rows, settings):
    with pytest.raises(ValueError, match="needs FAISS, but backend='torch'"):
        LatentIndex(backend="torch", **settings).fit(rows)


@pytest.fixture
def without_faiss(monkeypatch):
    cached = (_faiss.faiss_available, _faiss.load_faiss)
    for function in cached:
        function.cache_clear()
    monkeypatch.setattr(_faiss, "distributions", list)
    monkeypatch.setitem(sys.modules, "faiss", None)
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.usefixtures("without_faiss")
@pytest.mark.parametrize(
    "settings",
    [{"target_recall": 0.9}, {"index_spec": PINNED}],
)
def test_without_faiss_the_extra_is_named(rows, settings):
    index = LatentIndex(**settings)
    with pytest.raises(ImportError, match=r"pip install 'latentsk\[cpu\]'"):
        index.fit(rows)
    assert vars(index).keys() == index.get_params(deep=False).keys()


@pytest.mark.parametrize(
    ("n_rows", "spec", "match"),
    [
        (100, "IVF128,PQ70x4fs,nprobe=4,rerank=2", "128 lists, but there are 100 rows"),
        (1, "IVF2,PQ70x4fs,nprobe=2,rerank=2", "2 lists, but there are 1 rows"),
        (100, "IVF8,PQ69x4fs,nprobe=4,rerank=2", "69 coordinates.*have 70"),
        (100, "PCA80,IVF8,PQ80x4fs,nprobe=4,rerank=2", "80 coordinates.*have 70"),
        (40, "PCA50,IVF8,PQ50x4fs,nprobe=4,rerank=2", "50 principal.* are 40 rows"),
    ],
)
def test_data_that_do_not_fit_a_specification_are_named(rows, n_rows, spec, match):
    index = LatentIndex(index_spec=spec)
    with pytest.raises(ValueError, match=match):
        index.fit(rows[:n_rows])
    assert not hasattr(index, "vectors_")


@pytest.mark.parametrize("n_rows", [8, 9, 40])
@pytest.mark.parametrize("residual", ["", "r"])
def test_tiny_data_are_indexed_where_they_fit(rows, n_rows, residual):
    spec = f"IVF8,PQ70x4fs{residual},nprobe=2,rerank=1"
    index = LatentIndex(index_spec=spec, n_neighbors=3).fit(rows[:n_rows])
    found = index.kneighbors(rows[:5], return_distance=False)
    # So few rows are all compared.
    expected = np.argsort(cdist(rows[:5], rows[:n_rows]), axis=1)[:, :3]
    np.testing.assert_array_equal(found, expected)


# Among scikit-learn's own


def test_in_a_pipeline_and_a_grid_search(data):
    y = (data[:, 0] > 0).astype(int)
    pipeline = make_pipeline(
        StandardScaler(),
        LatentNeighborsTransformer(PCAEmbedder(8), n_neighbors=5, target_recall=0.9),
        KNeighborsClassifier(n_neighbors=5, metric="precomputed"),
    )
    grid = {
        "latentneighborstransformer__target_recall": [None, 0.6],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
    search.fit(data[:1_500], y[:1_500])
    assert search.best_score_ > 0.85
    assert search.score(data[1_500:], y[1_500:]) > 0.85


class Vote(ClassifierMixin, BaseEstimator):
    """The majority among the neighbours that an index finds."""

    def __init__(self, index):
        self.index = index

    def fit(self, X, y):
        self.index_ = clone(self.index).fit(X)
        self.classes_, self.codes_ = np.unique(y, return_inverse=True)
        return self

    def predict(self, X):
        votes = self.codes_[self.index_.kneighbors(X, return_distance=False)]
        return self.classes_[(votes.mean(axis=1) > 0.5).astype(int)]


def test_as_a_parameter_of_a_grid_search(data):
    y = data[:, 0] > 0
    grid = {"index__target_recall": [None, 0.5], "index__n_neighbors": [7]}
    vote = Vote(LatentIndex(PCAEmbedder(8)))
    search = GridSearchCV(vote, grid, cv=2, error_score="raise").fit(data, y)
    assert search.best_score_ > 0.85
    assert len(search.cv_results_["params"]) == len(ParameterGrid(grid))


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_transformer_s_target_is_between_zero_and_one(rows, target):
    with pytest.raises(InvalidParameterError, match="'target_recall' parameter of"):
        LatentNeighborsTransformer(target_recall=target).fit(rows)


def test_progress_is_told_where_it_is_asked_for(rows, capsys):
    LatentIndex(index_spec=PINNED).fit(rows)
    assert capsys.readouterr().out == ""
    LatentIndex(index_spec=PINNED, verbose=True).fit(rows)
    out = capsys.readouterr().out
    assert f"building {PINNED}" in out
    assert f"built {PINNED}" in out
    LatentIndex(target_recall=0.5, verbose=True).fit(rows)
    assert "trying PCA" in capsys.readouterr().out


def test_recall_is_measured_among_the_rows_that_pass(rows, queries):
    index = LatentIndex(index_spec=PINNED, n_neighbors=K).fit(rows)
    half = np.arange(N_ROWS) < N_ROWS // 2
    true = np.argsort(cdist(queries, rows[half]), axis=1)[:, :K]
    found = index.kneighbors(queries, filter=half, return_distance=False)
    measured = index.measure_recall(queries, filter=half)
    assert measured.loc[K, "recall"] == pytest.approx(_share(found, true), abs=0.005)
    few = index.measure_recall(queries, filter=np.arange(20))
    assert few.index.tolist() == [1, K]  # there are no 100 neighbours
    assert few.loc[K, "recall"] == 1.0  # few rows are all compared
    assert index.measure_recall(filter=half).loc[K, "recall"] > 0.9
    with pytest.raises(ValueError, match="is not valid"):
        index.measure_recall(queries, filter="year > 2020")
