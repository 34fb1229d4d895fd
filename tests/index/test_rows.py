"""The row store against a plain dict."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentsk.index.rows import RowStore

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


class _Model:
    """What a store must do, with a list of ids and a dict from the living to them."""

    def __init__(self, ids):
        self.ids = list(ids)
        self.living = {name: i for i, name in enumerate(ids)}

    def can_append(self, ids):
        return len(set(ids)) == len(ids) and not set(ids) & self.living.keys()

    def append(self, ids):
        for name in ids:
            self.living[name] = len(self.ids)
            self.ids.append(name)

    def can_remove(self, ids):
        return len(set(ids)) == len(ids) and set(ids) <= self.living.keys()

    def remove(self, ids):
        for name in ids:
            del self.living[name]


def _assert_like(store, model):
    assert list(store.ids) == model.ids
    there = sorted(model.living.values())
    assert np.flatnonzero(store.alive).tolist() == store.living.tolist() == there
    assert len(store.ids) == len(store.alive)
    living = list(model.living)[::-1]
    if living:
        expected = [model.living[name] for name in living]
        assert store.positions_of(living).tolist() == expected
    for name in set(model.ids) - model.living.keys():
        with pytest.raises(KeyError, match="Unknown ids"):
            store.positions_of([name])


@given(name=_NAMES, first=st.integers(1, 8), steps=_STEPS)
@_SETTINGS
def test_store_does_what_a_dict_does(name, first, steps):
    ids = np.array([name(i) for i in range(first)])
    store, model = RowStore.of(ids), _Model(list(ids))
    for action, numbers in steps:
        ids = list(np.array([name(i) for i in numbers]))
        if getattr(model, f"can_{action}")(ids):
            store = getattr(store, action)(ids)
            getattr(model, action)(ids)
        else:
            repeated = len(set(ids)) < len(ids)
            error = ValueError if action == "append" or repeated else KeyError
            with pytest.raises(error):
                getattr(store, action)(ids)
        _assert_like(store, model)


def test_stores_do_not_change():
    store = RowStore.of(["a", "b", "c"])
    less, more = store.remove(["b"]), store.append(["d"])
    assert store.ids.tolist() == ["a", "b", "c"]
    assert store.alive.tolist() == [True, True, True]
    assert less.ids.tolist() == ["a", "b", "c"]
    assert less.alive.tolist() == [True, False, True]
    assert more.ids.tolist() == ["a", "b", "c", "d"]
    assert more.alive.tolist() == [True] * 4


def test_positions_survive_removals_and_are_never_given_away():
    store = RowStore.of([10, 20, 30]).remove([20]).append([40])
    assert store.positions_of([40, 30, 10]).tolist() == [3, 2, 0]
    with pytest.raises(KeyError, match="20"):
        store.remove([20])
    back = store.append([20])
    assert back.ids.tolist() == [10, 20, 30, 40, 20]
    assert back.positions_of([20]).tolist() == [4]
    with pytest.raises(ValueError, match="already: 20"):
        back.append([20])


def test_nothing_is_a_valid_request():
    store = RowStore.of([10, 20])
    assert store.positions_of([]).tolist() == []
    assert store.remove([]).alive.tolist() == [True, True]


def test_repeated_requests_give_repeated_positions():
    assert RowStore.of(["a", "b"]).positions_of(["b", "b"]).tolist() == [1, 1]


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
    store = RowStore.of(ids)
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
        RowStore.of(ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a"], "'a'"), (["x", "x"], "'x'"), ([None], "missing")],
)
def test_bad_ids_are_not_appended(ids, message):
    with pytest.raises(ValueError, match=message):
        RowStore.of(["a", "b"]).append(ids)


@pytest.mark.parametrize("ids", [["z"], ["a", "z"], [0]])
def test_unknown_ids_are_named(ids):
    with pytest.raises(KeyError, match=f"Unknown ids: {ids[-1]!r}"):
        RowStore.of(["a", "b"]).positions_of(ids)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, ">i4", ">f8"])
def test_ids_of_a_type_that_pandas_has_no_index_of(dtype):
    store = RowStore.of(np.array([1, 2], dtype))
    assert store.positions_of([2.0]).tolist() == [1]
    assert store.positions_of(np.array([2], dtype)).tolist() == [1]
