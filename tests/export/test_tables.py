"""Tables of mixed columns: an input for each column, strings and dates included."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from latentsk import (
    CategoryEncoder,
    DatetimeEncoder,
    LatentOutlierDetector,
    PCAEmbedder,
    RobustStandardizer,
)
from latentsk.export._to_onnx import graph_of

NUMBERS = ["amount", "age", "risk"]
ENCODERS = {
    "ignore": OneHotEncoder(handle_unknown="ignore"),
    "drop": OneHotEncoder(drop="first"),
    "binary": OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    "rare": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.3),
    "few": OneHotEncoder(handle_unknown="ignore", max_categories=2),
    "float32": OneHotEncoder(handle_unknown="ignore", dtype=np.float32),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "missing": OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    ),
    "imputed": make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    ),
    "filled": make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder()
    ),
    "ours": CategoryEncoder(),
    "ours, rare": CategoryEncoder(max_categories=3, min_frequency=150),
}


def with_unseen(table, **cells):
    """Return the table, and its first rows with other cells."""
    return pd.concat([table, table[:5].assign(**cells)], ignore_index=True)


def assert_equal(found, expected, tolerance=1e-9):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.filterwarnings("ignore:X has missing values")
def test_categories(table, deployed, name):
    step = make_column_transformer(
        (ENCODERS[name], ["city"]), ("passthrough", ["age"]), sparse_threshold=0
    ).fit(table)
    asked = table
    if name not in ("drop", "filled"):
        asked = with_unseen(table, city=["Oslo", "Rome", None, "\0", "rome"])
    assert_equal(deployed(step)(asked)["transform"], step.transform(asked))


@pytest.mark.filterwarnings("ignore:X has missing values")
def test_missing_categories_that_the_fit_had_none_of(table, deployed):
    complete = table.dropna()
    asked = table[table["city"].isna()][:5]
    for encoder in CategoryEncoder(), OneHotEncoder(handle_unknown="ignore"):
        step = make_column_transformer((encoder, ["city"]), sparse_threshold=0)
        step.fit(complete)
        assert_equal(deployed(step)(asked)["transform"], step.transform(asked))


def test_an_empty_string_is_a_missing_one(table, graph):
    step = make_column_transformer((CategoryEncoder(), ["city"])).fit(table)
    found = graph(step)(table[:1].assign(city=""))["transform"]
    assert_equal(found, step.transform(table[:1].assign(city=None)))


def test_dates(table, deployed):
    step = make_column_transformer((DatetimeEncoder(), ["paid", "day"])).fit(table)
    early = with_unseen(table, paid=pd.Timestamp("1969-12-31 23:59:59.999"))
    assert_equal(deployed(step)(early)["transform"], step.transform(early))


def test_an_unknown_category_is_the_lowest_score_where_it_is_an_error(table, graph):
    encoder = make_column_transformer(
        (OneHotEncoder(), ["city"]), (RobustStandardizer(), NUMBERS), sparse_threshold=0
    )
    pipeline = make_pipeline(encoder, PCAEmbedder(3))
    detector = LatentOutlierDetector(pipeline, random_state=0).fit(table)
    found = graph(detector)(table[:2].assign(city=["Rome", "Oslo"]))
    assert (found["score_samples"] == np.finfo(np.float64).min).tolist() == [0, 1]


@pytest.mark.parametrize("method", ["auto", "distance", "neighbors", "embedder_score"])
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.filterwarnings("ignore:X has missing values")
def test_the_default_takes_tables_as_they_are(table, deployed, method, clean):
    detector = LatentOutlierDetector(
        method=method, assume_clean=clean, random_state=0
    ).fit(table[:500])
    asked = with_unseen(
        table, city="Oslo", amount=[1e50, -1e120, np.nan, -999.0, 0.0], card=None
    )
    run = deployed(detector)
    for rows in table[:500], asked[500:], asked[-1:]:
        found = run(rows)
        assert_equal(found["score_samples"], detector.score_samples(rows), 3e-6)
        np.testing.assert_array_equal(found["predict"], detector.predict(rows))


def test_a_recipe_of_scikit_learn(table, deployed):
    complete = table.assign(city=table["city"].fillna("?"))
    preprocessor = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("flags", "passthrough", ["vip"]),
        ]
    )
    embedder = make_pipeline(preprocessor, PCAEmbedder(4))
    detector = LatentOutlierDetector(embedder, random_state=0).fit(complete)
    run = deployed(detector)
    assert_equal(run(complete)["score_samples"], detector.score_samples(complete))
    pipeline = make_pipeline(preprocessor, StandardScaler(), PCAEmbedder(4))
    pipeline.fit(complete)
    for name, values in deployed(pipeline)(complete).items():
        if name != "reconstruct":
            assert_equal(values, getattr(pipeline, name)(complete))


def test_float32_takes_numbers_in_float32(table, deployed):
    detector = LatentOutlierDetector(random_state=0).fit(table)
    in_float32 = table.astype(dict.fromkeys(NUMBERS, np.float32))
    found = deployed(detector, "float32")(in_float32)["score_samples"]
    assert found.dtype == np.float32
    assert_equal(found, detector.score_samples(in_float32), 1e-5)


def test_inputs_are_the_columns_that_steps_take(table, file_of):
    step = make_column_transformer(
        (CategoryEncoder(), ["city"]), (RobustStandardizer(), ["amount", "vip"])
    ).fit(table)
    inputs = file_of(step).session.get_inputs()
    assert [(value.name, value.type, value.shape) for value in inputs] == [
        ("amount", "tensor(double)", ["n_samples", 1]),
        ("city", "tensor(string)", ["n_samples", 1]),
        ("vip", "tensor(double)", ["n_samples", 1]),
    ]


def test_numbers_alone_are_one_matrix(table, graph):
    detector = LatentOutlierDetector(random_state=0).fit(table[NUMBERS])
    found = graph(detector)(table[NUMBERS])
    assert_equal(found["score_samples"], detector.score_samples(table[NUMBERS]))


def test_columns_without_names(table, graph):
    """Rows of objects: numbers and strings in one array."""
    rows = table[["amount", "city"]].dropna().to_numpy(object)
    step = make_column_transformer(
        (StandardScaler(), [0]), (OneHotEncoder(), [1]), sparse_threshold=0
    ).fit(rows)
    asked = pd.DataFrame({"x0": rows[:, 0].astype(float), "x1": rows[:, 1]})
    assert_equal(graph(step)(asked)["transform"], step.transform(rows))


def test_a_column_may_be_taken_twice(table, deployed):
    step = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (CategoryEncoder(), ["city", "card"]),
        (StandardScaler(), ["age"]),
        (RobustStandardizer(), ["age", "amount"]),
        sparse_threshold=0,
    ).fit(table)
    assert_equal(deployed(step)(table)["transform"], step.transform(table))


def test_names_of_the_graph_are_no_obstacle(table, file_of):
    """Columns whose names torch gives to what is inside."""
    names = {"amount": "val_0", "age": "add", "city": "outputs.transform.parts.0"}
    renamed = table[list(names)].rename(columns=names)
    step = make_column_transformer(
        (RobustStandardizer(), ["val_0", "add"]),
        (CategoryEncoder(), ["outputs.transform.parts.0"]),
    ).fit(renamed)
    assert_equal(file_of(step)(renamed)["transform"], step.transform(renamed))


@pytest.mark.parametrize(
    ("transformers", "message"),
    [
        (
            [(CategoryEncoder(), ["age"]), (StandardScaler(), ["age"])],
            "'age' is taken as a string by one step and as a number by another",
        ),
        (
            [(SimpleImputer(strategy="most_frequent"), ["city"]), ("drop", ["age"])],
            "SimpleImputer cannot be exported .* column 'city', and no encoder follows",
        ),
        (
            [
                (SimpleImputer(strategy="most_frequent", add_indicator=True), ["city"]),
                (StandardScaler(), ["age"]),
            ],
            "SimpleImputer cannot be exported .* of strings, add_indicator",
        ),
    ],
)
def test_what_a_table_cannot_be(table, transformers, message):
    step = make_column_transformer(*transformers).fit(table)
    with pytest.raises(ValueError, match=message):
        graph_of(step, None, "float64")


def test_empty_strings_beside_missing_values(table):
    both = table[["city"]].copy()
    both.iloc[:30, 0] = ""
    step = make_column_transformer((CategoryEncoder(), ["city"])).fit(both)
    with pytest.raises(ValueError, match="'city' has empty strings besides missing"):
        graph_of(step, None, "float64")


def test_a_column_named_like_an_output(table, file_of):
    renamed = table[["city"]].rename(columns={"city": "transform"})
    step = make_column_transformer((CategoryEncoder(), ["transform"])).fit(renamed)
    with pytest.raises(ValueError, match="'transform' has the name of an output"):
        file_of(step)
