"""Costs against work counted by hand, and the order that they must have."""

import itertools
from dataclasses import replace

import pytest

from latentsk.index import _cost
from latentsk.index._cost import barring_pays, coding_cost, exact_cost, search_cost
from latentsk.index._spec import IndexSpec

PRICES = (
    *("PRODUCT", "SELECTION", "CODE", "LIST", "CANDIDATE", "COORDINATE"),
    *("TABLES", "CODE_TABLE"),
    *("ROW", "ROW_COORDINATE", "TABLE", "ASSIGNMENT", "COPY", "ENCODING"),
)
SPEC = IndexSpec(64, 16, n_probe=8, rerank=3.0)


@pytest.fixture
def only(monkeypatch):
    """Make one kind of work cost 1, and all others nothing."""

    def price(name):
        for other in PRICES:
            monkeypatch.setattr(_cost, other, float(other == name))

    return price


@pytest.mark.parametrize(
    ("name", "expected"),
    [("PRODUCT", 7_000 * 12), ("SELECTION", 7_000), ("CODE", 0), ("CANDIDATE", 0)],
)
def test_exact_work_is_counted(only, name, expected):
    only(name)
    assert exact_cost(7_000, 12) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # A product with each centre, and a comparison.
        ("PRODUCT", 64 * 16),
        ("SELECTION", 64),
        # Eight lists with 6,400 / 64 rows each, of 16 codes.
        ("LIST", 8),
        ("CODE", 8 * 100 * 16),
        ("TABLES", 1),
        ("CODE_TABLE", 16),
        # Three times ten candidates.
        ("CANDIDATE", 30),
        ("COORDINATE", 30 * 16),
    ],
)
def test_approximate_work_is_counted(only, name, expected):
    only(name)
    assert search_cost(SPEC, 16, 6_400, 10) == expected


def test_a_projection_is_a_product_with_every_axis(only):
    only("PRODUCT")
    spec = replace(SPEC, n_components=16)
    assert search_cost(spec, 100, 6_400, 10) == 100 * 16 + 64 * 16
    # The centres are as wide as the codes, the candidates as wide as the rows.
    only("COORDINATE")
    assert search_cost(spec, 100, 6_400, 10) == 30 * 100


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ROW", 8 * 100), ("ROW_COORDINATE", 8 * 100 * 20), ("CODE", 0), ("LIST", 8)],
)
def test_whole_rows_are_counted(only, name, expected):
    only(name)
    assert search_cost(replace(SPEC, n_codes=None), 20, 6_400, 10) == expected


def test_codes_of_differences_take_a_table_for_each_list(only):
    only("TABLE")
    assert search_cost(SPEC, 16, 6_400, 10) == 0
    assert search_cost(replace(SPEC, residual=True), 16, 6_400, 10) == 8 * 16


@pytest.mark.parametrize(
    ("name", "spec", "expected"),
    [
        ("ENCODING", SPEC, 500 * 16),
        ("ENCODING", replace(SPEC, n_codes=None), 0),
        ("COPY", replace(SPEC, n_codes=None), 500 * 20),
        ("ASSIGNMENT", SPEC, 500 * 64),
        ("PRODUCT", SPEC, 500 * 64 * 16),
        ("PRODUCT", replace(SPEC, n_components=16), 500 * (64 * 16 + 20 * 16)),
    ],
)
def test_the_work_of_coding_is_counted(only, name, spec, expected):
    only(name)
    assert coding_cost(500, 20, spec) == expected


def test_few_neighbours_cost_as_much_as_ten():
    assert search_cost(SPEC, 16, 6_400, 1) == search_cost(SPEC, 16, 6_400, 10)
    assert search_cost(SPEC, 16, 6_400, 11) > search_cost(SPEC, 16, 6_400, 10)


@pytest.mark.parametrize("n_rows", [10_000, 1_000_000])
def test_more_lists_or_candidates_cost_more(n_rows):
    # The search for the cheapest stops where this says that nothing cheaper follows.
    probes, reranks = (1, 2, 3, 8, 64), (1.0, 1.5, 2.0, 20.0)
    for n_probe, rerank in itertools.product(probes, reranks):
        spec = replace(SPEC, n_probe=n_probe, rerank=rerank)
        cost = search_cost(spec, 16, n_rows, 10)
        for more in (
            replace(spec, n_probe=n_probe + 1) if n_probe < 64 else None,
            replace(spec, rerank=rerank + 0.5),
        ):
            assert more is None or search_cost(more, 16, n_rows, 10) > cost


def test_an_exact_search_is_the_cheaper_one_of_few_rows_only():
    assert exact_cost(1_000, 16) < search_cost(SPEC, 16, 1_000, 10)
    assert exact_cost(100_000, 16) > search_cost(SPEC, 16, 100_000, 10)


def test_rows_are_barred_where_that_is_less_work_than_gathering_others():
    # Few queries, most rows: reading all costs less than copying most.
    assert barring_pays(1, 100_000, 128, 99_999)
    assert barring_pays(1, 100_000, 128, 50_000)
    assert not barring_pays(1, 100_000, 128, 5_000)
    # Many queries: each would be compared with the others in vain.
    assert barring_pays(2_000, 100_000, 128, 99_999)
    assert not barring_pays(2_000, 100_000, 128, 90_000)
