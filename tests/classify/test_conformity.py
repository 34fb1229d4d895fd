"""How well rows conform: ratios, shortfalls, and both together."""

import math

import numpy as np
import pytest
from scipy.stats import logistic

from latentsk.classify._bayes import LARGEST
from latentsk.classify._conformity import (
    TypicalRows,
    conformity,
    log_ratios,
    typical_rows,
)

RNG = np.random.default_rng(0)


def test_ratios_are_those_to_the_best_other_class():
    densities = RNG.normal(size=(40, 4))
    for k in range(4):
        others = np.delete(densities, k, axis=1).max(axis=1)
        found = log_ratios(densities)[:, k]
        np.testing.assert_allclose(found, densities[:, k] - others)


def test_ratios_of_ties_are_zero_and_of_extremes_finite():
    assert (log_ratios(np.array([[2.0, 2.0, 1.0]])) == [[0.0, 0.0, -1.0]]).all()
    assert np.isfinite(log_ratios(np.array([[-LARGEST, LARGEST]]))).all()


def test_typical_is_the_median_and_the_deviation_of_the_lower_tail():
    own = [RNG.normal(size=(20_001, 2)) * [2.0, 1.0] + [5.0, 0.0]]
    own.append(own[0][:, ::-1] * 3)
    typical = typical_rows(own)
    assert typical.log_density[0] == np.median(own[0][:, 0])
    assert typical.log_ratio[1] == np.median(own[1][:, 1] - own[1][:, 0])
    np.testing.assert_allclose(typical.log_density_spread, [2.0, 6.0], rtol=0.05)
    spread = math.sqrt(5.0)
    np.testing.assert_allclose(
        typical.log_ratio_spread, [spread, 3 * spread], rtol=0.05
    )


def test_the_upper_tail_and_a_few_outliers_do_not_count():
    values = np.sort(RNG.normal(size=2_000))
    wide = np.where(values > 1, 100 * values, values)
    wide[:20] -= 1e6
    spread = typical_rows([wide[:, None]]).log_density_spread[0]
    usual = typical_rows([values[:, None]]).log_density_spread[0]
    assert spread == pytest.approx(usual, rel=0.1)


def test_conformity_is_the_log_of_two_logistic_tails():
    typical = TypicalRows(*np.array([[1.0, 2.0], [3.0, 1.0], [4.0, 0.5], [2.0, 1.5]]))
    densities = np.array([[-2.0, 3.0], [7.0, 0.0]])
    ratios = log_ratios(densities)
    scale = math.sqrt(3.0) / math.pi  # of unit variance
    first = (densities - typical.log_density) / typical.log_density_spread
    second = (ratios - typical.log_ratio) / typical.log_ratio_spread
    expected = logistic.logcdf(first, scale=scale) + logistic.logcdf(
        second, scale=scale
    )
    np.testing.assert_allclose(conformity(densities, typical), expected)


def test_one_class_has_no_ratio():
    typical = typical_rows([RNG.normal(size=(99, 1))])
    found = conformity(np.array([[typical.log_density[0]]]), typical)
    np.testing.assert_allclose(found, -math.log(2.0))


def test_rows_between_classes_and_rows_far_from_all_conform_worse():
    centres = np.array([-4.0, 4.0])

    def densities(x):
        return -0.5 * (np.asarray(x)[:, None] - centres) ** 2

    own = [densities(c + RNG.normal(size=500)) for c in centres]
    typical = typical_rows(own)
    between, far, usual = conformity(densities([0.0, 12.0, 4.2]), typical).max(axis=1)
    # Beyond a class the ratio is high, and makes up for nothing.
    assert between < usual - 3
    assert far < usual - 3


@pytest.mark.parametrize("end", [-LARGEST, LARGEST])
def test_extremes_stay_finite(end):
    typical = typical_rows([np.full((3, 2), end), np.zeros((1, 2))])
    assert all(np.isfinite(part).all() for part in typical)
    assert all((part > 0).all() for part in typical[1::2])
    found = conformity(np.array([[end, -end], [0.0, end]]), typical)
    assert np.isfinite(found).all()
    assert (found <= 0).all()
