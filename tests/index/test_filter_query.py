"""Query strings: which rows pass, in every dtype, and what is refused."""

import datetime
import os
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from latentsk.index._filter_query import rows_passing
from latentsk.index._query_grammar import MAX_COMPARISONS, MAX_DEPTH, MAX_LENGTH

IDS = np.array(["a", "b", "c", "d", "e"])


@pytest.fixture
def metadata():
    return pd.DataFrame(
        {
            "owner": ["u", "v", "u", None, "w"],
            "year": [2019, 2020, 2021, 2022, 2023],
            "price": [1.5, np.nan, -2.0, 0.0, 7.25],
            "active": [True, False, True, True, False],
            "day": pd.to_datetime(
                ["2024-01-01", "2024-05-31", "2024-06-01", None, "2025-01-01"]
            ),
            "two words": [1, 2, 3, 4, 5],
            "größe": [5, 4, 3, 2, 1],
            "low": [1, 2.5, 3, np.nan, 5],
        }
    )


# Which rows pass


@pytest.mark.parametrize(
    ("query", "passing"),
    [
        ("owner == 'u'", "ac"),
        ('owner == "u"', "ac"),
        ("'u' == owner", "ac"),
        ("owner != 'u'", "be"),
        ("year > 2020", "cde"),
        ("2020 < year", "cde"),
        ("2020 >= year", "ab"),
        ("2019 < year <= 2022", "bcd"),
        ("price > -2.5", "acde"),
        ("price == -2", "c"),
        ("price < +1e0", "cd"),
        ("year >= 2_022", "de"),
        ("owner in ['u', 'w']", "ace"),
        ("owner in ('u', 'w')", "ace"),
        ("owner in {'u', 'w'}", "ace"),
        ("owner in ['u',]", "ac"),
        ("owner in ('u',)", "ac"),
        ("owner in []", ""),
        ("owner not in ['u']", "be"),
        ("year in [2019, 2021.0, 1]", "ac"),
        ("not year in [2019]", "bcde"),
        ("active", "acd"),
        ("not active", "be"),
        ("~active", "be"),
        ("~(year > 2020)", "ab"),
        ("active == True", "acd"),
        ("active == 1", "acd"),
        ("active and year > 2019", "cd"),
        ("active or year == 2020", "abcd"),
        ("active & year > 2019", "cd"),
        ("year > 2020 & owner == 'u'", "c"),
        ("(year > 2020) & (owner == 'u') | (id == 'b')", "bc"),
        ("year == 2019 or year == 2020 and active", "a"),
        ("(year == 2019 or year == 2020) and not active", "b"),
        ("not not active", "acd"),
        ("True", "abcde"),
        ("False or active", "acd"),
        ("id == 'c'", "c"),
        ("id in ['a', 'x']", "a"),
        ("id > 'c'", "de"),
        ("`two words` > 3", "de"),
        ("`year` == 2019", "a"),
        ("größe > 3", "ab"),
        ("größe < `two words`", "de"),
        ("low == `two words`", "ace"),
        ("day >= '2024-06'", "ce"),
        ("day == '2024-05-31'", "b"),
        ("'2024-01-01' < day < '2024-06-01 00:00:01'", "bc"),
        ("day in ['2024-06-01', '2025']", "ce"),
        ("\n  active\n  and year > 2019 ", "cd"),
        ("( ( year ) ) > (2022)", "e"),
    ],
)
def test_queries(metadata, query, passing):
    found = rows_passing(query, metadata, IDS)
    assert found.dtype == bool
    assert "".join(IDS[found]) == passing


@pytest.mark.parametrize(
    ("query", "passing"),
    [
        # Neither a comparison nor its opposite passes where a value is missing.
        ("owner == 'u'", "ac"),
        ("not owner == 'u'", "be"),
        ("owner != 'u'", "be"),
        ("price < 0", "c"),
        ("not price < 0", "ade"),
        ("not (owner == 'u' or price > 0)", ""),
        ("owner not in ['u']", "be"),
        # But one that is known decides: false and unknown is false.
        ("not (owner == 'u' and year > 2022)", "abcde"),
        ("owner == 'u' or year == 2022", "acd"),
        # None asks for what is missing.
        ("owner == None", "d"),
        ("owner is None", "d"),
        ("None == owner", "d"),
        ("owner != None", "abce"),
        ("owner is not None", "abce"),
        ("not owner is None", "abce"),
        ("owner in ['u', None]", "acd"),
        ("owner not in ['u', None]", "be"),
        ("price == None or day == None", "bd"),
        ("low < price", "ae"),
        ("not low < price", "c"),
    ],
)
def test_missing_values_are_unknown(metadata, query, passing):
    assert "".join(IDS[rows_passing(query, metadata, IDS)]) == passing


def test_logic_of_three_values_is_that_of_pandas():
    """The truth tables of Kleene, which pandas' nullable booleans follow."""
    values = [True, False, None]
    first = pd.array([a for a in values for _ in values], dtype="boolean")
    second = pd.array([b for _ in values for b in values], dtype="boolean")
    table, ids = pd.DataFrame({"a": first, "b": second}), np.arange(9)
    for query, truth in {
        "a and b": first & second,
        "a or b": first | second,
        "not a": ~first,
        "not (a and b)": ~(first & second),
        "not (a or not b)": ~(first | ~second),
    }.items():
        wanted = truth.to_numpy(dtype=bool, na_value=False)
        np.testing.assert_array_equal(rows_passing(query, table, ids), wanted)


NUMBERS = [1, 2, None, 4]
DTYPES = ["Int8", "UInt64", "Float32", "int16[pyarrow]", "double[pyarrow]", "object"]


@pytest.mark.parametrize("dtype", [*DTYPES, "float16", "category"])
def test_numbers_of_every_dtype(dtype):
    table = pd.DataFrame({"n": pd.Series(NUMBERS, dtype=dtype)})
    for query, passing in {
        "n == 2": [1],
        "n != 2": [0, 3],
        "n in [4, 70000, -1]": [3],
        "n == None": [2],
        "not n == 4.0": [0, 1],
    }.items():
        found = rows_passing(query, table, np.arange(4))
        assert np.flatnonzero(found).tolist() == passing
    if dtype != "category":
        found = rows_passing("1 < n < 1e200", table, np.arange(4))
        assert np.flatnonzero(found).tolist() == [1, 3]


@pytest.mark.parametrize(
    "dtype", ["str", "object", "string", "string[pyarrow]", "category", "U"]
)
def test_strings_of_every_dtype(dtype):
    words = ["x", "it's", None, "y\n"]
    column = pd.Series(words, dtype="object" if dtype == "U" else dtype)
    if dtype == "string[pyarrow]":
        column = pd.Series(words, dtype=pd.ArrowDtype(pa.string()))
    table = pd.DataFrame({"s": column})
    for query, passing in {
        "s == 'x'": [0],
        'not s == "it\'s"': [0, 3],
        "s == 'it\\'s' or s == 'y\\n'": [1, 3],
        "s in ['y\\u000a', 'z']": [3],
        "s is None": [2],
    }.items():
        found = rows_passing(query, table, np.arange(4))
        assert np.flatnonzero(found).tolist() == passing


@pytest.mark.parametrize(
    "word", ["a\xa0b", "\x1b[0m", "a\0", "\0", "\U000e0001", "\u200b", "😀'\"\\"]
)
def test_strings_as_repr_writes_them(word):
    """Messages tell to put a value into a query as f'name == {value!r}' does."""
    table = pd.DataFrame({"s": ["a", word, "", None]})
    found = rows_passing(f"s == {word!r}", table, np.arange(4))
    assert found.tolist() == [False, True, False, False]
    found = rows_passing(f"s in [{word!r}]", table, np.arange(4))
    assert found.tolist() == [False, True, False, False]


@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]", "object", "category"])
def test_booleans_of_every_dtype(dtype):
    table = pd.DataFrame({"b": pd.Series([True, None, False], dtype=dtype)})
    for query, passing in {"b": [0], "not b": [2], "b == False": [2]}.items():
        found = rows_passing(query, table, np.arange(3))
        assert np.flatnonzero(found).tolist() == passing


DATES = [
    datetime.datetime(2024, 5, 31),
    None,
    datetime.datetime(2024, 6, 1, 12),
]


@pytest.mark.parametrize(
    "dtype",
    ["datetime64[s]", "datetime64[ns]", "timestamp[us][pyarrow]", "object", "category"],
)
def test_dates_of_every_dtype(dtype):
    table = pd.DataFrame({"day": pd.Series(DATES, dtype=dtype)})
    found = rows_passing("day == '2024-06-01T12:00'", table, np.arange(3))
    assert found.tolist() == [False, False, True]
    if dtype != "category":
        found = rows_passing("not day < '9999-12-31'", table, np.arange(3))
        assert found.tolist() == [False, False, False]
        found = rows_passing("day > '0001-01-01'", table, np.arange(3))
        assert found.tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", ["object", "date32[day][pyarrow]"])
def test_days(dtype):
    days = [datetime.date(2024, 5, 31), None, datetime.date(2024, 6, 1)]
    table = pd.DataFrame({"day": pd.Series(days, dtype=dtype)})
    found = rows_passing("day > '2024-05-31'", table, np.arange(3))
    assert found.tolist() == [False, False, True]


@pytest.mark.parametrize(
    "dtype",
    [
        "datetime64[ns, Europe/Berlin]",
        pd.ArrowDtype(pa.timestamp("us", tz="Europe/Berlin")),
    ],
    ids=str,
)
def test_times_with_a_zone(dtype):
    """A date without a zone is one of the column's; Berlin is two hours ahead."""
    times = ["2024-05-31 22:00", "2024-05-31 21:59"]
    times = pd.Series(pd.to_datetime(times, utc=True))
    table = pd.DataFrame({"at": times.dt.tz_convert("Europe/Berlin").astype(dtype)})
    for query in ("at >= '2024-06-01'", "at >= '2024-05-31T22:00Z'"):
        assert rows_passing(query, table, np.arange(2)).tolist() == [True, False]
    with pytest.raises(ValueError, match=r"'day' .*has no time zone"):
        rows_passing(
            "day > '2024-01-01T00:00Z'", pd.DataFrame({"day": DATES}), np.arange(3)
        )


def test_other_kinds():
    keys = [uuid.UUID(int=1), uuid.UUID(int=2)]
    table = pd.DataFrame(
        {
            "key": pd.Series(keys, dtype=object),
            "took": pd.to_timedelta(["90 min", "2 days"]),
            "cost": pd.Series([Decimal("0.1"), Decimal("0.3")], dtype=object),
            "sparse": pd.arrays.SparseArray([0, 5]),
            "mixed": pd.Series(["x", 1], dtype=object),
        }
    )
    for query, passing in {
        f"key == '{keys[1]}'": [1],
        "took > '1 day'": [1],
        "cost == 0.1": [0],
        "cost > 0.1": [1],
        "sparse < 3": [0],
        "mixed == 1": [1],
        "mixed == 'x'": [0],
        "mixed != 'x'": [1],
        "id == 1": [1],
    }.items():
        found = rows_passing(query, table, np.arange(2))
        assert np.flatnonzero(found).tolist() == passing
    found = rows_passing(f"id in ['{keys[0]}']", None, np.array(keys, dtype=object))
    assert found.tolist() == [True, False]


def test_categories_have_the_order_that_they_are_given():
    sizes = pd.CategoricalDtype(["small", "large", "huge"], ordered=True)
    table = pd.DataFrame({"size": pd.Series(["huge", "small", None], dtype=sizes)})
    found = rows_passing("size > 'small'", table, np.arange(3))
    assert found.tolist() == [True, False, False]
    assert rows_passing("size <= 'large'", table, np.arange(3)).tolist() == [
        False,
        True,
        False,
    ]
    with pytest.raises(ValueError, match="'tiny' is no category of 'size': 'small'"):
        rows_passing("size > 'tiny'", table, np.arange(3))
    table["size"] = table["size"].astype(pd.CategoricalDtype(sizes.categories))
    assert rows_passing("size == 'tiny'", table, np.arange(3)).sum() == 0
    with pytest.raises(ValueError, match="categories of 'size' have no order"):
        rows_passing("size > 'small'", table, np.arange(3))


def test_whole_numbers_are_compared_exactly():
    ids = np.array([2**53, 2**53 + 1, 2**63 - 1])
    assert rows_passing(f"id == {2**53 + 1}", None, ids).tolist() == [
        False,
        True,
        False,
    ]
    assert rows_passing(f"id < {2**64 - 1}", None, ids).all()
    assert rows_passing("id > -1", None, ids.astype(np.uint64)).all()
    table = pd.DataFrame({"n": ids.astype(np.uint64) + np.uint64(1)})
    assert rows_passing("n > id", table, ids).all()


def test_a_column_named_id_hides_the_id(metadata):
    table = metadata.assign(id=range(5))
    assert "".join(IDS[rows_passing("id >= 3", table, IDS)]) == "de"
    assert "".join(IDS[rows_passing("id >= 'd'", None, IDS)]) == "de"


def test_columns_that_are_no_strings_take_backticks():
    table = pd.DataFrame([[1, 2], [3, 4]])
    assert rows_passing("`0` < 2 and `1` == 2", table, np.arange(2)).tolist() == [
        True,
        False,
    ]
    table = pd.DataFrame({1: [5, 6], "1": [7, 8], ("a", 2): [0, 1]})
    assert rows_passing("`1` == 8 and `('a', 2)` == 1", table, np.arange(2))[1]


def test_no_row_and_a_labelled_table(metadata):
    assert rows_passing("year > 3", metadata[:0], IDS[:0]).shape == (0,)
    labelled = metadata.set_axis([3, 3, "x", None, 1.5])
    assert "".join(IDS[rows_passing("owner == 'u'", labelled, IDS)]) == "ac"
    empty = pd.DataFrame({"n": [None] * 5})
    assert not rows_passing("n > 3 or n == 'x' or not n", empty, IDS).any()


# What is refused


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "The query is empty"),
        ("   ", "The query is empty"),
        ("yaer > 2020", r"no column 'yaer' \(character 1\). Did you mean 'year'\?"),
        (
            "active and ownr == 'u'",
            r"no column 'ownr' \(character 12\).*'year'",
        ),
        ("owner == u", "no column 'u'.*strings need quotes"),
        ("active == true", "Did you mean 'True'"),
        ("owner = 'u'", "Equality is written =="),
        ("owner <> 'u'", "written !="),
        ("!active", "written not"),
        ("active && active", "joined by and"),
        ("owner == 'u", r"a ' is never closed \(character 10\)"),
        ("`two words > 3", "a ` is never closed"),
        ("year >", "ends where a column or a value is expected"),
        ("year > 2020 and", "ends where"),
        ("(year > 2020", "ends where '\\)'"),
        ("year > 2020)", r"got '\)' instead of and, or, or the end"),
        ("year 2020", "got '2020' instead of and"),
        ("year > 2020 owner", "got 'owner'"),
        ("and year > 3", "got 'and'"),
        ("owner in 'u'", "instead of a list of values.*listed as in owner in"),
        ("owner in ('u')", "one value in brackets is no list"),
        ("owner in [u]", "got 'u' instead of a number or a string"),
        ("owner in ['u' 'v']", "got .* instead of a comma or '\\]'"),
        ("owner in [['u']]", "instead of a number or a string"),
        ("owner in ['u'", "ends where"),
        ("owner == ['u']", "got '\\['"),
        ("year > 'x'", r"'year' \(int64\) holds numbers, 'x' is a string"),
        ("year in [2020, 'x']", r"'year' \(int64\) holds numbers, 'x' is a string"),
        ("owner > 3", r"'owner' \(str\) holds strings, 3 is a number"),
        ("owner == year", r"'owner' holds strings \(str\), 'year' numbers \(int64\)"),
        ("day > 2024", r"'day' .*holds dates, 2024 is a number"),
        ("day > '31.5.2024'", "dates, '31.5.2024' is none like '2024-05-31'"),
        ("day > 'now'", "is none like"),
        ("day > '2024-13-01'", "is none like"),
        ("day > 2024-05-31", "There is no arithmetic"),
        ("year", r"'year' \(int64\) is no condition.*Compare it"),
        ("owner and active", r"'owner' \(str\) is no condition"),
        ("not year", "is no condition"),
        ("3", "3 is no condition"),
        ("'u'", "'u' is no condition"),
        ("active and 'u'", "'u' is no condition"),
        ("2019 < year <= 2022 != 5", "2022 is compared with 5"),
        ("1 < 2", "1 is compared with 2"),
        ("price != price", "with itself.*price == None"),
        ("(year > 1) == (price > 1)", "a condition is compared"),
        ("~active == True", "a condition is compared"),
        ("owner > None", "None has no order"),
        ("owner is 'u'", "only None may follow is"),
        ("year > 007", "'007' is no number"),
        ("year > 0x10", "'0x10' is no number"),
        ("year > 1j", "'1j' is no number"),
        ("year > 1.2.3", "'1.2.3' is no number"),
        ("year > 1__0", "is no number"),
        (f"year > {2**64}", "is too large"),
        ("year > 1e999", "is too large"),
        ("owner == 'a\\d'", "no known character.*written"),
        ("owner == f'{year}'", "'f' precedes a quote"),
        ("owner == b'u'", "'b' precedes a quote"),
        ("two words > 3", "no column 'two'|got 'words'"),
        ("lambda > 3", "'lambda' has no meaning.*`lambda`"),
        ("year > @limit", "Variables of Python are unknown"),
        ("owner.str.startswith('u')", "no attributes.*pass a callable"),
        ("len(owner) > 3", "There are no calls"),
        ("owner[0] == 'u'", "There are no subscripts"),
        ("year % 2 == 0", "There is no arithmetic.*lambda metadata"),
        ("year > 1 # new", "There are no comments"),
    ],
)
def test_what_is_refused(metadata, query, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        rows_passing(query, metadata, IDS)


HOSTILE = [
    "owner.to_csv('{file}')",
    "index.to_frame().to_csv('{file}')",
    "@pd.io.common.os.system('touch {file}')",
    "@__builtins__.open('{file}', 'w')",
    "owner.map(print)",
    "year.values.tofile('{file}')",
    "owner.__class__.__init__.__globals__['os'].system('touch {file}')",
    "().__class__.__bases__[0].__subclasses__()",
    "__import__('os').system('touch {file}')",
    "eval('open({file!r}, \"w\")')",
    "`owner`.to_pickle('{file}')",
    "owner == open('{file}', 'w')",
    "year > 0 and owner.to_json('{file}') == None",
    "(lambda: open('{file}', 'w'))() == 0",
    "[x for x in (1,)] == year",
    "(year := 3) > 2",
    "year > 9**9**9",
    "year > 1 << 99999999999",
    "'a' * 10**9 == owner",
    "year if True else owner",
    "owner == f'{{open(0)}}'",
    "*year",
    "**year > 1",
    "year; owner",
    "import os",
    "exec('x')",
    "year > 3\\\n; owner",
    "year.real > 3",
    "yield year",
    "await year",
    "{{}}",
    "owner in {{'u': 1}}",
    "...",
    "year > __debug__",
    "__class__ == 'u'",
    "`__class__` == 'u'",
    "year > \x00",
    "\ud800 > 3",
    "year > ٣",
    "year > 1\u200b",
    "\U0001d4ceear > 3",
    "year > 3 \\",
    "owner == '''u'''",
    "owner == 'u\n'",
]


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_queries_are_refused(metadata, query, tmp_path, capsys):
    query = query.format(file=tmp_path / "written")
    with pytest.raises(ValueError, match="is not valid"):
        rows_passing(query, metadata, IDS)
    assert os.listdir(tmp_path) == []
    assert capsys.readouterr().out == ""


def test_pandas_itself_would_write_files(metadata, tmp_path):
    """Why queries are not handed to pandas."""
    query = f"owner.to_csv('{(tmp_path / 'written').as_posix()}') == None"
    with pytest.raises(ValueError, match="no attributes"):
        rows_passing(query, metadata, IDS)
    assert os.listdir(tmp_path) == []
    with pytest.raises(Exception):  # noqa: B017, PT011, only after it has written
        metadata.query(query, engine="python")
    assert os.listdir(tmp_path) == ["written"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("year > " + "9" * 90_000, "is too large"),
        ("year > 1" + "0" * 5000, "is too large"),
        ("year == 1" + " or year == 1" * MAX_COMPARISONS, "more than 1000 comparisons"),
        ("(" * 20_000 + "active", "nested deeper than 30"),
        ("not " * 20_000 + "active", "nested deeper than 30"),
        ("~" * 20_000 + "active", "nested deeper than 30"),
        ("[" * 20_000, "instead of"),
        ("-" * 20_000 + "1 < year", "instead of"),
        ("owner == '" + "u" * MAX_LENGTH + "'", "100000 characters"),
        ("'" * 50_001, "instead of|no condition"),
        ("\\" * 50_000, "instead of"),
        ("year > 1" + "e+1" * 30_000, "is no number|instead of"),
        ("`" * 50_001, "instead of|no column"),
    ],
    ids=range(13),
)
def test_large_queries_are_refused(metadata, query, message):
    with pytest.raises(ValueError, match=message) as caught:
        rows_passing(query, metadata, IDS)
    assert len(str(caught.value)) < 600


def test_large_queries_that_are_fine(metadata):
    listed = [f"w{i}" for i in range(10_000)] + ["w"]
    found = rows_passing(f"owner in {listed}", metadata, IDS)
    assert "".join(IDS[found]) == "e"
    query = "(" * (MAX_DEPTH - 1) + "not active" + ")" * (MAX_DEPTH - 1)
    assert "".join(IDS[rows_passing(query, metadata, IDS)]) == "be"
    many = " or ".join(["year == 2019"] * MAX_COMPARISONS)
    assert "".join(IDS[rows_passing(many, metadata, IDS)]) == "a"


def test_an_id_as_a_string_is_told_to_be_a_list():
    ids = np.array(["doc-17", "row 1", "x"], dtype=object)
    for query in ids:
        with pytest.raises(ValueError, match=rf"given in a list: \['{query}'\]"):
            rows_passing(query, None, ids)
    with pytest.raises(ValueError, match="Columns: none; the id is named id") as caught:
        rows_passing("y", None, ids)
    assert "list" not in str(caught.value)


def test_values_of_any_type_in_cells():
    class Odd:
        def __eq__(self, other):
            raise AssertionError("compared")

        __hash__ = object.__hash__

    table = pd.DataFrame({"x": pd.Series([Odd(), [1], {}], dtype=object)})
    for query in ("x == 1", "x == 'a'", "x > 1", "x in [1]", "x"):
        with pytest.raises(ValueError, match="'x'"):
            rows_passing(query, table, np.arange(3))
    assert not rows_passing("x == None", table, np.arange(3)).any()
