"""scikit-learn's checks of an estimator: none fails, none is expected to."""

import numpy as np
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from latentsk import PCAEmbedder


@parametrize_with_checks(
    [
        PCAEmbedder(),
        PCAEmbedder(
            1,
            svd_solver="randomized",
            power_iteration_normalizer="QR",
            random_state=0,
        ),
        PCAEmbedder(1, whiten=True, score_method="mahalanobis", contamination=0.1),
        PCAEmbedder(1, score_method="reconstruction", svd_solver="full"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_check_estimator():
    results = check_estimator(PCAEmbedder(), on_skip=None)
    assert {result["status"] for result in results} <= {"passed", "skipped"}
    assert np.sum([result["status"] == "passed" for result in results]) > 50
