"""Rows as a fitted embedder sees them: coordinates within, residuals outside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_array

from latentsk._device import on_host

Float64 = NDArray[np.float64]
FLOATS = [np.float64, np.float32]


class Coordinates(NamedTuple):
    """Rows on both sides of an embedder.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features)
        What enters the embedder: for a Pipeline, its last step.
    latents : ndarray of shape (n_rows, n_components)
    residuals : ndarray of shape (n_rows, n_features) or None
        What the embedder does not reconstruct, in standard deviations of each feature;
        None where it has no `inverse_transform`.
    scale : ndarray of shape (n_features,)
        These standard deviations.
    """

    features: NDArray[Any]
    latents: NDArray[Any]
    residuals: Float64 | None
    scale: NDArray[Any]

    def at(self, rows: NDArray[np.intp]) -> Coordinates:
        """Return some of the rows."""
        residuals = None if self.residuals is None else self.residuals[rows]
        return Coordinates(
            self.features[rows], self.latents[rows], residuals, self.scale
        )


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


def numeric(rows: Any) -> NDArray[Any]:
    """Return prepared rows as a dense array of finite floats."""
    try:
        return check_array(on_host(rows), dtype=FLOATS, input_name="X")
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(
            f"What enters the embedder must be numbers: {error}. Encode text before, "
            "with a ColumnTransformer as an earlier step of a Pipeline."
        ) from error


def coordinates(tail: Any, rows: Any, scale: NDArray[Any]) -> Coordinates:
    """Embed prepared rows.

    Parameters
    ----------
    tail : transformer
        Fitted.

    rows : array-like of shape (n_rows, n_features)

    scale : ndarray of shape (n_features,)
        Standard deviations that residuals are measured in.

    Returns
    -------
    coordinates : Coordinates

    Raises
    ------
    ValueError
        If the embedder returns something else than finite numbers, or reconstructions
        of another shape than the rows.
    """
    features = numeric(rows)
    latents = check_array(
        on_host(tail.transform(rows)),
        dtype=FLOATS,
        input_name="the embedder's output",
    )
    if len(latents) != len(features):
        raise ValueError(
            f"The embedder returned {len(latents)} vectors for {len(features)} rows."
        )
    found = decoded(tail, latents)
    if found is None:
        return Coordinates(features, latents, None, scale)
    if found.shape != features.shape:
        raise ValueError(
            f"The embedder reconstructed rows of shape {found.shape} from rows of "
            f"shape {features.shape}."
        )
    residuals = (features.astype(np.float64) - found) / scale
    return Coordinates(features, latents, residuals, scale)


def decoded(tail: Any, latents: NDArray[Any]) -> NDArray[Any] | None:
    """Return what latents stand for, or None where an embedder cannot say."""
    if isinstance(tail, FunctionTransformer) and tail.inverse_func is None:
        # It would return the latents as they are, which only the identity may.
        return numeric(latents) if tail.func is None else None
    try:
        rows = tail.inverse_transform(latents)
    except (AttributeError, NotImplementedError):
        # Not there, or not learned: scikit-learn's NotFittedError is one of these.
        return None
    return numeric(rows)


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


def row_keys(X: Any) -> NDArray[np.uint64]:
    """Return a number for each row, the same for equal rows alone (almost surely).

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)

    Returns
    -------
    keys : ndarray of shape (n_rows,), dtype uint64
        Two of a billion pairs of different rows share one with probability 5e-11.

    Examples
    --------
    >>> keys = row_keys([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])
    >>> keys[0] == keys[1], keys[0] == keys[2]
    (np.True_, np.False_)
    """
    table = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(on_host(X)))
    columns = {i: _normal_form(column) for i, (_, column) in enumerate(table.items())}
    keys = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False)
    return np.asarray(keys, np.uint64)


def _normal_form(column: pd.Series) -> pd.Series:
    """Give equal numbers one type, and zero one sign."""
    try:
        return column.astype(np.float64) + 0.0
    except (TypeError, ValueError):
        return column
