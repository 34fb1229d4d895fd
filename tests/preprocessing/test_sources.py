"""Which column each feature comes from, and the way back."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)

from latentsk import CategoryEncoder, RobustStandardizer, make_table_preprocessor
from latentsk.preprocessing._indicators import has_own_unit, indicators, standardizers
from latentsk.preprocessing._inverse import inverse_features, inverted_columns
from latentsk.preprocessing._sources import feature_sources

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(50, 3)), columns=["a", "a_1", "b"])
X["a_1"] = (X["a_1"] > 0).astype(float)
GAPS = X.mask(RNG.random(X.shape) < 0.2)


def _swapped(rows):
    return np.asarray(rows)[:, ::-1]


class TableVectorizerLike:
    """Tells the sources of its features as skrub's TableVectorizer does."""

    output_to_input_ = {"b_x": "b", "a_y": "a", "b_z": "b"}

    def transform(self, rows):
        return rows[["b", "a", "b"]].to_numpy()


@pytest.mark.parametrize(
    ("transformer", "rows", "expected"),
    [
        (StandardScaler(), X, [0, 1, 2]),
        (QuantileTransformer(n_quantiles=10), X, [0, 1, 2]),
        (OneHotEncoder(), X.round(), None),
        (OneHotEncoder(drop="first", min_frequency=3), X.round(), None),
        (KBinsDiscretizer(2, strategy="uniform"), X, None),
        (SplineTransformer(3), X, None),
        (SimpleImputer(add_indicator=True), GAPS, [0, 1, 2, 0, 1, 2]),
        (KNNImputer(add_indicator=True), GAPS, [0, 1, 2, 0, 1, 2]),
        (FunctionTransformer(np.arcsinh), X, [0, 1, 2]),
        (VarianceThreshold(0.3), X, [0, 2]),
        (make_union(StandardScaler(), SimpleImputer()), X, [0, 1, 2, 0, 1, 2]),
        (
            make_column_transformer(
                (StandardScaler(), make_column_selector("a")), remainder="passthrough"
            ),
            X,
            [0, 1, 2],
        ),
        (
            make_pipeline(
                SimpleImputer(),
                make_column_transformer(
                    (make_pipeline(FunctionTransformer(np.abs), StandardScaler()), [2]),
                    (FunctionTransformer(lambda c: np.hstack([c, c**2])), slice(0, 1)),
                    ("drop", [1]),
                ),
            ),
            GAPS,
            [2, 0, 0],
        ),
    ],
)
def test_sources(transformer, rows, expected):
    features = transformer.fit_transform(rows)
    found = feature_sources(transformer, rows)
    assert len(found) == features.shape[1]
    if expected is None:  # by changing a column
        dense = transformer.transform(rows)
        dense = dense.toarray() if hasattr(dense, "toarray") else dense
        for j, name in enumerate(rows.columns):
            order = np.random.default_rng(j).permutation(len(rows))
            changed = rows.assign(**{name: rows[name].to_numpy()[order]})
            after = transformer.transform(changed)
            after = after.toarray() if hasattr(after, "toarray") else after
            is_changed = (dense != after).any(axis=0)
            assert set(found[is_changed]) == {j}
    else:
        assert found.tolist() == expected


@pytest.mark.parametrize(
    "transformer", [PolynomialFeatures(2), PCA(2), FunctionTransformer(_swapped)]
)
def test_features_of_several_columns_have_no_source(transformer):
    assert feature_sources(transformer.fit(X), X) is None


def test_sources_by_the_names_that_a_transformer_tells():
    assert feature_sources(TableVectorizerLike(), X).tolist() == [2, 0, 2]


def test_the_way_back_through_a_column_transformer():
    table = pd.DataFrame({"n": [1.0, 2.0, 4.0], "k": ["u", "v", "u"], "l": [7, 8, 9]})
    transformer = make_column_transformer(
        (CategoryEncoder(min_frequency=1), ["k"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["n"]),
        (FunctionTransformer(np.log), ["l"]),
    ).fit(table)
    features = transformer.transform(table)
    back = inverse_features(transformer, features)
    assert back[:, :2].tolist() == [[1.0, "u"], [2.0, "v"], [4.0, "u"]]
    found = inverted_columns(transformer, table, features)
    assert found.tolist() == [True, True, False]


def test_indicators_within_a_column_transformer():
    rows = np.array([[1.0, 5.0, np.nan], [2.0, np.nan, 4.0], [3.0, 7.0, 8.0]])
    transformer = make_column_transformer(
        (StandardScaler(), [0]), (RobustStandardizer(), [2, 1])
    ).fit(rows)
    ons, features, is_missing = indicators(transformer)
    assert (ons.tolist(), features.tolist()) == ([3, 4, 3, 4], [1, 2, 3, 4])
    assert is_missing.all()
    prepared = transformer.transform(rows)
    assert_allclose(prepared[:, ons[:2]] > 0, np.isnan(rows[:, [2, 1]]))
    ((_, start, columns),) = standardizers(transformer)
    assert (start, columns.tolist()) == (1, [2, 1])
    assert not has_own_unit(transformer)


def test_the_default_preprocessor_has_a_unit_of_its_own():
    table = pd.DataFrame({"n": [1.0, None], "k": ["u", "v"]})
    assert has_own_unit(make_table_preprocessor(table).fit(table))
