"""Functions of rows in batches, and what happens where memory runs out."""

import warnings

import pytest
import torch

from latentsk.exceptions import OutOfMemoryWarning
from latentsk.training._inference import in_batches


def test_in_batches_joins_in_order():
    rows = torch.arange(10.0)[:, None]
    torch.testing.assert_close(in_batches(torch.square, rows, 3), rows**2)


def test_out_of_memory_halves_the_batch_and_says_so_once():
    sizes = []

    def function(rows):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows**2

    rows = torch.arange(20.0)[:, None]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = in_batches(function, rows, 8)
    torch.testing.assert_close(results, rows**2)
    assert sizes == [8, 4, *[2] * 10]
    (warning,) = caught
    assert warning.category is OutOfMemoryWarning
    assert "batches of 2 did" in str(warning.message)


def test_a_single_row_that_does_not_fit_is_an_error():
    def function(rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(function, torch.zeros(3, 1), 2)
