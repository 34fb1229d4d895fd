"""The fitted models that a page shows, by what they have in public."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from latentsk._device import array_to_numpy
from latentsk._typing import Float64
from latentsk.index import LatentIndex
from latentsk.index._embedding import check_embedder, embed, fitted_embedder
from latentsk.index._vectors import as_matrix
from latentsk.outliers import LatentOutlierDetector

# Above so many rows, a search that finds most neighbours replaces an exact one.
MOST_EXACT_ROWS = 20_000


@dataclass(frozen=True)
class Models:
    """What a page shows.

    Attributes
    ----------
    embedder : fitted transformer or None
        None: rows are vectors, which are the latent space themselves.

    scorer : fitted object or None
        What scores rows: the detector, or the embedder where that does.

    index : LatentIndex or None
        That of the user. None: there is none.
    """

    embedder: Any
    scorer: Any
    index: Any


def resolve(
    X: Any, embedder: Any, detector: Any, index: Any, random_state: Any
) -> Models:
    """Return fitted models: those given, clones that are fitted to X, or a detector.

    Raises
    ------
    ValueError
        If there is no embedder to show.
    """
    if detector is None and embedder is None and index is None:
        detector = LatentOutlierDetector(random_state=random_state)
    if detector is not None:
        detector = _fitted_detector(detector, X)
    if embedder is None:
        embedder = getattr(detector, "embedder_", None)
    if embedder is None:
        embedder = getattr(index, "embedder_", None)
    if embedder is None and index is not None:
        return Models(None, detector, index)
    if embedder is None:
        raise ValueError(
            f"{type(detector).__name__} has no embedder_, so there is no latent space "
            "to show. Pass embedder=..., such as PCAEmbedder()."
        )
    check_embedder(embedder)
    embedder = fitted_embedder(embedder, X, None)
    scorer = detector
    if detector is None and hasattr(embedder, "score_samples"):
        scorer = embedder
    return Models(embedder, scorer, index)


def _fitted_detector(detector: Any, X: Any) -> Any:
    if not any(hasattr(detector, n) for n in ("score_samples", "decision_function")):
        raise TypeError(
            "detector must have score_samples, such as LatentOutlierDetector, got "
            f"{detector!r:.200}."
        )
    return fitted_embedder(detector, X, None)


def check_index(index: Any, n_rows: int) -> None:
    """Refuse an index of other rows.

    Raises
    ------
    ValueError
    """
    active = getattr(index, "active_", np.ones(n_rows, bool))
    if len(active) != n_rows or not active.all():
        raise ValueError(
            f"index must hold the {n_rows} rows of X, in their order, got an index of "
            f"{int(np.sum(active))} rows. Fit it to X: index.fit(X). Or leave it out: "
            "neighbours are then found among the rows of X."
        )


def latents_of(models: Models, X: Any) -> Float64:
    """Return latent vectors, checked: of an index without an embedder, X itself.

    Raises
    ------
    ValueError
        If X does not hold the vectors of such an index.
    """
    embedder = models.embedder
    if embedder is None:
        embedder = FunctionTransformer()  # which returns them as they are
        width, shape = models.index.n_features_in_, np.shape(as_matrix(X))
        if len(shape) != 2 or shape[1] != width:
            raise ValueError(
                "The index has no embedder, so X must be the vectors that it was "
                f"fitted to, of shape (n_samples, {width}), got {type(X).__name__} "
                f"of shape {shape}. "
                "Pass these as X, and what they stand for as images or metadata; or "
                "pass embedder=..."
            )
    return np.asarray(embed(embedder, entering(embedder, X)), np.float64)


def entering(embedder: Any, X: Any) -> Any:
    """Return rows as an embedder was fitted to them: without names if it knows none.

    A detector hands the numbers of a table to its embedder.
    """
    if not isinstance(X, pd.DataFrame) or hasattr(embedder, "feature_names_in_"):
        return X
    are_numbers = all(pd.api.types.is_numeric_dtype(kind) for kind in X.dtypes)
    knows_columns = hasattr(embedder, "n_features_in_")
    return X.to_numpy() if are_numbers and knows_columns else X


def neighbors_index(models: Models, latents: Float64) -> Any:
    """Return the index of the user, or one of the latent vectors."""
    if models.index is not None:
        return models.index
    index = LatentIndex()
    if len(latents) > MOST_EXACT_ROWS:
        try:
            return LatentIndex(target_recall=0.95).fit(latents)
        except ImportError:  # no FAISS
            pass
    return index.fit(latents)


def last_step(model: Any) -> Any:
    """Return the last step of a Pipeline, or the model itself.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> last_step(make_pipeline(StandardScaler()))
    StandardScaler()
    """
    return model.steps[-1][1] if isinstance(model, Pipeline) else model


@dataclass(frozen=True)
class Scores:
    """Scores of rows, and what decisions rest on.

    Attributes
    ----------
    values : ndarray of shape (n_rows,)
        Higher = more normal.

    threshold : float or None
        Scores below it are those of outliers.

    calibration : ndarray of shape (n_calibration,) or None
        Scores of the rows given to `calibrate`, ascending.
    """

    values: Float64
    threshold: float | None
    calibration: Float64 | None


def scores_of(scorer: Any, X: Any) -> Scores | None:
    """Return the scores of rows, by a detector or an embedder; None without one.

    A detector that has no `score_samples` has PyOD's signs: its `decision_function` is
    high for outliers, above its `threshold_`.
    """
    if scorer is None:
        return None
    sign, name = 1.0, "offset_"
    if hasattr(scorer, "score_samples"):
        values = array_to_numpy(scorer.score_samples(X))
    else:
        values = array_to_numpy(scorer.decision_function(X))
        is_pyod = hasattr(scorer, "threshold_")
        sign, name = (-1.0, "threshold_") if is_pyod else (1.0, "")
    largest = np.finfo(np.float64).max
    values = np.nan_to_num(sign * values.ravel(), nan=-largest)
    threshold = _number(getattr(last_step(scorer), name, None)) if name else 0.0
    calibration = getattr(last_step(scorer), "calibration_scores_", None)
    return Scores(
        np.clip(values, -largest, largest),
        None if threshold is None else sign * threshold,
        None if calibration is None else np.sort(array_to_numpy(calibration)),
    )


def _number(value: Any) -> float | None:
    if value is None:
        return None
    array: NDArray[Any] = np.asarray(value, np.float64)
    is_number = array.size == 1 and bool(np.isfinite(array).all())
    return float(array.item()) if is_number else None


def p_values_of(scorer: Any, X: Any, scores: Scores | None) -> Float64 | None:
    """Return p-values where calibration scores are not there to compute them from."""
    if scores is None or scores.calibration is not None:
        return None
    if not hasattr(scorer, "p_values"):
        return None
    try:
        return np.clip(array_to_numpy(scorer.p_values(X)), 0.0, 1.0)
    except NotFittedError:  # not calibrated
        return None


def described(model: Any) -> str | None:
    """Return what a model is, in a line; None if there is none."""
    if model is None:
        return None
    text = " ".join(repr(model).split())
    return text if len(text) <= 300 else text[:299] + "…"
