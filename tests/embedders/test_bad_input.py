"""Bad input: a clear error before any work, and nothing half-fitted.

What each error says; tests/test_bad_input.py has every method, layout and dtype.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from scipy.stats import norm

from latentsk import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder

GOOD = np.random.default_rng(0).normal(size=(40, 5))
NAMED = pd.DataFrame(GOOD, columns=list("abcde"))
SMALL = {"hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
MAKERS = [
    PCAEmbedder,
    lambda: AutoencoderEmbedder(**SMALL),
    lambda: VAEEmbedder(**SMALL, likelihood_scale=0.3),
]
both = pytest.mark.parametrize("make", MAKERS, ids=["PCA", "autoencoder", "VAE"])

METHODS = [
    "transform",
    "reconstruct",
    "score_samples",
    "score",
    "decision_function",
    "predict",
    "calibrate",
    "partial_fit",
]


def with_value(value):
    X = GOOD.copy()
    X[3, 1] = value
    return X


BAD_ROWS = {
    "nan": (with_value(np.nan), ValueError, "contains NaN"),
    "infinity": (with_value(np.inf), ValueError, "contains infinity"),
    "empty": (GOOD[:0], ValueError, "0 sample"),
    "no columns": (GOOD[:, :0], ValueError, "0 feature"),
    "one-dimensional": (GOOD[:, 0], ValueError, "Expected 2D array"),
    "five-dimensional": (GOOD.reshape(2, 2, 2, 5, 5), ValueError, r"5D|2, 2, 2, 5, 5"),
    "strings": (np.full((40, 5), "x"), ValueError, "could not convert string"),
    "objects": (np.full((40, 5), object()), TypeError, "must be a string or a"),
    "complex": (GOOD * 1j, ValueError, "Complex data not supported"),
    "none": (None, ValueError, "Expected 2D array"),
}


@both
@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("method", ["fit", "fit_transform", "fit_predict"])
def test_fit(make, case, method):
    X, error, message = BAD_ROWS[case]
    embedder = make()
    with pytest.raises(error, match=message):
        getattr(embedder, method)(X)
    assert vars(embedder) == vars(make())


@both
@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("method", ["fit", *METHODS])
def test_fitted(make, case, method):
    X, error, message = BAD_ROWS[case]
    embedder = make().fit(GOOD)
    before = dict(vars(embedder))
    with pytest.raises(error, match=message):
        getattr(embedder, method)(X)
    assert vars(embedder) == before


@both
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (GOOD[:, :4], "4 features, but [a-zA-Z]+ is expecting 5"),
        (NAMED.rename(columns={"a": "z"}), "feature names should match"),
        (NAMED[list("bacde")], "must be in the same order"),
    ],
)
def test_other_columns(make, method, X, message):
    embedder = make().fit(GOOD if isinstance(X, np.ndarray) else NAMED)
    with pytest.raises(ValueError, match=message):
        getattr(embedder, method)(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 6}, "n_components=6 must be between"),
        ({"n_components": -1}, "'n_components' parameter"),
        ({"n_components": 1.5}, "'n_components' parameter"),
        ({"n_components": "all"}, "'n_components' parameter"),
        ({"n_components": 5, "svd_solver": "arpack"}, "must be strictly less than"),
        ({"n_components": "mle", "svd_solver": "arpack"}, "cannot be a string"),
        ({"svd_solver": "svd"}, "'svd_solver' parameter"),
        ({"score_method": "elbo"}, "'score_method' parameter"),
        ({"contamination": 0.0}, "'contamination' parameter"),
        ({"contamination": 0.6}, "'contamination' parameter"),
        ({"random_state": "seed"}, "'random_state' parameter"),
        ({"whiten": "yes"}, "'whiten' parameter"),
    ],
)
def test_parameters(parameters, message):
    embedder = PCAEmbedder(**parameters)
    with pytest.raises(ValueError, match=message):
        embedder.fit(GOOD)
    assert vars(embedder) == vars(PCAEmbedder(**parameters))


def test_streaming_parameters():
    with pytest.raises(
        ValueError, match=r"n_components=6 must be at most n_features=5"
    ):
        PCAEmbedder(6).partial_fit(GOOD)


def test_one_row_is_too_few():
    with pytest.raises(ValueError, match=r"1 sample.*minimum of 2"):
        PCAEmbedder().fit(GOOD[:1])


@both
def test_latents_of_another_width(make):
    embedder = make().set_params(n_components=3).fit(GOOD)
    with pytest.raises(ValueError, match=r"X has 2 columns, but .* 3 components"):
        embedder.inverse_transform(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="contains NaN"):
        embedder.inverse_transform(np.full((4, 3), np.nan))


def test_sparse_input_is_taken_where_scikit_learn_takes_it():
    sparse = csr_array(GOOD)
    embedder = PCAEmbedder(3, svd_solver="covariance_eigh").fit(sparse)
    dense = PCAEmbedder(3, svd_solver="covariance_eigh").fit(GOOD)
    for method in ("transform", "reconstruct", "score_samples", "predict"):
        np.testing.assert_allclose(
            getattr(embedder, method)(sparse), getattr(dense, method)(GOOD)
        )
    with pytest.raises(TypeError, match="PCA only support sparse"):
        PCAEmbedder(3, svd_solver="full").fit(sparse)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, np.int64, bool])
def test_other_dtypes_are_computed_in_float64(dtype):
    X = (np.abs(GOOD) * 3).astype(dtype) if dtype is not bool else GOOD > 0
    embedder = PCAEmbedder(2).fit(X)
    assert embedder.components_.dtype == np.float64
    np.testing.assert_allclose(
        embedder.score_samples(X), PCAEmbedder(2).fit(X.astype(float)).score_samples(X)
    )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float64),
        (np.int64, np.float64),
        (bool, np.float64),
    ],
)
def test_networks_infer_in_float32_what_it_holds(dtype, expected):
    X = (np.abs(GOOD) * 3).astype(dtype) if dtype is not bool else GOOD > 0
    embedder = AutoencoderEmbedder(2, **SMALL).fit(X)
    assert embedder.transform(X).dtype == expected
    assert embedder.reconstruct(X).dtype == expected
    same = AutoencoderEmbedder(2, **SMALL).fit(X.astype(float))
    np.testing.assert_allclose(
        embedder.score_samples(X), same.score_samples(X.astype(float)), rtol=1e-4
    )


def test_sparse_input_is_refused_by_networks():
    with pytest.raises(TypeError, match="Sparse data was passed"):
        AutoencoderEmbedder(**SMALL).fit(csr_array(GOOD))


def test_constant_columns_are_harmless():
    X = np.hstack([GOOD, np.full((40, 2), 7.0)])
    with_them, without = PCAEmbedder(3).fit(X), PCAEmbedder(3).fit(GOOD)
    np.testing.assert_allclose(
        np.abs(with_them.transform(X)), np.abs(without.transform(GOOD))
    )
    scores = with_them.set_params(score_method="reconstruction").score_samples(X)
    without.set_params(score_method="reconstruction")
    np.testing.assert_allclose(scores, without.score_samples(GOOD))


def test_one_column():
    X = GOOD[:, :1]
    embedder = PCAEmbedder().fit(X)
    expected = norm(X.mean(), X.std(ddof=1)).logpdf(X[:, 0])
    np.testing.assert_allclose(embedder.score_samples(X), expected)
