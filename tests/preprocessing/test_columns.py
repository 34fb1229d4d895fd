"""Counts, quartiles and scales of columns, against numpy and closed forms."""

import numpy as np
import pytest

from latentsk.preprocessing._columns import (
    ValueCounts,
    is_rounding,
    median,
    middle_range,
    quartiles,
    winsorized_scale,
)

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": RNG.normal(3, 2, 301),
    "ties": RNG.poisson(3, 200),
    "float32": RNG.exponential(size=100).astype(np.float32),
    "bytes": RNG.integers(0, 255, 500).astype(np.uint8),
    "booleans": RNG.random(50) < 0.3,
    "one cell": np.array([2.5]),
}


def scale(column):
    return winsorized_scale(ValueCounts.of(column))


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_counts_are_those_of_numpy(column):
    found = ValueCounts.of(column)
    values, counts = np.unique(column, return_counts=True)
    np.testing.assert_array_equal(found.values, values.astype(float))
    np.testing.assert_array_equal(found.counts, counts)
    assert found.values.dtype == np.float64
    assert found.n_cells == len(column)


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_median_is_that_of_numpy(column):
    assert median(ValueCounts.of(column)) == np.median(column.astype(float))


@pytest.mark.parametrize("n_cells", range(1, 12))
def test_quartiles_are_the_inner_ones_of_numpy(n_cells):
    column = RNG.normal(size=n_cells)
    low, high = quartiles(ValueCounts.of(column))
    if n_cells > 2:
        assert low == np.quantile(column, 0.25, method="higher")
        assert high == np.quantile(column, 0.75, method="lower")
    assert low <= high


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([0, 1, 2, 3, 4], (1, 3)),
        ([0] * 20 + [1, 2, 3, 4, 5], (0, 4)),
        ([9] * 20 + [1, 2, 3, 4, 5], (2, 9)),
        ([5] * 20 + [1, 2, 8, 9], (2, 8)),
        ([0] * 9 + [7], (0, 7)),
        ([4, 4], (4, 4)),
        ([4], (4, 4)),
    ],
)
def test_middle_range(column, expected):
    assert middle_range(ValueCounts.of(column)) == expected


def test_scale_of_clean_normal_columns_is_the_standard_deviation():
    for n_rows in (50, 500, 5_000):
        columns = np.random.default_rng(n_rows).normal(7, 3, (200, n_rows))
        ratios = [scale(column) / column.std() for column in columns]
        assert np.mean(ratios) == pytest.approx(1, abs=1e-3)
        assert min(ratios) > 0.95


def test_scale_is_the_standard_deviation_of_the_clipped_column():
    column = np.r_[np.random.default_rng(1).exponential(size=400), 80.0, -90.0]
    low = np.quantile(column, 0.25, method="higher")
    high = np.quantile(column, 0.75, method="lower")
    clipped = column.clip(low - 3 * (high - low), high + 3 * (high - low))
    assert clipped.max() < column.max()
    assert scale(column) == pytest.approx(clipped.std(), rel=1e-12)


def test_scale_of_a_mostly_constant_column_follows_its_other_values():
    others = np.random.default_rng(2).exponential(10, 100)
    column = np.r_[np.zeros(900), others]
    assert scale(column) == pytest.approx(column.std(), rel=0.1)
    assert scale(np.r_[column, 1e9]) == pytest.approx(scale(column), rel=0.2)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.25])
@pytest.mark.parametrize(
    "draw",
    [
        lambda g, n: np.full(n, 1e6),
        lambda g, n: np.full(n, -1e99),
        lambda g, n: np.full(n, 1e-6),
        lambda g, n: np.zeros(n),
        lambda g, n: 10.0 ** g.uniform(0, 99, n) * g.choice([-1, 1], n),
        lambda g, n: g.choice([-1e99, 1e99], n),
    ],
    ids=["1e6", "-1e99", "1e-6", "0", "scattered", "both ends"],
)
@pytest.mark.parametrize("n_rows", [40, 300, 2_000])
def test_a_quarter_of_the_cells_leaves_a_sensible_scale(share, draw, n_rows):
    g = np.random.default_rng(n_rows)
    column = g.normal(5, 2, n_rows)
    n_bad = int(share * n_rows)
    column[:n_bad] = draw(g, n_bad)
    assert 1 < scale(column) < 20
    assert 2 < median(ValueCounts.of(column)) < 8


@pytest.mark.parametrize(
    "column",
    [[3.0] * 9, [0.0], [1e100] * 3, [0.3, 0.1 + 0.2] * 5, [1e9, 1e9 + 2e-7] * 9],
    ids=["constant", "one row", "huge", "rounding", "rounding far from 0"],
)
def test_scale_of_constant_columns_is_one(column):
    assert scale(column) == 1


@pytest.mark.parametrize("n_rare", [3, 10, 149])
def test_scale_of_two_values_spans_them(n_rare):
    column = np.r_[np.full(300 - n_rare, 2.0), np.full(n_rare, 9.0)]
    assert scale(column) == 7


def test_a_value_of_under_one_percent_is_an_extreme():
    column = np.r_[np.full(298, 2.0), 9.0, 9.0]
    assert scale(column) == pytest.approx(column.std())
    # The nearest of several, not the largest, tells how far out each is.
    column[-1] = 9e6
    assert 0.1 < scale(column) < 7


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e-3, 1e30, 1e98])
def test_scale_follows_the_unit(factor):
    for column in (RNG.lognormal(size=200), np.r_[np.zeros(200), RNG.normal(size=50)]):
        assert scale(factor * column) == pytest.approx(factor * scale(column), rel=1e-9)


# Constants that binary fractions hold, and those that leave rounding noise.
@pytest.mark.parametrize("value", [0.0, 0.5, 0.1, -1e6 / 3, 1e-200 / 3])
@pytest.mark.parametrize("n", [2, 7, 50])
def test_constant_values_have_no_spread_whatever_their_rounding(value, n):
    values = np.full(n, value)
    assert is_rounding(np.std(values), values)
    noisy = values * (1.0 + np.finfo(float).eps * np.resize([-1.0, 0.0, 1.0], n))
    assert is_rounding(np.std(noisy), noisy)
    assert not is_rounding(np.std([value, value + 1e-6]), [value, value + 1e-6])
