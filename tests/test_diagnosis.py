"""Messages about rows: they name the column and the value, and their remedies work."""

import datetime
import itertools
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from latentsk import (
    AutoencoderEmbedder,
    LatentIndex,
    LatentNeighborsTransformer,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk._diagnosis import diagnosed, diagnosis

N_ROWS = 40
TABLE = np.random.default_rng(0).normal(size=(N_ROWS, 3))
NAMES = ["age", "income", "score"]
FRAME = pd.DataFrame(TABLE, columns=NAMES)
HALF = N_ROWS // 2
SMALL = {"max_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}


def _detector():
    """Return one with an embedder of its own: the default takes mixed tables."""
    return LatentOutlierDetector(PCAEmbedder(None), random_state=0)


ESTIMATORS = {
    "detector": _detector,
    "detector over PCA": lambda: LatentOutlierDetector(PCAEmbedder(2), random_state=0),
    "detector over a Pipeline": lambda: LatentOutlierDetector(
        make_pipeline(StandardScaler(), PCAEmbedder(2)), random_state=0
    ),
    "detector over a network": lambda: LatentOutlierDetector(
        AutoencoderEmbedder(2, **SMALL), random_state=0
    ),
    "PyOD": lambda: PyODAdapter(_detector()),
    "PCA": lambda: PCAEmbedder(2),
    "autoencoder": lambda: AutoencoderEmbedder(2, **SMALL),
    "VAE": lambda: VAEEmbedder(2, **SMALL),
    "codes": lambda: VQVAEEmbedder(4, **SMALL),
    "index": LatentIndex,
    "index over a Pipeline": lambda: LatentIndex(
        make_pipeline(StandardScaler(), PCAEmbedder(2))
    ),
    "neighbors": LatentNeighborsTransformer,
}
# Some are fitted within milliseconds, and stand for the others.
FEW = ["detector", "PCA", "index"]


def _with(value, dtype=object):
    rows = TABLE.astype(dtype)
    rows[4, 1] = value
    return rows


def _column(values, dtype=None):
    return FRAME.assign(extra=pd.Series(list(values) * HALF, dtype=dtype))


def _times(kind, **options):
    return FRAME.assign(extra=kind(periods=N_ROWS, **options))


AMONG = "holds strings among numbers: could not convert string to float"
STRINGS = "holds strings: could not convert string to float"
# Rows, and what the message says besides "X must hold numbers, but column".
NO_NUMBERS = {
    "strings": (_column(["atm", "pos"]), f"'extra' {STRINGS}: 'atm' in row 0"),
    "a sentinel": (_column(["n/a", 1.0], object), f"'extra' {AMONG}: 'n/a' in row 0"),
    "decimal commas": (_column(["1,5", "2,25"]), f"'extra' {STRINGS}: '1,5' in row 0"),
    "a decimal comma": (_column([2.5, "1,5"], object), f"'extra' {AMONG}: '1,5' in r"),
    "late strings": (_column([None, "atm"]), f"'extra' {STRINGS}: 'atm' in row 1"),
    "categories": (_column(["a", "b"], "category"), f"'extra' {STRINGS}: 'a' in row 0"),
    "bytes": (_column([b"a", b"b"]), f"'extra' {STRINGS}: b'a' in row 0"),
    "array": (FRAME.assign(income="atm").to_numpy(), f"'x1' {STRINGS}: 'atm' in row 0"),
    "array with a sentinel": (_with("n/a"), f"'x1' {AMONG}: 'n/a' in row 4"),
    "lists": (FRAME.assign(income="atm").to_numpy().tolist(), f"'x1' {STRINGS}: 'atm'"),
    "lists with a sentinel": (_with("n/a").tolist(), f"'x1' {AMONG}: 'n/a' in row 4"),
    "numbered columns": (
        pd.DataFrame(TABLE).assign(extra="a").set_axis([0, 1, 2, 3], axis=1),
        f"3 {STRINGS}: 'a' in row 0",
    ),
    "polars strings": (
        pl.DataFrame(FRAME).with_columns(extra=pl.lit("atm")),
        f"'extra' {STRINGS}: 'atm' in row 0",
    ),
    "dates": (
        _times(pd.date_range, start="2020"),
        "'extra' holds dates: 2020-01-01T00:00",
    ),
    "dates with zones": (
        _times(pd.date_range, start="2020", tz="Europe/Rome"),
        "'extra' holds dates: ",
    ),
    "missing dates": (
        _column([pd.NaT, pd.Timestamp("2020-01-01")]),
        "'extra' holds dates: NaT in row 0",
    ),
    "date objects": (
        _column([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)]),
        "'extra' holds dates: float() argument must be a string or a real number, not "
        "'datetime.date': 2020-01-01 in row 0",
    ),
    "periods": (
        _times(pd.period_range, start="2000", freq="Y"),
        "'extra' holds dates: 2000 in row 0",
    ),
    "array of dates": (
        np.arange(N_ROWS)[:, None].astype("M8[D]"),
        "'x0' holds dates: 1970-01-01 in row 0",
    ),
    "polars dates": (
        pl.DataFrame(FRAME).with_columns(
            extra=pl.date_range(
                datetime.date(2020, 1, 1), datetime.date(2020, 2, 9), eager=True
            )
        ),
        "'extra' holds dates: 2020-01-01 in row 0",
    ),
    "durations": (
        _times(pd.timedelta_range, start="1h"),
        "'extra' holds durations: 3600000000",
    ),
    "array of durations": (
        np.arange(N_ROWS)[:, None].astype("m8[s]"),
        "'x0' holds durations: 0 seconds in row 0",
    ),
    "polars durations": (
        pl.DataFrame(FRAME).with_columns(extra=pl.duration(hours=1)),
        "'extra' holds durations: 3600000000",
    ),
    "lists in cells": (
        FRAME.assign(extra=[[1, i] for i in range(N_ROWS)]),
        "'extra' holds sequences: [1, 0] in row 0",
    ),
    "dicts": (
        FRAME.assign(extra=[{"a": 1}] * N_ROWS),
        "'extra' holds objects of type dict: float() argument must be a string or a "
        "real number, not 'dict': {'a': 1} in row 0",
    ),
    "intervals": (
        FRAME.assign(extra=pd.cut(FRAME["age"], 3)),
        "'extra' holds objects of type Interval",
    ),
}


def _said(act):
    with pytest.raises((ValueError, TypeError)) as raised:
        act()
    return str(raised.value)


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("name", FEW)
def test_a_column_of_no_numbers_is_named(name, kind):
    rows, place = NO_NUMBERS[kind]
    message = _said(lambda: ESTIMATORS[name]().fit(rows))
    assert f"X must hold numbers, but column {place}" in message


@pytest.mark.parametrize("kind", ["strings", "dates with zones", "dicts"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_is_named_by_every_estimator(name, kind):
    rows, place = NO_NUMBERS[kind]
    message = _said(lambda: ESTIMATORS[name]().fit(rows))
    assert f"X must hold numbers, but column {place}" in message


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_is_named_after_the_fit(name):
    estimator = ESTIMATORS[name]().fit(FRAME)
    rows = FRAME.assign(income="high")
    asked = [
        method
        for method in ("transform", "score_samples", "predict", "explain", "search")
        if hasattr(estimator, method)
    ]
    assert asked
    for method in asked:
        message = _said(lambda method=method: getattr(estimator, method)(rows))
        assert f"column 'income' {STRINGS}: 'high' in row 0" in message


def test_several_columns_are_named_together():
    rows = FRAME.assign(kind="atm", city="Bath", when=pd.Timestamp(0))
    message = _said(lambda: PCAEmbedder().fit(rows.drop(columns="when")))
    assert "columns 'kind', 'city' hold strings" in message
    message = _said(lambda: PCAEmbedder().fit(rows))
    assert "column 'when' holds dates" in message


def test_many_columns_are_not_all_listed():
    message = _said(lambda: PCAEmbedder().fit(np.full((5, 30), "a")))
    assert "'x9', ... hold strings" in message
    assert len(message) < 1_000


def test_long_values_are_shortened():
    message = _said(lambda: PCAEmbedder().fit(FRAME.assign(extra="a" * 10_000)))
    assert len(message) < 600


# Missing and infinite values

MISSING = {
    "array": (_with(np.nan, float), "'x1', row 4"),
    "frame": (
        FRAME.drop(3).reindex(FRAME.index),
        "'age', row 3 (also in 'income', 'score')",
    ),
    "None": (_with(None), "'x1', row 4"),
    "pd.NA": (_with(pd.NA), "'x1', row 4"),
    "list": (_with(np.nan, float).tolist(), "'x1', row 4"),
    "tensor": (torch.tensor(_with(np.nan, float)), "'x1', row 4"),
    "nullable floats": (_column([1.0, None], "Float64"), "'extra', row 1"),
    "nullable integers": (_column([1, None], "Int64"), "'extra', row 1"),
    "nullable booleans": (_column([True, None], "boolean"), "'extra', row 1"),
    "polars null": (
        pl.DataFrame(FRAME).with_columns(extra=pl.Series([1.0, None] * HALF)),
        "'extra', row 1",
    ),
    "polars NaN": (pl.DataFrame(_with(np.nan, float), schema=NAMES), "'income', row 4"),
}
INFINITE = {
    "array": (_with(np.inf, float), "inf in column 'x1', row 4"),
    "float32": (_with(-np.inf, np.float32), "-inf in column 'x1', row 4"),
    "frame": (
        pd.DataFrame(_with(-np.inf, float), columns=NAMES),
        "-inf in column 'income', row 4",
    ),
    "objects": (_with(np.inf), "inf in column 'x1', row 4"),
    "list": (_with(np.inf, float).tolist(), "inf in column 'x1', row 4"),
    "tensor": (torch.tensor(_with(np.inf, float)), "inf in column 'x1', row 4"),
    "polars": (
        pl.DataFrame(_with(np.inf, float), schema=NAMES),
        "inf in column 'income', row 4",
    ),
}


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("name", FEW)
def test_a_missing_value_is_named(name, kind):
    rows, place = MISSING[kind]
    message = _said(lambda: ESTIMATORS[name]().fit(rows))
    assert f"Input X contains NaN: a missing value in column {place}" in message


@pytest.mark.parametrize("kind", INFINITE)
@pytest.mark.parametrize("name", FEW)
def test_an_infinite_value_is_named(name, kind):
    rows, place = INFINITE[kind]
    message = _said(lambda: ESTIMATORS[name]().fit(rows))
    assert f"Input X contains infinity: {place}" in message


@pytest.mark.parametrize("name", ESTIMATORS)
def test_they_are_named_by_every_estimator(name):
    for rows, place in (MISSING["frame"], INFINITE["frame"]):
        assert place in _said(lambda rows=rows: ESTIMATORS[name]().fit(rows))
    estimator = ESTIMATORS[name]().fit(FRAME)
    method = "search" if "index" in name else "predict"
    method = "transform" if name == "neighbors" else method
    for rows, place in (MISSING["frame"], INFINITE["frame"]):
        asked = getattr(estimator, method)
        assert place in _said(lambda rows=rows, asked=asked: asked(rows))


def test_a_missing_value_of_a_sparse_matrix_is_named():
    rows = sparse.csr_array(_with(np.nan, float))
    for act in (
        lambda: PCAEmbedder(2).fit(rows),
        lambda: LatentOutlierDetector(PCAEmbedder(2)).fit(rows),
    ):
        assert "a missing value in column 'x1', row 4" in _said(act)


# Other kinds


@pytest.mark.parametrize("name", FEW)
def test_complex_numbers_are_named(name):
    for rows, column in (
        (TABLE * 1j, "'x0', row 0"),
        (FRAME.assign(extra=TABLE[:, 0] * 1j), "'extra', row 0"),
        (_with(2j), "'x1', row 4"),
    ):
        message = _said(lambda rows=rows: ESTIMATORS[name]().fit(rows))
        assert "Complex data not supported" in message
        assert f"in column {column}" in message


def test_lengths_of_lists_are_named():
    message = _said(lambda: PCAEmbedder().fit([[1.0, 2.0], [3.0, 4.0], [5.0]]))
    assert "inhomogeneous shape: row 0 has 2 values, row 2 has 1." in message


@pytest.mark.parametrize("name", ["default", "autoencoder", "VAE", "index"])
def test_sparse_rows_are_made_dense_by_what_their_library_has(name):
    made = ESTIMATORS.get(name, lambda: LatentOutlierDetector(random_state=0))
    rows = sparse.csr_array(TABLE * (TABLE > 0))
    assert "Use X.toarray()" in _said(lambda: made().fit(rows))
    table = pd.DataFrame.sparse.from_spmatrix(rows, columns=NAMES)
    message = _said(lambda: made().fit(table))
    assert "Use X.sparse.to_dense()." in message
    assert "toarray" not in message
    made().fit(table.sparse.to_dense())
    # Columns whose fill value is NaN are no sparse matrix at all.
    table = pd.DataFrame(TABLE, columns=NAMES).astype(pd.SparseDtype(float))
    assert "Use X.sparse.to_dense()." in _said(lambda: made().fit(table))
    made().fit(table.sparse.to_dense())


WHOLE = (FRAME * 100).round().astype("Int64")


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize(
    "rows", [_with(10**30), _with(Fraction(1, 3)), _with("1.5"), WHOLE]
)
def test_what_numbers_can_be_made_of_is_taken(name, rows):
    ESTIMATORS[name]().fit(rows)


# Remedies

NAMESPACE = {
    "itertools": itertools,
    "np": np,
    "pd": pd,
    "pl": pl,
    "torch": torch,
    "make_pipeline": make_pipeline,
    "make_column_transformer": make_column_transformer,
    "OneHotEncoder": OneHotEncoder,
    "SimpleImputer": SimpleImputer,
    "TfidfVectorizer": TfidfVectorizer,
    "TruncatedSVD": TruncatedSVD,
}
TEXTS = ["a note of some words for the bank", "another one about money and cards"] * 20
# What a message offers: code that changes X, and code of a first step.
CHANGES = [
    r"into numbers: (?P<code>.*?)(?:\. Or leave|\.$)",
    r"it out: (?P<code>.*?)\.$",
    r"rows out: (?P<code>.*?)\.$",
    r"a missing value, (?P<code>.*?), and fill",
    r"of its own: (?P<code>.*?)\. Or take",
    r"column alone: (?P<code>.*?)\.$",
    r"as columns: (?P<code>.*?)\.$",
    r"that lack, (?P<code>.*?), and fill",
    r"Make missing values of what is no number, (?P<code>.*?), and fill",
    r"Make numbers of them, (?P<code>.*?)\.$",
    r"Make numbers of what are some, (?P<code>.*?), and encode",
    r"Use (?P<code>X.*?\(\)|pd\.DataFrame\(X\))",
]
STEPS = [
    r"with (?P<code>make_column_transformer\(.*?passthrough'\)) as the first step",
    r"with (?P<code>SimpleImputer\(\)) as the first step",
    r"(?P<code>make_pipeline\(TfidfVectorizer.*?\)) before",
    r"put (?P<code>TruncatedSVD\(\d+\)) before",
]
REFUSED = {
    **{f"numbers: {kind}": rows for kind, (rows, _) in NO_NUMBERS.items()},
    **{f"missing: {kind}": rows for kind, (rows, _) in MISSING.items()},
    **{f"infinite: {kind}": rows for kind, (rows, _) in INFINITE.items()},
    "strings in two columns": FRAME.assign(kind=["a", "b"] * HALF, city="York"),
    "dates in two columns": FRAME.assign(
        start=pd.date_range("2020", periods=N_ROWS), end=pd.Timestamp("2021")
    ),
    "a comma and text": _column(["1,5", "2,25"]).assign(city=["York", "Bath"] * HALF),
    "a comma and sentinels": FRAME.assign(
        paid=pd.Series(["1,5", "n/a", 2.5, 4] * (HALF // 2), dtype=object),
        age=pd.Series([30, "n/a", 40, 50] * (HALF // 2), dtype=object),
    ),
    "strings alone": np.array([["a", "b"], ["c", "d"]] * HALF),
    "complex": TABLE * 1j,
    "complex column": FRAME.assign(extra=TABLE[:, 0] * 1j),
    "complex objects": _with(2j),
    "ragged": [[1.0, 2.0], [3.0]] * HALF,
    "records": FRAME.to_records(index=False),
    "texts": TEXTS,
    "sparse": sparse.csr_array(TABLE),
    "sparse columns": pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(TABLE)),
    "masked": np.ma.masked_greater(TABLE, 1.0),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_remedy_works_when_it_is_followed(kind):
    rows = REFUSED[kind]
    # PCAEmbedder takes sparse matrices.
    made = LatentOutlierDetector if "sparse" in kind else _detector
    message = _said(lambda: made().fit(rows))
    changed, step = _code(CHANGES, message), _code(STEPS, message)
    assert changed or step, message
    results = [_changed(rows, code) for code in changed]
    are_both = re.search(", and (fill|encode)", message) is not None
    if step and not are_both and "Make a table" not in message:
        results.append(rows)
    assert results
    for result in results:
        if step and (result is rows or are_both):
            _fit_after(step[0], result)
        elif "missing dates" in kind and "to_datetime" in message:
            _fit_after("SimpleImputer()", result)
        else:
            made().fit(result)


def _code(patterns, message):
    found = (re.search(pattern, message) for pattern in patterns)
    return [match["code"] for match in found if match]


def _changed(rows, code):
    """Return X after the code of a message: an expression, or statements."""
    names = {**NAMESPACE, "X": rows.copy() if hasattr(rows, "copy") else rows}
    try:
        return eval(code, names)
    except SyntaxError:
        exec(code, names)
        return names["X"]


def _fit_after(step, rows):
    """Fit a Pipeline that ends in a detector, and a detector around a Pipeline."""
    first = eval(step, dict(NAMESPACE))
    make_pipeline(first, _detector()).fit(rows)
    embedder = make_pipeline(first, StandardScaler(), PCAEmbedder(None))
    LatentOutlierDetector(embedder, random_state=0).fit(rows)


def test_missing_values_of_pandas_in_an_array_become_those_of_a_table():
    message = _said(lambda: PCAEmbedder().fit(_with(pd.NA)))
    assert "X = pd.DataFrame(X).convert_dtypes()" in message
    _fit_after("SimpleImputer()", pd.DataFrame(_with(pd.NA)).convert_dtypes())


# Messages that name what is not there


def test_what_a_step_has_made_is_not_said_of_the_rows():
    detector = LatentOutlierDetector(
        make_pipeline(FunctionTransformer(np.log), PCAEmbedder(2)), random_state=0
    )
    message = _said(lambda: detector.fit(TABLE))
    assert "Step 'functiontransformer' of the Pipeline makes nan of -" in message
    assert "Input X" not in message
    rows = np.exp(TABLE)
    message = _said(lambda: detector.fit(rows).predict(np.zeros((1, 3)) - 1.0))
    assert "Step 'functiontransformer' of the Pipeline makes nan of -1" in message


def test_the_column_is_the_one_that_a_step_has_choked_on():
    """Not another one with strings, which an encoder has dealt with."""
    rows = FRAME.assign(kind=["a", "b"] * HALF, city=["Bath", "York"] * HALF)
    encoder = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough"
    )
    for estimator in (
        LatentOutlierDetector(make_pipeline(encoder, PCAEmbedder(2))),
        LatentOutlierDetector(make_pipeline(encoder, StandardScaler())),
        LatentIndex(make_pipeline(encoder, StandardScaler())),
    ):
        message = _said(lambda estimator=estimator: estimator.fit(rows))
        assert "column 'city' holds strings" in message
        assert "'kind'" not in message


def test_a_step_that_fails_for_another_reason_is_quoted():
    def fail(rows):
        raise ValueError("the service is down")

    for kind in (LatentOutlierDetector, LatentIndex):
        embedder = make_pipeline(FunctionTransformer(fail), PCAEmbedder(2))
        rows = FRAME.assign(kind="a")
        with pytest.raises(ValueError, match=r"^the service is down$"):
            kind(embedder).fit(rows)


def test_too_many_components_for_the_columns_are_no_matter_of_rows():
    for rows, message in (
        (TABLE[:, :1], "n_components=3 must be between 0 and"),
        (TABLE.astype(np.float32) * np.float32(1e30), "X has values so large"),
    ):
        said = _said(lambda rows=rows: LatentOutlierDetector(PCAEmbedder(3)).fit(rows))
        assert said.startswith(message)
        assert "assume_clean" not in said


@pytest.mark.parametrize("scale", [10**200, 10**400])
def test_integers_beyond_the_range_are_said_to_be_large(scale):
    for name in FEW:
        message = _said(lambda name=name: ESTIMATORS[name]().fit(_with(scale)))
        assert "X has magnitudes above 1e+100" in message
        assert "column 'x1', row 4" in message


def test_values_that_a_step_makes_too_large_are_not_said_to_be_those_of_the_rows():
    detector = LatentOutlierDetector(
        make_pipeline(PolynomialFeatures(3), PCAEmbedder(2)), random_state=0
    )
    message = _said(lambda: detector.fit(_with(1e60, float)))
    assert message.startswith("What enters the embedder has magnitudes above 1e+100")


def test_sparse_rows_that_a_step_has_made_are_not_said_to_be_given():
    rows = FRAME.assign(kind=["a", "b"] * HALF)
    embedder = make_pipeline(OneHotEncoder(), AutoencoderEmbedder(2, **SMALL))
    for kind in (LatentOutlierDetector, LatentIndex):
        message = _said(lambda kind=kind: kind(embedder).fit(rows))
        assert "Sparse data was passed on by a step before" in message
        assert "X." not in message
    embedder.set_params(onehotencoder__sparse_output=False)
    LatentOutlierDetector(embedder, random_state=0).fit(rows)


# The functions


def test_other_errors_pass_unchanged():
    for error in (ValueError("n_components must be 3"), KeyError("a"), TypeError("b")):
        with pytest.raises(type(error)) as raised, diagnosed(FRAME.assign(kind="a")):
            raise error
        assert raised.value is error


@pytest.mark.parametrize("X", [None, 3.0, "text", object(), [], [[]], {"a": 1}])
def test_what_is_no_table_has_no_columns_at_fault(X):
    error = ValueError("Input X contains NaN.")
    with pytest.raises(ValueError, match="contains NaN") as raised, diagnosed(X):
        raise error
    assert raised.value is error


def test_the_class_of_an_error_is_kept():
    for error, kind in (
        (ValueError("could not convert string to float: 'a'"), ValueError),
        (TypeError("float() argument must be a string, not 'str'"), TypeError),
        (OverflowError("int too large to convert to float"), ValueError),
    ):
        with pytest.raises(kind, match="column 'x0'"), diagnosed([["a", 1.0]]):
            raise error


def test_a_message_about_a_value_that_is_not_there_has_no_reason():
    rows = FRAME.assign(kind="a")
    assert "'kind'" in diagnosis(rows, "could not convert string to float: 'a'")
    assert diagnosis(rows, "could not convert string to float: 'b'") is None
    assert diagnosis(rows, "Input X contains NaN.") is None
    assert diagnosis(rows, "Complex data not supported") is None
