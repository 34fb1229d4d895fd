"""A fitted embedder as a view of rows, and the way back to their columns."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._columns import column_names, n_columns
from latentsk._typing import Float64, Positions
from latentsk.embedders import PCAEmbedder
from latentsk.outliers._latent_rows import LatentRows, have_numbers, latent_rows
from latentsk.outliers._magnitudes import clip_where_finite
from latentsk.outliers._reference_rows import (
    cells_of,
    has_gaps_or_categories,
    reference_rows,
)
from latentsk.outliers._steps import (
    as_given,
    has_latents_alone,
    last_step,
    preprocess,
    split_steps,
)
from latentsk.outliers._unknown import Unknown, unknown_cells
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import (
    booleans,
    flag,
    floats,
    instance,
    integers,
    list_of,
    maybe,
    text,
)
from latentsk.preprocessing._indicators import indicators, standardizers
from latentsk.preprocessing._inverse import inverse_features, inverted_columns
from latentsk.preprocessing._robust_standardizer import RobustStandardizer
from latentsk.preprocessing._sources import feature_sources

# Rows, evenly spaced, that columns are inverted of to see which can be.
CHECKED_ROWS = 512


@storable(optional={"is_inverted": maybe(booleans("names"))})
class LatentView(NamedTuple):
    """Rows as a fitted embedder shows them.

    Attributes
    ----------
    embedder : fitted transformer
        Ends with a step that does nothing where latents stand for the features.
    scale : ndarray of shape (n_features,)
        Standard deviation of each feature that enters the step that embeds.
    feature_names : list of str
        Names of the features that scores are split among: the columns of X where each
        feature comes from one of them, else what the preprocessor returns.
    has_original_features : bool
        Whether these are the columns of X.
    sources : ndarray of shape (n_features,), dtype intp
        Position, among the names, of what each feature that enters the step that embeds
        belongs to: an indicator of a code to its column.
    is_inverted : ndarray of shape (n_names,), dtype bool, or None
        Which columns of X can be told from the features; None if there is nothing
        before the step that embeds.
    """

    embedder: Annotated[Any, instance(object, "transform")]
    scale: Annotated[Float64, floats("features", least=5e-324)]
    feature_names: Annotated[list[str], list_of(text(), "names")]
    has_original_features: Annotated[bool, flag()]
    sources: Annotated[Positions, integers("features", below="names")]
    is_inverted: NDArray[np.bool_] | None = None

    @property
    def given(self) -> Any:
        """The embedder as it was given, or a clone of that."""
        return as_given(self.embedder)

    @property
    def last_step(self) -> Any:
        """The step that embeds."""
        return split_steps(self.given)[1]

    @property
    def preprocessor(self) -> Pipeline | None:
        """What comes before the step that embeds."""
        return split_steps(self.embedder)[0]

    def codes(self, names: Any) -> dict[str, Float64]:
        """Return the codes of the columns of X, where a first step knows some."""
        found = {}
        for standardizer, _, columns in standardizers(self.first_step):
            own = standardizer.get_feature_names_out()
            for name, codes in standardizer.codes_.items():
                column = columns[list(own).index(name)]
                called = f"x{column}" if names is None else str(names[column])
                found[called] = codes
        return found

    def is_code(self, X: Any) -> NDArray[np.bool_]:
        """Tell which cells of X are codes, by the first step."""
        X = np.array(X, dtype=object) if isinstance(X, list) else X
        is_code = np.zeros((_num_samples(X), n_columns(X)), bool)
        for standardizer, _, columns in standardizers(self.first_step):
            some = _safe_indexing(X, columns, axis=1)
            is_code[:, columns] = standardizer.is_code(some)
        return is_code

    @property
    def first_step(self) -> Any:
        """The first step before the step that embeds; None if there is none."""
        preprocessor = self.preprocessor
        return None if preprocessor is None else preprocessor.steps[0][1]

    def rows(self, X: Any) -> LatentRows:
        """Return rows on both sides of the embedder."""
        preprocessor, last = split_steps(self.embedder)
        prepared = clip_where_finite(preprocess(preprocessor, X), X)
        return latent_rows(last, prepared, self.scale, ensure_finite=False)

    def unknown(self, features: NDArray[Any]) -> Unknown | None:
        """Tell which features stand for what is not known; None where none does."""
        preprocessor, last = split_steps(self.embedder)
        if not isinstance(last, PCAEmbedder):
            return None
        return unknown_cells(preprocessor, features)

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

    @property
    def gives_columns_back(self) -> bool:
        """Whether features can be shown as what the names say, all of them."""
        return self.is_inverted is None or bool(self.is_inverted.all())

    def kept_cells(self, X: Any, rows: LatentRows, kept: Positions) -> Any:
        """Return cells of training rows to show beside others.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)

        rows : LatentRows
            These rows.

        kept : ndarray, dtype intp
            Positions of those to be shown.

        Returns
        -------
        cells : DataFrame or None
            None where features tell them.
        """
        if self.has_original_features:
            told = self.gives_columns_back and rows.given is None
            told = told and not has_gaps_or_categories(X)
            return None if told else reference_rows(X, kept)
        if rows.given is None:
            return None
        return reference_rows(rows.given, kept).iloc[:, : len(self.feature_names)]

    def as_known(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return features without the indicators of what is not known."""
        known = features.copy()
        known[:, indicators(self.preprocessor).positions] = 0.0
        return known

    def reconstructed(self, rows: LatentRows, cells: NDArray[Any]) -> NDArray[Any]:
        """Return what is shown of rows as the embedder reconstructs them.

        Parameters
        ----------
        rows : LatentRows
            With residuals.

        cells : ndarray of shape (n_rows, n_names)
            What is shown of the rows. Conditions are theirs; of a string, which has no
            number, its reconstruction is not shown where it is another one.
        """
        assert rows.residuals is not None, "the caller has seen to it"
        known = rows.features - rows.residuals * rows.scale
        features = self.shown(self.as_known(known))
        if rows.given is None:
            return features
        is_other = (rows.features != 0.0) | (known != 0.0)
        strings = np.broadcast_to(~np.array(have_numbers(rows.given)), is_other.shape)
        is_used = np.bincount(self.sources, minlength=len(self.feature_names)) > 0
        features = np.where(self._any_by_name(strings), np.nan, features)
        return np.where(is_used & ~self._any_by_name(is_other), cells, features)

    def _any_by_name(self, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell for each name whether any of its features is marked."""
        return self.by_name(marked.astype(np.float64)) > 0.0

    def cells(self, X: Any, rows: LatentRows) -> NDArray[Any]:
        """Return what is shown of rows as they are: cells of X, or of what enters."""
        if self.has_original_features:
            return cells_of(X)
        if rows.given is not None:  # of which conditions and strings are no features
            return cells_of(rows.given)[:, : len(self.feature_names)]
        return self.shown(rows.features)

    def shown(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return features as the columns of X, NaN where they have no inverse.

        Where the names are not the columns, the features are returned as they are.
        """
        if not self.has_original_features:
            return features[:, : len(self.feature_names)]
        if self.preprocessor is None:
            return features
        columns = inverse_features(self.preprocessor, features)
        shape = len(features), len(self.feature_names)
        if columns.shape != shape:  # an inverse that does not take all that it could
            return np.full(shape, np.nan)
        if self.is_inverted is None or self.is_inverted.all():
            return columns
        return np.where(self.is_inverted, columns, np.nan)


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
    n_features = len(rows.scale)
    columns = _numbered(n_columns(X)) if names is None else [str(n) for n in names]
    if preprocessor is None:
        own = columns or _numbered(n_features)
        every = np.arange(n_features)
        return LatentView(embedder, rows.scale, own[:n_features], True, every)
    sources = feature_sources(preprocessor, X)
    if sources is not None and len(sources) == n_features and columns:
        some = np.arange(0, len(chosen), max(1, len(chosen) // CHECKED_ROWS))
        is_inverted = inverted_columns(
            preprocessor, _safe_indexing(X, chosen[some]), rows.features[some]
        )
        return LatentView(embedder, rows.scale, columns, True, sources, is_inverted)
    sources = source_columns(preprocessor, n_features)
    prepared = names_out(preprocessor, names, _safe_indexing(X, chosen[:1]))
    prepared = prepared or _numbered(n_features)
    own = prepared[: sources.max() + 1]
    return LatentView(embedder, rows.scale, own, False, sources)


def source_columns(preprocessor: Pipeline, n_features: int) -> Positions:
    """Return the position of the preprocessed feature that each one belongs to.

    Indicators, which a RobustStandardizer as last step appends, belong to the features
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


def names_out(preprocessor: Pipeline, names: Any, X: Any) -> list[str] | None:
    """Return the names of preprocessed features; None where there are none.

    A step that does not tell them may make a table of X that does.
    """
    for _, step in preprocessor.steps:
        if step in (None, "passthrough"):
            continue
        X = step.transform(X)
        found = column_names(X)
        try:
            names = step.get_feature_names_out(names) if found is None else found
        except (AttributeError, ValueError):
            names = None
    return None if names is None else [str(name) for name in names]
