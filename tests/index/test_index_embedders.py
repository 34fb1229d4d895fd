"""LatentIndex over transformers of every kind: cloned or used as they are."""

import joblib
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from latentsk import AutoencoderEmbedder, LatentIndex, PCAEmbedder


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(60, 5)) * [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def new():
    return np.random.default_rng(1).normal(size=(6, 5))


EMBEDDERS = {
    "PCAEmbedder": PCAEmbedder(2),
    "PCA": PCA(2),
    "scaler": StandardScaler(),
    "pipeline": make_pipeline(StandardScaler(), PCAEmbedder(2)),
    "autoencoder": AutoencoderEmbedder(
        2, hidden_layer_sizes=(4,), max_epochs=2, random_state=0
    ),
    "pandas output": PCAEmbedder(2).set_output(transform="pandas"),
    "pipeline with pandas output": make_pipeline(
        StandardScaler(), PCAEmbedder(2)
    ).set_output(transform="pandas"),
}


@pytest.fixture(params=list(EMBEDDERS))
def embedder(request):
    return clone(EMBEDDERS[request.param])


def _assert_finds(index, new, vectors, new_vectors):
    """Compare with scikit-learn's neighbours among the embedded rows."""
    peer = NearestNeighbors(algorithm="brute").fit(np.asarray(vectors))
    expected = peer.kneighbors(np.asarray(new_vectors))
    found = index.kneighbors(new)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-10)
    np.testing.assert_array_equal(found[1], expected[1])


def test_an_unfitted_embedder_is_cloned_and_fitted(embedder, rows, new):
    before = joblib.hash(embedder)
    index = LatentIndex(embedder).fit(rows)
    assert index.embedder is embedder
    assert index.embedder_ is not embedder
    assert joblib.hash(embedder) == before
    with pytest.raises(NotFittedError):
        check_is_fitted(embedder)
    alone = clone(embedder).fit(rows)
    _assert_finds(index, new, alone.transform(rows), alone.transform(new))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_fitted_embedder_is_used_as_it_is(embedder, rows, new, frozen):
    # Fitted on other rows than the index holds.
    embedder.fit(rows[:30])
    before = joblib.hash(embedder)
    index = LatentIndex(FrozenEstimator(embedder) if frozen else embedder).fit(rows)
    assert index.embedder_ is index.embedder
    _assert_finds(index, new, embedder.transform(rows), embedder.transform(new))
    index.kneighbors()
    index.radius_neighbors(new)
    index.fit(rows[20:])
    assert joblib.hash(embedder) == before


def test_a_frozen_embedder_survives_cloning(rows, new):
    frozen = FrozenEstimator(PCAEmbedder(2).fit(rows[:30]))
    index = clone(LatentIndex(frozen)).fit(rows)
    assert index.embedder_.estimator is frozen.estimator
    _assert_finds(index, new, frozen.transform(rows), frozen.transform(new))


def test_without_embedder_the_rows_are_the_vectors(rows, new):
    index = LatentIndex().fit(rows)
    assert not hasattr(index, "embedder_")
    np.testing.assert_array_equal(index.vectors_, rows)
    _assert_finds(index, new, rows, new)


def test_refit_fits_the_embedder_again(rows, new):
    index = LatentIndex(PCA(2)).fit(rows[:30]).fit(rows)
    alone = PCA(2).fit(rows)
    _assert_finds(index, new, alone.transform(rows), alone.transform(new))


def test_a_half_fitted_pipeline_is_fitted_as_a_whole(rows, new):
    pipeline = make_pipeline(StandardScaler(), PCA(2))
    pipeline[-1].fit(rows)
    index = LatentIndex(pipeline).fit(rows)
    assert index.embedder_ is not pipeline
    alone = clone(pipeline).fit(rows)
    _assert_finds(index, new, alone.transform(rows), alone.transform(new))


@pytest.mark.parametrize("first", ["passthrough", make_pipeline(StandardScaler())])
def test_a_fitted_pipeline_may_hold_others_or_nothing(rows, new, first):
    pipeline = make_pipeline(first, PCA(2)).fit(rows)
    index = LatentIndex(pipeline).fit(rows[20:])
    assert index.embedder_ is pipeline
    _assert_finds(index, new, pipeline.transform(rows[20:]), pipeline.transform(new))


def test_a_stateless_embedder_serves(rows, new):
    index = LatentIndex(FunctionTransformer(np.tanh)).fit(rows)
    _assert_finds(index, new, np.tanh(rows), np.tanh(new))


def test_labels_reach_the_embedder(rows, new):
    y = np.arange(60) % 3
    index = LatentIndex(LinearDiscriminantAnalysis()).fit(rows, y)
    alone = LinearDiscriminantAnalysis().fit(rows, y)
    _assert_finds(index, new, alone.transform(rows), alone.transform(new))


# Data frames with strings


def _table(rows, first_label):
    colours = np.array(["red", "green", "blue"])[np.arange(len(rows)) % 3]
    labels = [f"row {i}" for i in range(first_label, first_label + len(rows))]
    table = pd.DataFrame(rows, columns=list("abcde"), index=labels)
    return table.assign(colour=colours)


def _column_pipeline():
    columns = make_column_transformer(
        (StandardScaler(), list("abcde")),
        (OneHotEncoder(sparse_output=False), ["colour"]),
    )
    return make_pipeline(columns, PCAEmbedder(3))


@pytest.mark.parametrize("fitted", [False, True])
def test_a_pipeline_over_columns_of_strings(rows, new, fitted):
    table, queries = _table(rows, 0), _table(new, 100)
    pipeline = _column_pipeline()
    alone = _column_pipeline().fit(table)
    index = LatentIndex(pipeline.fit(table) if fitted else pipeline).fit(table)
    _assert_finds(index, queries, alone.transform(table), alone.transform(queries))
    assert index.n_features_in_ == 6
    assert index.feature_names_in_.tolist() == [*"abcde", "colour"]
    found = index.search(queries, 1)
    assert found["query"].tolist() == list(queries.index)
    assert found["id"].isin(table.index).all()


def test_a_pipeline_refuses_a_table_without_a_column(rows):
    table = _table(rows, 0)
    index = LatentIndex(_column_pipeline()).fit(table)
    answers = index.search(table)
    with pytest.raises(ValueError, match="colour"):
        index.search(table.drop(columns="colour"))
    assert_frame_equal(index.search(table), answers)


def test_columns_in_another_order_are_found_by_name(rows):
    table = _table(rows, 0)
    index = LatentIndex(_column_pipeline()).fit(table)
    found = index.search(table[["colour", *"edcba"]], 1)
    assert found["id"].tolist() == table.index.tolist()


# Embedders that cannot serve


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda X: np.full((len(X), 2), np.nan), "embedder's output.*NaN"),
        (lambda X: X[:, :0], r"0 feature\(s\)"),
        (lambda X: X[:, 0], "1D array"),
    ],
)
def test_output_that_is_no_matrix_of_numbers_is_refused(rows, function, message):
    index = LatentIndex(FunctionTransformer(function))
    with pytest.raises(ValueError, match=message):
        index.fit(rows)
    assert vars(index).keys() == index.get_params(deep=False).keys()


def test_sparse_output_is_refused():
    index = LatentIndex(OneHotEncoder())
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        index.fit([["a"], ["b"]])
    assert vars(index).keys() == index.get_params(deep=False).keys()


@pytest.mark.parametrize("wrong", ["pca", 3, object(), PCA, PCA.fit])
def test_what_is_no_embedder_is_refused(rows, wrong):
    index = LatentIndex(wrong)
    with pytest.raises((ValueError, TypeError), match=r"embedder|is a class"):
        index.fit(rows)
    assert vars(index).keys() == index.get_params(deep=False).keys()


@pytest.mark.parametrize(
    "reader", [TfidfVectorizer(), CountVectorizer(), HashingVectorizer()]
)
def test_texts_are_a_column_and_no_table(reader):
    table = pd.DataFrame({"title": ["a red lamp", "the blue lamp", "a lamp"]})
    pipeline = make_pipeline(reader, TruncatedSVD(1))
    said = rf"texts for {type(reader).__name__}, .* X\['title'\]\."
    with pytest.raises(ValueError, match=said):
        LatentIndex(pipeline).fit(table)
    index = LatentIndex(pipeline).fit(table["title"])
    assert index.search(table["title"], 1)["id"].tolist()[1] == 1
    with pytest.raises(ValueError, match=said):
        index.search(table[["title"]])
    frozen = FrozenEstimator(index.embedder_)
    with pytest.raises(ValueError, match=said):
        LatentIndex(frozen).fit(table.assign(price=1.0))
