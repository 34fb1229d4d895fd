"""How well single latent dimensions tell the factors that rows vary by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import mutual_info_score
from sklearn.utils.validation import check_consistent_length

from latentsk._device import on_host
from latentsk._typing import Float64
from latentsk._validation import checked, require_count


def mutual_information_gap(
    Z: ArrayLike, factors: ArrayLike, *, n_bins: int = 20
) -> float:
    """Return the mutual information gap (MIG) of latents with known factors.

    For each factor, the mutual information with the latent dimension that tells most of
    it, minus that with the second-best one, divided by the factor's entropy; the mean
    over factors (Chen et al., 2018). It is 1 where each factor is told by one dimension
    alone, and 0 where two tell each factor equally well.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Latent coordinates, such as ``vae.transform(X)``. With one dimension the
        second-best one tells nothing.

    factors : array-like or DataFrame of shape (n_samples, n_factors) or (n_samples,)
        What the rows are known to vary by: classes, strings, booleans or numbers.

    n_bins : int, default=20
        A latent dimension, or a factor of numbers, with more different values is cut
        into so many bins with about as many rows each. Have many times as many rows as
        bins times classes: mutual information is overestimated from few.

    Returns
    -------
    gap : float
        In [0, 1].

    Raises
    ------
    ValueError
        If `Z` or the factors are not valid or differ in length, a factor is constant,
        or `n_bins` is not an integer of at least 2.

    See Also
    --------
    VAEEmbedder : `beta` trades this gap for reconstruction.

    References
    ----------
    R. Chen, X. Li, R. Grosse, D. Duvenaud (2018). Isolating sources of disentanglement
    in variational autoencoders. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from latentsk import mutual_information_gap
    >>> factors = np.random.default_rng(0).integers(0, 4, size=(1_000, 2))
    >>> round(mutual_information_gap(factors, factors), 2)
    1.0
    >>> mixed = factors @ [[1, 1], [1, -1]]
    >>> mutual_information_gap(mixed, factors) < 0.1
    True
    """
    require_count("n_bins", n_bins, least=2)
    latents = checked(on_host(Z), dtype=np.float64, input_name="Z")
    columns = _factor_columns(factors)
    check_consistent_length(latents, *columns.values())
    codes = [binned(column, n_bins) for column in latents.T]
    gaps = [
        _gap(codes, _codes(values, name, n_bins)) for name, values in columns.items()
    ]
    return float(np.mean(gaps))


def binned(values: Float64, n_bins: int) -> NDArray[np.intp]:
    """Return the bin of each value, all of which hold about as many.

    Values of which there are no more different ones than bins have one each.

    Examples
    --------
    >>> binned(np.array([3.0, 0.0, 3.0, 7.0]), 3)
    array([1, 0, 1, 2])
    >>> binned(np.arange(6.0), 3)
    array([0, 0, 1, 1, 2, 2])
    """
    levels, codes = np.unique(values, return_inverse=True)
    if len(levels) <= n_bins:
        return codes
    shares = np.arange(1, n_bins) / n_bins
    # Equal values share a bin.
    return np.searchsorted(np.quantile(values, shares), values, side="right")


def _factor_columns(factors: Any) -> dict[Any, NDArray[Any]]:
    """Return the values of each factor by name, or position."""
    if isinstance(factors, pd.Series | pd.DataFrame):
        frame = pd.DataFrame(factors)
    else:
        array = np.asarray(on_host(factors))
        if array.ndim not in (1, 2):
            raise ValueError(
                "factors must have shape (n_samples, n_factors) or (n_samples,), got "
                f"{array.shape}."
            )
        frame = pd.DataFrame(array.reshape(len(array), -1))
    if not frame.shape[1]:
        raise ValueError("factors has no columns; at least one factor is needed.")
    for position, name in enumerate(frame.columns):
        if frame.iloc[:, position].isna().any():
            raise ValueError(
                f"Factor {name!r} has missing values; leave these rows out of Z and of "
                "factors."
            )
    return {
        name: frame.iloc[:, position].to_numpy()
        for position, name in enumerate(frame.columns)
    }


def _codes(values: NDArray[Any], name: Any, n_bins: int) -> NDArray[np.intp]:
    """Return the class of each value of a factor, numbers in bins."""
    if values.dtype.kind in "biuf":
        codes = binned(values.astype(np.float64), n_bins)
    else:
        codes = pd.factorize(values)[0]
    if not len(codes) or codes.min() == codes.max():
        raise ValueError(
            f"Factor {name!r} is constant, so that no latent dimension can tell it; "
            "leave it out."
        )
    return codes


def _gap(latents: list[NDArray[np.intp]], factor: NDArray[np.intp]) -> float:
    """Return by how much the best dimension tells more of a factor than the next."""
    entropy = mutual_info_score(factor, factor)
    shared = sorted((mutual_info_score(codes, factor) for codes in latents), key=float)
    second = shared[-2] if len(shared) > 1 else 0.0
    return min(1.0, max(0.0, (shared[-1] - second) / entropy))
