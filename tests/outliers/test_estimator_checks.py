"""scikit-learn's checks, whatever the method."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import (
    LatentOutlierDetector,
    PCAEmbedder,
)

METHODS = ["auto", "distance", "residual", "neighbors", "embedder_score"]


@parametrize_with_checks(
    [
        LatentOutlierDetector(random_state=0),
        LatentOutlierDetector(assume_clean=True, random_state=0),
        *(
            LatentOutlierDetector(PCAEmbedder(1), method=method, random_state=0)
            for method in METHODS
        ),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
