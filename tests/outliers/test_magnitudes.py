"""Rows beyond 1e100: refused by fits, the lowest scores elsewhere."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA, KernelPCA, TruncatedSVD
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from latentsk import (
    AutoencoderEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
)
from latentsk.outliers._magnitudes import (
    clip_where_finite,
    float_columns,
    largest_magnitudes,
    measure_where_small,
)

LOWEST = np.finfo(np.float64).min
SMALL = {"hidden_layer_sizes": (4,), "max_epochs": 2, "random_state": 0}
EMBEDDERS = {
    "None": None,
    "PCAEmbedder": PCAEmbedder(2),
    "PCA": PCA(2),
    "pipeline": make_pipeline(StandardScaler(), PCAEmbedder(2)),
    "autoencoder": AutoencoderEmbedder(2, **SMALL),
    "vae": VAEEmbedder(2, **SMALL),
    # Its powers leave the range of float64 far below 1e100.
    "polynomial": KernelPCA(2, kernel="poly", fit_inverse_transform=True, gamma=0.1),
}
SCORED = set(EMBEDDERS) - {"polynomial"}


def _far(X, power):
    rows = np.tile(X[:1], (4, 1))
    rows[0, 1] = 10.0**power
    rows[1, :] = -(10.0**power)
    rows[2, :3] = np.array([1.0, -1.0, 1.0]) * 10.0**power
    return rows


@pytest.mark.parametrize("method", ["auto", "embedder_score"])
@pytest.mark.parametrize("name", EMBEDDERS)
def test_scores_of_finite_rows_never_raise(X, name, method):
    if method == "embedder_score" and name not in SCORED:
        pytest.skip("has no score")
    detector = LatentOutlierDetector(EMBEDDERS[name], method=method, random_state=0)
    detector.fit(X)
    usual = detector.score_samples(X[:1])
    for power in (10, 38, 75, 99, 101, 154, 200, 308):
        rows = _far(X, power)
        scores = detector.score_samples(rows)
        assert np.isfinite(scores).all()
        assert (scores[:3] < detector.training_scores_[0]).all()
        # Values of the polynomial kernel are up to 1e5 where they cancel.
        np.testing.assert_allclose(scores[3], usual, rtol=1e-9, atol=1e-9)
        assert detector.predict(rows)[:3].tolist() == [-1, -1, -1]
        assert (detector.decision_function(rows)[:3] < 0.0).all()
        if power > 100:
            assert scores[:3].tolist() == [LOWEST] * 3
    np.testing.assert_array_equal(detector.score_samples(_far(X, 200)[:2]), LOWEST)


@pytest.mark.parametrize("name", sorted(SCORED))
def test_scores_of_float32_rows_never_raise(X, name):
    X = X.astype(np.float32)
    for method in ("auto", "embedder_score"):
        detector = LatentOutlierDetector(EMBEDDERS[name], method=method, random_state=0)
        rows = _far(X, 38)
        scores = detector.fit(X).score_samples(rows)
        assert np.isfinite(scores).all()
        assert (scores[:3] < detector.training_scores_[0]).all()


@pytest.mark.parametrize("name", ["None", "PCAEmbedder", "autoencoder", "pipeline"])
def test_fit_and_calibrate_name_the_column(X, name):
    rows = X.copy()
    rows[7, 2] = -1e101
    table = pd.DataFrame(rows, columns=list("abcde"))
    detector = LatentOutlierDetector(EMBEDDERS[name], random_state=0)
    for bad, column in ((rows, "x2"), (table, "c")):
        with pytest.raises(
            ValueError, match=rf"-1e\+101 in column '{column}', row 7\."
        ):
            detector.fit(bad)
        assert not hasattr(detector, "offset_")
    detector.fit(table.clip(-1e100, 1e100)).calibrate(table[:5])
    with pytest.raises(ValueError, match=r"column 'c', row 7\. Scale or clip"):
        detector.calibrate(table)
    assert len(detector.calibration_scores_) == 5
    with pytest.raises(ValueError, match=r"in column 'c', row 7"):
        detector.explain(table)
    with pytest.raises(ValueError, match=r"in column 'x2', row 7"):
        PyODAdapter(detector).fit(rows)


def test_numbers_beside_text(X):
    table = pd.DataFrame({"kind": np.where(X[:, 0] > 7, "a", "b"), "x": X[:, 1]})
    columns = make_column_transformer(
        (StandardScaler(), ["x"]), (OneHotEncoder(sparse_output=False), ["kind"])
    )
    embedder = make_pipeline(columns, PCA(2))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(table)
    far = table[:3].assign(x=[1e200, 7.0, -1e101])
    scores = detector.score_samples(far)
    assert [score == LOWEST for score in scores] == [True, False, True]
    with pytest.raises(ValueError, match=r"1e\+200 in column 'x', row 0"):
        detector.fit(pd.concat([far, table]))


def test_parts_of_rows_that_are_too_large_are_the_lowest(X):
    detector = LatentOutlierDetector(PCAEmbedder(2), random_state=0).fit(X)
    parts = detector.score_parts(np.vstack([X[:1], _far(X, 200)[:1]]))
    assert (parts.iloc[1] == LOWEST).all()
    np.testing.assert_array_equal(parts.iloc[:1], detector.score_parts(X[:1]))


def test_columns_that_may_be_huge():
    table = pd.DataFrame(
        {
            "text": ["a", "b"],
            "whole": [1, 2],
            "single": np.array([1.0, 2.0], np.float32),
            "double": [1e200, np.nan],
            "nullable": pd.array([1e300, None], "Float64"),
            "objects": np.array([1e250, 2.0], object),
        }
    )
    values, names = float_columns(table)
    assert names == ["single", "double", "nullable", "objects"]
    np.testing.assert_array_equal(
        values, [[1.0, 1e200, 1e300, 1e250], [2.0, np.nan, np.nan, 2.0]]
    )
    values, names = float_columns(table.drop(columns="nullable").to_numpy())
    assert names == ["x1", "x2", "x3", "x4"]
    values, names = float_columns(table[["single"]])
    assert values.dtype == np.float32
    values, names = float_columns([[1, 2], [3, 4]])
    assert (values.shape, names) == ((2, 0), None)


def test_only_small_rows_are_measured():
    seen = []

    def measure(rows):
        seen.append(len(rows))
        return np.column_stack([rows.sum(axis=1), rows.max(axis=1)])

    rows = np.array([[1.0, 2.0], [np.nan, 1e101], [3.0, -1e101], [0.0, 1e100]])
    found = measure_where_small(rows, measure, np.array([-1.0, -2.0]))
    np.testing.assert_array_equal(found, [[3, 2], [-1, -2], [-1, -2], [1e100, 1e100]])
    found = measure_where_small(rows[1:3], measure, -np.inf)
    assert np.isneginf(found).all()
    narrow = np.array([[1.0], [1e31]], np.float32)
    found = measure_where_small(narrow, lambda rows: rows[:, 0], -9.0)
    assert found.tolist() == [1.0, -9.0]
    assert seen == [2]


# Rows of other kinds

EVERY_SCORE = {
    "score_samples": lambda d, X: d.score_samples(X),
    "decision_function": lambda d, X: d.decision_function(X),
    "predict": lambda d, X: d.predict(X),
    "score_parts": lambda d, X: d.score_parts(X).to_numpy(),
    "p_values": lambda d, X: d.p_values(X),
    "predict_fdr": lambda d, X: d.predict_fdr(X, level=0.5),
    "outlier_probability": lambda d, X: -d.outlier_probability(X),
}


def _objects(X, value):
    rows = X[:6].astype(object)
    rows[4, 1] = value
    return rows


HUGE = {
    "1e101": lambda X: _objects(X, 1e101).astype(float),
    "1e200": lambda X: _objects(X, -1e200).astype(float),
    "the largest": lambda X: _objects(X, np.finfo(float).max).astype(float),
    "objects": lambda X: _objects(X, 1e200),
    "integers": lambda X: _objects(X, 10**200),
    "beyond floats": lambda X: _objects(X, -(10**400)),
    "list": lambda X: _objects(X, 10**400).tolist(),
    "frame": lambda X: pd.DataFrame(_objects(X, 1e200).astype(float)),
    "frame of objects": lambda X: pd.DataFrame(_objects(X, 10**400)),
    "nullable": lambda X: pd.DataFrame(_objects(X, 1e200).astype(float)).astype(
        "Float64"
    ),
    "categories": lambda X: pd.DataFrame(_objects(X, 1e200).astype(float)).astype(
        {1: "category"}
    ),
    "polars": lambda X: pl.DataFrame(_objects(X, 1e200).astype(float)),
    "tensor": lambda X: torch.tensor(_objects(X, 1e200).astype(float)),
    "extended": lambda X: _objects(X, 1e300).astype(np.longdouble) ** 2,
    "float32": lambda X: _objects(X, 3e38).astype(np.float32),
}


@pytest.mark.parametrize("kind", HUGE)
@pytest.mark.parametrize("name", ["None", "PCAEmbedder", "pipeline", "autoencoder"])
def test_no_method_that_scores_raises_for_finite_rows(X, name, kind):
    detector = LatentOutlierDetector(EMBEDDERS[name], random_state=0).fit(X[:60])
    detector.calibrate(X[60:])
    rows = HUGE[kind](X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X has feature names")
        found = {k: score(detector, rows) for k, score in EVERY_SCORE.items()}
    for method, scores in found.items():
        assert np.isfinite(scores).all(), method
        assert (scores[4] <= scores).all(), method
    assert found["score_samples"].argmin() == 4
    assert found["predict"][4] == found["predict_fdr"][4] == -1
    assert found["p_values"][4] == 1.0 / (len(X) - 60 + 1.0)


@pytest.mark.parametrize("kind", [k for k in HUGE if k != "float32"])
@pytest.mark.parametrize("name", ["None", "PCAEmbedder", "pipeline"])
def test_fits_refuse_what_scores_take(X, name, kind):
    detector = LatentOutlierDetector(EMBEDDERS[name], random_state=0)
    with pytest.raises(ValueError, match=r"above 1e\+100: .* in column .*, row 4\."):
        detector.fit(HUGE[kind](X))
    assert not hasattr(detector, "offset_")


def _steps(step):
    """Detect with a step that makes huge numbers of moderate ones."""
    return make_pipeline(step, PCAEmbedder(2))


STEPS = {
    "powers": _steps(PolynomialFeatures(5)),
    "powers, scaled": make_pipeline(
        PolynomialFeatures(5), StandardScaler(), PCAEmbedder(2)
    ),
    "exponentials": _steps(FunctionTransformer(np.exp)),
    "table": _steps(
        FunctionTransformer(lambda rows: pd.DataFrame(np.asarray(rows) ** 7))
    ),
    "scikit-learn": make_pipeline(PolynomialFeatures(5), PCA(2)),
    "latents": FunctionTransformer(np.exp),
}


@pytest.mark.parametrize("method", ["auto", "embedder_score"])
@pytest.mark.parametrize("name", STEPS)
def test_what_a_step_makes_too_large_is_scored_low(X, name, method):
    if method == "embedder_score" and name == "latents":
        pytest.skip("has no score")
    X = X - X.mean(axis=0)
    detector = LatentOutlierDetector(STEPS[name], method=method, random_state=0)
    scores = detector.fit(X).score_samples(X)
    rows = X[:4].copy()
    rows[2, 1] = 1e60
    found = detector.score_samples(rows)
    assert np.isfinite(found).all()
    assert found[2] < scores.min()
    np.testing.assert_allclose(found[[0, 1, 3]], scores[[0, 1, 3]], rtol=1e-6)
    assert detector.predict(rows)[2] == -1
    # Infinite rows are another matter.
    rows[2, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        detector.score_samples(rows)


def test_sparse_rows(X):
    columns = sparse.random_array((80, 700), density=0.05, rng=0, format="csr")
    for rows in (columns, sparse.csr_array(X)):
        detector = LatentOutlierDetector(TruncatedSVD(2, random_state=0))
        detector.set_params(random_state=0).fit(rows)
        far = rows[:5].tolil()
        far[3, 2] = -1e200
        scores = detector.score_samples(far.tocsr())
        assert [score == LOWEST for score in scores] == [False] * 3 + [True, False]
        with pytest.raises(ValueError, match=r"-1e\+200 in column 'x2', row 3"):
            detector.fit(far)
        with pytest.raises(ValueError, match=r"-1e\+200 in column 'x2', row 3"):
            detector.explain(far)
        far[3, 2] = np.nan
        with pytest.raises(ValueError, match="column 'x2', row 3"):
            detector.score_samples(far.tocsr())


@pytest.mark.parametrize(
    ("rows", "largest", "limit"),
    [
        (np.array([[1.0, -2.0], [np.nan, 0.5]]), [2.0, 0.5], 1e100),
        (np.array([[1.0, -np.inf]]), [np.inf], 1e100),
        (np.array([[1.0, 1e38]], np.float32), [1e38], 1e30),
        (sparse.csr_array([[0.0, -3.0], [np.nan, 2.0]]), [3.0, 2.0], 1e100),
        (sparse.csr_array((2, 3)), [0.0, 0.0], 1e100),
        (["a text", "another"], [0.0, 0.0], 1e100),
        (pd.DataFrame({"a": [1.0, -4.0], "b": ["x", "y"]}), [1.0, 4.0], 1e100),
        (pd.DataFrame({"a": [10**300, "x"]}), [1e300, 0.0], 1e100),
        (pl.DataFrame({"a": [1.0, None], "b": ["x", "y"]}), [1.0, 0.0], 1e100),
        (np.full((2, 2, 2), 3.0), [3.0, 3.0], 1e100),
    ],
)
def test_largest_magnitudes(rows, largest, limit):
    found, allowed = largest_magnitudes(rows)
    np.testing.assert_allclose(found, largest, rtol=1e-6)
    assert allowed == limit


def test_what_is_clipped():
    rows = np.array([[1e60, np.nan], [1.0, -2.0]])
    np.testing.assert_array_equal(
        clip_where_finite(rows**3, rows), [[1e100, np.nan], [1.0, -8.0]]
    )
    infinite = np.array([[np.inf, 0.0]])
    assert clip_where_finite(infinite, infinite) is infinite
    small = rows / 1e60
    assert clip_where_finite(small, rows) is small
    table = pd.DataFrame({"a": [1e200], "b": [2.0], "c": ["x"]})
    clipped = clip_where_finite(table, rows)
    assert clipped.to_dict("list") == {"a": [1e100], "b": [2.0], "c": ["x"]}
    compressed = clip_where_finite(sparse.csr_array([[0.0, -1e200]]), rows)
    assert compressed.toarray().tolist() == [[0.0, -1e100]]
