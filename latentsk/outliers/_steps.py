"""The steps of an embedder: the preprocessor, and what embeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import _num_samples

from latentsk._columns import n_columns

# What an embedder ends with whose latents stand for the rows; no name of a user's.
LATENTS = "latents alone"


def split_steps(embedder: Any) -> tuple[Pipeline | None, Any]:
    """Return the preprocessor, None if there is none, and the step that embeds.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> split_steps(make_pipeline(StandardScaler(), PCA()))
    (Pipeline(steps=[('standardscaler', StandardScaler())]), PCA())
    >>> split_steps(PCA())
    (None, PCA())
    """
    if isinstance(embedder, FrozenEstimator) and isinstance(
        embedder.estimator, Pipeline
    ):
        embedder = embedder.estimator
    if not isinstance(embedder, Pipeline):
        return None, embedder
    last = embedder.steps[-1][1]
    if last in (None, "passthrough"):
        last = FunctionTransformer()
    return (embedder[:-1] if len(embedder.steps) > 1 else None), last


def last_step(preprocessor: Pipeline | None) -> Any:
    """Return the last step of a preprocessor; None if there is none."""
    return None if preprocessor is None else preprocessor.steps[-1][1]


def join_steps(like: Any, preprocessor: Pipeline | None, embedder: Any) -> Any:
    """Return fitted steps as an embedder of the form that they were split from."""
    if not isinstance(like, Pipeline):
        return embedder
    name = like.steps[-1][0]
    whole = clone(like)
    steps = preprocessor.steps if preprocessor is not None else ()
    whole.steps = [*steps, (name, embedder)]
    return whole


def preprocess(preprocessor: Pipeline | None, X: Any) -> Any:
    """Return rows as they enter the step that embeds.

    Raises
    ------
    ValueError
        If there are not as many as before.
    """
    if preprocessor is None:
        return X.tocsr() if issparse(X) else X
    prepared = preprocessor.transform(X)
    if (n_rows := _num_samples(prepared)) != _num_samples(X):
        raise ValueError(
            f"The steps before the embedder returned {n_rows} rows for "
            f"{_num_samples(X)}. What makes other rows of them, as SlidingWindows "
            "does, comes before the detector: detector.fit(windows.fit_transform(X))."
        )
    return prepared.tocsr() if issparse(prepared) else prepared


def with_latents_alone(embedder: Any) -> Pipeline:
    """Return a fitted embedder as a preprocessor, whose output is left as it is.

    For rows that only the embedder can read: texts, or wide sparse matrices. Nothing is
    known of them but their latents, which stand for the features, too.

    Examples
    --------
    >>> from sklearn.decomposition import TruncatedSVD
    >>> split_steps(with_latents_alone(TruncatedSVD(2)))
    (Pipeline(steps=[('embedder', TruncatedSVD())]), FunctionTransformer())
    """
    return Pipeline([("embedder", embedder), (LATENTS, "passthrough")])


def has_latents_alone(embedder: Any) -> bool:
    """Tell whether an embedder was made by `with_latents_alone`."""
    return isinstance(embedder, Pipeline) and embedder.steps[-1][0] == LATENTS


def as_given(embedder: Any) -> Any:
    """Return the embedder that `with_latents_alone` was given; others as they are."""
    return embedder.steps[0][1] if has_latents_alone(embedder) else embedder


def seeded(embedder: Any, generator: np.random.Generator) -> Any:
    """Set every `random_state` that is None, as scikit-learn's ensembles do."""
    seeds = {
        name: int(generator.integers(2**31))
        for name, value in sorted(embedder.get_params().items())
        if name.split("__")[-1] == "random_state" and value is None
    }
    return embedder.set_params(**seeds) if seeds else embedder


def fit_on_support(embedder: Any, rows: Any, n_rows: int) -> Any:
    """Return a clone that is fitted to some of `n_rows` rows."""
    try:
        return clone(embedder).fit(rows)
    except ValueError as error:
        if _num_samples(rows) == n_rows or not _is_about_rows(error, rows):
            raise
        raise ValueError(
            f"The embedder cannot be fitted to the {_num_samples(rows)} rows nearest "
            f"the centre ({error}). Lower its n_components, or set assume_clean=True."
        ) from error


def _is_about_rows(error: ValueError, rows: Any) -> bool:
    """Tell whether more rows could help, as far as an embedder says."""
    columns_are_fewer = n_columns(rows) < _num_samples(rows)
    about_both = "n_features" in str(error)
    return "sample" in str(error) and not (about_both and columns_are_fewer)
