"""Tables: exact round trips, and contents that nobody encoded."""

import functools
import json
import operator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pandas.testing import assert_frame_equal

from latentsk.exceptions import FormatError
from latentsk.persistence._format import read_file, write_file
from latentsk.persistence._tables import decode_frame, encode_frame
from latentsk.persistence._values import ArrayStore, decode_value, encode_value

BERLIN = "Europe/Berlin"
HOURS = pd.date_range("2020-10-24 23:30", periods=9, freq="h")
SURROGATES = ["\ud83d", "\ude00"]


def objects(*values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


FRAME = pd.DataFrame(
    {
        "number": [1.5, np.nan, -0.0],
        "half": np.array([1, 2, 3], dtype=np.float16),
        "flag": [True, False, True],
        "text": ["x", None, "é"],
        "object": objects("x", None, 3),
        7: pd.array([1, None, 3], dtype="UInt8"),
        "when": HOURS[:3],
        "where": HOURS[:3].tz_localize(BERLIN, ambiguous=False),
        "kind": pd.Categorical(["a", "b", "a"], ordered=True),
        "texts": pd.array(["x", "y", None], dtype="string"),
    }
)
INDEXES = {
    "default": pd.RangeIndex(3),
    "range": pd.RangeIndex(10, 4, -2, name="row"),
    "named range": pd.RangeIndex(3, name=5),
    "numbers": pd.Index([3, 3, 1], name="id"),
    "floats": pd.Index([0.5, np.nan, -1]),
    "flags": pd.Index([True, False, True]),
    "texts": pd.Index(["a", "b", "a"]),
    "objects": pd.Index(objects("a", 2, None), dtype=object),
    "object texts": pd.Index(objects("a", "b", "c"), dtype=object),
    "dates": pd.DatetimeIndex(HOURS[:3], freq=None),
    "zoned": pd.DatetimeIndex(
        HOURS[:3].tz_localize(BERLIN, ambiguous=False), freq=None
    ),
    "durations": pd.to_timedelta([3, 1, 2], unit="s"),
    "categories": pd.CategoricalIndex(["a", "b", "a"], name="k"),
    "nullable": pd.Index(pd.array([1, None, 3], dtype="Int64")),
}


def frame_round_trip(frame):
    store = ArrayStore()
    document = json.loads(json.dumps(encode_value(frame, "x", store)))
    return decode_value(document, store)


@pytest.mark.parametrize("name", INDEXES)
def test_frames(name):
    frame = FRAME.set_axis(INDEXES[name])
    found = frame_round_trip(frame)
    assert_frame_equal(
        found,
        frame,
        check_exact=True,
        check_index_type="exact",
        check_column_type="exact",
    )
    assert type(found.index) is type(frame.index)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame(index=["a", "b"]),
        pd.DataFrame(index=range(3)),
        pd.DataFrame(columns=["a", "b"]),
        FRAME[:0],
        pd.DataFrame(np.arange(12.0).reshape(3, 4)),
        pd.DataFrame(np.arange(12.0).reshape(3, 4)).T[::2],
        pd.DataFrame([[1, "x", 2.0]], columns=["same", "same", "other"]),
        pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], name="feature")),
        pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], dtype=object)),
        pd.DataFrame([[1, 2]], columns=pd.RangeIndex(1, 5, 2)),
        pd.DataFrame([[1, 2]], columns=pd.Index(SURROGATES[:2], dtype=object)),
        pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["a", "b"])),
    ],
)
def test_frames_of_other_shapes(frame):
    assert_frame_equal(
        frame_round_trip(frame),
        frame,
        check_index_type="exact",
        check_column_type="exact",
    )


def test_a_range_takes_no_array():
    content = encode_frame(pd.DataFrame({"a": [1.0]}, index=range(5, 6)))
    assert content["index"] == {"name": None, "range": [5, 6, 1]}


@pytest.mark.parametrize("mmap", [False, True])
def test_frames_go_through_files(tmp_path, mmap):
    frame = FRAME.set_axis(INDEXES["texts"])
    store = ArrayStore()
    document = {"frame": encode_value(frame, "frame", store)}
    write_file(tmp_path / "frame", document, store.arrays)
    document, arrays = read_file(tmp_path / "frame", mmap=mmap)
    found = decode_value(document["frame"], ArrayStore(arrays))
    assert_frame_equal(found, frame)
    found.iloc[0, 0] = 3.0
    assert found.iloc[0, 0] == 3.0


NUMBERS = ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8"]
OBJECTS = st.text() | st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.none()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(NUMBERS).flatmap(lambda dtype: hnp.arrays(dtype, 4))
        | st.lists(OBJECTS, min_size=4, max_size=4).map(
            lambda values: objects(*values)
        ),
        max_size=5,
    ),
    st.lists(st.text() | st.integers(-(2**63), 2**64 - 1), min_size=5, max_size=5),
)
def test_any_frame(columns, names):
    frame = pd.DataFrame(
        {i: pd.Series(c, dtype=c.dtype) for i, c in enumerate(columns)}
    )
    frame.columns = pd.Index(names[: len(columns)], dtype=object)
    found = frame_round_trip(frame)
    assert_frame_equal(found, frame, check_exact=True)


# What is refused


def test_errors_name_the_column_and_what_is_wrong():
    with pytest.raises(TypeError, match=r"Column 'where'.*dtype object.*\{1\}, a set"):
        encode_frame(pd.DataFrame({"a": [1], "where": objects({1})}))
    with pytest.raises(
        TypeError, match=r"Column 3.*complex128.*can be stored: booleans"
    ):
        encode_frame(pd.DataFrame({3: [1j]}))
    with pytest.raises(TypeError, match=r"The index: A MultiIndex"):
        encode_frame(
            pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)]))
        )
    with pytest.raises(TypeError, match=r"The index: The name \('a', 1\)"):
        encode_frame(pd.DataFrame({"a": [1]}).rename_axis(index=[("a", 1)]))


@pytest.mark.parametrize(
    "labels", [[("a", 1)], [1.5], [True], [None], pd.to_datetime(["2020"])]
)
def test_names_of_columns_are_texts_or_integers(labels):
    with pytest.raises(TypeError, match="named by str or int"):
        encode_frame(pd.DataFrame([[1]], columns=labels))


# What nobody encoded


def ranged(*limits, **more):
    return {"index": {"name": None, "range": list(limits), **more}}


NULLS = {"kind": "objects", "text": np.frombuffer(b"[null, null]", "u1")}
FRAME_DAMAGE = {
    "negative length": ranged(0, -1, 1),
    "another length": ranged(0, 3, 1),
    "enormous length": ranged(0, 2**62, 1),
    "a column less": {"values": [{"kind": "numbers"}]},
    "a column more": {"values": [{"kind": "numbers"}] * 3},
    "columns are an object": {"values": {}},
    "a column is null": {"values": [None, None]},
    "index is a list": {"index": []},
    "index is unknown": {"index": {"name": None, "labels": {"kind": "pickle"}}},
    "index is nothing": {"index": {"name": None}},
    "short range": ranged(0, 1, 1),
    "no step": ranged(0, 2, 0),
    "no limits": ranged(),
    "too many limits": ranged(0, 2, 1, 0),
    "range of floats": ranged(0.0, 2, 1),
    "range of strings": {"index": {"name": None, "range": "021"}},
    "range too long": ranged(0, 2**80, 1),
    "range too far": ranged(2**80, 2**80 + 2, 1),
    "name is a list": ranged(0, 2, 1, name=[]),
    "a part more": {"length": 2},
    "names are null": {"columns": {"name": None, "labels": NULLS}},
}


@pytest.mark.parametrize("name", FRAME_DAMAGE)
def test_hostile_frames(name):
    content = encode_frame(pd.DataFrame({"a": [1, 2], "b": [True, False]}))
    assert len(decode_frame(content)) == 2
    with pytest.raises(FormatError):
        decode_frame(content | FRAME_DAMAGE[name])


@pytest.mark.parametrize("keys", [["values", 0], ["values", 1], ["index", "labels"]])
def test_frames_with_arrays_of_another_length(keys):
    frame = pd.DataFrame({"a": [1, 2], "b": [True, False]}, index=[3, 1])
    array = functools.reduce(operator.getitem, keys, encode_frame(frame))["values"]
    for damaged in (array[:1], array[None], None):
        content = encode_frame(frame)
        functools.reduce(operator.getitem, keys, content)["values"] = damaged
        with pytest.raises(FormatError):
            decode_frame(content)
    with pytest.raises(FormatError):
        decode_frame([encode_frame(frame)])
