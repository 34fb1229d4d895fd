"""Files of a classifier: what is written is read, and what is forged is refused."""

import copy

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import latentsk
from latentsk import GenerativeClassifier, PCAEmbedder, VAEEmbedder
from latentsk.exceptions import FormatError

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
pytestmark = pytest.mark.filterwarnings("ignore:The posterior collapsed")
NETWORK = {"max_epochs": 2, "random_state": 0, "device": "cpu"}


def fitted(density=None, y=Y, **settings):
    density = PCAEmbedder(2) if density is None else density
    return GenerativeClassifier(density, random_state=0, **settings).fit(X, y)


def same(one, other):
    for method in (
        "predict",
        "p_values",
        "novelty_score",
        "typicality",
        "score_samples",
    ):
        np.testing.assert_array_equal(
            getattr(one, method)(X), getattr(other, method)(X)
        )
    assert one.classes_.dtype == other.classes_.dtype
    assert repr(one) == repr(other)


@pytest.mark.parametrize(
    "density",
    [
        PCAEmbedder(2),
        VAEEmbedder(2, **NETWORK),
        GaussianMixture(2),
        BayesianGaussianMixture(n_components=2, max_iter=500),
    ],
    ids=lambda density: type(density).__name__,
)
def test_a_file_gives_the_classifier_back(tmp_path, density):
    classifier = fitted(density, reject=0.1)
    latentsk.save(classifier, tmp_path / "model")
    same(latentsk.load(tmp_path / "model"), classifier)


@pytest.mark.parametrize(
    ("y", "unknown"),
    [
        (Y.astype(np.uint8), 99),
        (Y.astype(float), -1),
        (NAMES, "?"),
        (NAMES.astype(object), "?"),
    ],
    ids=["uint8", "float", "str", "object"],
)
def test_labels_of_every_kind(tmp_path, y, unknown):
    classifier = fitted(y=y, reject=0.1, unknown_label=unknown)
    latentsk.save(classifier, tmp_path / "model")
    same(latentsk.load(tmp_path / "model"), classifier)


def test_in_a_pipeline_without_calibration_rows_and_with_images(tmp_path):
    whole = make_pipeline(StandardScaler(), GenerativeClassifier(PCAEmbedder(1)))
    latentsk.save(whole.fit(X, Y > 0), tmp_path / "model")
    again = latentsk.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), whole.predict_proba(X))
    images = X.reshape(-1, 2, 2)
    classifier = GenerativeClassifier(VAEEmbedder(1, **NETWORK)).fit(images, Y)
    latentsk.save(classifier, tmp_path / "model")
    again = latentsk.load(tmp_path / "model")
    found = again.class_score_samples(images)
    np.testing.assert_array_equal(found, classifier.class_score_samples(images))
    assert again.sample(3, random_state=0)[0].shape == (3, 2, 2)


def test_what_holds_a_tree_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"KernelDensity .* cannot be stored"):
        latentsk.save(fitted(KernelDensity()), tmp_path / "model")


FORGERIES = {
    "no classes": lambda c: setattr(c, "classes_", np.array([], int)),
    "classes in disorder": lambda c: setattr(c, "classes_", np.array([2, 1, 0])),
    "a class twice": lambda c: setattr(c, "classes_", np.array([0, 0, 1])),
    "classes of kinds": lambda c: setattr(c, "classes_", np.array([0, 1, "a"], object)),
    "more classes": lambda c: setattr(c, "classes_", np.arange(4)),
    "priors of more": lambda c: setattr(c, "class_prior_", np.ones(3)),
    "a negative prior": lambda c: setattr(
        c, "class_prior_", np.array([-1.0, 1.0, 1.0])
    ),
    "fewer densities": lambda c: c.estimators_.pop(),
    "what is no density": lambda c: c.estimators_.__setitem__(0, StandardScaler()),
    "a narrower density": lambda c: c.estimators_.__setitem__(
        0, PCAEmbedder(1).fit(X[:, :2])
    ),
    "scores in disorder": lambda c: c.calibration_scores_[0].__setitem__(0, 9.0),
    "scores of more": lambda c: c.calibration_scores_.append(np.zeros(1)),
    "no training scores": lambda c: c._training_scores.__setitem__(0, np.zeros(0)),
    "counts of more": lambda c: setattr(c, "class_count_", np.arange(4)),
    "a spread of zero": lambda c: setattr(
        c, "_typical", c._typical._replace(log_ratio_spread=np.zeros(3))
    ),
    "typical rows of more": lambda c: setattr(
        c, "_typical", c._typical._replace(log_ratio=np.zeros(4))
    ),
    "other typical rows": lambda c: setattr(
        c, "_typical", type(c._typical)(*np.ones((4, 2)))
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_state_is_refused(tmp_path, forgery):
    classifier = copy.deepcopy(fitted(reject=0.1))
    FORGERIES[forgery](classifier)
    with pytest.raises((FormatError, ValueError)):
        latentsk.save(classifier, tmp_path / "model")
