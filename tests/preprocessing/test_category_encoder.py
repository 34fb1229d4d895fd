"""Categories as columns of 0 and 1."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import CategoryEncoder
from latentsk.preprocessing._category_encoder import labels_of

RNG = np.random.default_rng(0)
CITIES = RNG.choice(["Bonn", "Nice", "Rome"], size=(60, 2))


@parametrize_with_checks([CategoryEncoder(), CategoryEncoder(unseen_distance=1.0)])
def test_estimator_checks(estimator, check):
    check(estimator)


def test_strings_are_encoded_as_scikit_learn_does():
    found = CategoryEncoder().fit_transform(CITIES)
    assert_array_equal(found, OneHotEncoder(sparse_output=False).fit_transform(CITIES))


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ([1, 2.0, "1", 0.5], ["1", "2", "1", "0.5"]),
        ([True, 1, np.bool_(False), 0], ["True", "1", "False", "0"]),
        ([None, np.nan, pd.NA, pd.NaT], [np.nan] * 4),
        ([pd.Timestamp("2026-01-31"), b"a"], ["2026-01-31 00:00:00", "b'a'"]),
        ([2**70, -0.0], [str(2**70), "0"]),
    ],
)
def test_cells_of_any_kind_have_labels(cells, labels):
    column = np.empty(len(cells), object)
    column[:] = cells
    found = labels_of(column)
    assert [np.nan if label != label else label for label in found] == labels


@pytest.mark.parametrize("as_type", ["category", "Int64", "float", "object", "string"])
def test_a_column_is_the_same_in_every_type(as_type):
    """A missing value makes floats of integers, and of their type another one."""
    whole = pd.DataFrame({"n": [1, 2, 3, 1, 2, 3, 1]})
    gaps = whole.astype(as_type).copy()
    gaps.loc[6, "n"] = pd.NA if as_type in ("Int64", "string") else None
    encoder = CategoryEncoder(min_frequency=1).fit(gaps)
    assert encoder.get_feature_names_out().tolist() == ["n_1", "n_2", "n_3", "n=nan"]
    assert_array_equal(encoder.transform(whole)[:, :3], np.eye(3)[whole["n"] - 1])


@pytest.mark.parametrize("as_type", ["bool", "boolean", "category", "object"])
def test_booleans_are_the_same_in_every_type(as_type):
    X = pd.DataFrame({"k": pd.Series([True, False, True]).astype(as_type), "n": 1.5})
    encoder = CategoryEncoder(min_frequency=1).fit(X)
    names = ["k_False", "k_True", "n_1.5"]
    assert encoder.get_feature_names_out().tolist() == names


def test_rare_and_unseen_categories():
    column = [["a"]] * 5 + [["b"]] * 4 + [["c"], ["d"]]
    encoder = CategoryEncoder().fit(column)
    assert_array_equal(encoder.transform([["c"], ["x"]]), [[0, 0, 1], [0, 0, 1]])
    assert encoder.category_columns.tolist() == [0, 0, 0]
    encoder = CategoryEncoder().fit(column[:9])
    far = encoder.transform([["x"]])
    known = encoder.transform(column[:9])
    # (1 + 4 / sqrt(2))^2 + 8, with unseen_distance 5 and 2 categories.
    lengths = ((known - far) ** 2).sum(axis=1)
    np.testing.assert_allclose(lengths, (1 + 8**0.5) ** 2 + 8)
    assert encoder.set_params(unseen_distance=1).transform([["x"]]).tolist() == [[0, 0]]
    assert encoder.inverse_transform(far).tolist() == [[None]]


def test_the_most_frequent_categories_are_kept():
    column = np.repeat(np.arange(100), np.arange(100, 0, -1))[:, None]
    encoder = CategoryEncoder(max_categories=5).fit(column)
    assert encoder.transform([[0], [3], [50]]).tolist() == [
        [1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def test_a_value_that_was_never_missing_warns():
    encoder = CategoryEncoder().fit(pd.DataFrame({"city": CITIES[:, 0]}))
    with pytest.warns(UserWarning, match="missing values in 'city'"):
        found = encoder.transform(pd.DataFrame({"city": [None, "Bonn"]}))
    shares = [np.mean(CITIES[:, 0] == city) for city in ("Bonn", "Nice", "Rome")]
    np.testing.assert_allclose(found, [shares, [1.0, 0.0, 0.0]])


def test_a_missing_value_is_a_bit_of_each_category():
    column = np.array([["a"]] * 6 + [["b"]] * 2 + [[None]] * 12, object)
    encoder = CategoryEncoder().fit(column)
    expected = [[1, 0, 0], [0, 1, 0], [0.75, 0.25, 0.01]]
    assert_array_equal(encoder.transform([["a"], ["b"], [None]]), expected)
    assert encoder.inverse_transform(expected)[:2].tolist() == [["a"], ["b"]]
    assert np.isnan(encoder.inverse_transform(expected)[2, 0])


def test_a_column_without_values_is_nothing():
    encoder = CategoryEncoder().fit([["a", None], ["a", np.nan]])
    assert encoder.transform([["a", None]]).tolist() == [[1.0, 0.0, 0.01]]


def test_what_is_no_category_is_named():
    rows = pd.DataFrame({"city": ["Bonn", "Rome"], "tags": [["a"], ["b"]]})
    encoder = CategoryEncoder()
    with pytest.raises(TypeError, match="column 'tags' holds objects of type list"):
        encoder.fit(rows)
    assert not hasattr(encoder, "encoder_")
    assert not hasattr(encoder, "n_features_in_")


def test_categories_come_back():
    encoder = CategoryEncoder().fit(CITIES)
    encoded = encoder.transform(CITIES) + RNG.normal(scale=0.1, size=(60, 6))
    assert_array_equal(encoder.inverse_transform(encoded), CITIES)
