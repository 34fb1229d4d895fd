"""Cells of other types than numbers and strings, and cells that nobody encoded."""

import datetime
import json
from collections import namedtuple
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from latentsk.exceptions import FormatError
from latentsk.persistence._columns import check_storable, decode_column, encode_column
from latentsk.persistence._values import ArrayStore, decode_value, encode_value

DAY = datetime.date(2024, 5, 31)
NOON = datetime.datetime(2024, 5, 31, 12, 30, 0, 17)
BERLIN = "Europe/Berlin"


def objects(*values):
    column = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def round_trip(column):
    store = ArrayStore()
    document = json.dumps(encode_value(encode_column(column), "x", store))
    assert all(array.dtype.kind in "biuf" for array in store.arrays.values())
    return decode_column(decode_value(json.loads(document), store))


def same(found, expected):
    if isinstance(expected, list | tuple):
        return type(found) is type(expected) and all(map(same, found, expected))
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(
            same(found[key], expected[key]) for key in expected
        )
    if expected is pd.NA or expected is pd.NaT:
        return found is expected
    return type(found) is type(expected) and found == expected


CELLS = {
    "uuid": [UUID(int=0), UUID(int=2**128 - 1), None],
    "tuples": [("a", 1), ("a", 2.5), ("b", (True, None))],
    "empty tuple": [(), ((),)],
    "tuples of others": [(UUID(int=3), DAY), (np.int8(3), Decimal("1.50"))],
    "lists": [["new", "red"], [], [1, [2]]],
    "dicts": [{"a": 1, "b": [None]}, {}, {"": {"c": (1,)}}],
    "dates": [DAY, None, datetime.date(1, 1, 1)],
    "datetimes": [NOON, NOON.replace(tzinfo=datetime.UTC), "x"],
    "decimals": [Decimal("0.10"), Decimal("-1E+3"), Decimal("123456789" * 5)],
    "bytes": [b"", b"\x00\xff"],
    "missing": [pd.NA, pd.NaT, None, "x", 1],
    "zones": [
        pd.Timestamp("2024", tz="UTC"),
        pd.Timestamp("2024", tz=BERLIN),
        pd.Timestamp("2024"),
        pd.Timestamp("2024-01-01 00:00:00.000000001"),
    ],
}


@pytest.mark.parametrize("name", CELLS)
def test_cells(name):
    column = objects(*CELLS[name])
    check_storable(column)
    found = round_trip(column)
    assert found.dtype == object
    assert all(map(same, found, column))


def test_units_of_times_are_kept():
    column = objects("x", *(pd.Timestamp("2024").as_unit(u) for u in ("s", "ms", "ns")))
    assert [t.unit for t in round_trip(column)[1:]] == ["s", "ms", "ns"]


ARROW = {
    "int8": [1, None, -128],
    "uint64": [2**64 - 1, None],
    "int64": [2**53 + 1, None, 5],
    "float": [1.5, None],
    "double": [0.1, None, float("inf")],
    "bool": [True, None, False],
    "string": ["a", None, "é😀"],
    "large_string": ["a", None],
    "date32": [DAY, None],
    "date64": [DAY, None],
}


@pytest.mark.parametrize("name", ARROW)
def test_columns_of_pyarrow(name):
    kind = {"date32": pa.date32(), "date64": pa.date64()}.get(name)
    kind = kind or pa.type_for_alias(name)
    assert_same_arrow(pd.array(pa.array(ARROW[name], type=kind), pd.ArrowDtype(kind)))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", BERLIN])
def test_times_of_pyarrow(unit, zone):
    kind = pa.timestamp(unit, zone)
    array = pa.array([0, None, 1_700_000_000]).cast(kind)
    assert_same_arrow(pd.array(array, pd.ArrowDtype(kind)))
    kind = pa.duration(unit)
    assert_same_arrow(
        pd.array(pa.array([5, None], pa.int64()).cast(kind), pd.ArrowDtype(kind))
    )


def test_a_missing_float_of_pyarrow_is_not_nan():
    array = pa.array([float("nan"), None, 1.0])
    column = pd.array(array, pd.ArrowDtype(pa.float64()))
    check_storable(column)
    found = pa.array(round_trip(column))
    assert found.is_null().to_pylist() == array.is_null().to_pylist()
    assert np.isnan(found[0].as_py())


def test_parts_of_columns_of_pyarrow():
    column = pd.Series([1, None, 3, 4], dtype="int64[pyarrow]")
    assert_same_arrow(column.iloc[1:3].array)
    assert_same_arrow(pd.concat([column, column]).array)
    assert_same_arrow(column.iloc[:0].array)


def assert_same_arrow(column):
    check_storable(column)
    found = round_trip(column)
    assert found.dtype == column.dtype
    assert pa.array(found).to_pylist() == pa.array(column).to_pylist()


# What is refused

Pair = namedtuple("Pair", "a b")


class Text(str):
    pass


class Key(UUID):
    pass


OFFSET = datetime.timezone(datetime.timedelta(0, 61))


def nested(levels):
    value = (1,)
    for _ in range(levels):
        value = (value,)
    return value


REFUSED = {
    "set": objects({1}),
    "object": objects(object()),
    "array": objects(np.zeros(2)),
    "keys that are no strings": objects({1: 2}),
    "subclass of tuple": objects(Pair(1, 2)),
    "subclass of str": objects(Text("a")),
    "subclass of UUID": objects(Key(int=1)),
    "long integer in a tuple": objects((2**64,)),
    "set in a list": objects([{1}]),
    "depth": objects(nested(10)),
    "NaN decimal": objects(Decimal("sNaN")),
    "large exponent": objects(Decimal("1E+1000000")),
    "many digits": objects(Decimal("1" * 200)),
    "offset": objects(NOON.replace(tzinfo=OFFSET)),
    "time": objects(datetime.time(1)),
    "function": objects(len),
    "list of pyarrow": pd.array(pa.array([[1]]), pd.ArrowDtype(pa.list_(pa.int64()))),
    "decimal of pyarrow": pd.array(
        pa.array([Decimal("1.5")]), pd.ArrowDtype(pa.decimal128(5, 2))
    ),
    "complex": np.array([1j]),
    "period": pd.array(pd.period_range("2020", periods=2)),
    "categories": pd.Categorical.from_codes([0], objects(frozenset([1]))),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("check", [encode_column, check_storable])
def test_other_cells_are_refused(name, check):
    with pytest.raises(TypeError, match="cannot be stored"):
        check(REFUSED[name])


# What nobody encoded


def in_json(text):
    return {"kind": "objects", "text": np.frombuffer(text.encode(), "u1")}


def arrow(name, values=(1, 2), mask=(False, True), dtype="int64"):
    values = np.asarray(values, dtype=dtype)
    return {"kind": "arrow", "dtype": name, "values": values, "mask": np.array(mask)}


HOSTILE = {
    "uuid too short": in_json('[{"uuid": "12"}]'),
    "uuid in another form": in_json(f'[{{"uuid": "{UUID(int=1)}"}}]'),
    "uuid is a number": in_json('[{"uuid": 3}]'),
    "tuple is a string": in_json('[{"tuple": "ab"}]'),
    "tuple is a dict": in_json('[{"tuple": {"a": 1}}]'),
    "list of unknown": in_json('[{"list": [{"function": "os.system"}]}]'),
    "bare list": in_json("[[1]]"),
    "dict is a dict": in_json('[{"dict": {"a": 1}}]'),
    "dict with a key twice": in_json('[{"dict": [["a", 1], ["a", 2]]}]'),
    "dict with another key": in_json('[{"dict": [[1, 1]]}]'),
    "dict without values": in_json('[{"dict": [["a"]]}]'),
    "long integer in a tuple": in_json(f'[{{"tuple": [{2**64}]}}]'),
    "deep": in_json('[{"tuple": [' * 5000 + "1" + "]}]" * 5000),
    "deeper than is written": in_json("[" + '{"list": [' * 12 + "1" + "]}" * 12 + "]"),
    "no date": in_json('[{"date": "2024-13-01"}]'),
    "date in another form": in_json('[{"date": "20240531"}]'),
    "no time": in_json('[{"time": "x"}]'),
    "no timestamp": in_json('[{"timestamp": "1"}]'),
    "timestamp of an unknown unit": in_json('[{"timestamp": "1 fs "}]'),
    "timestamp of a file as zone": in_json('[{"timestamp": "1 ns dateutil//etc/x"}]'),
    "timestamp of a path as zone": in_json('[{"timestamp": "1 ns ../../etc/x"}]'),
    "endless number": in_json(f'[{{"timestamp": "{"1" * 5000} ns "}}]'),
    "no decimal": in_json('[{"decimal": "x"}]'),
    "decimal NaN": in_json('[{"decimal": "sNaN"}]'),
    "large exponent": in_json('[{"decimal": "1E+99999999"}]'),
    "endless decimal": in_json(f'[{{"decimal": "{"1" * 5000}"}}]'),
    "no bytes": in_json('[{"bytes": "zz"}]'),
    "unknown missing": in_json('[{"missing": "os"}]'),
    "two tags": in_json('[{"uuid": "1", "date": "2024-05-31"}]'),
    "unknown type of pyarrow": arrow("list<item: int64>"),
    "strings as numbers of pyarrow": arrow("string"),
    "other numbers of pyarrow": arrow("int8"),
    "mask of another length": arrow("int64", mask=(False,)),
    "zone of pyarrow": arrow("timestamp[us, tz=dateutil//etc/x]"),
    "unknown zone of pyarrow": arrow("timestamp[us, tz=Nowhere]"),
    "unknown unit of pyarrow": arrow("timestamp[fs]"),
    "time beyond a day": arrow("time32[s]", (99_999, 0), dtype="int32"),
    "numbers as strings of pyarrow": {**in_json("[1]"), "kind": "arrow strings"}
    | {"dtype": "string"},
    "surrogates of pyarrow": {**in_json('["\\ud800"]'), "kind": "arrow strings"}
    | {"dtype": "string"},
    "unknown strings of pyarrow": {**in_json('["a"]'), "kind": "arrow strings"}
    | {"dtype": "int64"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_nobody_encoded_is_refused(name):
    with pytest.raises(FormatError):
        decode_column(HOSTILE[name])


def test_values_of_one_hash_are_refused():
    """A table of such ids would take time that grows with their square."""
    step = 2**61 - 1  # Python's hash of a number is its remainder
    keys = [UUID(int=1 + i * step) for i in range(300)]
    assert len(set(map(hash, keys))) == 1
    for values in (keys, [(key,) for key in keys]):
        with pytest.raises(FormatError, match="the same hash"):
            decode_column(encode_column(objects(*values)))
    decimals = [Decimal(1 + i * step) for i in range(300)]
    assert len(set(map(hash, decimals))) == 1
    with pytest.raises(FormatError, match="the same hash"):
        decode_column(encode_column(objects(*decimals)))
    # One value many times is no such thing.
    assert (round_trip(objects(*keys[:2] * 500)) == objects(*keys[:2] * 500)).all()
