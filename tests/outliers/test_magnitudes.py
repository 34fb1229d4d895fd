"""Rows beyond 1e100: refused by fits, the lowest scores elsewhere."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA, KernelPCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from latentsk import (
    AutoencoderEmbedder,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
)
from latentsk.outliers._magnitudes import float_columns, measure_where_small

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
