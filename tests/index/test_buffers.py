"""Arrays that grow: like numpy's, and never at the cost of the array handed in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentsk.index import _buffers
from latentsk.index._buffers import GrowingArray

_SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=80, database=None, print_blob=False
)
_STEPS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2**32 - 1)),
    max_size=12,
)


@given(
    first=st.integers(1, 6),
    shape=st.sampled_from([(), (3,), (2, 2)]),
    dtype=st.sampled_from(["float64", "float32", "int64", "uint8"]),
    steps=_STEPS,
)
@_SETTINGS
def test_growing_array_is_like_numpy(first, shape, dtype, steps):
    given_rows = np.arange(first * int(np.prod(shape))).reshape(first, *shape)
    given_rows = given_rows.astype(dtype)
    kept, model = given_rows.copy(), given_rows.copy()
    array = GrowingArray(given_rows)
    for n_old, n_new, seed in steps:
        rng = np.random.default_rng(seed)
        old = rng.permutation(len(model))[:n_old]
        new = np.arange(len(model), len(model) + n_new)
        positions = rng.permutation(np.concatenate([old, new]))
        values = rng.integers(0, 100, (len(positions), *shape)).astype(dtype)
        array.assign(positions, values)
        model = np.concatenate([model, np.zeros((n_new, *shape), dtype=dtype)])
        model[positions] = values
        np.testing.assert_array_equal(array.rows, model)
        assert array.rows.dtype == model.dtype
        np.testing.assert_array_equal(given_rows, kept)


def test_nothing_to_assign_copies_nothing():
    rows = np.zeros((3, 2))
    array = GrowingArray(rows)
    array.assign(np.empty(0, dtype=np.intp), np.empty((0, 2)))
    assert np.shares_memory(array.rows, rows)


@pytest.mark.parametrize("kind", ["read-only", "memory-mapped", "strided"])
def test_rows_of_any_kind_are_left_alone(kind, tmp_path):
    rows = np.arange(12.0).reshape(6, 2)
    if kind == "memory-mapped":
        np.save(tmp_path / "rows.npy", rows)
        rows = np.load(tmp_path / "rows.npy", mmap_mode="r+")
    elif kind == "strided":
        rows = np.repeat(rows, 2, axis=0)[::2]
    else:
        rows.flags.writeable = False
    before = rows.copy()
    array = GrowingArray(rows)
    array.assign(np.array([0, 6]), np.full((2, 2), -1.0))
    np.testing.assert_array_equal(rows, before)
    expected = np.concatenate([before, [[-1.0, -1.0]]])
    expected[0] = -1.0
    np.testing.assert_array_equal(array.rows, expected)
    assert not np.shares_memory(array.rows, rows)


def test_rows_seen_before_growth_stay_as_they_are():
    """What a reader holds is not taken away, and does not grow."""
    array = GrowingArray(np.zeros((2, 1)))
    array.assign(np.array([2]), np.ones((1, 1)))
    seen = array.rows
    for i in range(3, 50):
        array.assign(np.array([i]), np.full((1, 1), i))
    assert seen.ravel().tolist() == [0.0, 0.0, 1.0]


def test_values_may_be_the_rows_themselves():
    array = GrowingArray(np.arange(5.0))
    array.assign(np.arange(5), array.rows[::-1])
    assert array.rows.tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
    array.assign(np.arange(5), array.rows[::-1])
    assert array.rows.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    array.assign(np.arange(5, 10), array.rows)
    assert array.rows.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0] * 2


def test_copies_are_few_and_spare_room_is_little():
    """A thousand single rows: as many copies as growth by a quarter takes."""
    array, stores = GrowingArray(np.zeros((8, 4))), []
    for i in range(8, 1008):
        array.assign(np.array([i]), np.ones((1, 4)))
        if not stores or array._buffer is not stores[-1]:
            stores.append(array._buffer)
    assert len(array.rows) == 1008
    ratio = 1.0 + _buffers.SPARE_SHARE
    assert len(stores) <= np.log(1008 / 8) / np.log(ratio) + 4
    assert len(array._buffer) <= ratio * 1008 + 1


def test_a_replacement_takes_no_spare_room():
    array = GrowingArray(np.zeros((1_000, 1)))
    array.assign(np.array([3]), np.ones((1, 1)))
    assert len(array._buffer) == 1_000


def test_an_assignment_is_undone():
    given = np.arange(4.0)
    array = GrowingArray(given)
    for _ in range(2):  # into a copy, and into spare room
        before = array.rows[[1, 3]]
        array.assign(np.array([1, 3, 4, 5]), np.full(4, -1.0))
        array.restore(4, np.array([1, 3]), before)
        assert array.rows.tolist() == [0.0, 1.0, 2.0, 3.0]
    array.assign(np.array([4]), np.array([4.0]))
    assert array.rows.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert given.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_rows_that_are_shared_stay():
    array = GrowingArray(np.zeros(3))
    array.assign(np.array([3]), np.ones(1))
    shared = array.share()
    array.assign(np.array([0, 4]), np.full(2, 7.0))
    assert shared.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert array.rows.tolist() == [7.0, 0.0, 0.0, 1.0, 7.0]
