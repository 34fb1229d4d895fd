"""Rows on both sides of a fitted embedder: latents within, residuals outside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import _num_samples

from latentsk._device import on_host
from latentsk._diagnosis import OUTPUT
from latentsk._typing import Float64
from latentsk._validation import MAX_MAGNITUDE, checked
from latentsk.embedders._image_rows import image_rows

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
    """

    features: NDArray[Any]
    latents: NDArray[Any]
    residuals: Float64 | None
    scale: NDArray[Any]

    def at(self, some: Any) -> LatentRows:
        """Return some of the rows: at positions, or of a slice."""
        residuals = None if self.residuals is None else self.residuals[some]
        return self._replace(
            features=self.features[some],
            latents=self.latents[some],
            residuals=residuals,
        )


def numeric(rows: Any, *, ensure_finite: bool = True) -> NDArray[Any]:
    """Return preprocessed rows as a dense array of finite floats."""
    return checked(
        _dense(on_host(rows)),
        dtype=FLOATS,
        ensure_all_finite=ensure_finite,
        input_name="what enters the embedder",
    )


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
    features = numeric(rows)
    latents = latents_of(embedder, rows, ensure_finite=ensure_finite)
    if not ensure_finite:
        latents = clip_magnitudes(latents)
    reconstructed = decode(embedder, latents, ensure_finite=ensure_finite)
    if reconstructed is None:
        return LatentRows(features, latents, None, scale)
    if reconstructed.shape != features.shape:
        raise ValueError(
            f"The embedder reconstructed rows of shape {reconstructed.shape} from rows "
            f"of shape {features.shape}."
        )
    residuals = (features.astype(np.float64) - reconstructed) / scale
    return LatentRows(features, latents, residuals, scale)


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


def decode(
    embedder: Any, latents: NDArray[Any], *, ensure_finite: bool = True
) -> NDArray[Any] | None:
    """Return the features of latents; None where an embedder has no inverse."""
    if isinstance(embedder, FunctionTransformer) and embedder.inverse_func is None:
        # It would return the latents as they are, which only the identity may.
        return numeric(latents) if embedder.func is None else None
    try:
        rows = embedder.inverse_transform(latents)
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
