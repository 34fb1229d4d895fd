"""scikit-learn's checks of classifiers, with fast densities and with the default."""

import pytest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import GenerativeClassifier, PCAEmbedder


@parametrize_with_checks(
    [
        GenerativeClassifier(PCAEmbedder(1), random_state=0),
        GenerativeClassifier(
            GaussianMixture(init_params="random_from_data"), random_state=0
        ),
        GenerativeClassifier(KernelDensity(bandwidth=0.3)),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([GenerativeClassifier(random_state=0)])
def test_scikit_learn_checks_of_the_default(estimator, check):
    check(estimator)
