"""A fitted embedder as a view of rows, and the way back to their columns."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from latentsk._columns import n_columns
from latentsk._typing import Float64
from latentsk.outliers._latent_rows import LatentRows, latent_rows
from latentsk.outliers._magnitudes import clip_where_finite
from latentsk.outliers._steps import (
    as_given,
    has_latents_alone,
    preprocess,
    split_steps,
)
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import flag, floats, instance, list_of, text


@storable()
class LatentView(NamedTuple):
    """Rows as a fitted embedder shows them.

    Attributes
    ----------
    embedder : fitted transformer
        Ends with a step that does nothing where latents stand for the features.
    scale : ndarray of shape (n_features,)
        Standard deviation of each feature that enters the step that embeds.
    feature_names : list of str
        Names of the features that scores are split among: the columns of X where the
        preprocessor can be inverted, else what it returns.
    has_original_features : bool
        Whether these are the columns of X.
    """

    embedder: Annotated[Any, instance(object, "transform")]
    scale: Annotated[Float64, floats("features", least=5e-324)]
    feature_names: Annotated[list[str], list_of(text(), "features")]
    has_original_features: Annotated[bool, flag()]

    @property
    def given(self) -> Any:
        """The embedder as it was given, or a clone of that."""
        return as_given(self.embedder)

    @property
    def last_step(self) -> Any:
        """The step that embeds."""
        return split_steps(self.given)[1]

    def rows(self, X: Any) -> LatentRows:
        """Return rows on both sides of the embedder."""
        preprocessor, last = split_steps(self.embedder)
        prepared = clip_where_finite(preprocess(preprocessor, X), X)
        return latent_rows(last, prepared, self.scale, ensure_finite=False)

    def embedder_scores(self, X: Any) -> Float64:
        """Return the embedder's own scores of rows."""
        preprocessor, last = split_steps(self.given)
        prepared = clip_where_finite(preprocess(preprocessor, X), X)
        return np.asarray(last.score_samples(prepared), np.float64)

    def require_features(self, what: str) -> None:
        """Refuse what needs the features of rows where there are only their latents.

        Raises
        ------
        ValueError
        """
        if has_latents_alone(self.embedder):
            raise ValueError(
                f"{what} needs features, and what enters the embedder is no table of "
                "numbers, or sparse with many columns. Set method='auto', for which "
                "latents suffice."
            )

    def original(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return features in the units of X, if they are its columns."""
        preprocessor, _ = split_steps(self.embedder)
        if preprocessor is None or not self.has_original_features:
            return np.asarray(features)
        return inverse_preprocess(preprocessor, features)


def view_of(embedder: Any, X: Any, rows: LatentRows, names: Any) -> LatentView:
    """Learn the units and the names of the features of an embedder.

    Parameters
    ----------
    embedder : fitted transformer

    X : array-like of shape (n_rows, n_columns)
        Training rows.

    rows : LatentRows
        The same rows as the embedder shows them.

    names : array-like of shape (n_columns,) or None
        Names of the columns of X, if they have any.

    Returns
    -------
    view : LatentView
    """
    preprocessor, _ = split_steps(embedder)
    columns = _numbered(n_columns(X)) if names is None else [str(n) for n in names]
    prepared = columns if preprocessor is None else names_out(preprocessor, names)
    is_original = preprocessor is None or (
        prepared == columns and is_inverted(preprocessor, X, rows.features)
    )
    feature_names = prepared or _numbered(len(rows.scale))
    return LatentView(embedder, rows.scale, feature_names, is_original)


def _numbered(n_features: int) -> list[str]:
    return [f"x{i}" for i in range(n_features)]


def names_out(preprocessor: Pipeline, names: Any) -> list[str] | None:
    """Return the names of preprocessed features; None where a step has none."""
    try:
        return [str(name) for name in preprocessor.get_feature_names_out(names)]
    except (AttributeError, ValueError):
        return None


def inverse_preprocess(preprocessor: Pipeline, features: NDArray[Any]) -> NDArray[Any]:
    """Return preprocessed features in the units of X, as far as the steps can.

    A step that has no inverse (an imputer, say) is skipped.
    """
    for _, step in reversed(preprocessor.steps):
        try:
            # A reconstruction can lie where a step has no inverse: NaN, then.
            with np.errstate(all="ignore"):
                features = step.inverse_transform(features)
        except (AttributeError, ValueError):
            continue
    return np.asarray(features)


def is_inverted(preprocessor: Pipeline, X: Any, features: NDArray[Any]) -> bool:
    """Tell whether `inverse_preprocess` returns X, where X is not missing.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer, StandardScaler
    >>> X = np.array([[0.0, 100.0], [3.0, np.nan]])
    >>> for step in StandardScaler(), FunctionTransformer(np.arcsinh):
    ...     preprocessor = make_pipeline(step).fit(X)
    ...     is_inverted(preprocessor, X, preprocessor.transform(X))
    True
    False
    """
    try:
        rows = np.asarray(X.toarray() if issparse(X) else X, np.float64)
    except (TypeError, ValueError):
        return False
    inverted = inverse_preprocess(preprocessor, features)
    known = np.isfinite(rows)
    return inverted.shape == rows.shape and np.allclose(inverted[known], rows[known])
