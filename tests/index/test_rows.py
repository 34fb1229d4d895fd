"""The row store against a plain dict."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentsk.index._rows import RowStore

_SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=80, database=None, print_blob=False
)
_NAMES = st.one_of(
    st.just(lambda i: i),
    st.just(lambda i: f"row {i}"),
    st.just(lambda i: np.datetime64("2026-01-01", "D") + i),
)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "remove"]),
        st.lists(st.integers(0, 15), min_size=1, max_size=4),
    ),
    max_size=8,
)


def stored(ids):
    return RowStore.of(len(ids), ids)


class _Model:
    """What a store must do, with a list of ids and a dict from the active to them."""

    def __init__(self, ids):
        self.ids = list(ids)
        self.active = {name: i for i, name in enumerate(ids)}

    def can_append(self, ids):
        return len(set(ids)) == len(ids) and not set(ids) & self.active.keys()

    def append(self, ids):
        for name in ids:
            if name not in self.ids:
                self.ids.append(name)
            self.active[name] = self.ids.index(name)

    def can_remove(self, ids):
        return len(set(ids)) == len(ids) and set(ids) <= self.active.keys()

    def remove(self, ids):
        for name in ids:
            del self.active[name]


def _assert_like(store, model):
    assert list(store.ids) == model.ids
    there = sorted(model.active.values())
    assert np.flatnonzero(store.active).tolist() == store.positions.tolist() == there
    assert len(store.ids) == len(store.active)
    active = list(model.active)[::-1]
    if active:
        expected = [model.active[name] for name in active]
        assert store.positions_of(active).tolist() == expected
    for name in set(model.ids) - model.active.keys():
        with pytest.raises(KeyError, match="Unknown ids"):
            store.positions_of([name])


def changed(store, action, ids):
    if action == "append":
        return store.append(len(ids), ids)[0]
    return store.remove(store.unique_positions_of(ids))


@given(name=_NAMES, first=st.integers(1, 8), steps=_STEPS)
@_SETTINGS
def test_store_does_what_a_dict_does(name, first, steps):
    ids = np.array([name(i) for i in range(first)])
    store, model = stored(ids), _Model(list(ids))
    for action, numbers in steps:
        ids = list(np.array([name(i) for i in numbers]))
        if getattr(model, f"can_{action}")(ids):
            store = changed(store, action, ids)
            getattr(model, action)(ids)
        else:
            repeated = len(set(ids)) < len(ids)
            error = ValueError if action == "append" or repeated else KeyError
            with pytest.raises(error):
                changed(store, action, ids)
        _assert_like(store, model)


def test_stores_do_not_change():
    store = stored(["a", "b", "c"])
    less, (more, _) = store.remove(np.array([1])), store.append(1, ["d"])
    assert store.ids.tolist() == ["a", "b", "c"]
    assert store.active.tolist() == [True, True, True]
    assert less.ids.tolist() == ["a", "b", "c"]
    assert less.active.tolist() == [True, False, True]
    assert more.ids.tolist() == ["a", "b", "c", "d"]
    assert more.active.tolist() == [True] * 4


def test_a_position_belongs_to_one_id():
    store, positions = stored([10, 20, 30]).remove(np.array([1])).append(1, [40])
    assert positions.tolist() == [3]
    assert store.positions_of([40, 30, 10]).tolist() == [3, 2, 0]
    with pytest.raises(KeyError, match="20"):
        store.unique_positions_of([20])
    back, positions = store.append(2, [50, 20])
    assert positions.tolist() == [4, 1]
    assert back.ids.tolist() == [10, 20, 30, 40, 50]
    assert back.active.all()
    with pytest.raises(ValueError, match="already: 20"):
        back.append(1, [20])


def test_stores_that_go_on_from_the_same_one_are_apart():
    store = stored(["a", "b"])
    store.positions_of(["a"])
    first, _ = store.append(1, ["c"])
    other, _ = store.apart().append(2, ["d", "c"])
    assert first.ids.tolist() == ["a", "b", "c"]
    assert other.ids.tolist() == ["a", "b", "d", "c"]
    assert first.positions_of(["c"]).tolist() == [2]
    assert other.positions_of(["c"]).tolist() == [3]
    with pytest.raises(KeyError, match="'d'"):
        first.positions_of(["d"])
    with pytest.raises(KeyError, match="'c'"):
        store.positions_of(["c"])


def test_what_did_not_come_is_forgotten():
    """Rows that were prepared, and given up, leave no trace in the lookup."""
    store = stored(["a", "b"])
    store.positions_of(["a"])
    store.append(2, ["gone", "too"])
    after, positions = store.append(3, ["c", "d", "too"])
    assert positions.tolist() == [2, 3, 4]
    assert after.holds(np.array(["gone", "c", "too"])).tolist() == [False, True, True]
    assert after.positions_of(["too", "d"]).tolist() == [4, 3]
    # The other way is right as well.
    again, _ = after.append(1, ["gone"])
    assert again.positions_of(["gone", "too"]).tolist() == [5, 4]


def test_stores_that_are_apart_share_no_room():
    """Two threads may add to them at the same time, each under a lock of its own."""
    store, _ = stored(["a", "b"]).append(1, ["c"])
    other = store.apart()
    first, second = store.append(1, ["d"])[0], other.append(1, ["e"])[0]
    assert not np.shares_memory(first.ids, second.ids)
    assert (first.ids[-1], second.ids[-1]) == ("d", "e")


def test_many_ids_that_come_one_by_one():
    store = stored(np.arange(0, 6_000, 2))
    for i in range(1_500):
        store, positions = store.append(1, [2 * i + 1])
        assert positions.tolist() == [3_000 + i]
    wanted = np.random.default_rng(0).permutation(3_000)
    expected = np.where(wanted % 2 == 0, wanted // 2, 3_000 + wanted // 2)
    np.testing.assert_array_equal(store.positions_of(wanted), expected)


def test_ids_of_an_older_file_may_occur_twice():
    """The active one counts, or the later one where none is."""
    active = np.array([True, False, False, False, True])
    ids = np.array(["a", "b", "a", "b", "c"], dtype=object)
    state = {"ids": ids, "active": active, "metadata": None}
    store = RowStore.from_state(state)
    assert store.positions_of(["c", "a"]).tolist() == [4, 0]
    assert store.append(1, ["b"])[1].tolist() == [3]


def test_the_next_ids_are_behind_all_that_there_are():
    store = stored([5, 90]).remove(np.array([1]))
    assert store.append(2)[0].ids.tolist() == [5, 90, 91, 92]
    assert stored([0, 1]).append(1)[0].ids.tolist() == [0, 1, 2]
    # Numbers that the rows had before they were compacted are not given twice.
    window = stored(range(6)).remove(np.arange(4)).compacted()
    assert window.ids.tolist() == [4, 5]
    assert window.append(1)[0].ids.tolist() == [4, 5, 6]
    # Nor those of the last rows, nor numbers that were never ids but positions.
    first = stored(range(6)).remove(np.arange(3, 6)).compacted()
    assert first.append(2)[0].ids.tolist() == [0, 1, 2, 6, 7]
    again = first.append(2)[0].remove(np.array([3, 4])).apart().compacted()
    assert again.append(1)[0].ids.tolist() == [0, 1, 2, 8]
    assert RowStore.from_state(again.to_state()).append(1)[0].ids[-1] == 8
    assert "next_id" not in stored(range(6)).to_state()
    # A file holds no such number.
    hashes = stored(np.array([2**64 - 1, 7], np.uint64)).remove(np.array([1]))
    assert "next_id" not in hashes.compacted().to_state()


def test_nothing_is_a_valid_request():
    store = stored([10, 20])
    assert store.positions_of([]).tolist() == []
    assert store.remove(store.positions_of([])).active.tolist() == [True, True]


def test_repeated_requests_give_repeated_positions():
    assert stored(["a", "b"]).positions_of(["b", "b"]).tolist() == [1, 1]


@pytest.mark.parametrize(
    "ids",
    [
        range(3),
        [1.5, 2.5, -0.25],
        ["a", "b", "c"],
        pd.Index(["a", "b", "c"], dtype="string"),
        pd.date_range("2026-01-01", periods=3),
        pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin"),
        pd.MultiIndex.from_product([["a"], [1, 2, 3]]),
        pd.CategoricalIndex(["x", "y", "z"]),
        np.array([2**63, 2**63 + 1, 0], dtype=np.uint64),
        np.array([b"a", b"b", b"c"]),
    ],
    ids=str,
)
def test_kinds_of_ids(ids):
    store = stored(ids)
    assert store.ids.shape == (3,)
    assert list(store.ids) == list(np.asarray(ids))
    assert store.positions_of(store.ids[[2, 0]]).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], "unique.*'a'"),
        ([1, 2, 1.0], "unique"),
        (list(range(20)) * 2, r"0, 1, 2, 3, 4, \.\.\."),
        (["a", None], "missing"),
        ([1.0, np.nan], "missing"),
        (np.array(["2026-01-01", "NaT"], dtype="datetime64[D]"), "missing"),
        (pd.Index(["a", pd.NA], dtype="string"), "missing"),
        (np.zeros((2, 2)), "one id a row"),
    ],
)
def test_bad_ids_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        stored(ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a"], "'a'"), (["x", "x"], "'x'"), ([None], "missing")],
)
def test_bad_ids_are_not_appended(ids, message):
    with pytest.raises(ValueError, match=message):
        stored(["a", "b"]).append(len(ids), ids)


@pytest.mark.parametrize("ids", [["z"], ["a", "z"], [0]])
def test_unknown_ids_are_named(ids):
    with pytest.raises(KeyError, match=f"Unknown ids: {ids[-1]!r}"):
        stored(["a", "b"]).positions_of(ids)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, ">i4", ">f8"])
def test_ids_of_a_type_that_pandas_has_no_index_of(dtype):
    store = stored(np.array([1, 2], dtype))
    assert store.positions_of([2.0]).tolist() == [1]
    assert store.positions_of(np.array([2], dtype)).tolist() == [1]
