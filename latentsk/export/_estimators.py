"""The outputs of fitted estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from latentsk._threshold import score_name
from latentsk.classify import GenerativeClassifier
from latentsk.embedders._base import BaseEmbedder
from latentsk.export._classifier import ClassifierOutputs
from latentsk.export._decisions import Decisions
from latentsk.export._detector import DistancesGraph, ScoreGraph
from latentsk.export._embedders import embed
from latentsk.export._modules import chain, is_invertible
from latentsk.export._outputs import DetectorOutputs, EmbedderOutputs, TransformOutputs
from latentsk.export._registry import cannot_export, stage_of
from latentsk.export._sources import Source, Stage, as_numbers
from latentsk.outliers import LatentOutlierDetector, PyODAdapter
from latentsk.outliers._latent_rows import decode, reads_tables
from latentsk.outliers._steps import split_steps

# Methods of an embedder that need no score.
UNSCORED = {"transform", "reconstruct"}


def outputs_of(estimator: Any, source: Source, methods: Sequence[str] | None) -> Any:
    """Return the module of an estimator, from a source to its results.

    Parameters
    ----------
    estimator : fitted estimator

    source : Source

    methods : sequence of str or None
        Those asked for; None for all.

    Returns
    -------
    outputs : nn.Module
        With the attribute `methods`, the names of what it returns.
    """
    prepare = Stage(nn.Identity(), source)
    while isinstance(estimator, Pipeline | FrozenEstimator):
        before, estimator = _opened(estimator)
        if before is not None:
            prepare = _then(prepare, before)
    if isinstance(estimator, LatentOutlierDetector):
        return _detector(estimator, prepare)
    if isinstance(estimator, BaseEmbedder):
        return _embedder(estimator, prepare, methods)
    if isinstance(estimator, GenerativeClassifier):
        return _classifier(estimator, prepare)
    if isinstance(estimator, PyODAdapter):
        raise cannot_export(
            estimator,
            "its scores are those of its detector, with the sign turned",
            "Export that: to_onnx(adapter.detector_, path).",
        )
    stage = _then(prepare, estimator)
    return TransformOutputs(chain(stage.module, as_numbers(stage.source).module))


def _then(stage: Stage, step: Any) -> Stage:
    following = stage_of(step, stage.source)
    return Stage(chain(stage.module, following.module), following.source)


def _embedder(
    estimator: Any, prepare: Stage, methods: Sequence[str] | None
) -> nn.Module:
    estimator._validate_params()  # score_method may have been set since the fit
    is_scored = methods is None or not set(methods) <= UNSCORED
    numbers = as_numbers(prepare.source)
    needed = ("score_samples",) if is_scored else ("transform",)
    return EmbedderOutputs(
        chain(prepare.module, numbers.module),
        embed(estimator, numbers.source, needed).module,
        Decisions(offset_of(estimator)) if is_scored else None,
    )


def final_of(estimator: Any) -> Any:
    """Return the estimator that a Pipeline ends with; others as they are."""
    while isinstance(estimator, Pipeline | FrozenEstimator):
        _, estimator = _opened(estimator)
    return estimator


def _opened(estimator: Any) -> tuple[Pipeline | None, Any]:
    """Return what comes first in an estimator that holds another, and that."""
    if isinstance(estimator, FrozenEstimator):
        return None, estimator.estimator
    return split_steps(estimator)


def offset_of(estimator: Any) -> float | None:
    """Return the threshold, None where `predict` would not work."""
    if not hasattr(estimator, "offset_"):
        return None
    is_placed = estimator._offset_score_method == score_name(estimator)
    return float(estimator.offset_) if is_placed else None


def _detector(detector: Any, prepare: Stage) -> nn.Module:
    detector._require_scorable()
    detector._require_contamination()
    preprocessor, last = split_steps(detector._view.embedder)
    if reads_tables(last):
        raise cannot_export(
            last,
            "the detector measures its rows by reconstructions that need columns of "
            "the table besides",
            "Export the embedder alone, by its method to_onnx.",
        )
    stage = Stage(nn.Identity(), prepare.source)
    if preprocessor is not None:
        stage = _then(stage, preprocessor)
    numbers = as_numbers(stage.source)
    stage = Stage(chain(stage.module, numbers.module), numbers.source)
    embedder = stage_of(last, stage.source).module
    _require_inverse(last, embedder, detector)
    score: nn.Module
    if detector.method == "embedder_score":
        _, scorer = split_steps(detector._view.given)
        score = score_of(scorer, stage.source)
    else:
        score = ScoreGraph(detector.method, detector._scale)
    calibration = getattr(detector, "calibration_scores_", None)
    return DetectorOutputs(
        prepare.module,
        stage.module,
        DistancesGraph(embedder, detector),
        score,
        Decisions(offset_of(detector), calibration),
    )


def _classifier(classifier: GenerativeClassifier, prepare: Stage) -> nn.Module:
    classifier._validate_params()
    if any(reads_tables(density) for density in classifier.estimators_):
        raise cannot_export(
            classifier,
            "each class codes the columns of a table by itself",
            "Encode them before, and give the classifier numbers.",
        )
    numbers = as_numbers(prepare.source)
    return ClassifierOutputs(
        chain(prepare.module, numbers.module),
        [score_of(density, numbers.source) for density in classifier.estimators_],
        classifier,
    )


class ScoreOf(nn.Module):
    """The score of a module that embeds."""

    def __init__(self, embedder: nn.Module) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, rows: Tensor) -> Tensor:
        """Return the score of each row."""
        scores: Tensor = self.embedder.score(rows)  # type: ignore[operator]
        return scores


def _require_inverse(last: Any, embedder: nn.Module, detector: Any) -> None:
    """Refuse a step whose reconstructions count, and cannot be exported."""
    if is_invertible(embedder):
        return
    centre = np.asarray(detector._gaussian.centre)[None]
    if isinstance(embedder, nn.Identity) or decode(last, centre) is None:
        return
    raise cannot_export(
        last,
        "what it leaves out is part of the score, and its inverse_transform cannot be "
        "exported",
    )


def score_of(step: Any, source: Source) -> nn.Module:
    """Return the module of the scores of an embedder."""
    if isinstance(step, FrozenEstimator):
        return score_of(step.estimator, source)
    if isinstance(step, Pipeline):
        before, last = split_steps(step)
        if before is None:
            return score_of(last, source)
        stage = stage_of(before, source)
        return chain(stage.module, score_of(last, stage.source))
    if isinstance(step, BaseEmbedder):
        return ScoreOf(embed(step, source, ("score_samples",)).module)
    module = stage_of(step, source).module
    if not hasattr(module, "score"):
        raise cannot_export(step, "its score_samples has no counterpart")
    return ScoreOf(module)
