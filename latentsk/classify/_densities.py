"""The density of a class: which estimators have one, and how it is fitted."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_outlier_detector
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._remedies import listed
from latentsk._threshold import score_name
from latentsk._typing import Float64, Positions
from latentsk._warnings import warn
from latentsk.classify._bayes import LARGEST, bounded
from latentsk.classify._constants import deviations, needs_scale, with_noise
from latentsk.embedders._base import BaseEmbedder
from latentsk.outliers._magnitudes import measure_where_small
from latentsk.outliers._steps import seeded
from latentsk.vae._table import is_binary, learned_layout, tells_columns_apart

_OTHERS = (
    "Take a PCAEmbedder, a VAEEmbedder, or scikit-learn's GaussianMixture or "
    "KernelDensity."
)


def require_density(estimator: Any) -> None:
    """Refuse an estimator whose scores are no log-densities in the units of the rows.

    Bayes' rule compares the densities of a row in several classes: they have to be
    densities, and of the same thing. Of estimators that this package does not know,
    `score_samples` is taken for a log-density.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from sklearn.mixture import GaussianMixture
    >>> require_density(GaussianMixture())
    >>> require_density(IsolationForest())
    Traceback (most recent call last):
    ...
    ValueError: estimator must have a log-density as its score_samples, ...
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator must be an instance, got the class {estimator.__name__}."
        )
    if isinstance(estimator, FrozenEstimator):
        raise ValueError(
            "estimator is fitted once for each class, and a FrozenEstimator is fitted "
            "already. Give what it holds: estimator.estimator."
        )
    if isinstance(estimator, Pipeline):
        _require_one_step(estimator)
        require_density(estimator.steps[-1][1])
    elif isinstance(estimator, BaseEmbedder):
        _require_likelihood(estimator)
    elif isinstance(estimator, BaseSearchCV):
        require_density(estimator.estimator)
    elif is_outlier_detector(estimator):
        raise _no_density(f"and {type(estimator).__name__} has a score without units")


def _require_one_step(pipeline: Pipeline) -> None:
    """Refuse steps that make other features of each class."""
    before = [step for _, step in pipeline.steps[:-1]]
    if all(step is None or step == "passthrough" for step in before):
        return
    names = ", ".join(type(step).__name__ for step in before)
    raise ValueError(
        f"estimator must be a density without steps before it, got a Pipeline with "
        f"{names}: each class would have steps of its own, and its density would be "
        "that of other features, in other units, which cannot be compared. Put them "
        "before the classifier: make_pipeline(*pipeline[:-1], "
        "GenerativeClassifier(pipeline[-1]))."
    )


def _require_likelihood(embedder: BaseEmbedder) -> None:
    known, name = embedder._log_density_scores, score_name(embedder)
    if name in known:
        return
    kind = type(embedder).__name__
    if not known:
        raise _no_density(f"and {kind} has a reconstruction error")
    if getattr(embedder, "score_window", None) is not None:
        raise _no_density(f"and {name} is one part of it", "Set score_window=None.")
    raise _no_density(
        f"got {kind} with score_method={name!r}", f"Set score_method={known[0]!r}."
    )


def _no_density(reason: str, remedy: str = _OTHERS) -> ValueError:
    return ValueError(
        f"estimator must have a log-density as its score_samples, {reason}. {remedy}"
    )


def resolved(estimator: Any, X: Any) -> Any:
    """Return an unfitted estimator that means the same density for any of the rows.

    ``likelihood="auto"`` looks at the rows: zeros and ones have probabilities, other
    numbers densities. Classes whose own rows differ in that could not be compared.

    Parameters
    ----------
    estimator : estimator

    X : array or table of shape (n_rows, n_columns)
        Rows of all classes.

    Examples
    --------
    >>> from latentsk import VAEEmbedder
    >>> resolved(VAEEmbedder(), np.eye(3)).likelihood
    'bernoulli'
    """
    estimator = clone(estimator)
    likelihood = getattr(estimator, "likelihood", None)
    if not isinstance(estimator, BaseEmbedder) or likelihood is None:
        return estimator
    condition = getattr(estimator, "condition", None)
    if not tells_columns_apart(condition, likelihood):
        if likelihood == "auto" and not _binarizes(estimator):
            rows = np.asarray(X)
            name = "bernoulli" if is_binary(rows) else "gaussian"
            return estimator.set_params(likelihood=name)
        return estimator
    layout = learned_layout(X, condition, likelihood)
    assert layout is not None, "columns are told apart"
    if layout.is_mixed:
        names = {i: layout.columns[i].likelihood for i in layout.modelled}
        return estimator.set_params(likelihood=names)
    if likelihood == "auto" and not _binarizes(estimator):
        modelled = layout.coded(X)[:, : layout.n_modelled]
        name = "bernoulli" if is_binary(modelled) else "gaussian"
        return estimator.set_params(likelihood=name)
    return estimator


def _binarizes(estimator: Any) -> bool:
    return bool(getattr(estimator, "dynamic_binarization", False))


def fitted_densities(
    estimator: Any,
    rows: Any,
    own: Sequence[Positions],
    labels: NDArray[Any],
    generator: np.random.Generator,
) -> list[Any]:
    """Return clones of an estimator, each fitted to the rows of a class.

    Parameters
    ----------
    estimator : estimator
        As `resolved` returns it.

    rows : array or table of n_rows rows

    own : sequence of n_classes ndarrays
        Positions of the rows of each class.

    labels : ndarray of shape (n_classes,)

    generator : numpy.random.Generator

    Raises
    ------
    ValueError
        What a fit raises, with the class.

    Warns
    -----
    Warning
        What fits warn of, once for all classes that it is said of.
    """
    deviation = None
    if isinstance(rows, np.ndarray) and needs_scale(estimator):
        deviation = deviations(rows[np.concatenate(own)])
    fitted = []
    told: list[tuple[Any, warnings.WarningMessage]] = []
    for places, label in zip(own, labels.tolist(), strict=True):
        some = _safe_indexing(rows, places)
        if deviation is not None:
            some = with_noise(some, deviation, generator)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted.append(_fitted(seeded(clone(estimator), generator), some, label))
        told.extend((label, warning) for warning in caught)
    _warn_of_classes(told)
    return fitted


def _fitted(density: Any, rows: Any, label: Any) -> Any:
    try:
        return density.fit(rows)
    except ValueError as error:
        raise ValueError(
            f"{type(density).__name__} cannot be fitted to the {_num_samples(rows)} "
            f"row(s) of class {label!r}: {error}"
        ) from error


def _warn_of_classes(told: Sequence[tuple[Any, warnings.WarningMessage]]) -> None:
    """Warn once of what differs between classes by numbers alone, with the classes."""
    alike: dict[Any, list[Any]] = {}
    shown: dict[Any, str] = {}
    for label, warning in told:
        text = str(warning.message)
        key = warning.category, re.sub(r"\d+(\.\d+)?", "", text)
        shown.setdefault(key, text)
        if label not in alike.setdefault(key, []):
            alike[key].append(label)
    for key, labels in alike.items():
        others = f", and the like of {listed(labels[1:])}" if labels[1:] else ""
        which = f"(Said of the density of class {labels[0]!r}{others}.)"
        warn(f"{shown[key]} {which}", key[0])


def class_log_densities(densities: Sequence[Any], X: Any) -> Float64:
    """Return the log-density of each row in each class, as finite numbers.

    Parameters
    ----------
    densities : sequence of fitted estimators

    X : array-like of n_rows rows
        Those with a magnitude above 1e100 have the lowest number.

    Returns
    -------
    log_densities : ndarray of shape (n_rows, n_classes)
    """

    def measure(rows: Any) -> Float64:
        found = [np.asarray(d.score_samples(rows), np.float64) for d in densities]
        return bounded(np.column_stack(found))

    with np.errstate(over="ignore", invalid="ignore"):
        return measure_where_small(X, measure, np.full(len(densities), -LARGEST))
