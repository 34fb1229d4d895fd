"""Rows on both sides of a fitted embedder: latents within, residuals outside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._columns import columns_of, is_table, n_columns
from latentsk._device import on_host
from latentsk._diagnosis import OUTPUT
from latentsk._typing import Float64
from latentsk._validation import MAX_MAGNITUDE, checked
from latentsk.embedders._base import BaseEmbedder
from latentsk.embedders._image_rows import image_rows
from latentsk.embedders._network_rows import asks_for_table
from latentsk.embedders._neural import NeuralEmbedder
from latentsk.preprocessing._category_encoder import labels_of
from latentsk.vae._columns import condition_positions

FLOATS = [np.float64, np.float32]
# Sparse rows of more columns are not made dense.
MAX_DENSE_COLUMNS = 500


class LatentRows(NamedTuple):
    """Rows on both sides of an embedder.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features)
        What enters the embedder: the last step of a Pipeline.
    latents : ndarray of shape (n_rows, n_components)
    residuals : ndarray of shape (n_rows, n_features) or None
        What the embedder does not reconstruct, in standard deviations of each feature;
        None where it has no `inverse_transform`.
    scale : ndarray of shape (n_features,)
        These standard deviations.
    given : array-like of shape (n_rows, n_columns) or None
        What enters an embedder that reads tables, where `features` do not say it all.
    """

    features: NDArray[Any]
    latents: NDArray[Any]
    residuals: Float64 | None
    scale: NDArray[Any]
    given: Any = None

    def at(self, some: Any) -> LatentRows:
        """Return some of the rows: at positions, or of a slice."""
        residuals = None if self.residuals is None else self.residuals[some]
        return self._replace(
            features=self.features[some],
            latents=self.latents[some],
            residuals=residuals,
            given=None if self.given is None else _safe_indexing(self.given, some),
        )


def numeric(rows: Any, *, ensure_finite: bool = True) -> NDArray[Any]:
    """Return preprocessed rows as a dense array of finite floats."""
    return checked(
        _dense(on_host(rows)),
        dtype=FLOATS,
        ensure_all_finite=ensure_finite,
        input_name="what enters the embedder",
    )


def reads_tables(embedder: Any) -> bool:
    """Tell whether a step takes columns of strings beside numbers, and gives them back.

    A VAEEmbedder with conditions, or with a likelihood for each column, does.

    Examples
    --------
    >>> from latentsk import VAEEmbedder
    >>> reads_tables(VAEEmbedder(condition=["season"])), reads_tables(VAEEmbedder())
    (True, False)
    """
    embedder = embedder.estimator if isinstance(embedder, FrozenEstimator) else embedder
    return isinstance(embedder, NeuralEmbedder) and asks_for_table(embedder)


def modelled_numbers(embedder: Any, rows: Any) -> Any:
    """Return what an embedder models of rows, as numbers.

    Parameters
    ----------
    embedder : transformer
        Of one that reads tables, columns of strings are zero, and so are conditions:
        they make no row differ from others. Rows of others stay as they are.

    rows : array-like of shape (n_rows, n_columns)

    Examples
    --------
    >>> from latentsk import VAEEmbedder
    >>> vae = VAEEmbedder(condition=["size"])
    >>> table = pd.DataFrame({"kind": ["a"], "size": [2.0], "n": [3.0]})
    >>> modelled_numbers(vae, table)
    array([[0., 0., 3.]])
    """
    if not reads_tables(embedder):
        return rows
    numbers = _as_numbers(rows)
    numbers[:, _conditions(embedder, rows)] = 0.0
    return numbers


def known_numbers(embedder: Any, rows: Any) -> Any:
    """Return what an embedder models of rows, with medians for missing cells."""
    numbers = modelled_numbers(embedder, rows)
    if reads_tables(embedder):
        gaps = np.isnan(numbers)
        medians = np.nanmedian(np.where(gaps.all(axis=0), 0.0, numbers), axis=0)
        numbers = np.where(gaps, medians, numbers)
    return numbers


def _as_numbers(rows: Any) -> Float64:
    """Return rows as numbers, zero in columns of strings."""
    numbers = np.zeros((_num_samples(rows), n_columns(rows)))
    for j, (_, cells) in enumerate(columns_of(rows)):
        if _are_numbers(cells):
            numbers[:, j] = cells
    return numbers


def _conditions(embedder: Any, rows: Any) -> list[int]:
    """Return the positions of an embedder's conditions."""
    if embedder.condition is None:
        return []
    given = rows if is_table(rows) else np.asarray(rows)
    return condition_positions(embedder.condition, given)


def _rebuilt_numbers(embedder: Any, rows: Any, rebuilt: Any) -> Any:
    """Return reconstructed rows as numbers, 1 where another string is reconstructed."""
    if not reads_tables(embedder):
        return rebuilt
    numbers = _as_numbers(rebuilt)
    numbers[:, _conditions(embedder, rows)] = 0.0
    pairs = zip(columns_of(rows), columns_of(rebuilt), strict=True)
    for j, ((_, cells), (_, others)) in enumerate(pairs):
        if not _are_numbers(others):
            numbers[:, j] = labels_of(cells) != labels_of(others)
    return numbers


def have_numbers(rows: Any) -> list[bool]:
    """Tell which columns hold numbers."""
    return [_are_numbers(cells) for _, cells in columns_of(rows)]


def _are_numbers(cells: NDArray[Any]) -> bool:
    if cells.dtype.kind in "fiub":
        return True
    return not any(isinstance(cell, str | bytes) for cell in cells)


def is_numeric(rows: Any) -> bool:
    """Tell whether preprocessed rows are a table of numbers that fits into memory.

    A sparse matrix of many columns would not. Of missing values others have to tell.

    Examples
    --------
    >>> is_numeric([[0.0, 1.0]]), is_numeric(["one text", "another"])
    (True, False)
    """
    if issparse(rows) and rows.shape[1] > MAX_DENSE_COLUMNS:
        return False
    try:
        numeric(rows, ensure_finite=False)
    except (TypeError, ValueError):
        return False
    return True


def _dense(rows: Any) -> Any:
    if isinstance(rows, pd.DataFrame) and hasattr(rows, "sparse"):
        accessor: Any = rows.sparse
        return accessor.to_dense()
    return rows.toarray() if issparse(rows) else rows


def latent_rows(
    embedder: Any, rows: Any, scale: NDArray[Any], *, ensure_finite: bool = True
) -> LatentRows:
    """Embed preprocessed rows and reconstruct them.

    Parameters
    ----------
    embedder : fitted transformer

    rows : array-like of shape (n_rows, n_features)

    scale : ndarray of shape (n_features,)
        Standard deviations, the unit of the residuals.

    ensure_finite : bool, default=True
        Whether to raise if the embedder's output is not finite. Otherwise latents are
        clipped to magnitudes that can be searched, and residuals stay as they are.

    Returns
    -------
    rows : LatentRows

    Raises
    ------
    ValueError
        If the embedder returns something else than numbers, or reconstructions of
        another shape than the rows.
    """
    features = modelled_numbers(embedder, rows)
    features = features if reads_tables(embedder) else numeric(features)
    latents = latents_of(embedder, rows, ensure_finite=ensure_finite)
    if not ensure_finite:
        latents = clip_magnitudes(latents)
    reconstructed = reconstruct(embedder, rows, latents, ensure_finite=ensure_finite)
    given = rows if reads_tables(embedder) else None
    if reconstructed is None:
        return LatentRows(features, latents, None, scale, given)
    if reads_tables(embedder):
        # A missing cell is taken to be as it is reconstructed.
        features = np.where(np.isnan(features), reconstructed, features)
    if reconstructed.shape != features.shape:
        raise ValueError(
            f"The embedder reconstructed rows of shape {reconstructed.shape} from rows "
            f"of shape {features.shape}."
        )
    residuals = (features.astype(np.float64) - reconstructed) / scale
    return LatentRows(features, latents, residuals, scale, given)


def latents_of(embedder: Any, rows: Any, *, ensure_finite: bool = True) -> NDArray[Any]:
    """Return what an embedder makes of preprocessed rows, checked."""
    latents = checked(
        on_host(embedder.transform(rows)),
        dtype=FLOATS,
        ensure_all_finite=ensure_finite,
        input_name=OUTPUT,
    )
    if len(latents) != (n_rows := _num_samples(rows)):
        raise ValueError(
            f"The embedder returned {len(latents)} vectors for {n_rows} rows."
        )
    return latents


def reconstruct(
    embedder: Any, rows: Any, latents: NDArray[Any], *, ensure_finite: bool = True
) -> NDArray[Any] | None:
    """Return rows as an embedder reconstructs them, as numbers.

    By its `reconstruct`, which knows what latents do not hold, such as conditions. Our
    own embedders without any decode the latents, which is the same.
    """
    decodes = isinstance(embedder, BaseEmbedder) and not reads_tables(embedder)
    if decodes or not hasattr(embedder, "reconstruct"):
        return decode(embedder, latents, ensure_finite=ensure_finite)
    rebuilt = _rebuilt_numbers(embedder, rows, embedder.reconstruct(rows))
    return numeric(rebuilt, ensure_finite=ensure_finite)


def decode(
    embedder: Any, latents: NDArray[Any], *, ensure_finite: bool = True
) -> NDArray[Any] | None:
    """Return the features of latents; None where an embedder has no inverse."""
    if isinstance(embedder, FunctionTransformer) and embedder.inverse_func is None:
        # It would return the latents as they are, which only the identity may.
        return numeric(latents) if embedder.func is None else None
    try:
        rows = embedder.inverse_transform(latents)
        rows = _as_numbers(rows) if reads_tables(embedder) else rows
        if hasattr(embedder, "input_shape_"):
            rows = image_rows(rows, embedder.input_shape_).rows
    except (AttributeError, NotImplementedError):
        # Not there, or not learned: scikit-learn's NotFittedError is one of these.
        return None
    return numeric(rows, ensure_finite=ensure_finite)


def clip_magnitudes(latents: NDArray[Any]) -> NDArray[Any]:
    """Return latents with magnitudes that can be searched; NaN becomes the largest.

    Examples
    --------
    >>> clip_magnitudes(np.array([[1.0, -np.inf, np.nan]]))
    array([[ 1.e+000, -1.e+100,  1.e+100]])
    """
    limit = min(MAX_MAGNITUDE, float(np.finfo(latents.dtype).max))
    if (np.abs(latents) <= limit).all():
        return latents
    return np.nan_to_num(latents, nan=limit).clip(-limit, limit)
