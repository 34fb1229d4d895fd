"""Learning curves: which values, which terms, which epoch."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import AutoencoderEmbedder, PCAEmbedder, VAEEmbedder
from latentsk.display import LearningCurveDisplay


@pytest.fixture(scope="module")
def vae():
    return VAEEmbedder(2, max_epochs=6, random_state=0).fit(load_iris().data)


def test_curves_are_the_history(vae):
    display = LearningCurveDisplay.from_estimator(vae)
    for name in ("train_loss", "validation_loss", "train_kl", "validation_kl"):
        expected = [entry[name] for entry in vae.history_]
        assert_array_equal(display.lines_[name].get_ydata(), expected)
    assert display.axes_[0].get_title(loc="left") == "VAEEmbedder"
    assert "KL divergence" in [ax.get_ylabel() for ax in display.axes_]


def test_a_pipeline_shows_its_last_step(vae):
    last = AutoencoderEmbedder(1, max_epochs=2, random_state=0)
    pipeline = make_pipeline(StandardScaler(), last)
    pipeline.fit(load_iris().data)
    display = LearningCurveDisplay.from_estimator(pipeline, terms=())
    assert len(display.axes_) == 1
    assert display.best_epoch == pipeline[-1].best_epoch_


def test_what_was_not_validated_has_no_curve():
    history = [
        {"epoch": i, "train_loss": 1 / i, "validation_loss": None} for i in (1, 2)
    ]
    assert list(LearningCurveDisplay(history).plot().lines_) == ["train_loss"]


def test_the_first_epochs_do_not_set_the_scale():
    losses = [1e6, *np.linspace(3.0, 1.0, 29)]
    history = [
        {"epoch": i + 1, "train_loss": loss, "validation_loss": None}
        for i, loss in enumerate(losses)
    ]
    ax = LearningCurveDisplay(history).plot().axes_[0]
    low, high = ax.get_ylim()
    assert 0.8 < low < 1.0
    assert 2.8 < high < 3.2
    assert ax.get_xlabel() == "epoch (y axis fits epochs from 4 on)"


def test_what_lies_below_is_told_and_what_is_not_cut_is_not():
    epochs = range(11, 31)
    terms = [-50.0, 0.5, *np.linspace(1.0, 3.0, 18)]
    history = [
        {"epoch": i, "train_loss": 1.0 + i % 2, "train_kl": term}
        for i, term in zip(epochs, terms, strict=True)
    ]
    axes = LearningCurveDisplay(history).plot().axes_
    assert [ax.get_xlabel() for ax in axes] == [
        "epoch",
        "epoch (y axis fits epochs from 13 on)",
    ]


def test_all_of_a_few_epochs_is_shown(vae):
    for ax in LearningCurveDisplay.from_estimator(vae).axes_:
        assert ax.get_xlabel() == "epoch"


def test_what_has_no_history_or_no_such_term_is_refused(vae):
    pca = PCAEmbedder(1).fit(load_iris().data)
    with pytest.raises(ValueError, match="This PCAEmbedder has no history_"):
        LearningCurveDisplay.from_estimator(pca)
    with pytest.raises(ValueError, match=r"terms must be some of \['reconstruction'"):
        LearningCurveDisplay.from_estimator(vae, terms=["klee"])
    with pytest.raises(ValueError, match="axes must be 2"):
        LearningCurveDisplay.from_estimator(vae, terms=["kl"], axes=plt.gca())
