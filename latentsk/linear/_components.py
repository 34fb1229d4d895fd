"""scikit-learn's PCA as the engine: data in, principal axes out."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import ArpackError
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.utils._array_api import get_namespace

from latentsk.linear._moments import TOO_LARGE, off_centre_shift
from latentsk.linear._spectrum import (
    Spectrum,
    automatic_dimension,
    n_directions,
    truncated,
)


def fit_components(
    X: Any,
    sample: Any,
    n_components: int | float | str | None,
    *,
    overwrite: bool,
    want_latents: bool,
    **parameters: Any,
) -> tuple[Spectrum, Any, str, Any]:
    """Fit scikit-learn's PCA on validated data.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_samples, n_features)
        Finite floats.

    sample : array of shape (n_sampled, n_features)
        Some rows, to tell whether the data lie far from the origin.

    n_components : int, float, "auto", "mle" or None
        As in PCAEmbedder.

    overwrite : bool
        Whether `X` may be changed.

    want_latents : bool
        Whether to return the latent coordinates, which some solvers have for free.

    **parameters : dict
        Of scikit-learn's PCA.

    Returns
    -------
    spectrum : Spectrum

    mean : array of shape (n_features,)

    solver : str
        The one that ran.

    latents : array of shape (n_samples, n_axes) or None

    Examples
    --------
    >>> X = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 1.0]])
    >>> fit = fit_components(X, X, 1, overwrite=False, want_latents=False)
    >>> _, mean, solver, _ = fit
    >>> mean.round(2), solver
    (array([2.  , 0.33]), 'full')
    """
    xp, _ = get_namespace(X)
    shift = None if issparse(X) else off_centre_shift(sample, xp)
    if shift is not None:
        X, overwrite = X - shift, True
    automatic = n_components == "auto"
    engine = PCA(None if automatic else n_components, copy=not overwrite, **parameters)
    # X is known to be finite; constant data have no explained variance ratio.
    quiet = np.errstate(over="ignore", invalid="ignore")
    try:
        with config_context(assume_finite=True), quiet:
            latents = engine.fit_transform(X) if want_latents else engine.fit(X)
    except np.linalg.LinAlgError as error:
        raise ValueError(TOO_LARGE) from error
    except ArpackError as error:
        if _squares_overflow(X):
            raise ValueError(TOO_LARGE) from error
        raise ValueError(
            f"The components of X were not found ({error}). Its values may be "
            "constant, or so small that their squares vanish: scale the features, or "
            "choose another svd_solver."
        ) from error
    spectrum = Spectrum(
        engine.components_,
        engine.explained_variance_,
        float(engine.noise_variance_),
        n_directions(X.shape, engine._fit_svd_solver),
    )
    if automatic:
        spectrum = truncated(spectrum, automatic_dimension(spectrum))
    mean = engine.mean_ if shift is None else engine.mean_ + shift
    latents = latents[:, : spectrum.n_axes] if want_latents else None
    return spectrum, mean, engine._fit_svd_solver, latents


def _squares_overflow(X: Any) -> bool:
    """Tell whether sums of the squares of rows leave the range of their dtype."""
    values = X.data if issparse(X) else np.asarray(X)
    largest = float(np.abs(values).max(initial=0.0))
    return largest > np.sqrt(float(np.finfo(values.dtype).max) / max(X.shape))
