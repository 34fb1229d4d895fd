"""Columns that are not what they seem: each is told, with a remedy that works."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from latentsk import LatentOutlierDetector, make_table_preprocessor
from latentsk.preprocessing._misread import warn_if_misread

NAMES = {
    "pd": pd,
    "make_pipeline": make_pipeline,
    "make_table_preprocessor": make_table_preprocessor,
    "ColumnTransformer": ColumnTransformer,
    "TfidfVectorizer": TfidfVectorizer,
    "TruncatedSVD": TruncatedSVD,
}
AMOUNTS = np.arange(1_000.25, 1_100)
TIMES = pd.date_range("2026-01-01 07:30", periods=100, freq="13h")
WORDS = ["card", "lost", "bank", "refund", "late", "open", "close", "help", "order"]
TICKETS = [f"my {a} and the {b} of {c}" for a in WORDS for b in WORDS for c in "abc"]


def written(form):
    """Return amounts as another country writes them."""
    return [form(f"{amount:,.2f}") for amount in AMOUNTS]


def german(text):
    return text.translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([*AMOUNTS, "n/a"], "100 of 101 cells are numbers, unlike 'n/a'"),
        (AMOUNTS.astype(str), "100 of 100 cells are numbers. Make"),
        (written(lambda text: text), "100 of 100 cells are numbers. Make"),
        (written(german), "100 of 100 cells are numbers. Make"),
        (
            written(lambda text: german(text.replace(",", ""))),
            "100 of 100 cells are numbers",
        ),
        (
            written(lambda text: german(text.replace(",", " "))),
            "100 of 100 cells are numbers",
        ),
        ([*written(german), "n/a"], "100 of 101 cells are numbers, unlike 'n/a'"),
        ([*TIMES.strftime("%Y-%m-%d"), ""], "100 of 101 cells are dates, unlike ''"),
        (TIMES.strftime("%d.%m.%Y %H:%M"), "100 of 100 cells are dates. Make"),
        (TIMES.strftime("%m/%d/%Y %H:%M"), "100 of 100 cells are dates. Make"),
        (
            [*TIMES.strftime("%d.%m.%y"), "soon"],
            "100 of 101 .* are dates, unlike 'soon'",
        ),
    ],
)
def test_columns_that_are_nearly_numbers_or_dates_are_told(cells, message):
    X = pd.DataFrame({"a": pd.Series(list(cells), dtype=object)})
    with pytest.warns(UserWarning, match=message) as caught:
        make_table_preprocessor(X)
    advice = str(caught[0].message)
    codes = re.findall(r"X\['a'\] = .*?\)(?=\. |\.$)", advice)
    assert len(codes) == 2
    assert ("no longer judged" in advice) == ("unlike" in message)
    for code in codes:
        table = {"X": X.copy(), "pd": pd}
        exec(code, table)
        make_table_preprocessor(table["X"])  # without a warning
    table = {"X": X.copy(), "pd": pd}
    exec(codes[0], table)
    read = table["X"]["a"][:100]
    if "numbers" in message:
        assert read.tolist() == AMOUNTS.tolist()
    else:
        is_time = re.search(r"\d:\d", str(cells[0])) is not None
        assert read.tolist() == (TIMES if is_time else TIMES.normalize()).tolist()


@pytest.mark.parametrize("missing", [[], [None]])
def test_texts_that_nearly_all_differ_are_told_once(missing):
    n_rows = len(TICKETS) + len(missing)
    paid = np.random.default_rng(0).normal(size=n_rows)
    X = pd.DataFrame({"text": TICKETS + missing, "paid": paid})
    told = r"'text' holds texts that nearly all differ \(243 of 243\)"
    with pytest.warns(UserWarning, match=told) as caught:
        LatentOutlierDetector(random_state=0).fit(X)
    assert len(caught) == 1
    advice = str(caught[0].message)
    code = advice.split("an embedder: ")[1].split(". Or leave")[0]
    *first, last = code.split("; ")
    names = {**NAMES, "X": X.copy()}
    exec("; ".join(first), names)
    embedder = make_pipeline(eval(last, names), TruncatedSVD(5, random_state=0))
    LatentOutlierDetector(embedder, random_state=0).fit(names["X"])
    left = eval(advice.split("column out: ")[1].rstrip("."), {"X": X})
    assert left.columns.tolist() == ["paid"]


@pytest.mark.parametrize(
    "cells",
    [
        [f"tx{i}" for i in range(200)],
        [f"C-{i}" for i in range(1_000, 1_200)],
        [f"Ann {i} Smith" for i in range(200)],
        TICKETS[:4] * 50,
        TICKETS[:30],
        pd.Categorical(TICKETS),
        ["12,50", "13,50"] * 50,
        [f"1.{i}.26b" for i in range(200)],
    ],
    ids=["ids", "codes", "names", "few texts", "few rows", "typed", "two", "versions"],
)
def test_nothing_is_said_of_what_is_as_it_seems(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_misread("a", pd.Series(cells))
