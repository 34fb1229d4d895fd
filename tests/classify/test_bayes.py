"""Bayes' rule, against Gaussians whose posteriors are known, and at the ends."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from latentsk.classify._bayes import LARGEST, bounded, log_evidence, log_posteriors

PRIORS = np.array([0.2, 0.5, 0.3])


def test_probabilities_are_those_of_the_definition():
    densities = np.random.default_rng(0).normal(size=(50, 3)) * 5
    found = np.exp(log_posteriors(densities, PRIORS))
    np.testing.assert_allclose(found, softmax(densities + np.log(PRIORS), axis=1))
    evidence = log_evidence(densities, PRIORS)
    np.testing.assert_allclose(evidence, logsumexp(densities, axis=1, b=PRIORS))


def test_a_shift_of_all_densities_changes_no_probability():
    densities = np.array([[-3.0, -1.0, -2.0]])
    for shift in (-1e6, 1e6):
        found = log_posteriors(densities + shift, PRIORS)
        np.testing.assert_allclose(found, log_posteriors(densities, PRIORS))


@pytest.mark.parametrize("end", [-LARGEST, LARGEST, -1e300, 0.0])
def test_where_all_densities_are_equal_the_priors_remain(end):
    densities = np.full((2, 3), end)
    np.testing.assert_allclose(np.exp(log_posteriors(densities, PRIORS)), [PRIORS] * 2)
    np.testing.assert_allclose(log_evidence(densities, PRIORS), end)


def test_the_lowest_and_the_largest_number_side_by_side_stay_finite():
    densities = np.array([[-LARGEST, LARGEST, 0.0], [-LARGEST, -LARGEST, 0.0]])
    found = log_posteriors(densities, PRIORS)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found), [[0, 1, 0], [0, 0, 1]])
    assert np.isfinite(log_evidence(densities, PRIORS)).all()


def test_a_class_without_prior_is_impossible_whatever_its_density():
    priors = np.array([0.0, 1.0])
    densities = np.array([[LARGEST, -LARGEST], [5.0, 1.0]])
    assert (log_posteriors(densities, priors) == [[-np.inf, 0.0]] * 2).all()
    np.testing.assert_allclose(log_evidence(densities, priors), [-LARGEST, 1.0])


def test_what_is_no_number_is_bounded():
    found = bounded(np.array([[np.nan, -np.inf, np.inf, 3.0]]))
    assert (found == [[-LARGEST, -LARGEST, LARGEST, 3.0]]).all()
