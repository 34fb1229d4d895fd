"""Which features make rows outliers, and what normal rows look like instead."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latentsk._typing import Float64, Positions
from latentsk.linear._gaussian import corr_max
from latentsk.outliers.attribution import (
    neighbor_parts,
    shares,
    substitution_parts,
)
from latentsk.outliers.concentration import Bulk
from latentsk.outliers.ellipsoid import Ellipsoid, whitened
from latentsk.outliers.latent_space import Coordinates, decoded
from latentsk.outliers.neighborhood import Neighborhood
from latentsk.outliers.steps import is_undone, names_out, split_steps, undone


def loadings(tail: Any, core: Coordinates, ellipsoid: Ellipsoid) -> Float64:
    """Return how much each feature changes along each axis of the ellipsoid.

    By one widened deviation to either side of the centre, in standard deviations of the
    feature. For a linear embedder these are the correlations of whitened latents with
    features, times the features' own deviations; the ridge makes directions without
    variance count, too. Where an embedder cannot decode, the correlations themselves.

    Returns
    -------
    loadings : ndarray of shape (n_components, n_features)
    """
    deviations = np.sqrt(ellipsoid.variances + ellipsoid.ridge)
    steps = deviations[:, None] * ellipsoid.axes.T
    with contextlib.suppress(ValueError):  # an inverse may end where steps lead
        above = decoded(tail, ellipsoid.centre + steps)
        below = decoded(tail, ellipsoid.centre - steps)
        if above is not None and below is not None:
            return (above - below) / (2.0 * core.scale)
    centred = (core.features - core.features.mean(axis=0)) / core.scale
    return whitened(core.latents, ellipsoid).T @ centred / len(centred)


class ReasonsMixin:
    """Explanations for detectors that measure rows in a latent space."""

    embedder_: Any
    method: str
    parts_: list[str]
    n_features_in_: int
    _scale: Float64
    _features_are_original: bool
    _loadings: Float64
    _neighborhood: Neighborhood
    _reference_features: NDArray[Any]
    _bulk: Callable[[], Bulk]
    _ready: Callable[[Any], Any]
    _measured: Callable[[Coordinates, Positions], Float64]
    _scores_of: Callable[[Float64], Float64]
    _embedded: Callable[[Any], tuple[Coordinates, Positions]]
    _leading_kinds: Callable[[Float64], NDArray[np.str_]]

    # Squares of far-out rows are infinite, and their scores the lowest there are.
    @np.errstate(over="ignore", invalid="ignore")
    def explain(self, X: ArrayLike, *, n_nearest: int = 1) -> pd.DataFrame:
        """Split the score of each row among its features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to explain.

        n_nearest : int, default=1
            How many of the nearest presumed normal rows to put beside each.

        Returns
        -------
        reasons : DataFrame of n_samples * n_features rows
            Index: "row" (the index of a DataFrame, else row numbers) and "feature".
            Columns: "contribution", whose sum over the features of a row is
            `score_samples`; "part", what the score is: `method`, or what speaks most
            against the row ("near", "overall" or "joint", see below); "value";
            "reconstructed", as the latent space sees it (where "residual" is one of
            `parts_`); "nearest_1" and so on, the same feature of the nearest presumed
            normal training rows (itself left out). Features and values are those of
            `X` wherever the steps before the embedder keep the features and can be
            undone (scaling, imputation); else those that enter the embedder.

        Raises
        ------
        NotFittedError
            If the detector is not fitted.

        ValueError
            If `X` or `n_nearest` is not valid, or the score is the KL divergence of a
            VAEEmbedder, which is no sum over features.

        Notes
        -----
        "residual": minus the squared residual of each feature, in squared standard
        deviations. "distance": by corr-max rotation (Garthwaite and Koch, 2016) of
        the whitened latents, which keeps their length and brings each to a feature of
        its own. "joint" (both together, as ``method="auto"`` measures them): as these
        two. "near" and "overall", the neighbours near by and on the whole: by the
        squared differences between the row and them, in standard deviations of each
        feature. Where the score is calibrated, it is shared in proportion.
        "embedder_score": for the embedders of this package, the terms of their score
        (see `score_contributions` there); for others, in proportion to how much the
        score rises when the feature is replaced by that of the nearest row.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from latentsk import LatentOutlierDetector
        >>> X, y = load_wine(return_X_y=True, as_frame=True)
        >>> detector = LatentOutlierDetector(assume_clean=True, random_state=0)
        >>> reasons = detector.fit(X[y == 0]).explain(X[y == 1][:1])
        >>> reasons.loc[59, "contribution"].nsmallest(2).round(1)
        feature
        flavanoids   -2.6
        ash          -1.8
        Name: contribution, dtype: float64
        """
        if not isinstance(n_nearest, Integral) or n_nearest < 0:
            raise ValueError(f"n_nearest must be an integer >= 0, got {n_nearest!r}.")
        checked = self._ready(X)
        rows, own = self._embedded(checked)
        contributions, kinds = self._contributions(rows, own)
        names, original = self._named_features()
        values = checked if self._features_are_original else rows.features
        columns: dict[str, Any] = {
            "contribution": contributions,
            "part": np.broadcast_to(kinds[:, None], contributions.shape),
            "value": np.asarray(values, np.float64),
        }
        if rows.residuals is not None and "residual" in self.parts_:
            seen = rows.features - rows.residuals * self._scale
            columns["reconstructed"] = original(seen)
        for rank, nearest in enumerate(self._nearest(rows, own, int(n_nearest)), 1):
            columns[f"nearest_{rank}"] = original(nearest)
        labels = X.index if isinstance(X, pd.DataFrame) else range(len(contributions))
        index = pd.MultiIndex.from_product([labels, names], names=["row", "feature"])
        return pd.DataFrame({k: v.ravel() for k, v in columns.items()}, index=index)

    def _nearest(self, rows: Coordinates, own: Positions, n: int) -> NDArray[Any]:
        """Return features of the nearest reference rows, of shape (n, ...)."""
        if n == 0:
            return np.empty((0, *rows.features.shape))
        _, positions = self._neighborhood.nearest(rows.latents, own, n)
        return self._reference_features[positions.T]

    def _contributions(
        self, rows: Coordinates, own: Positions
    ) -> tuple[Float64, NDArray[np.str_]]:
        """Return contributions, and the kind of distance that each row's score is."""
        if self.method == "embedder_score":
            found = self._of_embedder(rows, own)
            return found, np.full(len(found), self.method)
        distances = self._measured(rows, own)
        scores, kinds = self._scores_of(distances), self._leading_kinds(distances)
        found = np.empty(rows.features.shape)
        for kind in np.unique(kinds):
            chosen = np.flatnonzero(kinds == kind)
            parts = self._parts_of(kind, rows.at(chosen), own[chosen])
            found[chosen] = scores[chosen, None] * shares(parts)
        return found, kinds

    def _parts_of(self, kind: str, rows: Coordinates, own: Positions) -> Float64:
        if kind == "near":
            _, positions = self._neighborhood.nearest(rows.latents, own)
            return self._difference_parts(rows, positions)
        if kind == "overall":
            _, positions = self._neighborhood.typical(rows.latents, own)
            return self._difference_parts(rows, positions)
        outside = np.zeros(rows.features.shape)
        if rows.residuals is not None:
            outside = rows.residuals**2
        if kind == "residual":
            return outside
        bulk = self._bulk()
        within = whitened(rows.latents, bulk.ellipsoid) @ corr_max(self._loadings).T
        return within**2 + (outside / bulk.noise if kind == "joint" else 0.0)

    def _difference_parts(self, rows: Coordinates, positions: Positions) -> Float64:
        parts = [
            neighbor_parts(row[None] / self._scale, others[None] / self._scale)
            for row, others in zip(
                rows.features,
                map(self._reference_features.__getitem__, positions),
                strict=True,
            )
        ]
        return np.concatenate(parts)

    def _of_embedder(self, rows: Coordinates, own: Positions) -> Float64:
        _, tail = split_steps(self.embedder_)
        named = _named_as_fitted(tail)
        if hasattr(tail, "score_contributions"):
            found = tail.score_contributions(named(rows.features))
            return np.asarray(found, np.float64)

        def score(features: NDArray[Any]) -> Float64:
            return np.asarray(tail.score_samples(named(features)), np.float64)

        (replacements,) = self._nearest(rows, own, 1)
        parts = substitution_parts(score, rows.features, replacements)
        return score(rows.features)[:, None] * shares(parts)

    def _undoes(self, X: Any, rows: Coordinates) -> bool:
        """Tell whether prepared features are the original ones, in other units."""
        head, _ = split_steps(self.embedder_)
        return head is None or (
            names_out(head, getattr(self, "feature_names_in_", None)) == self._names()
            and is_undone(head, X, rows.features)
        )

    def _names(self) -> list[str]:
        given = getattr(self, "feature_names_in_", None)
        return _numbered(self.n_features_in_) if given is None else list(given)

    def _named_features(self) -> tuple[list[str], Callable[[Any], NDArray[Any]]]:
        """Return names of the features, and what takes prepared values back."""
        head, _ = split_steps(self.embedder_)
        if head is None:
            return self._names(), np.asarray
        if self._features_are_original:
            return self._names(), lambda features: undone(head, features)
        names = names_out(head, getattr(self, "feature_names_in_", None))
        return names or _numbered(len(self._scale)), np.asarray


def _numbered(n_features: int) -> list[str]:
    return [f"x{i}" for i in range(n_features)]


def _named_as_fitted(tail: Any) -> Callable[[NDArray[Any]], Any]:
    """Return what gives rows the names that an embedder was fitted with, if any."""
    names = getattr(tail, "feature_names_in_", None)
    if names is None:
        return np.asarray
    return lambda rows: pd.DataFrame(rows, columns=names)
