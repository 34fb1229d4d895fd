"""Which values of a column are codes: planted ones, and none in clean columns."""

import numpy as np
import pytest

from latentsk.preprocessing._codes import find_codes, is_code, name_of_code
from latentsk.preprocessing._columns import ValueCounts

SIZES = (50, 300, 2_000)


def codes(column):
    return find_codes(ValueCounts.of(column)).tolist()


def seldom(share, g, n, others, otherwise=0.0):
    return np.where(g.random(n) < share, others, otherwise)


# Columns without codes: a law each.
CLEAN = {
    "normal": lambda g, n: g.normal(size=n),
    "normal, one digit": lambda g, n: g.normal(size=n).round(1),
    "normal, integers": lambda g, n: g.normal(50, 5, n).round(),
    "normal, few integers": lambda g, n: g.normal(0, 1, n).round(),
    "uniform": lambda g, n: g.uniform(size=n),
    "uniform integers": lambda g, n: g.integers(0, 100, n),
    "four values": lambda g, n: g.integers(0, 4, n),
    "exponential": lambda g, n: g.exponential(size=n),
    "log-normal": lambda g, n: g.lognormal(size=n),
    "log-normal, wide": lambda g, n: g.lognormal(0, 2, n),
    "log-normal, integers": lambda g, n: g.lognormal(3, 1, n).round(),
    "log-normal, few integers": lambda g, n: g.lognormal(0, 1, n).round(),
    "Pareto": lambda g, n: g.pareto(1, n),
    "Cauchy": lambda g, n: g.standard_cauchy(n),
    "Poisson .1": lambda g, n: g.poisson(0.1, n),
    "Poisson .5": lambda g, n: g.poisson(0.5, n),
    "Poisson 3": lambda g, n: g.poisson(3, n),
    "Poisson 10": lambda g, n: g.poisson(10, n),
    "Poisson 100": lambda g, n: g.poisson(100, n),
    "geometric .5": lambda g, n: g.geometric(0.5, n),
    "geometric .01": lambda g, n: g.geometric(0.01, n),
    "negative binomial": lambda g, n: g.negative_binomial(0.1, 0.05, n),
    "ratings": lambda g, n: g.choice(5, n, p=[0.1, 0.2, 0.4, 0.2, 0.1]) + 1,
    "good ratings": lambda g, n: g.choice(5, n, p=[0.03, 0.02, 0.05, 0.3, 0.6]) + 1,
    "one-hot": lambda g, n: g.random(n) < 0.1,
    "rare category": lambda g, n: g.random(n) < 0.02,
    "even two": lambda g, n: g.random(n) < 0.5,
    "far two": lambda g, n: seldom(0.1, g, n, 1e6),
    "constant": lambda g, n: np.full(n, 3),
    "mostly 0, counts": lambda g, n: seldom(0.1, g, n, g.geometric(0.1, n)),
    "mostly 0, few counts": lambda g, n: seldom(0.1, g, n, g.geometric(0.5, n)),
    "mostly 0, amounts": lambda g, n: seldom(0.1, g, n, g.lognormal(3, 1, n)),
    "half 0, counts": lambda g, n: seldom(0.5, g, n, g.geometric(0.1, n)),
    "pixels": lambda g, n: seldom(0.2, g, n, g.integers(0, 300, n).clip(0, 255)),
    "hours": lambda g, n: seldom(0.5, g, n, g.normal(40, 10, n).round(), 40),
    "two clusters": lambda g, n: seldom(
        0.2, g, n, g.normal(100, 2, n), g.normal(0, 2, n)
    ),
    "two wide clusters": lambda g, n: seldom(
        0.5, g, n, g.normal(100, 9, n), g.normal(0, 9, n)
    ).round(),
    "grid": lambda g, n: np.arange(n),
    "grid with ties": lambda g, n: np.arange(n) // 5,
    "grid, ten at the end": lambda g, n: np.r_[np.zeros(n // 5), np.arange(n)],
    "years": lambda g, n: g.integers(1990, 2025, n),
    "by fives": lambda g, n: 5 * (g.normal(40, 12, n) / 5).round(),
}


@pytest.mark.parametrize("n_rows", SIZES)
@pytest.mark.parametrize("law", CLEAN)
def test_clean_columns_have_no_codes(law, n_rows):
    for seed in range(8):
        assert codes(CLEAN[law](np.random.default_rng(seed), n_rows)) == [], seed


@pytest.mark.parametrize("n_rows", [300, 2_000])
@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
def test_a_cap_at_the_end_of_a_long_tail_is_no_code(share, n_rows):
    for seed in range(8):
        column = np.random.default_rng(seed).lognormal(size=n_rows)
        assert codes(np.minimum(column, np.quantile(column, 1 - share))) == []


@pytest.mark.parametrize("n_rows", [300, 2_000])
def test_round_amounts_in_a_long_tail_are_no_codes(n_rows):
    for seed in range(8):
        g = np.random.default_rng(seed)
        amounts = g.lognormal(4, 1, n_rows).round(2)
        digit = 10.0 ** np.floor(np.log10(amounts))
        is_round = g.random(n_rows) < 0.5
        assert (
            codes(np.where(is_round, digit * (amounts / digit).round(), amounts)) == []
        )


# Columns, and the codes that are planted into them.
NORMAL = lambda g, n: g.normal(size=n)  # noqa: E731
CODED = {
    "-999": (NORMAL, [-999]),
    "9999": (NORMAL, [9999]),
    "99": (NORMAL, [99]),
    "1e6": (NORMAL, [1e6]),
    "-999, -998": (NORMAL, [-999, -998]),
    "-999, 9999": (NORMAL, [-999, 9999]),
    "-99, -999": (NORMAL, [-99, -999]),
    "blood pressure": (lambda g, n: g.normal(72, 12, n), [0]),
    "blood pressure, integers": (lambda g, n: g.normal(72, 12, n).round(), [0]),
    "-1 far off": (lambda g, n: g.normal(50, 5, n), [-1]),
    "integers": (lambda g, n: g.normal(50, 5, n).round(), [-999, -998]),
    "survey": (lambda g, n: g.normal(40, 5, n).round(), [77, 88, 99]),
    "ages": (lambda g, n: g.integers(18, 90, n), [-1_000]),
    "years": (lambda g, n: g.integers(1990, 2025, n), [0]),
    "log-normal, -999": (lambda g, n: g.lognormal(size=n), [-999]),
    "log-normal, 9999": (lambda g, n: g.lognormal(size=n), [9999]),
    "log-normal integers": (lambda g, n: g.lognormal(3, 1, n).round(), [-999]),
    "Poisson": (lambda g, n: g.poisson(3, n), [999]),
    "geometric": (lambda g, n: g.geometric(0.1, n), [9999]),
    "ratings": (CLEAN["ratings"], [99]),
    "two values": (lambda g, n: g.random(n) < 0.4, [999]),
    "mostly 0, amounts": (lambda g, n: seldom(0.3, g, n, g.exponential(size=n)), [-99]),
    "mostly 0, counts": (lambda g, n: seldom(0.3, g, n, g.geometric(0.2, n)), [9999]),
    "two clusters": (CLEAN["two clusters"], [-9999]),
}


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.25])
@pytest.mark.parametrize("n_rows", [300, 2_000])
@pytest.mark.parametrize("name", CODED)
def test_planted_codes_are_found(name, n_rows, share):
    law, planted = CODED[name]
    n_cells = int(share * n_rows)
    if 2 * n_cells * len(planted) > n_rows:
        n_cells = n_rows // 2 // len(planted)
    for seed in range(6):
        g = np.random.default_rng(seed)
        column = np.array(law(g, n_rows), dtype=float)
        rows = g.permutation(n_rows)
        for i, code in enumerate(planted):
            column[rows[i * n_cells : (i + 1) * n_cells]] = code
        assert codes(column) == sorted(planted), seed


@pytest.mark.parametrize(
    ("n_cells", "expected"),
    [(1, []), (2, []), (3, [99.0]), (75, [99.0]), (76, []), (150, [])],
)
def test_a_code_has_one_to_twenty_five_percent(n_cells, expected):
    column = np.random.default_rng(0).normal(size=300)
    column[:n_cells] = 99
    assert codes(column) == expected


def test_codes_have_half_of_the_cells_at_most():
    column = np.random.default_rng(0).normal(size=400)
    column[:200] = np.repeat([-999, 9999], 100)
    assert codes(column) == [-999, 9999]
    column[:260] = np.repeat([-999, 9999, 99_999], [90, 90, 80])
    assert sum(np.isin(column, codes(column))) <= 200


def test_a_few_extremes_do_not_hide_a_code():
    for seed in range(20):
        g = np.random.default_rng(seed)
        column = g.normal(size=500)
        column[:20] = 9999
        column[20:24] = g.uniform(5_000, 20_000, 4)
        column[24:26] = g.uniform(-20_000, -5_000, 2)
        assert codes(column) == [9999]


def test_what_is_known_of_three_values():
    # The others spread by one: ten times that is 10 away.
    for value, expected in [(9, []), (11, []), (12, [12.0]), (99, [99.0]), (-1, [])]:
        assert codes([0] * 60 + [1] * 50 + [value] * 10) == expected
    # The others are one value.
    assert codes([0] * 60 + [99] * 10) == []


def test_rounding_makes_no_codes():
    eps = np.spacing(0.3)
    assert codes([0.3] * 60 + [0.3 + eps] * 20 + [0.3 + 40 * eps] * 20) == []


@pytest.mark.parametrize("shift", [-1e6, 0, 1e5])
@pytest.mark.parametrize("factor", [-3.0, 1e-90, 0.1, 1e90])
@pytest.mark.parametrize("name", ["-999, -998", "-99, -999", "integers", "ratings"])
def test_codes_follow_the_unit(name, factor, shift):
    law, planted = CODED[name]
    g = np.random.default_rng(0)
    column = np.array(law(g, 400), dtype=float)
    column[:40] = np.resize(planted, 40)
    found = codes(factor * (column + shift))
    np.testing.assert_allclose(
        sorted(found), sorted(factor * (np.array(planted) + shift)), rtol=1e-12
    )


def test_cells_of_a_code_are_told_in_float32():
    values = np.array([-999.123, 1e6 / 3, 0.0])
    scales = np.array([5.0, 1.0, 1.0])
    for dtype in (np.float32, np.float64):
        assert is_code(values.astype(dtype)[None], values, scales).all()
    assert not is_code(values[None] * 1.0001 + 1e-9, values, scales).any()


def test_a_large_offset_does_not_turn_neighbors_into_codes():
    cells = np.array([[1e9 + 50], [1e9 + 49.5]])
    assert is_code(cells, np.array([1e9 + 50]), np.ones(1)).ravel().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("code", "name"),
    [(-999, "-999"), (0.0, "0"), (99.5, "99.5"), (1234567.0, "1234567.0")],
)
def test_names_of_codes_tell_them_apart(code, name):
    assert name_of_code(code) == name
