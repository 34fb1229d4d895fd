"""Thresholds among equal scores: counts by brute force."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentsk._threshold import contamination_quantile
from latentsk._ties import cut_among_ties


def flagged(scores, offset):
    return int(np.sum(np.asarray(scores) < offset))


def nearest_counts(scores, contamination):
    """Return the numbers of rows a threshold can flag that are nearest to the share."""
    values = np.unique(scores)
    counts = np.array([np.sum(scores < value) for value in values])
    distances = np.abs(counts - contamination * len(scores))
    return set(counts[np.isclose(distances, distances.min(), rtol=0, atol=1e-9)])


def numpy_s_count(n_rows, contamination):
    """Return how many of so many different scores lie below numpy's quantile."""
    rows = np.arange(n_rows)
    return flagged(rows, np.quantile(rows, contamination) - 1e-9)


# The case and its neighbours


def worst_and_others(n_worst, n_others):
    return np.r_[np.full(n_worst, -7.0), np.linspace(-1.0, 1.0, n_others)]


@pytest.mark.parametrize(
    ("n_worst", "contamination", "expected"),
    [
        (26, 0.2, 26),
        (30, 0.2, 30),
        (39, 0.2, 39),
        # 41 is further from 20 than 0 is.
        (41, 0.2, 0),
        (26, 0.1, 0),
        (26, 0.5, 50),
        # Equally far: a threshold that flags some rows is of more use.
        (40, 0.2, 40),
    ],
)
def test_equally_worst_rows_are_flagged_together_or_not(
    n_worst, contamination, expected
):
    scores = worst_and_others(n_worst, 100 - n_worst)
    if expected == 100 * contamination:
        offset = contamination_quantile(scores, contamination)
        assert offset == np.quantile(scores, contamination)
    else:
        share = f"{expected} (a share of {expected / 100:.2g}) are"
        said = f"{share if expected else 'none is'} flagged: {n_worst} rows have"
        message = f"asks for {100 * contamination:g} of 100 rows, but {said}"
        with pytest.warns(UserWarning, match=re.escape(message)) as caught:
            offset = contamination_quantile(scores, contamination)
        assert caught[0].filename == __file__
    assert flagged(scores, offset) == expected


def test_ties_above_some_worse_rows():
    scores = np.r_[-np.arange(9.0, 1.0, -1.0), np.full(10, 0.0), np.ones(82)]
    # 8 or 18 of 100 rows: 8 is nearer to 10, and 18 to 15.
    with pytest.warns(UserWarning, match=r"but 8 \(a share of 0.08\) are flagged: 10 "):
        low = contamination_quantile(scores, 0.1)
    assert low == -1.0
    with pytest.warns(UserWarning, match="asks for 15 of 100 rows, but 18"):
        high = contamination_quantile(scores, 0.15)
    assert high == 0.5


@pytest.mark.parametrize("value", [-3.0, 0.0, 7.0, -1.7e308])
def test_of_equal_rows_none_is_flagged(value):
    scores = np.full(20, value)
    with pytest.warns(UserWarning, match="but none is flagged: 20 rows have the same"):
        offset = contamination_quantile(scores, 0.5)
    assert flagged(scores, offset) == 0
    # Nor is a row that rounding lowers.
    assert flagged(scores - abs(value) * 1e-15, offset) == 0


def test_a_difference_of_one_row_is_not_worth_a_warning():
    # The suite takes warnings as errors.
    scores = [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert flagged(scores, contamination_quantile(scores, 0.1)) == 2
    scores = np.r_[np.arange(99.0), 99.0, 99.0, np.arange(100.0, 999.0)]
    assert flagged(scores, contamination_quantile(scores, 0.1)) == 99
    # Of three equal rows none is what comes nearest to 0.3.
    assert contamination_quantile([4.0, 4.0, 4.0], 0.1) <= 4.0


def test_a_thousandth_of_many_rows_is_not_worth_a_warning():
    scores = np.arange(100_000.0)
    scores[9_998:10_003] = 9_998.0
    assert flagged(scores, contamination_quantile(scores, 0.1)) in (9_998, 10_003)
    scores[9_900:10_150] = 9_900.0
    with pytest.warns(UserWarning, match="asks for 10000 of 100000 rows, but 9900 "):
        contamination_quantile(scores, 0.1)


# Any scores


SHARES = st.floats(0.001, 0.5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60, unique=True), SHARES)
def test_without_ties_it_is_numpy_s_quantile(values, contamination):
    scores = np.array(values).round(3)
    scores = np.unique(scores)
    expected = np.quantile(scores, contamination)
    assert contamination_quantile(scores, contamination) == expected


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=60), SHARES)
def test_with_ties_it_is_the_nearest_share(values, contamination):
    scores = np.array(values, np.float64)
    n_rows, asked = len(scores), contamination * len(scores)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        offset = contamination_quantile(scores, contamination)
    count = flagged(scores, offset)
    nearest = nearest_counts(scores, contamination)
    # numpy's own count stands where it needs no tied rows to be parted.
    assert count in nearest or count == numpy_s_count(n_rows, contamination)
    if count == 0 and max(nearest) > 0:
        # Equally near to none at all are only all rows, of one score.
        assert count in nearest
        assert max(nearest) == n_rows
    assert bool(caught) == (
        abs(count - asked) > 1.0 + 1e-6 or (count == 0 and asked >= 0.5)
    )


@given(
    st.lists(st.integers(-9, 9), min_size=2, max_size=40),
    SHARES,
    st.sampled_from([np.float32, np.float64]),
)
def test_rounding_parts_no_ties(values, contamination, dtype):
    scores = np.array(values, dtype) + dtype(20.5)
    steps = np.random.default_rng(0).integers(-2, 3, len(scores)).astype(dtype)
    noisy = np.sort(scores + steps * np.spacing(scores))
    assert noisy.dtype == dtype
    cuts = []
    for ranked in (np.sort(scores), noisy):
        quantile = float(np.quantile(ranked.astype(np.float64), contamination))
        cuts.append(cut_among_ties(ranked, quantile, contamination))
    # But for what numpy's interpolation makes of the noise where nothing is tied.
    if cuts[0].n_tied > 1:
        assert cuts[0].n_flagged == cuts[1].n_flagged
        assert flagged(noisy, dtype(cuts[0].offset)) == cuts[0].n_flagged


def test_neighbours_in_the_last_place_are_separated_in_their_own_dtype():
    for dtype in (np.float32, np.float64):
        low, high = dtype(-7.0), dtype(-7.0) * (1 - 40 * np.finfo(dtype).eps)
        scores = np.array([low] * 26 + [high] * 74, dtype)
        with pytest.warns(UserWarning, match="but 26"):
            offset = contamination_quantile(scores, 0.2)
        assert np.sum(scores - offset < 0) == 26
        next_to = np.array([low] * 26 + [np.nextafter(low, dtype(0))] * 74, dtype)
        # These are but rounding, and all of them tied.
        with pytest.warns(UserWarning, match="but none is flagged: 100 rows"):
            contamination_quantile(next_to, 0.2)


def test_a_quantile_may_be_given():
    assert contamination_quantile([0.0, 1.0, 2.0, 3.0], 0.5, 1.7) == 1.7
