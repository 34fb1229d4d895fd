"""The principal axes of data, and how many of them to keep."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition._pca import _infer_dimension
from sklearn.utils.extmath import svd_flip

from latentsk._device import array_to_numpy
from latentsk.linear._moments import Moments

# Share of the variance that n_components="auto" keeps.
AUTO_VARIANCE_SHARE = 0.99


class Spectrum(NamedTuple):
    """Principal axes by decreasing variance, and what lies outside of them.

    Attributes
    ----------
    axes : array of shape (n_axes, n_features), orthonormal rows
    variances : array of shape (n_axes,)
    noise : float
        Mean variance of the ``n_directions - n_axes`` directions not listed.
    n_directions : int
        Directions that the variance is spread over (:func:`n_directions`).
    """

    axes: Any
    variances: Any
    noise: float
    n_directions: int

    @property
    def n_axes(self) -> int:
        """Number of axes listed."""
        return int(self.variances.shape[0])

    @property
    def total_variance(self) -> float:
        """Variance of the data, summed over features."""
        unlisted = self.n_directions - self.n_axes
        return float(array_to_numpy(self.variances).sum()) + self.noise * unlisted


def n_directions(shape: tuple[int, int], solver: str) -> int:
    """Return over how many directions scikit-learn spreads the noise.

    The covariance has as many eigenvalues as there are features; the data themselves
    have no more singular values than rows.

    Examples
    --------
    >>> n_directions((5, 20), "covariance_eigh"), n_directions((5, 20), "full")
    (20, 5)
    """
    return shape[1] if solver == "covariance_eigh" else min(shape)


def truncated(spectrum: Spectrum, n_axes: int) -> Spectrum:
    """Keep the leading axes; the variance of the others becomes noise.

    Examples
    --------
    >>> truncated(Spectrum(np.eye(3), np.array([4.0, 2.0, 1.0]), 0.0, 3), 1).noise
    1.5
    """
    left_out = spectrum.n_directions - n_axes
    if left_out == 0 or n_axes == spectrum.n_axes:
        return spectrum
    dropped = float(array_to_numpy(spectrum.variances)[n_axes:].sum())
    unlisted = spectrum.noise * (spectrum.n_directions - spectrum.n_axes)
    return Spectrum(
        spectrum.axes[:n_axes, :],
        spectrum.variances[:n_axes],
        (dropped + unlisted) / left_out,
        spectrum.n_directions,
    )


def spectrum_of(moments: Moments, xp: Any = np) -> Spectrum:
    """Return all principal axes, from the covariance.

    The signs are scikit-learn's: the largest entry of each axis is positive.

    Examples
    --------
    >>> from latentsk.linear._moments import counted
    >>> spectrum_of(counted(3, np.zeros(2), np.diag([1.0, 4.0]))).variances
    array([2. , 0.5])
    """
    n_features = moments.mean.shape[0]
    # Of fewer rows than features, the other eigenvalues are zero.
    n_axes = min(moments.n_rows, n_features)
    variances, axes = xp.linalg.eigh(moments.scatter / moments.degrees_of_freedom)
    variances = xp.flip(xp.clip(variances, 0.0, None), axis=0)
    _, axes = svd_flip(None, xp.flip(axes, axis=1).T, u_based_decision=False)
    return Spectrum(axes[:n_axes, :], variances[:n_axes], 0.0, n_features)


def rounding_floor(largest: float, n_features: int, dtype: Any) -> float:
    """Return the variance below which an eigenvalue is rounding noise.

    Eigenvalues computed with machine epsilon ``eps`` are off by some multiples of
    ``eps`` times the largest.

    Examples
    --------
    >>> 1e-15 < rounding_floor(1.0, 4, "float64") < 1e-14
    True
    """
    eps = np.finfo(np.float32 if "float32" in str(dtype) else np.float64).eps
    return 10.0 * float(eps) * math.sqrt(n_features) * largest


def automatic_dimension(spectrum: Spectrum) -> int:
    """Return how many components ``n_components="auto"`` keeps.

    The fewest that explain 99 % of the variance, but fewer than the rank of the data:
    what is left out is then the noise that the likelihood needs. At least one.

    Examples
    --------
    >>> automatic_dimension(Spectrum(np.eye(4), np.array([90, 8, 1.5, 0.5]), 0.0, 4))
    3
    >>> automatic_dimension(Spectrum(np.eye(3), np.array([60, 40, 0.0]), 0.0, 3))
    1
    """
    total = spectrum.total_variance
    if not total > 0.0:
        return 1
    variances = array_to_numpy(spectrum.variances)
    n_features = spectrum.axes.shape[1]
    floor = rounding_floor(variances[0], n_features, spectrum.axes.dtype)
    rank = int((variances > floor).sum())
    if spectrum.noise > floor:
        rank += spectrum.n_directions - spectrum.n_axes
    explained = np.cumsum(variances) / total
    enough = int(np.searchsorted(explained, AUTO_VARIANCE_SHARE) + 1)
    return max(1, min(enough, rank - 1, spectrum.n_axes))


def chosen_dimension(
    n_components: int | float | str | None, spectrum: Spectrum, n_samples: float
) -> int:
    """Return how many of all axes to keep, with the meaning that PCA gives it.

    Parameters
    ----------
    n_components : int, float, "auto", "mle" or None
        The parameter of PCAEmbedder.

    spectrum : Spectrum
        All axes.

    n_samples : float
        Number of rows behind them, or of equally weighted ones that are worth as much.

    Raises
    ------
    ValueError
        If there are fewer axes than components asked for.

    Examples
    --------
    >>> chosen_dimension(0.9, Spectrum(np.eye(3), np.array([8, 1.5, 0.5]), 0.0, 3), 9)
    2
    """
    variances = array_to_numpy(spectrum.variances)
    if n_components == "auto":
        return automatic_dimension(spectrum)
    if n_components is None:
        return spectrum.n_axes
    if n_components == "mle":
        return int(_infer_dimension(variances, n_samples))
    if 0 < n_components < 1:  # type: ignore[operator]
        with np.errstate(invalid="ignore"):
            explained = np.cumsum(variances / variances.sum())
        return int(np.searchsorted(explained, n_components, side="right") + 1)
    if n_components > spectrum.n_axes:  # type: ignore[operator]
        raise ValueError(
            f"n_components={n_components} must be between 0 and "
            f"min(n_samples, n_features)={spectrum.n_axes}."
        )
    return int(n_components)
