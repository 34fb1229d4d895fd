import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latentsk.exceptions import FormatError
from latentsk.persistence._values import ArrayStore, decode_value, encode_value

PLAIN = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
ARRAYS = hnp.arrays(
    hnp.scalar_dtypes().filter(lambda d: d.kind in "biuf" and d.itemsize <= 8),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
VALUES = st.recursive(
    PLAIN | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def through(value):
    store = ArrayStore()
    document = json.loads(json.dumps(encode_value(value, "x", store)))
    back = ArrayStore(store.arrays)
    result = decode_value(document, back)
    assert back.arrays == {}
    return result


def assert_equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for first, second in zip(a, b, strict=True):
            assert_equal(first, second)
    else:
        np.testing.assert_array_equal(a, b)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(VALUES)
def test_values_come_back(value):
    assert_equal(value, through(value))


def test_what_numpy_and_pandas_have():
    assert through(np.float32(0.5)) == 0.5
    assert type(through(np.int64(3))) is int
    texts = np.array(["x", "yz"], object)
    np.testing.assert_array_equal(through(texts), texts)
    frame = pd.DataFrame({"a": [1.5, np.nan], "b": ["x", "y"]}, index=["i", "j"])
    pd.testing.assert_frame_equal(through(frame), frame)
    pd.testing.assert_extension_array_equal(
        through(pd.array([1, None], dtype="Int8")), pd.array([1, None], dtype="Int8")
    )


def test_the_order_of_an_array_is_kept():
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert through(array).flags.f_contiguous
    assert through(array.copy("C")).flags.c_contiguous
    np.testing.assert_array_equal(through(array), array)


@pytest.mark.parametrize(
    "value",
    [object(), {1.5: 2}, {True: 1}, {1: b"x"}, {0}, 1j, np.zeros(2, complex)],
)
def test_other_values_are_named(value):
    with pytest.raises(TypeError, match=r"model/x|column|complex"):
        encode_value({"a": value}, "model/x", ArrayStore())


@pytest.mark.parametrize(
    "document",
    [
        {"array": "missing"},
        {"array": ["x"]},
        {"array": "x", "more": 1},
        {"tuple": 1},
        {"dict": [1]},
        {"unknown": 1},
        {},
        {"table": {"dict": {}}},
        {"column": 3},
        json.loads("[" * 200 + "]" * 200),
    ],
    ids=str,
)
def test_other_documents_are_refused(document):
    with pytest.raises(FormatError):
        decode_value(document, ArrayStore({"x": np.zeros(2)}))


def test_an_array_is_taken_once():
    store = ArrayStore({"x": np.zeros(2), "y": np.zeros(2)})
    with pytest.raises(FormatError, match="missing"):
        decode_value([{"array": "x"}, {"array": "x"}], store)
    assert list(store.arrays) == ["y"]
