"""What displays ask of estimators: methods, and names of latent dimensions."""

import re

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from latentsk import (
    GenerativeClassifier,
    LatentIndex,
    LatentOutlierDetector,
    PCAEmbedder,
)
from latentsk.display import (
    ExplanationDisplay,
    ImageExplanationDisplay,
    InterpolationDisplay,
    LatentMapDisplay,
    NeighborsDisplay,
    OutlierScoreDisplay,
    RecallDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)
from latentsk.display._estimators import embedder_of, own_latent_names

X = np.random.default_rng(0).normal(size=(60, 4)) @ np.diag([4.0, 2.0, 1.0, 0.5])
NEEDED = {
    LatentMapDisplay: "transform",
    ReconstructionDisplay: "reconstruct, or transform and inverse_transform",
    InterpolationDisplay: "interpolate, or transform and inverse_transform",
    TraversalDisplay: "transform and inverse_transform",
}
EXPLAINED = "score_samples and score_contributions, or score_samples and score_map"
NEEDED |= {
    OutlierScoreDisplay: "score_samples",
    ExplanationDisplay: "explain and score_samples",
    ImageExplanationDisplay: f"{EXPLAINED}, or score_samples and explain",
}
displays = pytest.mark.parametrize("display", NEEDED, ids=lambda d: d.__name__)


@displays
def test_what_has_no_latent_space_is_refused(display):
    kinds = np.arange(60) % 2
    wrong = {
        "GenerativeClassifier": GenerativeClassifier(
            PCAEmbedder(1), random_state=0
        ).fit(X, kinds),
        "KNeighborsClassifier": KNeighborsClassifier().fit(X, kinds),
        "int": 3,
        "NoneType": None,
        "the class PCAEmbedder": PCAEmbedder,
    }
    if display is OutlierScoreDisplay:  # a generative classifier has scores
        del wrong["GenerativeClassifier"]
    for kind, estimator in wrong.items():
        name = "detector" if display is ExplanationDisplay else "estimator"
        message = f"{name} must be fitted and have {NEEDED[display]}, got {kind}."
        with pytest.raises(ValueError, match=re.escape(message)):
            display.from_estimator(estimator, X)


@displays
@pytest.mark.parametrize("kind", [PCAEmbedder, LatentOutlierDetector])
def test_what_is_not_fitted_says_so(display, kind):
    shape = {"image_shape": (2, 2)} if display is ImageExplanationDisplay else {}
    with pytest.raises(NotFittedError, match=f"This {kind.__name__} instance is not"):
        display.from_estimator(kind(), X, **shape)


def test_colours_of_scores_need_scores():
    scaler = StandardScaler().fit(X)
    with pytest.raises(ValueError, match="have score_samples, got StandardScaler"):
        LatentMapDisplay.from_estimator(scaler, X, color="score")


def test_the_embedder_of_a_detector_has_its_latent_space():
    detector = LatentOutlierDetector(PCAEmbedder(2), random_state=0).fit(X)
    assert embedder_of(detector) is detector.embedder_
    assert embedder_of(detector.embedder_) is detector.embedder_


def test_names_are_kept_unless_they_are_those_of_the_class():
    pca = PCAEmbedder(2).fit(X)
    assert own_latent_names(pca, 2) is None
    unnamed = FunctionTransformer()  # a step without names hides no others
    inside = make_pipeline(unnamed, make_pipeline(StandardScaler(), PCA(2))).fit(X)
    assert own_latent_names(inside, 2) is None
    scaler = StandardScaler().fit(X)
    assert own_latent_names(scaler, 4) == ["x0", "x1", "x2", "x3"]
    assert own_latent_names(scaler, 3) is None


@pytest.mark.parametrize("estimator", [3, PCAEmbedder(2).fit(X), LatentIndex])
def test_displays_of_searches_need_an_index(estimator):
    with pytest.raises(ValueError, match=r"^index must .* Give an index: LatentIndex"):
        NeighborsDisplay.from_estimator(estimator, X[:2], X)
    with pytest.raises(ValueError, match=r"^index must .* Give an index: LatentIndex"):
        RecallDisplay.from_estimator({"wrong": estimator}, X[:2])
    for display, rows in ((NeighborsDisplay, [X]), (RecallDisplay, [])):
        with pytest.raises(NotFittedError):
            display.from_estimator(LatentIndex(), X[:2], *rows)
