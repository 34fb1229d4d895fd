"""Rows that every estimator refuses."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse

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
