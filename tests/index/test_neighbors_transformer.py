"""The transformer, compared with scikit-learn's, and with what estimators find alone.

The rows are whole numbers, whose squared distances are exact in any order of summation,
and without ties where these would decide. Equal means equal to the last bit.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.cluster import DBSCAN, SpectralClustering
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.manifold import TSNE, Isomap
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsTransformer,
    LocalOutlierFactor,
    NearestNeighbors,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import LatentIndex, LatentNeighborsTransformer, PCAEmbedder

METRICS = ["euclidean", "cosine"]
MODES = ["distance", "connectivity"]
# The peer's cosine puts a row at a small distance from itself, of either sign.
ROUNDING = {"euclidean": 0.0, "cosine": 1e-14}


@parametrize_with_checks(
    [
        LatentNeighborsTransformer(),
        LatentNeighborsTransformer(mode="connectivity", metric="cosine"),
        LatentNeighborsTransformer(PCAEmbedder(1)),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def wine():
    return np.round(1000 * StandardScaler().fit_transform(load_wine().data))


@pytest.fixture(scope="module")
def digit_rows(digits):
    return np.round(1000 * PCA(16, random_state=0).fit_transform(digits[0][:500]))


@pytest.fixture(params=["wine", "digit_rows"])
def rows(request):
    return request.getfixturevalue(request.param)


def _assert_same_graphs(ours, theirs, atol=0.0):
    assert type(ours) is type(theirs)
    assert ours.shape == theirs.shape
    for name in ("data", "indices", "indptr"):
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.data, theirs.data, rtol=atol, atol=atol)


def _assert_leads(graph, k):
    """Each row has k entries, ascending, of which the first is its own zero."""
    graph.check_format()
    distances, positions = graph.data.reshape(-1, k), graph.indices.reshape(-1, k)
    np.testing.assert_array_equal(positions[:, 0], np.arange(graph.shape[0]))
    np.testing.assert_array_equal(distances[:, 0], 0.0)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert all(len(set(row)) == k for row in positions.tolist())


# The graph


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [1, 5, 30])
def test_graphs_are_those_of_scikit_learn(rows, metric, mode, k):
    settings = {"mode": mode, "n_neighbors": k, "metric": metric}
    ours = LatentNeighborsTransformer(**settings)
    peer = KNeighborsTransformer(algorithm="brute", **settings)
    old, new = rows[:-20], rows[-20:]
    atol = ROUNDING[metric]
    own = ours.fit_transform(old)
    _assert_same_graphs(own, peer.fit_transform(old), atol)
    _assert_same_graphs(ours.transform(new), peer.transform(new), atol)
    _assert_same_graphs(ours.transform(old), own, atol)
    assert own.dtype == np.float64
    assert own.nnz == len(old) * (k + (mode == "distance"))


@pytest.mark.parametrize("metric", METRICS)
def test_every_row_leads_its_own_neighbours(rows, metric):
    transformer = LatentNeighborsTransformer(n_neighbors=9, metric=metric)
    _assert_leads(transformer.fit_transform(rows), 10)


@pytest.mark.parametrize("mode", MODES)
def test_all_rows_may_be_neighbours(wine, mode):
    k = len(wine) - (mode == "distance")
    graph = LatentNeighborsTransformer(mode=mode, n_neighbors=k).fit_transform(wine)
    assert graph.nnz == len(wine) ** 2


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("exactness", ["certified", "float32"])
@pytest.mark.parametrize(
    "case", ["duplicated_rows", "near_duplicates", "constant", "zeros", "lattice"]
)
def test_every_row_leads_even_among_its_copies(
    make_case, global_dtype, metric, exactness, case
):
    rows = make_case(case, global_dtype).rows
    transformer = LatentNeighborsTransformer(
        n_neighbors=3, metric=metric, exactness=exactness
    )
    graph = transformer.fit_transform(rows)
    _assert_leads(graph, 4)
    assert graph.dtype == np.float64


@pytest.mark.parametrize("mode", MODES)
def test_more_copies_than_neighbours(mode):
    rows = np.repeat([[0.0, 0.0], [3.0, 4.0]], 10, axis=0)
    transformer = LatentNeighborsTransformer(mode=mode, n_neighbors=4)
    graph = transformer.fit_transform(rows)
    k = 4 + (mode == "distance")
    positions = graph.indices.reshape(20, k)
    np.testing.assert_array_equal(positions[:, 0], np.arange(20))
    copies = np.repeat([[0] * k, [1] * k], 10, axis=0)
    np.testing.assert_array_equal(positions // 10, copies)
    np.testing.assert_array_equal(graph.data, float(mode == "connectivity"))


def test_diagonal_is_there_where_a_search_misses_the_row_itself(wine, monkeypatch):
    search = LatentIndex.kneighbors

    def forgetful(self, X=None, n_neighbors=None, return_distance=True, **kwargs):
        """Miss the nearest of all rows, the query itself where it is one."""
        k = n_neighbors + 1
        return tuple(a[:, 1:] for a in search(self, X, k, return_distance))

    monkeypatch.setattr(LatentIndex, "kneighbors", forgetful)
    transformer = LatentNeighborsTransformer(n_neighbors=5)
    _assert_leads(transformer.fit_transform(wine), 6)
    missed = transformer.transform(wine).indices.reshape(-1, 6)
    assert not (missed == np.arange(len(wine))[:, None]).any()


def test_cosine_is_never_negative(rows):
    parallel = np.concatenate([rows, 3 * rows, rows / 7])
    transformer = LatentNeighborsTransformer(n_neighbors=5, metric="cosine")
    assert transformer.fit_transform(parallel).data.min() >= 0
    graph = transformer.transform(11 * rows)
    assert graph.data.min() >= 0
    np.testing.assert_allclose(graph.data.reshape(-1, 6)[:, :3], 0.0, atol=1e-15)


# The estimators behind it


def _graph(rows, k, metric="euclidean"):
    return LatentNeighborsTransformer(n_neighbors=k, metric=metric).fit_transform(rows)


@pytest.mark.parametrize(("metric", "eps"), [("euclidean", 2300), ("cosine", 0.25)])
def test_dbscan(wine, metric, eps):
    near = NearestNeighbors(radius=eps, metric=metric, algorithm="brute").fit(wine)
    k = max(len(found) for found in near.radius_neighbors(return_distance=False))
    graph = _graph(wine, k, metric)
    ours = DBSCAN(eps, metric="precomputed").fit_predict(graph)
    theirs = DBSCAN(eps, metric=metric, algorithm="brute").fit_predict(wine)
    np.testing.assert_array_equal(ours, theirs)
    assert len(set(theirs)) > 2


@pytest.mark.parametrize("metric", METRICS)
def test_local_outlier_factor(rows, metric):
    ours = LocalOutlierFactor(12, metric="precomputed").fit(_graph(rows, 12, metric))
    theirs = LocalOutlierFactor(12, metric=metric, algorithm="brute").fit(rows)
    np.testing.assert_allclose(
        ours.negative_outlier_factor_,
        theirs.negative_outlier_factor_,
        rtol=ROUNDING[metric] * 100,
    )


def test_local_outlier_factor_of_new_rows(wine):
    transformer = LatentNeighborsTransformer(n_neighbors=12)
    ours = LocalOutlierFactor(12, metric="precomputed", novelty=True)
    theirs = LocalOutlierFactor(12, algorithm="brute", novelty=True).fit(wine[:-30])
    ours.fit(transformer.fit_transform(wine[:-30]))
    new = wine[-30:]
    np.testing.assert_array_equal(
        ours.score_samples(transformer.transform(new)), theirs.score_samples(new)
    )


def test_isomap(wine):
    ours = Isomap(n_neighbors=8, metric="precomputed").fit_transform(_graph(wine, 8))
    theirs = Isomap(n_neighbors=8, neighbors_algorithm="brute").fit_transform(wine)
    signs = np.sign(np.sum(ours * theirs, axis=0))
    np.testing.assert_allclose(
        ours * signs, theirs, atol=1e-8 * np.abs(theirs).max(), rtol=0
    )


def test_spectral_clustering(wine):
    settings = {"n_clusters": 3, "n_neighbors": 10, "random_state": 0}
    affinity = "precomputed_nearest_neighbors"
    ours = SpectralClustering(affinity=affinity, **settings)
    theirs = SpectralClustering(affinity="nearest_neighbors", **settings)
    labels = ours.fit_predict(_graph(wine, 10))
    assert adjusted_rand_score(labels, theirs.fit_predict(wine)) == 1.0
    assert len(set(labels)) == 3


def test_tsne(wine):
    settings = {"perplexity": 10, "init": "random", "random_state": 0, "max_iter": 250}
    k = 3 * settings["perplexity"] + 1
    peer = KNeighborsTransformer(n_neighbors=k, algorithm="brute")
    # Forces from one thread are summed in one order.
    tsne = TSNE(metric="precomputed", n_jobs=1, **settings)
    ours = tsne.fit_transform(_graph(wine, k))
    np.testing.assert_array_equal(ours, tsne.fit_transform(peer.fit_transform(wine)))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", METRICS)
def test_k_neighbors_classifier(digit_rows, digits, metric, weights):
    old, new, y = digit_rows[:400], digit_rows[400:], digits[1][:400]
    settings = {"n_neighbors": 7, "weights": weights}
    ours = make_pipeline(
        LatentNeighborsTransformer(n_neighbors=7, metric=metric),
        KNeighborsClassifier(metric="precomputed", **settings),
    )
    theirs = KNeighborsClassifier(metric=metric, algorithm="brute", **settings)
    ours.fit(old, y)
    theirs.fit(old, y)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    np.testing.assert_allclose(ours.predict_proba(new), theirs.predict_proba(new))


@pytest.fixture(scope="module")
def umap_of():
    umap = pytest.importorskip("umap")

    def fitted(X, **settings):
        # A spectral start needs eigenvectors, whose signs are open.
        settings = {"init": "random", "random_state": 0, "n_jobs": 1, **settings}
        return umap.UMAP(n_neighbors=15, n_epochs=50, **settings).fit(X)

    return fitted


@pytest.mark.slow
@pytest.mark.parametrize("source", ["graph", "kneighbors"])
def test_umap_takes_the_neighbours(umap_of, wine, source):
    transformer = LatentNeighborsTransformer(n_neighbors=14)
    graph = transformer.fit_transform(wine)
    arrays = graph.indices.reshape(len(wine), -1), graph.data.reshape(len(wine), -1)
    if source == "kneighbors":
        arrays = transformer.index_.kneighbors(wine, 15)[::-1]
    with pytest.warns(UserWarning, match="transforming new data"):
        ours = umap_of(wine, precomputed_knn=arrays)
    theirs = umap_of(wine)
    np.testing.assert_array_equal(ours.graph_.toarray(), theirs.graph_.toarray())
    np.testing.assert_array_equal(ours.embedding_, theirs.embedding_)


@pytest.mark.slow
def test_umap_takes_the_graph_of_all_distances(umap_of, wine):
    graph = _graph(wine, len(wine) - 1)  # UMAP wants a symmetric one
    with pytest.warns(UserWarning, match="inverse_transform will be unavailable"):
        ours = umap_of(graph, metric="precomputed")
    np.testing.assert_array_equal(ours.embedding_, umap_of(wine).embedding_)


# The embedder


def test_neighbours_are_those_in_the_latent_space(digits):
    X = digits[0][:300]
    embedder = PCAEmbedder(8)
    transformer = LatentNeighborsTransformer(embedder)
    graph = transformer.fit_transform(X)
    assert not hasattr(embedder, "components_")
    latents = transformer.index_.embedder_.transform(X)
    peer = KNeighborsTransformer(algorithm="kd_tree").fit(latents)
    _assert_same_graphs(graph, peer.transform(latents), 1e-12)
    _assert_same_graphs(transformer.transform(X), graph, 1e-12)


def test_fitted_embedder_is_used_as_it_is(digits):
    X, other = digits[0][:100], digits[0][100:400]
    embedder = PCAEmbedder(4).fit(other)
    components = embedder.components_.copy()
    transformer = LatentNeighborsTransformer(embedder).fit(X)
    assert transformer.index_.embedder_ is embedder
    np.testing.assert_array_equal(embedder.components_, components)
    frozen = clone(LatentNeighborsTransformer(FrozenEstimator(embedder)))
    _assert_same_graphs(frozen.fit_transform(X), transformer.fit_transform(X))


def test_pipeline_as_embedder_and_labels(digits):
    X, y = digits[0][:300], digits[1][:300]
    embedder = make_pipeline(PCA(20), LinearDiscriminantAnalysis())
    graph = LatentNeighborsTransformer(embedder, n_neighbors=1).fit_transform(X, y)
    nearest = graph.indices.reshape(-1, 2)[:, 1]
    assert np.mean(y[nearest] == y) > 0.95


def test_behind_an_embedder_in_a_pipeline(digits):
    X = digits[0][:300]
    settings = {"n_neighbors": 20}
    pipeline = make_pipeline(PCAEmbedder(8), LatentNeighborsTransformer(**settings))
    inside = LatentNeighborsTransformer(PCAEmbedder(8), **settings)
    _assert_same_graphs(pipeline.fit_transform(X), inside.fit_transform(X), 1e-12)
    _assert_same_graphs(pipeline.transform(X[:9]), inside.transform(X[:9]), 1e-12)
    names = pipeline.get_feature_names_out()
    assert names[-1] == "latentneighborstransformer299"


def test_number_of_neighbours_is_chosen_by_a_grid(digits):
    model = make_pipeline(
        LatentNeighborsTransformer(PCAEmbedder(8)),
        KNeighborsClassifier(metric="precomputed"),
    )
    grid = {"latentneighborstransformer__embedder__n_components": [1, 16]}
    search = GridSearchCV(model, grid, cv=3).fit(digits[0][:300], digits[1][:300])
    assert list(search.best_params_.values()) == [16]


def test_index_has_the_settings(wine):
    settings = {
        "metric": "cosine",
        "exactness": "float32",
        "backend": "torch",
        "n_neighbors": 7,
    }
    index = LatentNeighborsTransformer(**settings).fit(wine).index_
    assert settings.items() <= index.get_params().items()
    defaults = LatentNeighborsTransformer().fit(wine).index_
    assert defaults.get_params() == LatentIndex().get_params()


def test_only_what_is_given_reaches_the_index(wine, monkeypatch):
    received = []

    def make_index(embedder, **settings):
        received.append(settings)
        return LatentIndex(embedder)

    module = "latentsk.index._neighbors_transformer.LatentIndex"
    monkeypatch.setattr(module, make_index)
    LatentNeighborsTransformer(target_recall=0.9, n_jobs=2).fit(wine)
    LatentNeighborsTransformer().fit(wine)
    given, defaults = received
    assert given == {**defaults, "target_recall": 0.9, "n_jobs": 2}
    assert not {"target_recall", "n_jobs"} & defaults.keys()


# The estimator


def test_cloned_and_pickled(wine):
    transformer = LatentNeighborsTransformer(PCAEmbedder(4), n_neighbors=3)
    graph = transformer.fit_transform(wine)
    copy = pickle.loads(pickle.dumps(transformer))
    _assert_same_graphs(copy.transform(wine), graph)
    assert not hasattr(clone(transformer), "index_")
    _assert_same_graphs(clone(transformer).fit_transform(wine), graph)


def test_names_and_numbers_of_features(wine):
    table = pd.DataFrame(wine, columns=load_wine().feature_names)
    transformer = LatentNeighborsTransformer(PCAEmbedder(4)).fit(table)
    assert transformer.feature_names_in_.tolist() == load_wine().feature_names
    assert transformer.n_features_in_ == 13
    assert transformer.n_samples_fit_ == 178
    names = transformer.get_feature_names_out()
    assert len(names) == 178
    assert names[0] == "latentneighborstransformer0"
    assert not hasattr(LatentNeighborsTransformer().fit(wine), "feature_names_in_")
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(table.rename(columns={"hue": "tint"}))


def test_not_fitted(wine):
    transformer = LatentNeighborsTransformer()
    for attribute in ("n_features_in_", "feature_names_in_", "n_samples_fit_"):
        assert not hasattr(transformer, attribute)
    with pytest.raises(NotFittedError):
        transformer.transform(wine)
    with pytest.raises(NotFittedError):
        transformer.get_feature_names_out()


@pytest.mark.parametrize("interface", ["spmatrix", "sparray"])
def test_graphs_are_of_the_configured_type(wine, interface):
    ours, peer = LatentNeighborsTransformer(), KNeighborsTransformer(algorithm="brute")
    with sklearn.config_context(sparse_interface=interface):
        _assert_same_graphs(ours.fit_transform(wine), peer.fit_transform(wine))
        _assert_same_graphs(ours.transform(wine), peer.transform(wine))


def test_sparse_output_and_set_output(wine):
    transformer = LatentNeighborsTransformer().set_output(transform="default")
    assert transformer.fit_transform(wine).nnz == 6 * len(wine)
    transformer.set_output(transform="pandas")
    # scikit-learn's rule for every transformer with sparse output.
    for method in (transformer.fit_transform, transformer.transform):
        with pytest.raises(ValueError, match="outputs a scipy sparse matrix"):
            method(wine)


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_neighbors": 12}, r"n_neighbors=12 .* at least 13 rows, got n_samples = 9"),
        ({"n_neighbors": 9}, "at least 10 rows"),
        ({"n_neighbors": 10, "mode": "connectivity"}, "at least 10 rows"),
        ({"n_neighbors": 0}, "'n_neighbors' parameter"),
        ({"mode": "weights"}, "'mode' parameter"),
        ({"metric": "inner_product"}, "'metric' parameter"),
        ({"metric": "precomputed"}, "'metric' parameter"),
        ({"target_recall": 1.5}, "'target_recall' parameter"),
    ],
)
def test_a_refused_fit_leaves_the_last_one(wine, method, parameters, message):
    transformer = LatentNeighborsTransformer(n_neighbors=3)
    before = transformer.get_params()
    graph, index = transformer.fit_transform(wine), transformer.index_
    transformer.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        getattr(transformer, method)(wine[:9])
    assert transformer.index_ is index
    transformer.set_params(**before)
    _assert_same_graphs(transformer.transform(wine), graph)


def test_too_few_rows_are_noticed_before_any_work(wine):
    class Unwilling(PCAEmbedder):
        def fit(self, X, y=None):
            raise AssertionError

    transformer = LatentNeighborsTransformer(Unwilling(2), n_neighbors=9)
    with pytest.raises(ValueError, match="at least 10 rows, got n_samples = 9"):
        transformer.fit(wine[:9])


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_bad_rows_leave_the_last_fit(wine, method):
    transformer = LatentNeighborsTransformer(PCAEmbedder(2), n_neighbors=3)
    index = transformer.fit(wine).index_
    bad = wine.copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        getattr(transformer, method)(bad)
    assert transformer.index_ is index
    with pytest.raises(ValueError, match="12 features"):
        transformer.transform(wine[:, 1:])


def test_failed_search_leaves_the_last_fit(wine, monkeypatch):
    transformer = LatentNeighborsTransformer(n_neighbors=3)
    index = transformer.fit(wine).index_

    def failing(self, *args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(LatentIndex, "kneighbors", failing)
    with pytest.raises(MemoryError):
        transformer.fit_transform(wine[:50])
    assert transformer.index_ is index


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mode": "weights"}, "'mode' parameter"),
        ({"n_neighbors": 200}, r"n_neighbors = 201, n_samples_fit = 178"),
    ],
)
def test_parameters_set_after_the_fit_are_checked(wine, parameters, message):
    transformer = LatentNeighborsTransformer().fit(wine).set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        transformer.transform(wine)


def test_mode_and_number_of_neighbours_may_be_set_after_the_fit(wine):
    transformer = LatentNeighborsTransformer().fit(wine)
    transformer.set_params(mode="connectivity", n_neighbors=2)
    peer = KNeighborsTransformer(mode="connectivity", n_neighbors=2, algorithm="brute")
    _assert_same_graphs(transformer.transform(wine), peer.fit_transform(wine))


def test_class_as_embedder_is_refused(wine):
    with pytest.raises(TypeError, match="must be an instance"):
        LatentNeighborsTransformer(PCAEmbedder).fit(wine)
