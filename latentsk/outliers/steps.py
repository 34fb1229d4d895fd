"""The steps of an embedder: what prepares rows, and what embeds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import _num_samples


def split_steps(embedder: Any) -> tuple[Pipeline | None, Any]:
    """Return what prepares rows, if anything does, and what embeds them.

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
    if not isinstance(embedder, Pipeline):
        return None, embedder
    last = embedder.steps[-1][1]
    tail = FunctionTransformer() if last in (None, "passthrough") else last
    return (embedder[:-1] if len(embedder.steps) > 1 else None), tail


def joined(like: Any, head: Pipeline | None, tail: Any) -> Any:
    """Put fitted steps together to an embedder like the one they were split from."""
    if not isinstance(like, Pipeline):
        return tail
    name = like.steps[-1][0]
    whole = clone(like)
    whole.steps = [*(head.steps if head is not None else ()), (name, tail)]
    return whole


def prepared(head: Pipeline | None, X: Any) -> Any:
    """Return rows as they enter the embedder's last step."""
    return X if head is None else head.transform(X)


def seeded(embedder: Any, generator: np.random.Generator) -> Any:
    """Set every `random_state` that is None, as scikit-learn's ensembles do."""
    seeds = {
        name: int(generator.integers(2**31))
        for name, value in sorted(embedder.get_params().items())
        if name.split("__")[-1] == "random_state" and value is None
    }
    return embedder.set_params(**seeds) if seeds else embedder


def fitted_to_some(embedder: Any, rows: Any, n_rows: int) -> Any:
    """Return a clone that is fitted to some of the rows."""
    try:
        return clone(embedder).fit(rows)
    except ValueError as error:
        if _num_samples(rows) == n_rows:
            raise
        raise ValueError(
            f"The embedder cannot be fitted to the {_num_samples(rows)} rows nearest "
            f"the centre ({error}). Lower its n_components, or set assume_clean=True."
        ) from error


def names_out(head: Pipeline, names: Any) -> list[str] | None:
    """Return the names of prepared features, or None where a step does not say."""
    try:
        return list(head.get_feature_names_out(names))
    except (AttributeError, ValueError):
        return None


def undone(head: Pipeline, features: NDArray[Any]) -> NDArray[Any]:
    """Take prepared features back to what they were, as far as the steps can.

    A step that has no inverse (an imputer, say) is passed over.
    """
    for _, step in reversed(head.steps):
        try:
            # A reconstruction can lie where a step has no inverse: NaN, then.
            with np.errstate(all="ignore"):
                features = step.inverse_transform(features)
        except (AttributeError, ValueError):
            continue
    return np.asarray(features)


def is_undone(head: Pipeline, X: Any, features: NDArray[Any]) -> bool:
    """Tell whether `undone` returns the rows, where these are known.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer, StandardScaler
    >>> X = np.array([[0.0, 100.0], [3.0, np.nan]])
    >>> for step in StandardScaler(), FunctionTransformer(np.arcsinh):
    ...     head = make_pipeline(step).fit(X)
    ...     is_undone(head, X, head.transform(X))
    True
    False
    """
    try:
        rows = np.asarray(X, np.float64)
    except (TypeError, ValueError):
        return False
    found = undone(head, features)
    known = np.isfinite(rows)
    return found.shape == rows.shape and np.allclose(found[known], rows[known])
