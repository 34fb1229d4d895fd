"""The transformer around centres, scales and codes of columns."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import latentsk
from latentsk import PCAEmbedder, RobustStandardizer

RNG = np.random.default_rng(0)


def coded_rows(n_rows=400):
    """Normal columns: clean, with -999, with 0 and 9999, constant, of two values."""
    g = np.random.default_rng(3)
    X = g.normal([50, 50, 72, 0, 0], [5, 5, 12, 0, 0], (n_rows, 5))
    X[g.permutation(n_rows)[: n_rows // 10], 1] = -999
    rows = g.permutation(n_rows)
    X[rows[: n_rows // 5], 2] = 0
    X[rows[-n_rows // 10 :], 2] = 9999
    X[:, 3] = 3
    X[:, 4] = g.random(n_rows) < 0.1
    return X


X = coded_rows()
NAMES = ["clean", "amount", "pressure", "constant", "kind"]
OUT = [*NAMES, "amount=-999", "pressure=0", "pressure=9999"]


@parametrize_with_checks([RobustStandardizer(), RobustStandardizer(detect_codes=False)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_clean_columns_are_standardized():
    rows = RNG.normal([5, -3], [2, 9], (5_000, 2))
    standardizer = RobustStandardizer().fit(rows)
    np.testing.assert_array_equal(standardizer.center_, np.median(rows, axis=0))
    np.testing.assert_allclose(standardizer.scale_, rows.std(axis=0), rtol=1e-3)
    assert standardizer.codes_ == {}
    expected = (rows - np.median(rows, axis=0)) / standardizer.scale_
    np.testing.assert_allclose(standardizer.transform(rows), expected, rtol=1e-12)


def test_codes_become_the_median_and_an_indicator():
    standardizer = RobustStandardizer().fit(X)
    assert {name: list(v) for name, v in standardizer.codes_.items()} == {
        "x1": [-999],
        "x2": [0, 9999],
    }
    Z = standardizer.transform(X)
    assert Z.shape == (400, 8)
    for k, (column, code) in enumerate([(1, -999), (2, 0), (2, 9999)]):
        has_code = X[:, column] == code
        np.testing.assert_array_equal(Z[:, 5 + k], 0.01 * has_code)
        assert (Z[has_code, column] == 0).all()
    for j in (1, 2):
        known = X[~np.isin(X[:, j], [-999, 0, 9999]), j]
        assert standardizer.center_[j] == np.median(known)
        assert standardizer.scale_[j] == pytest.approx(known.std(), rel=1e-6)
    np.testing.assert_array_equal(Z[:, 3], 0)
    np.testing.assert_array_equal(Z[:, 4], X[:, 4])


def test_codes_are_told_by_cell():
    expected = np.zeros(X.shape, dtype=bool)
    expected[:, 1] = X[:, 1] == -999
    expected[:, 2] = np.isin(X[:, 2], [0, 9999])
    standardizer = RobustStandardizer().fit(X)
    np.testing.assert_array_equal(standardizer.is_code(X), expected)
    np.testing.assert_array_equal(standardizer.is_code(X.astype(np.float32)), expected)


def test_without_codes_every_value_counts():
    standardizer = RobustStandardizer(detect_codes=False).fit(X)
    assert standardizer.codes_ == {}
    Z = standardizer.transform(X)
    assert Z.shape == X.shape
    assert (Z[X[:, 1] == -999, 1] < -10).all()
    assert not standardizer.is_code(X).any()


def test_rare_extremes_stay_far_out():
    rows = RNG.normal(size=(300, 3))
    rows[0, 0], rows[1, 0] = 50, 9999
    Z = RobustStandardizer().fit_transform(rows)
    assert Z.shape == (300, 3)
    assert Z[0, 0] == pytest.approx(50, rel=0.1)
    assert Z[1, 0] == pytest.approx(9999, rel=0.1)


def test_names_of_columns_and_codes():
    frame = pd.DataFrame(X, columns=NAMES)
    standardizer = RobustStandardizer().set_output(transform="pandas").fit(frame)
    assert list(standardizer.codes_) == ["amount", "pressure"]
    assert list(standardizer.get_feature_names_out()) == OUT
    assert list(standardizer.get_feature_names_out(NAMES)) == OUT
    assert list(standardizer.transform(frame).columns) == OUT
    unnamed = RobustStandardizer().fit(X)
    assert list(unnamed.get_feature_names_out())[4:6] == ["x4", "x1=-999"]
    with pytest.raises(ValueError, match="input_features"):
        standardizer.get_feature_names_out(["a"])


def test_the_inverse_gives_rows_and_codes_back():
    standardizer = RobustStandardizer().fit(X)
    np.testing.assert_allclose(
        standardizer.inverse_transform(standardizer.transform(X)), X, rtol=1e-12
    )
    Z = np.zeros((2, 8))
    Z[1, 5:7] = 0.004, 0.006
    expected = [standardizer.center_, standardizer.center_.copy()]
    expected[1][2] = 0
    np.testing.assert_array_equal(standardizer.inverse_transform(Z), expected)
    with pytest.raises(ValueError, match="X has 5 columns, but RobustStandardizer ret"):
        standardizer.inverse_transform(X)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "bool"])
def test_types(dtype):
    rows = RNG.integers(-100, 100, (200, 3)).astype(dtype)
    standardizer = RobustStandardizer().fit(rows)
    kept = "float32" if dtype == "float32" else "float64"
    Z = standardizer.transform(rows)
    assert Z.dtype == kept
    assert standardizer.scale_.dtype == standardizer.center_.dtype == np.float64
    assert standardizer.inverse_transform(Z).dtype == kept
    exact = RobustStandardizer().fit(rows.astype(float))
    np.testing.assert_array_equal(standardizer.scale_, exact.scale_)
    expected = exact.transform(rows.astype(float))
    np.testing.assert_allclose(Z, expected, rtol=1e-6, atol=1e-7)


def test_other_containers():
    rows = X.astype(np.float32)
    expected = RobustStandardizer().fit_transform(rows)
    for made in (torch.from_numpy(rows), np.asfortranarray(rows), rows[::-1][::-1]):
        np.testing.assert_array_equal(
            RobustStandardizer().fit_transform(made), expected
        )
    nullable = pd.DataFrame(X.astype(int), columns=NAMES).convert_dtypes()
    np.testing.assert_array_equal(
        RobustStandardizer().fit_transform(nullable),
        RobustStandardizer().fit_transform(X.astype(int)),
    )


def test_the_order_of_rows_does_not_matter():
    rows = np.random.default_rng(1).permutation(len(X))
    first, second = RobustStandardizer().fit(X), RobustStandardizer().fit(X[rows])
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


def test_the_order_of_columns_does_not_matter():
    columns = [2, 0, 4, 1, 3]
    expected = RobustStandardizer().fit_transform(X)
    found = RobustStandardizer().fit_transform(X[:, columns])
    np.testing.assert_array_equal(found[:, :5], expected[:, columns])
    np.testing.assert_array_equal(found[:, 5:], expected[:, [6, 7, 5]])


def test_units_and_offsets_do_not_matter():
    expected = RobustStandardizer().fit_transform(X)
    factors, shifts = [1e-6, 1e5, 3, 7, 1e-90], [1, -1e7, 1e4, 0, 0]
    found = RobustStandardizer().fit_transform(factors * X + shifts)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_float32_gives_the_same():
    rows = X.astype(np.float32)
    found = RobustStandardizer().fit(rows).transform(X)
    expected = RobustStandardizer().fit(rows.astype(float)).transform(X)
    np.testing.assert_array_equal(found, expected)
    single = RobustStandardizer().fit(X).transform(rows)
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_rows_are_transformed_to_finite_numbers(dtype):
    rows = (1e-30 * RNG.normal(size=(100, 2))).astype(dtype)
    largest = np.finfo(dtype).max
    standardizer = RobustStandardizer().fit(rows)
    with np.errstate(all="raise"):
        Z = standardizer.transform(np.array([[largest, -largest]], dtype=dtype))
    limit = {"float32": 1e30, "float64": 1e100}[dtype]
    np.testing.assert_allclose(Z, [[limit, -limit]], rtol=1e-6)
    assert not standardizer.is_code([[largest, -largest]]).any()


def test_magnitudes_at_the_limit_are_fitted():
    rows = 10.0 ** np.random.default_rng(2).uniform(-100, 100, (200, 2))
    with np.errstate(all="raise"):
        Z = RobustStandardizer().fit_transform(rows)
    assert np.isfinite(Z).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.inf, "contains infinity"),
        (-1e101, r"above 1e\+100: -1e\+101 in column 'amount', row 7"),
    ],
)
def test_bad_values_leave_the_transformer_as_it_was(bad, message):
    frame = pd.DataFrame(X, columns=NAMES)
    standardizer = RobustStandardizer().fit(X[:, :2])
    wrong = frame.copy()
    wrong.loc[7, "amount"] = bad
    with pytest.raises(ValueError, match=message):
        standardizer.fit(wrong)
    assert standardizer.n_features_in_ == 2
    assert not hasattr(standardizer, "feature_names_in_")
    assert standardizer.transform(X[:, :2]).shape == (400, 3)


def test_fitting_again_forgets_codes():
    standardizer = RobustStandardizer().fit(X)
    standardizer.fit(X[:, [0, 3]])
    assert standardizer.codes_ == {}
    assert standardizer.transform(X[:, [0, 3]]).shape == (400, 2)


def test_one_row_and_few_rows():
    assert RobustStandardizer().fit([[4.0, 0.0]]).transform([[5, 0]]).tolist() == [
        [1, 0]
    ]
    few = RobustStandardizer().fit([[1], [2], [3]])
    assert few.center_ == 2
    assert few.scale_ == pytest.approx(np.std([1, 2, 3]))


def test_codes_do_not_move_rows_in_a_pipeline():
    """Rows with a code are near the others: what a StandardScaler does not do."""
    rows = X[:, :2]
    Z = make_pipeline(RobustStandardizer(), PCAEmbedder(None)).fit_transform(rows)
    has_code = rows[:, 1] == -999
    assert np.linalg.norm(Z[has_code], axis=1).max() < 4
    scaled = StandardScaler().fit_transform(rows)
    assert np.linalg.norm(scaled[has_code], axis=1).min() > 2.5


def test_a_file_keeps_it_in_a_pipeline(tmp_path):
    frame = pd.DataFrame(X, columns=NAMES)
    pipeline = make_pipeline(RobustStandardizer(), PCAEmbedder(2)).fit(frame)
    latentsk.save(pipeline, tmp_path / "file")
    loaded = latentsk.load(tmp_path / "file")
    np.testing.assert_array_equal(loaded.transform(frame), pipeline.transform(frame))
    assert list(loaded[0].get_feature_names_out()) == OUT


def test_a_file_without_codes_keeps_it(tmp_path):
    standardizer = RobustStandardizer(detect_codes=False).fit(X)
    latentsk.save(standardizer, tmp_path / "file")
    loaded = latentsk.load(tmp_path / "file")
    assert loaded.detect_codes is False
    assert loaded.codes_ == {}
    np.testing.assert_array_equal(loaded.transform(X), standardizer.transform(X))


def test_missing_values_become_the_median_with_an_indicator():
    gaps = X[:, :2].copy()
    gaps[::7, 1] = np.nan
    known = gaps[~np.isnan(gaps[:, 1])]
    standardizer = RobustStandardizer(detect_codes=False).fit(gaps)
    of_known = RobustStandardizer(detect_codes=False).fit(known)
    assert standardizer.center_[1] == np.nanmedian(gaps[:, 1])
    assert standardizer.scale_[1] == of_known.scale_[1]
    assert standardizer.codes_ == {}
    found = standardizer.transform(gaps)
    assert_array_equal(found[:, 2], 0.01 * np.isnan(gaps[:, 1]))
    assert not found[::7, 1].any()
    assert_allclose(standardizer.inverse_transform(found), gaps, rtol=1e-12)
    assert list(standardizer.get_feature_names_out()) == ["x0", "x1", "x1=nan"]
    assert not standardizer.is_code(gaps).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, object])
def test_codes_and_missing_values_of_one_column(dtype):
    column = np.random.default_rng(0).normal(50.0, 5.0, size=(300, 1)).astype(dtype)
    column[:20], column[20:50] = -999, np.nan
    standardizer = RobustStandardizer().fit(column)
    assert_array_equal(standardizer.codes_["x0"], [-999.0])
    found = standardizer.transform(column)
    assert_array_equal(
        found[:20, 1:], np.tile([[0.01, 0.0]], (20, 1)).astype(found.dtype)
    )
    assert_array_equal(
        found[20:50, 1:], np.tile([[0.0, 0.01]], (30, 1)).astype(found.dtype)
    )
    assert_array_equal(standardizer.is_code(column).sum(), 20)


def test_a_column_without_values_is_nothing():
    standardizer = RobustStandardizer().fit([[1.0, np.nan], [2.0, np.nan], [3.0, None]])
    assert standardizer.center_[1] == 0.0
    assert standardizer.scale_[1] == 1.0
    assert_array_equal(standardizer.transform([[2.0, np.nan]])[0, 1:], [0.0, 0.01])


def test_values_that_were_never_missing_before_warn():
    frame = pd.DataFrame(X[:, :2], columns=["amount", "age"])
    standardizer = RobustStandardizer().fit(frame)
    frame.loc[3, "age"] = np.nan
    with pytest.warns(UserWarning, match="missing values in 'age'"):
        found = standardizer.transform(frame)
    assert found[3, 1] == 0.0
