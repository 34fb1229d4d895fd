"""Rows as a fitted embedder sees them: coordinates within, residuals outside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import FunctionTransformer

from latentsk._device import on_host
from latentsk._typing import Float64
from latentsk._validation import checked

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


def numeric(rows: Any) -> NDArray[Any]:
    """Return prepared rows as a dense array of finite floats."""
    try:
        return checked(on_host(rows), dtype=FLOATS, input_name="X")
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
    latents = checked(
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
