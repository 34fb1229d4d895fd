"""What `index_spec` pins, and whose it is."""

import pytest

from latentsk.index._families import (
    FAMILIES,
    changeable_families,
    graph_family,
    parse_index_spec,
)

SPEC = "IVF16,PQ32x4fs,nprobe=4,rerank=1.5"


@pytest.mark.parametrize("text", [None, "Flat"])
def test_nothing_is_pinned_where_every_row_is_compared(text):
    assert parse_index_spec(text) is None


@pytest.mark.parametrize("dtype", [None, "float32", "float16", "int8"])
@pytest.mark.parametrize("reduced", ["", "PCA32,"])
def test_a_specification_names_its_family_and_its_rows(reduced, dtype):
    suffix = "" if dtype is None else f",rows={dtype}"
    pinned = parse_index_spec(reduced + SPEC + suffix)
    # As many rows as there are codes, which are more than the lists.
    assert pinned == (FAMILIES["IVF"], reduced + SPEC, 32, dtype)


@pytest.mark.parametrize(
    "text", ["", "NSG32", "16", f"{SPEC},rows=float64", f"{SPEC},rows=int8\n"]
)
def test_the_first_family_refuses_what_names_none(text):
    with pytest.raises(ValueError, match="index_spec must be like 'PCA96") as error:
        parse_index_spec(text)
    assert repr(text) in str(error.value)


def test_another_family_is_an_entry(monkeypatch):
    class Graph:
        def min_rows(self, spec):
            return len(spec)

    family = Graph()
    monkeypatch.setitem(FAMILIES, "Graph", family)
    assert parse_index_spec("Graph32,rows=int8") == (family, "Graph32", 7, "int8")
    assert parse_index_spec(SPEC).family is FAMILIES["IVF"]


@pytest.mark.parametrize("kind", ["HNSW", "SymphonyQG"])
def test_graphs_are_pinned_by_their_words(kind):
    pinned = parse_index_spec(f"{kind}64,ef=20")
    assert pinned == (FAMILIES[kind], f"{kind}64,ef=20", 65, None)
    assert pinned.is_static
    assert not parse_index_spec(SPEC).is_static


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("HNSW32", "must be like 'SymphonyQG32,ef=64'.*got 'HNSW32'"),
        ("HNSW1,ef=8", "2 to 512 neighbours"),
        ("HNSW32,ef=0", "ef is from 1"),
        ("SymphonyQG48,ef=8", "multiple of 32, got 48"),
        ("SymphonyQG32,ef=8.5", "must be like"),
    ],
)
def test_graphs_refuse_what_they_cannot_be(text, match):
    with pytest.raises(ValueError, match=match):
        parse_index_spec(text)


def test_rows_that_change_are_searched_in_no_graph():
    assert FAMILIES["IVF"] in changeable_families()
    assert not {FAMILIES["HNSW"], FAMILIES["SymphonyQG"]} & {*changeable_families()}
    assert graph_family(16) is FAMILIES["HNSW"]
