"""Rows that are no texts: the row, and a remedy that works when pasted."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentIndex
from latentsk._texts import refuse_table_of_texts, text_reader

TEXTS = ["a red lamp", "the blue lamp", "a small red chair", "the table"]


@pytest.mark.parametrize(
    "reader",
    [TfidfVectorizer(), CountVectorizer(lowercase=False), HashingVectorizer()],
    ids=lambda reader: type(reader).__name__,
)
@pytest.mark.parametrize("wrong", [None, np.nan, pd.NA, 7, 2.5], ids=str)
@pytest.mark.parametrize("of", [list, pd.Series, lambda x: np.array(x, object)])
def test_what_is_no_text_is_named_with_a_remedy(reader, wrong, of):
    X = of([*TEXTS[:2], wrong, TEXTS[3]])
    pipeline = make_pipeline(reader, TruncatedSVD(1))
    with pytest.raises(ValueError, match="row 2 is") as caught:
        LatentIndex(pipeline).fit(X)
    message = str(caught.value)
    assert f"X must hold texts for {type(reader).__name__}, but" in message
    remedy = re.search(r"Give (.*)\.$", message)[1]
    LatentIndex(pipeline).fit(eval(remedy, {"X": X, "pd": pd}))
    index = LatentIndex(pipeline).fit(TEXTS)
    with pytest.raises(ValueError, match="row 2 is"):
        index.search(X)


def test_a_column_of_an_array_is_taken_out():
    X = np.array(TEXTS)[:, None]
    index = LatentIndex(make_pipeline(TfidfVectorizer(), TruncatedSVD(1)))
    with pytest.raises(ValueError, match=r"row 0 is a ndarray\. Give X\[:, 0\]"):
        index.fit(X)
    index.fit(X[:, 0])


def test_an_analyzer_of_one_s_own_takes_what_it_likes():
    words = [text.split() for text in TEXTS]
    pipeline = make_pipeline(TfidfVectorizer(analyzer=list), TruncatedSVD(1))
    assert len(LatentIndex(pipeline).fit(words).ids_) == 4
    with pytest.raises(TypeError, match="not iterable"):
        LatentIndex(pipeline).fit([*words, 3])


def test_other_errors_stay_as_they_are():
    index = LatentIndex(make_pipeline(TfidfVectorizer(), TruncatedSVD(50)))
    with pytest.raises(ValueError, match="n_components"):
        index.fit(TEXTS)


def test_which_embedders_read_texts():
    reader = TfidfVectorizer()
    pipeline = make_pipeline(make_pipeline(reader), TruncatedSVD())
    assert text_reader(pipeline) is reader
    assert text_reader(FrozenEstimator(pipeline)) is reader
    table = pd.DataFrame({"title": TEXTS})
    for other in (StandardScaler(), object(), None):
        assert text_reader(other) is None
        refuse_table_of_texts(other, table)
    refuse_table_of_texts(reader, table["title"])
