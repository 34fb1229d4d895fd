"""Rows that every estimator refuses."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import (
    AutoencoderEmbedder,
    CategoryEncoder,
    DatetimeEncoder,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
    PyODAdapter,
    RobustStandardizer,
    SlidingWindows,
    VAEEmbedder,
    VQVAEEmbedder,
)
from latentsk._validation import MAX_MAGNITUDE, reject_huge


def rows_with(value, position=(2, 1), shape=(4, 3)):
    rows = np.ones(shape)
    rows[position] = value
    return rows


FORMS = {
    "ndarray": np.asarray,
    "fortran": np.asfortranarray,
    "csr": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "tensor": torch.from_numpy,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [1.01e100, -1.01e100, 1.7e308, -np.inf])
def test_a_magnitude_above_the_limit_is_named_with_its_column_and_row(form, value):
    with pytest.raises(ValueError, match=r"column 'x1', row 2\. Scale or clip"):
        reject_huge(FORMS[form](rows_with(value)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [MAX_MAGNITUDE, -MAX_MAGNITUDE, 1e-300, 0.0])
def test_magnitudes_up_to_the_limit_are_taken(form, value):
    reject_huge(FORMS[form](rows_with(value)))


def test_a_clipped_column_is_taken():
    reject_huge(rows_with(1e300).clip(-MAX_MAGNITUDE, MAX_MAGNITUDE))


def test_the_message_says_the_value_and_the_names_that_it_is_given():
    names = np.array(["age", "income", "score"], dtype=object)
    with pytest.raises(ValueError, match=r"^queries has .* 1e\+200 in column 'income'"):
        reject_huge(rows_with(1e200), names, input_name="queries")


@pytest.mark.parametrize("form", FORMS)
def test_missing_values_are_ignored_and_hide_nothing(form):
    rows = rows_with(np.nan, (0, 0))
    reject_huge(FORMS[form](rows))
    rows[3, 2] = 1e200
    with pytest.raises(ValueError, match="column 'x2', row 3"):
        reject_huge(FORMS[form](rows))


def test_pixels_of_images_are_columns():
    with pytest.raises(ValueError, match="column 'x5', row 1"):
        reject_huge(rows_with(1e200, (1, 1, 2), (2, 2, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, bool])
def test_rows_of_a_dtype_with_a_smaller_range_are_taken(dtype):
    reject_huge(np.ones((2, 2), dtype=dtype))


@pytest.mark.parametrize("empty", [np.empty((0, 3)), torch.empty(3, 0).double()])
def test_nothing_is_not_huge(empty):
    reject_huge(empty)


def test_nothing_of_the_size_of_the_rows_is_allocated():
    rows = np.ones((2_000, 100))
    tracemalloc.start()
    reject_huge(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < rows.nbytes / 100


# A row of a table

PEOPLE = pd.DataFrame(
    np.random.default_rng(0).normal(size=(40, 3)),
    columns=["a", "b", "c"],
    index=[f"C{i}" for i in range(40)],
)
MIXED = PEOPLE.assign(c=np.where(PEOPLE["c"] > 0, "x", "y"))
NETWORK = {"max_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}
TAKE_A_ROW = {
    "PCAEmbedder": (PCAEmbedder(1), PEOPLE, "transform"),
    "AutoencoderEmbedder": (AutoencoderEmbedder(1, **NETWORK), PEOPLE, "score_samples"),
    "condition": (VAEEmbedder(1, condition=["c"], **NETWORK), MIXED, "score_samples"),
    "RobustStandardizer": (RobustStandardizer(), PEOPLE, "transform"),
    "CategoryEncoder": (CategoryEncoder(), MIXED, "transform"),
    "DatetimeEncoder": (
        DatetimeEncoder(),
        PEOPLE.apply(lambda cells: pd.to_datetime(cells, unit="D")),
        "transform",
    ),
    "detector": (LatentOutlierDetector(), PEOPLE, "explain"),
    "detector of a mixed table": (LatentOutlierDetector(), MIXED, "explain"),
    "detector of a pipeline": (
        LatentOutlierDetector(make_pipeline(StandardScaler(), PCAEmbedder(1))),
        PEOPLE,
        "score_parts",
    ),
    "adapter": (PyODAdapter(LatentOutlierDetector()), MIXED, "decision_function"),
    "index": (LatentIndex(), PEOPLE, "search"),
    "index of a pipeline": (
        LatentIndex(make_pipeline(StandardScaler(), PCAEmbedder(1))),
        PEOPLE,
        "kneighbors",
    ),
}


@pytest.mark.filterwarnings("ignore::latentsk.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("kind", TAKE_A_ROW)
def test_a_row_as_a_series_is_refused_with_what_takes_it_as_a_table(kind):
    estimator, X, method = TAKE_A_ROW[kind]
    call = getattr(estimator.fit(X), method)
    series = X.loc["C5"]
    with pytest.raises(ValueError, match="X is one row, as a Series") as caught:
        call(series)
    codes = re.search(r"(X\.loc\[\[.*?\]\]).*(series\..*)\.$", str(caught.value))
    assert codes[1] == "X.loc[['C5']]"
    expected, *found = [
        np.asarray(pd.DataFrame(np.asarray(call(rows)).reshape(1, -1)).astype(str))
        for rows in (
            X.iloc[5:6],
            *(eval(c, {"X": X, "series": series}) for c in codes.groups()),
        )
    ]
    for answer in found:
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_a_column_is_no_row():
    with pytest.raises(ValueError, match="single column"):
        PCAEmbedder(1).fit(PEOPLE).transform(PEOPLE["a"])


# Booleans


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (PCAEmbedder(True), "n_components"),
        (VQVAEEmbedder(n_codes=True), "n_codes"),
        (AutoencoderEmbedder(max_epochs=True), "max_epochs"),
        (LatentIndex(n_neighbors=False), "n_neighbors"),
        (LatentOutlierDetector(max_samples=True), "max_samples"),
        (CategoryEncoder(min_frequency=True), "min_frequency"),
        (SlidingWindows(True), "length"),
    ],
)
def test_booleans_are_no_counts(estimator, name):
    with pytest.raises(ValueError, match=f"The '{name}' .* a number, not a boolean"):
        estimator.fit(PEOPLE)


def test_a_boolean_is_no_number_of_samples():
    with pytest.raises(ValueError, match="n_samples must be an integer"):
        PCAEmbedder(1).fit(PEOPLE).sample(True)


def test_booleans_stay_what_they_are_where_they_are_meant():
    AutoencoderEmbedder(1, warm_start=True, verbose=False, **NETWORK).fit(PEOPLE)
