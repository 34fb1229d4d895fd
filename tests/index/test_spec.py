"""The words that pin an index: what they say, and that nothing is lost in them."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentsk.index._spec import IndexSpec


@st.composite
def specs(draw):
    n_lists = draw(st.integers(1, 10**6))
    n_codes = draw(st.integers(1, 1000))
    return IndexSpec(
        n_lists,
        n_codes,
        n_probe=draw(st.integers(1, n_lists)),
        rerank=draw(st.floats(1.0, 1e12, allow_nan=False)),
        n_components=draw(st.sampled_from([None, n_codes])),
        residual=draw(st.booleans()),
    )


@given(specs())
def test_a_text_holds_the_whole_specification(spec):
    assert IndexSpec.parse(str(spec)) == spec
    assert str(IndexSpec.parse(str(spec))) == str(spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IVF1,PQ1x4fs,nprobe=1,rerank=1", IndexSpec(1, 1, 1, 1.0)),
        (
            "PCA96,IVF256,PQ96x4fs,nprobe=16,rerank=3",
            IndexSpec(256, 96, 16, 3.0, n_components=96),
        ),
        (
            "IVF64,PQ8x4fsr,nprobe=64,rerank=1.5",
            IndexSpec(64, 8, 64, 1.5, residual=True),
        ),
    ],
)
def test_texts_mean_what_they_say(text, expected):
    assert IndexSpec.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "rerank", [1.0, 1.5, 2.3456789, 12_345_678.0, 1e15, math.nextafter(1.0, 2.0)]
)
def test_no_digit_of_rerank_is_lost(rerank):
    spec = IndexSpec(4, 2, 1, rerank)
    assert IndexSpec.parse(str(spec)).rerank == rerank


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Flat",
        "IVF16,PQ4x4fs",
        "IVF16,PQ4x4fs,nprobe=4",
        "IVF16,PQ4x8,nprobe=4,rerank=1",
        "IVF16,PQ4x4,nprobe=4,rerank=1",
        "ivf16,pq4x4fs,nprobe=4,rerank=1",
        "IVF16, PQ4x4fs, nprobe=4, rerank=1",
        "IVF16,PQ4x4fs,nprobe=4,rerank=1\n",
        "IVF16,PQ4x4fs,nprobe=-4,rerank=1",
        "IVF16,PQ4x4fs,nprobe=4,rerank=1e3",
        "IVF16,PQ4x4fs,nprobe=4,rerank=nan",
        "IVF16,PQ4x4fs,nprobe=4,rerank=1,rows=float64",
        "HNSW32,Flat",
    ],
)
def test_other_texts_are_named(text):
    with pytest.raises(ValueError, match="index_spec must be like 'PCA96") as error:
        IndexSpec.parse(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("IVF0,PQ4x4fs,nprobe=0,rerank=1", "n_lists must be positive"),
        ("IVF4,PQ0x4fs,nprobe=1,rerank=1", "n_codes must be positive"),
        ("IVF4,PQ4x4fs,nprobe=0,rerank=1", "n_probe must be positive"),
        ("PCA0,IVF4,PQ4x4fs,nprobe=1,rerank=1", "n_components must be positive"),
        ("IVF4,PQ4x4fs,nprobe=1,rerank=0", "rerank must be"),
        ("IVF4,PQ4x4fs,nprobe=1,rerank=0.5", "rerank must be .*1.* got 0.5"),
        ("IVF4,PQ4x4fs,nprobe=1,rerank=" + "9" * 400, "rerank must be"),
        ("IVF4,PQ4x4fs,nprobe=5,rerank=1", r"nprobe=5 is more .* lists \(4\)"),
        ("PCA8,IVF4,PQ4x4fs,nprobe=1,rerank=1", "PCA8 and PQ4 must have the same"),
    ],
)
def test_contradictions_are_named(text, match):
    with pytest.raises(ValueError, match=match):
        IndexSpec.parse(text)


def test_a_specification_cannot_be_changed():
    spec = IndexSpec(4, 2, 1, 1.0)
    with pytest.raises(AttributeError):
        spec.n_probe = 2


@given(
    st.integers(1, 5000),
    st.sampled_from([1.0, 1.5, 2.0, 2.25, 3.0, 20.0]),
)
def test_candidates_are_a_multiple_of_the_neighbours_or_of_ten(k, rerank):
    found = IndexSpec(4, 2, 1, rerank).n_candidates(k)
    exactly = Fraction(rerank) * max(k, 10)
    assert found >= exactly > found - 1
    assert found >= k


@pytest.mark.parametrize(
    ("rerank", "k", "expected"),
    [(1, 1, 10), (1, 10, 10), (1, 11, 11), (1.5, 5, 15), (1.5, 11, 17), (3, 100, 300)],
)
def test_candidates_counted_by_hand(rerank, k, expected):
    assert IndexSpec(4, 2, 1, rerank).n_candidates(k) == expected
