"""scikit-learn's own checks of estimators, with no expected failure."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import LatentIndex, PCAEmbedder


@parametrize_with_checks([LatentIndex(), LatentIndex(PCAEmbedder(1))])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
