"""A fitted embedder as a view of rows, and the way back to their columns."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from latentsk._columns import n_columns
from latentsk._typing import Float64, Positions
from latentsk.embedders import PCAEmbedder
from latentsk.outliers._latent_rows import LatentRows, latent_rows
from latentsk.outliers._magnitudes import clip_where_finite
from latentsk.outliers._steps import (
    as_given,
    has_latents_alone,
    last_step,
    preprocess,
    split_steps,
)
from latentsk.outliers._unknown import unknown_cells
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import (
    flag,
    floats,
    instance,
    integers,
    list_of,
    text,
)
from latentsk.preprocessing._robust_standardizer import RobustStandardizer


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
    sources : ndarray of shape (n_features,), dtype intp
        Position, among the names, of what each feature that enters the step that embeds
        belongs to: an indicator of a code to its column.
    """

    embedder: Annotated[Any, instance(object, "transform")]
    scale: Annotated[Float64, floats("features", least=5e-324)]
    feature_names: Annotated[list[str], list_of(text(), "names")]
    has_original_features: Annotated[bool, flag()]
    sources: Annotated[Positions, integers("features", below="names")]

    @property
    def given(self) -> Any:
        """The embedder as it was given, or a clone of that."""
        return as_given(self.embedder)

    @property
    def last_step(self) -> Any:
        """The step that embeds."""
        return split_steps(self.given)[1]

    def codes(self, names: Any) -> dict[str, Float64]:
        """Return the codes of the columns of X, where the first step knows some."""
        first = self._first_step
        if not isinstance(first, RobustStandardizer):
            return {}
        known_as, called = (
            first.get_feature_names_out(),
            first.get_feature_names_out(names),
        )
        columns = dict(zip(known_as, called, strict=True))
        return {str(columns[name]): codes for name, codes in first.codes_.items()}

    def is_code(self, X: Any) -> NDArray[np.bool_]:
        """Tell which cells of X are codes, by the first step."""
        is_code: NDArray[np.bool_] = self._first_step.is_code(X)
        return is_code

    @property
    def _first_step(self) -> Any:
        preprocessor, _ = split_steps(self.embedder)
        return None if preprocessor is None else preprocessor.steps[0][1]

    def rows(self, X: Any) -> LatentRows:
        """Return rows on both sides of the embedder."""
        preprocessor, last = split_steps(self.embedder)
        prepared = clip_where_finite(preprocess(preprocessor, X), X)
        return latent_rows(last, prepared, self.scale, ensure_finite=False)

    def unknown(self, features: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Tell which features stand for a code; None where none does."""
        preprocessor, last = split_steps(self.embedder)
        if not isinstance(last, PCAEmbedder):
            return None
        return unknown_cells(last_step(preprocessor), features)

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

    def by_name(self, contributions: Float64) -> Float64:
        """Add up what features contribute by the names that they belong to."""
        summed = np.zeros((len(contributions), len(self.feature_names)))
        np.add.at(summed.T, self.sources, contributions.T)
        return summed

    def named(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return features in the units of X where they are its columns, else as are."""
        if self.has_original_features:
            return self.original(features)
        return features[:, : len(self.feature_names)]

    def original(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return features in the units of X, if they are its columns."""
        preprocessor, _ = split_steps(self.embedder)
        if preprocessor is None or not self.has_original_features:
            return np.asarray(features)
        return inverse_preprocess(preprocessor, features)


def view_of(
    embedder: Any, X: Any, chosen: Positions, rows: LatentRows, names: Any
) -> LatentView:
    """Learn the units and the names of the features of an embedder.

    Parameters
    ----------
    embedder : fitted transformer

    X : array-like of shape (n_rows, n_columns)
        Training rows.

    chosen : ndarray, dtype intp
        Positions of some of them.

    rows : LatentRows
        These rows as the embedder shows them.

    names : array-like of shape (n_columns,) or None
        Names of the columns of X, if they have any.

    Returns
    -------
    view : LatentView
    """
    preprocessor, _ = split_steps(embedder)
    columns = _numbered(n_columns(X)) if names is None else [str(n) for n in names]
    prepared = columns if preprocessor is None else names_out(preprocessor, names)
    sources = source_columns(preprocessor, len(rows.scale))
    feature_names = (prepared or _numbered(len(rows.scale)))[: sources.max() + 1]
    is_original = preprocessor is None or (
        feature_names == columns
        and is_inverted(preprocessor, _safe_indexing(X, chosen), rows.features)
    )
    return LatentView(embedder, rows.scale, feature_names, is_original, sources)


def source_columns(preprocessor: Pipeline | None, n_features: int) -> Positions:
    """Return the position of the column that each preprocessed feature belongs to.

    Indicators, which a RobustStandardizer as last step appends, belong to the columns
    of their codes; all else to itself.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.arange(20.0).reshape(10, 2)
    >>> X[:2, 0] = -999
    >>> preprocessor = make_pipeline(RobustStandardizer()).fit(X)
    >>> source_columns(preprocessor, 3)
    array([0, 1, 0])
    """
    last = last_step(preprocessor)
    if not isinstance(last, RobustStandardizer):
        return np.arange(n_features)
    return np.concatenate([np.arange(last.n_features_in_), last.code_columns])


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
