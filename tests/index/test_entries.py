"""Entries against a dictionary of what is there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentsk.index._entries import Entries

ROWS = st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True)
STEPS = st.lists(st.tuples(st.sampled_from(["put", "remove", "release"]), ROWS))


@given(STEPS)
def test_entries_are_those_of_a_dictionary(steps):
    entries, alive, dead = Entries(), {}, set()
    for step, rows in steps:
        present = np.array([row for row in rows if row in alive], dtype=np.intp)
        if step == "release":
            numbers = [alive.pop(row) for row in present.tolist()] + sorted(dead)
            found = entries.release(np.array(numbers, dtype=np.int64))
            np.testing.assert_array_equal(np.sort(found), np.sort(present))
            dead = set()
            continue
        gone = entries.remove(np.array(rows))
        assert sorted(gone) == sorted(alive.pop(row) for row in present.tolist())
        dead |= set(gone.tolist())
        if step == "put":
            numbers = entries.add(np.array(rows)).tolist()
            assert len(set(numbers)) == len(rows)
            assert not set(numbers) & (dead | set(alive.values()))
            alive |= dict(zip(rows, numbers, strict=True))
        _assert_same(entries, alive, dead)


def _assert_same(entries, alive, dead):
    assert (entries.n_live, entries.n_dead) == (len(alive), len(dead))
    numbers = np.arange(len(entries))
    owner = {number: row for row, number in alive.items()}
    expected = [owner.get(number, -1) for number in numbers.tolist()]
    assert entries.positions_of(numbers).tolist() == expected
    assert entries.of(np.arange(30)).tolist() == [alive[row] for row in sorted(alive)]
    bits = entries.live_bits
    assert (bits is None) == (not dead)
    if bits is not None:
        held = np.unpackbits(bits, bitorder="little")
        assert np.flatnonzero(held).tolist() == sorted(owner)


def test_numbers_are_given_again_once_they_are_free():
    entries = Entries()
    for _ in range(100):
        entries.add(np.arange(10))
        entries.release(entries.remove(np.arange(10)))
    assert len(entries) == 10
    for _ in range(3):
        entries.add(np.arange(10))
        entries.remove(np.arange(10))
    assert len(entries) == 30
    assert entries.n_dead == 30


@pytest.mark.parametrize("n_rows", [1, 7, 8, 9, 1_000])
def test_rows_that_are_never_removed_are_numbered_as_they_come(n_rows):
    entries = Entries()
    entries.add(np.arange(n_rows))
    np.testing.assert_array_equal(entries.of(np.arange(n_rows)), np.arange(n_rows))
    assert entries.live_bits is None
    some = np.arange(0, n_rows, 3)
    bits = np.unpackbits(entries.bits_among(some), bitorder="little")
    np.testing.assert_array_equal(np.flatnonzero(bits), some)


def test_nothing_has_no_position():
    assert Entries().positions_of(np.array([[-1, -1]])).tolist() == [[-1, -1]]
    assert len(Entries().remove(np.array([3]))) == 0
    assert len(Entries().of(np.array([3]))) == 0
