"""Where points lie on the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from latentsk._typing import Float64

STEPS = 65_535  # of a coordinate
# The middle of the points, and how many times its half width the map reaches at most.
MIDDLE, REACH = (0.005, 0.995), 2.0
MOST_STRETCH = 4.0  # between axes that have the same unit


@dataclass(frozen=True)
class Positions:
    """Points on a plane.

    Attributes
    ----------
    points : ndarray of shape (n_rows, 2)

    axes : tuple of two str
        What the axes show.

    are_latents : bool, default=False
        Whether they are the latent vectors themselves.

    same_unit : bool, default=True
        Whether both axes have one scale.
    """

    points: Float64
    axes: tuple[str, str]
    are_latents: bool = False
    same_unit: bool = True


def positions_of(latents: Float64, projection: Any, scores: Any) -> Positions:
    """Return the positions of latent vectors.

    Parameters
    ----------
    latents : ndarray of shape (n_rows, n_components)

    projection : array-like of shape (n_rows, 2), transformer or None
        None: two latents as they are; of one latent and the scores; of more, the two
        leading principal components.

    scores : ndarray of shape (n_rows,) or None

    Raises
    ------
    ValueError
        If the projection has no two finite coordinates for each row.
    """
    if hasattr(projection, "fit_transform"):
        name = type(projection).__name__
        points = _checked(projection.fit_transform(latents), len(latents))
        return Positions(points, (f"{name} 0", f"{name} 1"))
    if projection is not None:
        points = _checked(projection, len(latents))
        return Positions(points, ("projection 0", "projection 1"))
    if latents.shape[1] == 2:
        return Positions(latents, ("latent 0", "latent 1"), are_latents=True)
    if latents.shape[1] == 1:
        has_scores = scores is not None
        other = scores if has_scores else np.zeros(len(latents))
        points = np.column_stack([latents[:, 0], other])
        name = "score" if has_scores else ""
        return Positions(points, ("latent 0", name), same_unit=False)
    pca = PCA(2, svd_solver="full" if latents.shape[1] < 50 else "randomized")
    points = pca.set_params(random_state=0).fit_transform(latents)
    shares = [f"{share:.0%}" for share in np.nan_to_num(pca.explained_variance_ratio_)]
    first, second = (f"principal component {i} ({s})" for i, s in enumerate(shares, 1))
    return Positions(points, (first, second))


def _checked(points: Any, n_rows: int) -> Float64:
    found = np.asarray(points, np.float64)
    if found.shape != (n_rows, 2) or not np.isfinite(found).all():
        raise ValueError(
            f"projection must be an array of shape ({n_rows}, 2) with finite numbers, "
            "a transformer that returns one, such as sklearn.manifold.TSNE(), or None, "
            f"got an array of shape {found.shape}."
        )
    return found


@dataclass(frozen=True)
class MapBox:
    """The part of the plane that the map shows.

    Attributes
    ----------
    low, high : ndarray of shape (2,)
    """

    low: Float64
    high: Float64

    @classmethod
    def of(cls, positions: Positions) -> MapBox:
        """Return a box around all points, or around most where a few are far out.

        Examples
        --------
        >>> points = np.column_stack([np.arange(11.0), np.arange(11.0) - 5.0])
        >>> box = MapBox.of(Positions(points, ("a", "b")))
        >>> box.low.tolist(), box.high.tolist()
        ([0.0, -5.0], [10.0, 5.0])
        """
        points = positions.points
        inner = np.quantile(points, MIDDLE, axis=0)
        middle, half = inner.mean(axis=0), (inner[1] - inner[0]) / 2.0
        low = np.maximum(points.min(axis=0), middle - REACH * half)
        high = np.minimum(points.max(axis=0), middle + REACH * half)
        center, half = (low + high) / 2.0, (high - low) / 2.0
        widest = float(half.max())
        if widest == 0.0:
            half = np.ones(2)
        elif positions.same_unit:
            half = np.maximum(half, widest / MOST_STRETCH)
            half = np.full(2, widest) if half.min() > widest / 2.0 else half
        else:
            half = np.where(half > 0.0, half, 1.0)
        return cls(center - half, center + half)

    def steps(self, points: Float64) -> NDArray[np.uint16]:
        """Return coordinates in steps; those of points outside are on the edge."""
        return np.rint(STEPS * np.clip(self._shares(points), 0.0, 1.0)).astype(
            np.uint16
        )

    def n_outside(self, points: Float64) -> int:
        """Return how many points lie outside, by more than rounding."""
        beyond = np.abs(self._shares(points) - 0.5) > 0.5 + 1e-6
        return int(beyond.any(axis=1).sum())

    def _shares(self, points: Float64) -> Float64:
        return (points - self.low) / (self.high - self.low)
