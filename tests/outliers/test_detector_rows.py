"""Rows of every kind before a detector: types, few rows, equal rows, bad rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from latentsk import (
    LatentOutlierDetector,
    PCAEmbedder,
    RobustStandardizer,
)


def without_inverse():
    return make_column_transformer(("passthrough", [0, 1]))


def _detector(**options):
    options = {"embedder": PCAEmbedder(2), "random_state": 0, **options}
    return LatentOutlierDetector(**options)


def test_float32_rows_are_scored_nearly_as_float64(X):
    for embedder in (None, PCAEmbedder(2), PCA(2)):
        exact = _detector(embedder=embedder).fit(X.astype(np.float32).astype(float))
        rounded = _detector(embedder=embedder).fit(X.astype(np.float32))
        scores = rounded.score_samples(X.astype(np.float32))
        assert scores.dtype == np.float64
        np.testing.assert_allclose(
            scores, exact.score_samples(X.astype(np.float32)), atol=2e-3
        )


def test_a_training_row_is_known_in_every_type(X):
    rows = np.round(X)
    detector = _detector(method="neighbors").fit(rows)
    expected = detector.score_samples(rows)
    for other in (
        rows.astype(int),
        rows.astype(np.float32),
        rows.tolist(),
        torch.tensor(rows),
        np.asfortranarray(rows),
    ):
        np.testing.assert_allclose(detector.score_samples(other), expected, atol=1e-4)


def test_a_training_row_is_known_as_objects(X):
    """As numbers come out of a table of mixed types."""
    rows = np.round(X)
    as_objects = rows.astype(object)
    detector = _detector(method="neighbors").fit(rows)
    expected = detector.score_samples(rows)
    np.testing.assert_allclose(detector.score_samples(as_objects), expected)
    again = _detector(method="neighbors").fit(as_objects)
    np.testing.assert_allclose(again.score_samples(rows), expected)


def _mixed(X):
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "a": X[:, 0],
            "b": X[:, 1],
            "colour": rng.choice(["red", "green", "blue"], len(X)),
        },
        index=[f"row {i}" for i in range(len(X))],
    )


def _of_mixed(*, n_components=2):
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["a", "b"]),
            ("kinds", OneHotEncoder(sparse_output=False), ["colour"]),
        ]
    )
    return make_pipeline(columns, PCA(n_components))


def test_categories(X):
    table = _mixed(X)
    detector = _detector(embedder=_of_mixed()).fit(table)
    assert detector.feature_names_in_.tolist() == ["a", "b", "colour"]
    scores = detector.score_samples(table)
    np.testing.assert_array_equal(np.sort(scores), detector.training_scores_)
    odd = table.iloc[:1].assign(a=1e3)
    assert detector.predict(odd).tolist() == [-1]
    parts = detector.score_parts(table)
    assert parts.index.equals(table.index)
    alone = [detector.score_samples(table.iloc[i : i + 1])[0] for i in range(20)]
    np.testing.assert_allclose(alone, scores[:20], atol=1e-9)


def test_missing_values_are_for_the_embedder_to_fill(X):
    rows = X.copy()
    rows[3, 1] = np.nan
    whole = make_pipeline(SimpleImputer(), PCA(2))
    detector = _detector(embedder=whole).fit(rows)
    np.testing.assert_array_equal(
        detector.training_scores_, np.sort(detector.score_samples(rows))
    )
    with pytest.raises(ValueError, match="NaN"):
        _detector().fit(rows)


def test_text_is_to_be_encoded_before(X):
    with pytest.raises(ValueError, match="Encode text before"):
        _detector().fit(_mixed(X))


def test_names_of_features_are_kept_and_compared(X):
    table = pd.DataFrame(X, columns=list("abcde"))
    for embedder in (None, PCAEmbedder(2)):
        detector = _detector(embedder=embedder).fit(table)
        assert detector.feature_names_in_.tolist() == list("abcde")
        assert detector.n_features_in_ == 5
        for wrong in (
            table.rename(columns={"a": "z"}),
            table[list("edcba")],
        ):
            with pytest.raises(ValueError, match="feature names should match"):
                detector.score_samples(wrong)


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(1)])
@pytest.mark.parametrize("assume_clean", [False, True])
def test_copies_of_one_row(embedder, assume_clean):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    rows[:40] = rows[0]
    detector = _detector(embedder=embedder, assume_clean=assume_clean).fit(rows)
    scores = detector.score_samples(rows)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:40], scores[0])
    assert (scores[:40] >= np.median(scores[40:])).all()


@pytest.mark.parametrize("embedder", [None, without_inverse(), PCAEmbedder(1)])
def test_equal_rows_are_inliers_and_others_are_not(embedder):
    rows = np.full((20, 3), 4.0)
    detector = _detector(embedder=embedder).fit(rows)
    np.testing.assert_array_equal(detector.predict(rows), np.ones(20))
    assert detector.predict([[4.0, 9.0, 4.0]]).tolist() == [-1]


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("kind", ["counts", "copies", "categories", "zero-inflated"])
def test_tables_of_many_equal_rows(kind, assume_clean):
    """Neither is nothing abnormal there, nor all that is not the most frequent row."""
    rng = np.random.default_rng(0)
    rows = {
        "counts": rng.poisson(0.1, size=(500, 6)),
        "copies": np.concatenate([rng.normal(size=(60, 4)), np.ones((240, 4))]),
        "categories": np.eye(4)[rng.choice(4, 500, p=[0.7, 0.2, 0.09, 0.01])],
        "zero-inflated": rng.exponential(size=(500, 5)) * (rng.random((500, 5)) < 0.05),
    }[kind]
    detector = LatentOutlierDetector(assume_clean=assume_clean, random_state=0)
    detector.fit(rows)
    assert np.mean(detector.predict(rows) == -1) < 0.1
    assert detector.predict(np.full((1, rows.shape[1]), 1e3)) == -1


def test_a_constant_column_that_changes_is_seen(X):
    rows = np.column_stack([X, np.full(80, 3.0)])
    for embedder in (None, PCAEmbedder(2)):
        detector = _detector(embedder=embedder).fit(rows)
        changed = rows[:5].copy()
        changed[:, 5] = 20.0
        assert (detector.predict(changed) == -1).all()
        assert (
            detector.score_samples(changed) < detector.score_samples(rows[:5])
        ).all()


@pytest.mark.parametrize("n_rows", [2, 3, 4, 6])
@pytest.mark.parametrize("assume_clean", [False, True])
def test_few_rows(X, n_rows, assume_clean):
    for embedder in (None, PCAEmbedder(1), without_inverse()):
        detector = _detector(embedder=embedder, assume_clean=assume_clean)
        detector.fit(X[:n_rows])
        scores = detector.score_samples(X)
        assert np.isfinite(scores).all()
        assert len(detector.training_scores_) == n_rows
        assert detector.predict(X[:1] + 1e6).tolist() == [-1]


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(2), PCA(2)])
def test_fewer_rows_than_features(embedder):
    rows = np.random.default_rng(0).normal(size=(15, 40))
    detector = _detector(embedder=embedder).fit(rows)
    assert np.isfinite(detector.training_scores_).all()
    assert (detector.predict(rows[:3] + 50.0) == -1).all()


@pytest.mark.parametrize("embedder", [None, PCAEmbedder(2), PCA(2)])
def test_bad_rows(X, embedder):
    bad = X.copy()
    bad[0, 0] = np.nan
    endless = X.copy()
    endless[0, 0] = np.inf
    detector = _detector(embedder=embedder).fit(X)
    for ask in (
        lambda rows: _detector(embedder=embedder).fit(rows),
        detector.score_samples,
        detector.predict,
        detector.score_parts,
        detector.explain,
        detector.outlier_probability,
        detector.calibrate,
    ):
        if embedder is not None:  # the default takes missing values
            with pytest.raises(ValueError, match="NaN"):
                ask(bad)
        with pytest.raises(ValueError, match="infinity"):
            ask(endless)
        with pytest.raises(ValueError, match="Found array with 0 sample"):
            ask(X[:0])
        with pytest.raises(ValueError, match="Expected 2D array"):
            ask(X[0])
    for rows in (X[:, :4], np.column_stack([X, X])):
        with pytest.raises(ValueError, match=f"X has {rows.shape[1]} features"):
            detector.score_samples(rows)
    with pytest.raises(ValueError, match="minimum of 2"):
        _detector(embedder=embedder).fit(X[:1])


@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
def test_rows_whose_squares_overflow_have_the_lowest_scores(X, method):
    with np.errstate(over="ignore", invalid="ignore"):
        scores = _detector(method=method).fit(X).score_samples(X[:2] * [[1.0], [1e200]])
    assert np.isfinite(scores).all()
    assert scores[1] < scores[0]


@pytest.mark.parametrize("pipeline", [None, "own"])
def test_codes_have_the_names_of_their_columns(pipeline):
    rows = np.random.default_rng(0).normal(50, 5, size=(200, 3))
    rows[:20, 2], rows[20:30, 0] = -999, 9999
    embedder = pipeline and make_pipeline(RobustStandardizer(), PCAEmbedder(None))
    for names, expected in ("abc", ["a", "c"]), (None, ["x0", "x2"]):
        table = rows if names is None else pd.DataFrame(rows, columns=list(names))
        detector = _detector(embedder=embedder).fit(table)
        assert list(detector.codes_) == expected
        assert [list(codes) for codes in detector.codes_.values()] == [[9999], [-999]]
