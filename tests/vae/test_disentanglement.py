"""The mutual information gap against closed forms and a count by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy

from latentsk import mutual_information_gap
from latentsk.vae._disentanglement import binned

GRID = np.stack(np.meshgrid(np.arange(4), np.arange(3)), axis=-1).reshape(-1, 2)
FACTORS = np.tile(GRID, (50, 1))  # independent, exactly


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_dimension_for_each_factor_has_a_gap_of_one(order):
    latents = FACTORS[:, order] * [3.0, -0.1] + 5.0
    assert mutual_information_gap(latents, FACTORS) == pytest.approx(1.0, abs=1e-12)
    more = np.column_stack([latents, np.zeros(len(latents))])
    assert mutual_information_gap(more, FACTORS) == pytest.approx(1.0, abs=1e-12)


def test_a_factor_told_twice_has_no_gap():
    latents = np.column_stack([FACTORS, FACTORS])
    assert mutual_information_gap(latents, FACTORS) == pytest.approx(0.0, abs=1e-12)


def test_a_rotation_by_45_degrees_closes_the_gap():
    factors = np.random.default_rng(0).uniform(-1, 1, size=(20_000, 2))
    turn = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2.0)
    assert mutual_information_gap(factors, factors) > 0.9
    assert mutual_information_gap(factors @ turn, factors) < 0.01


def test_partial_knowledge_by_hand():
    # The first dimension merges two of four classes, the second tells one of them.
    factor = np.repeat([0, 1, 2, 3], 25)
    latents = np.column_stack([np.minimum(factor, 2), factor == 0]).astype(float)
    best, second = entropy([1 / 4, 1 / 4, 1 / 2]), entropy([1 / 4, 3 / 4])
    expected = (best - second) / np.log(4)
    assert mutual_information_gap(latents, factor) == pytest.approx(expected)


def test_one_dimension_has_no_second_one():
    assert mutual_information_gap(FACTORS[:, :1], FACTORS[:, 0]) == pytest.approx(1.0)


def test_factors_are_named_and_of_any_kind():
    frame = pd.DataFrame(
        {"colour": np.array(["red", "blue", "green", "grey"])[FACTORS[:, 0]]}
    )
    frame["large"] = FACTORS[:, 1] > 0
    frame["shape"] = pd.Categorical(FACTORS[:, 1])
    latents = FACTORS.astype(float)
    assert mutual_information_gap(latents, frame["colour"]) == pytest.approx(1.0)
    assert mutual_information_gap(latents, frame) == pytest.approx(1.0)
    assert mutual_information_gap(latents, frame[["large"]].to_numpy(object)) == 1.0


def test_monotone_maps_of_numbers_change_nothing():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2_000, 2))
    latents = factors + 0.5 * rng.normal(size=(2_000, 2))
    gap = mutual_information_gap(latents, factors)
    assert 0.1 < gap < 0.9
    assert mutual_information_gap(np.exp(3 * latents), factors**3) == gap


@pytest.mark.parametrize("n_bins", [2, 7, 20])
def test_bins_hold_about_as_many_rows(n_bins):
    counts = np.bincount(binned(np.random.default_rng(0).normal(size=1_000), n_bins))
    assert len(counts) == n_bins
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("Z", "factors", "message"),
    [
        (FACTORS, np.full(len(FACTORS), 3), "Factor 0 is constant"),
        (FACTORS, pd.DataFrame({"a": ["x"] * len(FACTORS)}), "Factor 'a' is constant"),
        (FACTORS, FACTORS[:5], "inconsistent numbers of samples"),
        (FACTORS, np.zeros((2, 2, 2)), r"must have shape .* got \(2, 2, 2\)"),
        (FACTORS, np.zeros((len(FACTORS), 0)), "has no columns"),
        (FACTORS, np.where(FACTORS == 2, np.nan, FACTORS), "Factor 0 has missing"),
        (FACTORS * np.nan, FACTORS, "Z contains NaN"),
        (FACTORS[:, 0], FACTORS, "Expected 2D array"),
    ],
)
def test_bad_input_is_named(Z, factors, message):
    with pytest.raises(ValueError, match=message):
        mutual_information_gap(Z, factors)


@pytest.mark.parametrize("n_bins", [1, 2.5, "many"])
def test_a_number_of_bins(n_bins):
    with pytest.raises(ValueError, match="n_bins must be an integer of at least 2"):
        mutual_information_gap(FACTORS, FACTORS, n_bins=n_bins)
