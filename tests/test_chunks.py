"""Chunks of rows: all of them, once, and of a bounded size."""

import numpy as np
import pytest

from latentsk import _chunks
from latentsk._chunks import row_slices


@pytest.mark.parametrize("shape", [(1, 1), (10, 3), (1000, 7), (3, 0), (5, 10**7)])
def test_every_row_is_covered_once(shape):
    covered = np.concatenate([np.arange(shape[0])[part] for part in row_slices(*shape)])
    np.testing.assert_array_equal(covered, np.arange(shape[0]))


def test_no_rows_are_no_chunks():
    assert list(row_slices(0, 3)) == []


def test_chunks_are_bounded(monkeypatch):
    monkeypatch.setattr(_chunks, "SLICE_ELEMENTS", 10)
    assert [part.stop - part.start for part in row_slices(7, 4)] == [2, 2, 2, 1]
    assert [part.stop - part.start for part in row_slices(7, 4, 16)] == [4, 3]
    assert len(list(row_slices(3, 100))) == 3
