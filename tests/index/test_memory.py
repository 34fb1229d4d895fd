"""Budgets: how they are written, what fits into them, and what an index then holds."""

import gc
import re
import weakref
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentsk import LatentIndex
from latentsk.index._memory import (
    dtype_within,
    exact_bytes,
    format_bytes,
    lists_bytes,
    more_precise_dtypes,
    parse_bytes,
)
from latentsk.index._quantized import QuantizedVectors

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SPACES = st.sampled_from(["", " ", "   ", "\t"])

# Texts and numbers


@given(
    number=st.integers(1, 10**6),
    unit=st.sampled_from(list(UNITS)),
    case=st.sampled_from([str, str.lower, str.upper]),
    spaces=st.tuples(SPACES, SPACES, SPACES),
)
def test_whole_numbers_of_any_unit(number, unit, case, spaces):
    before, between, behind = spaces
    text = f"{before}{number}{between}{case(unit)}{behind}"
    assert parse_bytes(text) == number * UNITS[unit]


@given(
    whole=st.integers(0, 10**4),
    decimals=st.text("0123456789", min_size=1, max_size=6),
    unit=st.sampled_from(["KB", "MB", "GiB", "TB"]),
)
def test_decimals(whole, decimals, unit):
    number = Fraction(f"{whole}.{decimals}") * UNITS[unit]
    text = f"{whole}.{decimals}{unit}"
    if number < 1:
        with pytest.raises(ValueError, match="must be positive"):
            parse_bytes(text)
    else:
        assert parse_bytes(text) == pytest.approx(float(number), rel=1e-12, abs=1)


@given(st.integers(1, 2**70))
def test_numbers_are_bytes(number):
    assert parse_bytes(number) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "GB",
            "2",
            "2.",
            "2.GB",
            ".5GB",
            "-2GB",
            "+2GB",
            "2 G",
            "2G",
            "2 PB",
        ),
        *("2 PB", "2GBs", "2 GB GB", "1IB", "1 iB", "1KIIB", "1e3GB", "1,000MB"),
        *(
            "2\u212aB",
            "nanGB",
            "infGB",
            "two GB",
            "2GB\x00",
            "\u0662GB",
            "1_000MB",
            "0x10MB",
        ),
    ],
)
def test_texts_that_are_no_budget(text):
    with pytest.raises(ValueError, match="memory_budget must be like '2GB'"):
        parse_bytes(text)


@pytest.mark.parametrize("budget", ["0GB", "0.0 MiB", "0.5B", "0.0001KB", 0, -5])
def test_budgets_of_nothing(budget):
    with pytest.raises(ValueError, match="must be positive"):
        parse_bytes(budget)


def test_budgets_beyond_all_numbers():
    with pytest.raises(ValueError, match="too large"):
        parse_bytes("9" * 400 + "GB")


@settings(max_examples=300)
@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_an_error_that_names_it(text):
    try:
        number = parse_bytes(text)
    except ValueError as error:
        number, message = 1, str(error)
    else:
        message = "memory_budget"
    assert number > 0
    assert "memory_budget" in message


@settings(max_examples=300)
@given(st.integers(1, 10**17) | st.floats(0.001, 1e17))
def test_what_is_said_is_enough_and_not_much_more(number):
    text = format_bytes(number)
    assert re.fullmatch(r"\d{1,6}(\.\d{1,2})?(B|KB|MB|GB|TB)", text)
    assert number <= parse_bytes(text) <= max(1.0101 * number, number + 1)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1B"),
        (999, "999B"),
        (1_000, "1KB"),
        (1_001, "1.01KB"),
        (12_345, "12.4KB"),
        (999_000, "999KB"),
        (999_999, "1MB"),
        (10**9, "1GB"),
        (1_504_000_000, "1.51GB"),
        (2.5e12, "2.5TB"),
        (4.2e15, "4200TB"),
    ],
)
def test_numbers_in_words(number, text):
    assert format_bytes(number) == text


# What fits

SHAPE = (1_000_000, 32)


def needed(dtype, shape=SHAPE):
    """Return what an approximate index takes of rows of this dtype."""
    itemsize = {"float64": 8, "float32": 4, "float16": 2, "int8": 1}[dtype]
    lists = lists_bytes(shape[0], min(shape[1], 256))
    return lists + exact_bytes(*shape, itemsize, copied=False)


def chosen(budget, itemsize=4, *, shape=SHAPE, copied=False, approximate=True):
    return dtype_within(budget, shape, itemsize, copied=copied, approximate=approximate)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_most_precise_that_fits(dtype):
    names = ["float64", "float32", "float16", "int8"]
    better = names[names.index(dtype) - 1]
    assert chosen(needed(dtype), 8) == dtype
    assert chosen(needed(better) - 1, 8) == dtype


def test_rows_as_given_where_they_fit():
    assert chosen(needed("float64"), 8) is None
    assert chosen(needed("float32"), 4) is None
    assert chosen(10**15, 8, copied=True) is None


def test_a_copy_counts():
    n_rows, width = SHAPE
    both = needed("float64") + 4 * n_rows * width
    assert chosen(both, 8, copied=True) is None
    assert chosen(both - 1, 8, copied=True) == "float32"
    # Float32 rows far from the origin: without the copy they fit.
    assert chosen(needed("float32"), 4, copied=True) == "float32"


@settings(max_examples=200)
@given(
    n_rows=st.integers(1, 10**9),
    width=st.integers(1, 2000),
    itemsize=st.sampled_from([4, 8]),
    copied=st.booleans(),
    approximate=st.booleans(),
    share=st.floats(0.01, 2.0),
)
def test_any_budget(n_rows, width, itemsize, copied, approximate, share):
    """What is chosen fits, what is better does not, and an error tells what would."""
    shape = n_rows, width
    options = {"shape": shape, "copied": copied, "approximate": approximate}
    whole = exact_bytes(n_rows, width, itemsize, copied=copied)
    whole += lists_bytes(n_rows, min(width, 256)) if approximate else 0
    budget = max(1, int(share * whole))
    try:
        dtype = chosen(budget, itemsize, **options)
    except ValueError as error:
        assert budget < (needed("int8", shape) if approximate else whole)
        (enough,) = re.findall(r"needs? (\S+B)\b", str(error))
        again = parse_bytes(enough)
        assert again <= 1.02 * (needed("int8", shape) if approximate else whole) + 1
        assert chosen(again, itemsize, **options) in (None, "int8", "float16")
        return
    if dtype is None:
        assert whole <= budget
        return
    assert approximate
    assert needed(dtype, shape) <= budget < whole
    better = {"float32": None, "float16": "float32", "int8": "float16"}[dtype]
    assert better is None or needed(better, shape) > budget


def test_errors_say_what_would_be_possible():
    with pytest.raises(ValueError, match=r"'1MB' is too little for 1,000,000 x 32 v"):
        chosen("1MB")
    with pytest.raises(ValueError, match=r"in 8 bits a coordinate they need \S+MB\.$"):
        chosen("1MB")
    match = r"an exact index of them needs \S+MB; with a target_recall, less may be eno"
    with pytest.raises(ValueError, match=match):
        chosen("50MB", approximate=False)


def test_an_exact_index_never_rounds():
    whole = exact_bytes(*SHAPE, 4, copied=False)
    assert chosen(whole, approximate=False) is None
    with pytest.raises(ValueError, match="too little"):
        chosen(whole - 1, approximate=False)


def test_better_dtypes_in_words():
    rows = np.random.default_rng(0).normal(size=(1000, 4))
    words = {
        k: more_precise_dtypes(QuantizedVectors.encode(rows, k))
        for k in ("float16", "int8")
    }
    assert re.fullmatch(r"The index would take \S+B as float32\.", words["float16"])
    match = r"The index would take \S+B as float32, or \S+B as float16\."
    assert re.fullmatch(match, words["int8"])
    assert "full precision" in more_precise_dtypes(
        QuantizedVectors.encode(rows, "float32")
    )
    (enough,) = re.findall(r"\S+B", words["float16"])
    assert chosen(enough, 8, shape=rows.shape) == "float32"


# Whole indexes

N, WIDTH = 20_000, 16
SPEC = "IVF64,PQ16x4fs,nprobe=16,rerank=4"


@pytest.fixture(scope="module")
def rows():
    """Rows in eight dimensions, and a little of eight more."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, WIDTH)) * np.repeat([1.0, 0.1], 8)


def held_bytes(index):
    """Return the bytes of all arrays within an index, each once."""
    owners, seen, stack = {}, set(), list(vars(index).values())
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
            owners[id(thing)] = thing
        elif isinstance(thing, dict):
            stack += thing.values()
        elif isinstance(thing, list | tuple):
            stack += thing
        elif type(thing).__module__.startswith("latentsk"):
            stack += vars(thing).values()
    return sum(owner.nbytes for owner in owners.values())


def code_bytes(index):
    """Return what FAISS's lists take: whole blocks of 32 codes, and positions."""
    held = index._engine.search.lists
    lists, width = held._index.invlists, held.codebook.centers.shape[1]
    sizes = np.array([lists.list_size(i) for i in range(held.n_lists)])
    blocks = -(-sizes // 32) * 32
    # The structure is small beside rows that need a budget.
    return int(np.sum(blocks * ((width + 1) // 2) + 8 * sizes))


def total_bytes(index):
    return held_bytes(index) + (code_bytes(index) if index.index_spec_ != "Flat" else 0)


def budget_for(dtype, itemsize=8):
    if dtype is None:
        return exact_bytes(N, WIDTH, itemsize, copied=itemsize == 8) + lists_bytes(
            N, WIDTH
        )
    return needed(dtype, (N, WIDTH))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kept", [None, "float32", "float16", "int8"])
def test_a_pinned_index_keeps_within_its_budget(rows, kept, dtype):
    if kept == "float32" and dtype == np.float32:
        pytest.skip("as they are given")
    budget = budget_for(kept, np.dtype(dtype).itemsize)
    index = LatentIndex(index_spec=SPEC, memory_budget=budget).fit(rows.astype(dtype))
    suffix = "" if kept is None else f",rows={kept}"
    assert index.index_spec_ == SPEC + suffix
    assert isinstance(index._engine.vectors, np.ndarray) == (kept is None)
    # What is given without a copy is the caller's, but counts.
    assert total_bytes(index) <= budget
    assert total_bytes(index) > 0.7 * budget
    index.kneighbors(rows[:10].astype(dtype))
    assert total_bytes(index) <= budget


@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
def test_the_most_precise_rows_that_reach_a_recall(rows, dtype):
    index = LatentIndex(target_recall=0.9, memory_budget=budget_for(dtype)).fit(rows)
    assert index.recall_.loc[5, "lower"] >= 0.9
    assert getattr(index._engine.quantization, "dtype", None) == dtype
    assert index.vectors_.dtype == (np.float64 if dtype is None else np.float32)
    assert total_bytes(index) <= budget_for(dtype)
    true = LatentIndex().fit(rows).kneighbors(rows[:300], 5)[1]
    found = index.kneighbors(rows[:300], 5)[1]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found, true, strict=True)]
    assert np.mean(shared) / 5 >= 0.88


def test_a_recall_that_is_not_reached_is_an_error(rows):
    # Codes of the wide columns tell nothing of what neighbours differ in.
    rows = rows[:8_000, :8]
    spread = np.concatenate([rows, 1e-3 * rows], axis=1)
    spread[:50, 0] += 3e4
    index = LatentIndex(target_recall=0.95, memory_budget=needed("int8", spread.shape))
    match = (
        r"With memory_budget=\d+ the recall is 0\.\d+ \(at least 0\.\d+\), and "
        r"target_recall=0\.95 is not reached\. The index would take \S+B as float32, "
        r"or \S+B as float16\."
    )
    with pytest.raises(ValueError, match=match):
        index.fit(spread)
    assert not hasattr(index, "recall_")


def test_impossible_budgets_say_what_is_needed(rows):
    match = "in 8 bits a coordinate they need (.*)[.]$"
    with pytest.raises(ValueError, match=match) as caught:
        LatentIndex(index_spec=SPEC, memory_budget="100KB").fit(rows)
    enough = re.search(match, str(caught.value))[1]
    index = LatentIndex(index_spec=SPEC, memory_budget=enough).fit(rows)
    assert index._engine.vectors.quantization.dtype == "int8"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exact_indexes(rows, dtype):
    rows = rows.astype(dtype)
    budget = exact_bytes(N, WIDTH, rows.itemsize, copied=dtype == np.float64)
    index = LatentIndex(memory_budget=budget).fit(rows)
    assert index._engine.vectors.dtype == dtype
    assert total_bytes(index) <= budget
    match = "an exact index of them needs (.*B); with a target_recall"
    with pytest.raises(ValueError, match=match) as caught:
        LatentIndex(memory_budget=budget - 1).fit(rows)
    enough = re.search(match, str(caught.value))[1]
    LatentIndex(memory_budget=enough).fit(rows)


def test_a_refused_fit_leaves_the_earlier_one(rows):
    index = LatentIndex().fit(rows[:100])
    before = index.kneighbors(rows[:5])
    index.set_params(memory_budget="1KB")
    with pytest.raises(ValueError, match="too little"):
        index.fit(rows)
    index.set_params(memory_budget=None)
    assert len(index.ids_) == 100
    for a, b in zip(index.kneighbors(rows[:5]), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("budget", ["2", "1IB", "lots", "", "9" * 400 + "GB"])
def test_bad_budgets_are_refused_before_any_work(rows, budget):
    with pytest.raises(ValueError, match="memory_budget"):
        LatentIndex(memory_budget=budget).fit(rows[:10])


@pytest.mark.parametrize("budget", [0, -1, 2.5, None, [1]])
def test_budgets_of_other_types(rows, budget):
    index = LatentIndex(memory_budget=budget)
    if budget is None:
        index.fit(rows[:10])
        return
    with pytest.raises(ValueError, match="'memory_budget' parameter"):
        index.fit(rows[:10])


# Rows that come


@pytest.mark.parametrize("spec", [None, SPEC, f"{SPEC},rows=int8"])
def test_rows_beyond_the_budget_are_refused_and_change_nothing(rows, spec):
    probe = LatentIndex(index_spec=spec).fit(rows[:5000])
    itemsize = 1 if spec and "int8" in spec else 8
    budget = exact_bytes(5100, WIDTH, itemsize, copied=itemsize == 8)
    budget += lists_bytes(5100, WIDTH) if spec else 0
    index = LatentIndex(index_spec=spec, memory_budget=budget).fit(rows[:5000])
    assert index.index_spec_ == probe.index_spec_
    before, vectors = index.kneighbors(rows[:5]), index.vectors_.copy()
    with pytest.raises(ValueError, match=r"the index would take \S+B, more than memor"):
        index.add(rows[5000:5101])
    assert len(index.ids_) == index.n_samples_fit_ == 5000
    np.testing.assert_array_equal(index.vectors_, vectors)
    for a, b in zip(index.kneighbors(rows[:5]), before, strict=True):
        np.testing.assert_array_equal(a, b)
    inside = np.clip(rows[5000:5100], rows[:5000].min(axis=0), rows[:5000].max(axis=0))
    index.add(inside)
    assert len(index.ids_) == 5100
    with pytest.raises(ValueError, match="more than memory_budget"):
        index.add(rows[:1], ids=[99_999])
    # Others in their place are no more.
    index.update(inside[:3], ids=[0, 1, 2])


def test_removed_rows_keep_their_bytes(rows):
    budget = exact_bytes(100, WIDTH, 8, copied=True)
    index = LatentIndex(memory_budget=budget).fit(rows[:100])
    index.remove(range(50))
    with pytest.raises(ValueError, match="more than memory_budget"):
        index.add(rows[100:101])


@pytest.mark.parametrize("spec", ["Flat", SPEC])
def test_a_dropped_index_is_freed_at_once(rows, spec):
    index = LatentIndex(index_spec=spec).fit(rows)
    index.add(rows[:10], ids=np.arange(N, N + 10))
    index.kneighbors(rows[:5])
    held = [weakref.ref(x) for x in (index, index._engine, index._engine.search)]
    gc.collect()
    gc.disable()
    try:
        del index
        assert [ref() for ref in held] == [None] * 3
    finally:
        gc.enable()
