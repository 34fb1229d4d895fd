"""The choice of components."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA

from latentsk.linear._moments import moments_of
from latentsk.linear._spectrum import (
    Spectrum,
    automatic_dimension,
    chosen_dimension,
    spectrum_of,
    truncated,
)

IRIS = load_iris().data


def spectrum(*variances, noise=0.0, n_directions=None):
    n = len(variances)
    return Spectrum(np.eye(n), np.array(variances), noise, n_directions or n)


def test_spectrum_is_that_of_scikit_learn():
    ours, theirs = spectrum_of(moments_of(IRIS)), PCA(svd_solver="full").fit(IRIS)
    np.testing.assert_allclose(ours.variances, theirs.explained_variance_, rtol=1e-12)
    np.testing.assert_allclose(ours.axes, theirs.components_, atol=1e-12)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_truncated_noise_is_that_of_scikit_learn(n_axes):
    expected = PCA(n_axes, svd_solver="full").fit(IRIS).noise_variance_
    # In two steps as in one: what was cut off before still counts.
    twice = truncated(truncated(spectrum_of(moments_of(IRIS)), 3), n_axes)
    assert twice.noise == pytest.approx(expected)


@pytest.mark.parametrize("n_components", [None, 0, 2, 0.5, 0.9, 0.99, "mle"])
def test_chosen_dimension_is_that_of_scikit_learn(n_components):
    theirs = PCA(n_components, svd_solver="full").fit(IRIS).n_components_
    assert chosen_dimension(n_components, spectrum_of(moments_of(IRIS)), 150) == theirs


def test_too_many_components_are_refused():
    with pytest.raises(ValueError, match="n_components=4 must be between"):
        chosen_dimension(4, spectrum(2.0, 1.0, 0.5), 10)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (spectrum(98.0, 1.5, 0.3, 0.2), 2),  # 99.5 % with two
        (spectrum(5.0, 4.0, 1.0), 2),  # all three are needed, one is left as noise
        (spectrum(5.0, 4.0, 0.0), 1),  # the rank is two
        (spectrum(5.0, 4.0, 1e-15), 1),  # as far as one can tell
        (spectrum(5.0), 1),  # a single feature: nothing can be left out
        (spectrum(0.0, 0.0), 1),  # constant data
        (spectrum(5.0, 4.0, noise=1.0, n_directions=50), 2),  # a truncated solver's
    ],
)
def test_automatic_dimension(case, expected):
    assert automatic_dimension(case) == expected
