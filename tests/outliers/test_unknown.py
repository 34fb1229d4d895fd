"""Codes in columns that others tell of."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from latentsk import (
    LatentOutlierDetector,
    PCAEmbedder,
    RobustStandardizer,
    make_table_preprocessor,
)
from latentsk.outliers._gaussian import gaussian_of_latents, squared_distances
from latentsk.outliers._unknown import complete_rows, most_likely, unknown_cells


def _gaussian(n_features=4):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, n_features)) @ rng.normal(size=(n_features,) * 2)
    return rows, gaussian_of_latents(rows, ridge=1e-8)


@pytest.mark.parametrize("cells", [[1], [0, 3], [0, 1, 2], [0, 1, 2, 3]])
def test_unknown_cells_are_those_of_the_conditional_mean(cells):
    rows, gaussian = _gaussian()
    unknown = np.zeros(rows.shape, bool)
    unknown[:, cells] = True
    known = np.setdiff1d(np.arange(4), cells)
    covariance = (gaussian.axes * gaussian.variances) @ gaussian.axes.T
    centred = (rows - gaussian.centre)[:, known]
    within = covariance[np.ix_(known, known)]
    across = covariance[np.ix_(cells, known)]
    expected = rows.copy()
    solved = np.linalg.solve(within, centred.T) if len(known) else np.zeros((0, 200))
    expected[:, cells] = gaussian.centre[cells] + (across @ solved).T
    moved, shifts = most_likely(rows, unknown, gaussian, np.eye(4))
    np.testing.assert_allclose(moved, expected, atol=1e-7)
    np.testing.assert_allclose(shifts, moved - rows, atol=1e-12)
    # So the distance is the marginal one, of the known cells alone.
    marginal = np.einsum("ji,ji->i", centred.T, solved)
    np.testing.assert_allclose(
        squared_distances(moved, gaussian), marginal, rtol=1e-5, atol=1e-8
    )


def test_rows_of_each_pattern_are_moved_alone():
    rows, gaussian = _gaussian()
    unknown = np.random.default_rng(1).uniform(size=rows.shape) < 0.3
    moved, _ = most_likely(rows, unknown, gaussian, np.eye(4))
    for i in range(0, 200, 17):
        one, _ = most_likely(rows[[i]], unknown[[i]], gaussian, np.eye(4))
        np.testing.assert_allclose(one[0], moved[i], atol=1e-9)
        np.testing.assert_array_equal(moved[i][~unknown[i]], rows[i][~unknown[i]])


def test_latents_are_moved_as_features_are():
    rows, _ = _gaussian()
    pca = PCAEmbedder(None).fit(rows)
    latents = pca.transform(rows)
    gaussian = gaussian_of_latents(latents, ridge=1e-8)
    unknown = np.zeros(rows.shape, bool)
    unknown[:50, 2] = True
    moved, shifts = most_likely(latents, unknown, gaussian, pca.components_)
    np.testing.assert_allclose(pca.transform(rows + shifts), moved, atol=1e-9)


def test_unknown_cells_are_told_by_their_indicators():
    X = np.random.default_rng(0).normal(50, 5, size=(300, 3))
    X[:20, 0], X[10:40, 2], X[40:60, 2] = -999, 9999, -999
    standardizer = RobustStandardizer().fit(X)
    unknown = unknown_cells(standardizer, standardizer.transform(X))
    np.testing.assert_array_equal(unknown.cells[:, :3], standardizer.is_code(X))
    assert not unknown.cells[:, 3:].any()
    assert not unknown.missing.any()
    assert unknown_cells(standardizer, standardizer.transform(X[60:])) is None
    assert unknown_cells(None, X) is None
    silent = RobustStandardizer(add_indicator=False).fit(X)
    assert unknown_cells(silent, silent.transform(X)) is None


def test_rows_without_codes_suffice_or_all_are_taken():
    positions = np.arange(100)
    unknown = np.zeros((100, 4), bool)
    unknown[:70, 0] = True
    np.testing.assert_array_equal(complete_rows(positions, unknown), np.arange(70, 100))
    unknown[:90, 0] = True
    np.testing.assert_array_equal(complete_rows(positions, unknown), positions)
    assert complete_rows(positions, None) is positions


def _broken_sum(noise, n_coded, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.normal(100, 10, size=(500, 8))
    total = parts.sum(axis=1) + rng.normal(0, noise, size=500)
    total[:12] += 20
    X = np.column_stack([parts, total])
    X[20 : 20 + n_coded, 0] = -999
    return X


@pytest.mark.parametrize("noise", [0.5, 0.0])
@pytest.mark.parametrize("n_coded", [10, 50, 125])
def test_a_code_in_a_part_of_a_sum_breaks_no_relation(noise, n_coded):
    X = _broken_sum(noise, n_coded)
    detector = LatentOutlierDetector().fit(X)
    called = detector.predict(X) == -1
    assert called[:12].all()
    assert called[20 : 20 + n_coded].mean() < 0.03
    assert called[20 + n_coded :].mean() < 0.03
    without = np.r_[0:20, 20 + n_coded : 500]
    scores = detector.score_samples(X)[without]
    assert roc_auc_score(without < 12, -scores) == 1.0


def test_a_code_in_one_of_two_equal_columns():
    X = np.random.default_rng(0).normal(size=(500, 3))
    X = np.column_stack([X, X[:, 0]])
    X[:50, 0] = 99
    detector = LatentOutlierDetector().fit(X)
    assert (detector.predict(X[:50]) == 1).all()
    odd = X[50:51].copy()
    odd[0, 3] += 1.0
    assert detector.predict(odd) == -1
    # Where one is a code, nothing tells what the other should be.
    odd[0, 0] = 99
    assert detector.predict(odd) == 1


def test_reasons_of_a_row_with_a_code_add_up_to_its_score():
    X = _broken_sum(0.5, 50)
    X[20, 8] += 300
    detector = LatentOutlierDetector().fit(X)
    reasons = detector.explain(X[20:21])
    score = detector.score_samples(X[20:21])
    np.testing.assert_allclose(reasons["contribution"].sum(), score[0])
    assert reasons["is_code"].tolist() == [True] + [False] * 8
    assert reasons["value"].iloc[0] == -999
    assert reasons["contribution"].idxmin() == (0, "x8")


@pytest.mark.parametrize("code", [0, -1, 99])
@pytest.mark.parametrize("n_coded", [5, 50, 125])
def test_codes_beside_a_law_without_tails(code, n_coded):
    X = np.random.default_rng(0).integers(30, 60, size=(500, 4)).astype(float)
    X[:n_coded, 0] = code
    detector = LatentOutlierDetector().fit(X)
    assert {k: v.tolist() for k, v in detector.codes_.items()} == {"x0": [code]}
    # The second row lies in a corner of the other columns.
    assert (detector.predict(X[:n_coded]) == -1).sum() <= max(1, 0.05 * n_coded)


@pytest.mark.parametrize("assume_clean", [False, True])
def test_the_embedder_score_of_rows_with_a_code(assume_clean):
    X = np.random.default_rng(0).normal(size=(300, 2))
    X[:15, 0] = -999
    detector = LatentOutlierDetector(
        method="embedder_score", assume_clean=assume_clean, random_state=0
    ).fit(X)
    assert detector.codes_["x0"] == [-999]
    assert (detector.predict(X[:15]) == 1).all()


@pytest.mark.parametrize("relative_noise", [1e-3, 1e-4])
def test_relations_of_a_thousandth_of_a_deviation(relative_noise):
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(500, 8))
    total = parts.sum(axis=1)
    noise = relative_noise * total.std()
    total = total + rng.normal(0, noise, size=500)
    total[:10] += 40 * noise
    X = np.column_stack([parts, total])
    labels = LatentOutlierDetector().fit_predict(X)
    assert (labels[:10] == -1).all()
    assert (labels[10:] == -1).mean() < 0.03


def test_missing_values_are_told_from_codes():
    table = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0], "kind": ["u", "v", "u", None]})
    preprocessor = make_table_preprocessor(table).fit(table)
    unknown = unknown_cells(preprocessor, preprocessor.transform(table))
    # a, its indicator, and the two categories with theirs
    expected = np.zeros((4, 5), bool)
    expected[2, :2] = expected[3, 2:] = True
    np.testing.assert_array_equal(unknown.missing, expected)
    np.testing.assert_array_equal(unknown.cells, expected)
