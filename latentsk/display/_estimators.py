"""What displays ask of the estimators that they are given."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

EMBEDDER = "Give an embedder: PCAEmbedder().fit(X)."
DETECTOR = "Give a detector: LatentOutlierDetector().fit(X)."
INDEX = "Give an index: LatentIndex().fit(X)."
# Of rows that are made from latent coordinates.
BOTH_WAYS = ("transform", "inverse_transform")


def require_methods(
    estimator: Any, *ways: tuple[str, ...], remedy: str, name: str = "estimator"
) -> None:
    """Refuse what a display cannot ask what it draws.

    Parameters
    ----------
    estimator : object
        What a user has given.

    *ways : tuple of str
        Methods; all of one tuple are enough.

    remedy : str
        A sentence that says what to give instead.

    name : str, default="estimator"
        The parameter that it was given as.

    Raises
    ------
    NotFittedError
        If it is an estimator that may have them once it is fitted.

    ValueError
        If it has none of the ways, or is a class.

    Examples
    --------
    >>> require_methods(3, ("transform",), remedy="Give an embedder.")
    Traceback (most recent call last):
    ...
    ValueError: estimator must be fitted and have transform, got int. Give an embedder.
    """
    is_class = isinstance(estimator, type)
    if not is_class:
        if any(all(hasattr(estimator, method) for method in way) for way in ways):
            return
        if isinstance(estimator, BaseEstimator):
            check_is_fitted(estimator)
    kind = f"the class {estimator.__name__}" if is_class else type(estimator).__name__
    needed = ", or ".join(" and ".join(way) for way in ways)
    raise ValueError(f"{name} must be fitted and have {needed}, got {kind}. {remedy}")


def embedder_of(estimator: Any) -> Any:
    """Return what has the latent space: the embedder of a detector or an index.

    Examples
    --------
    >>> embedder_of("itself")
    'itself'
    """
    inside = getattr(estimator, "embedder_", None)
    return estimator if inside is None else inside


def own_latent_names(estimator: Any, n_latents: int) -> list[str] | None:
    """Return the names that an embedder, or a Pipeline's last step, has for dimensions.

    None where there are none, or scikit-learn's: the name of the class and a number.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> own_latent_names(PCA(1).fit([[0.0, 1.0], [1.0, 3.0]]), 1)
    """
    last = estimator
    while steps := getattr(last, "steps", None):
        last = steps[-1][1]
    if not hasattr(last, "get_feature_names_out"):
        return None
    names = list(map(str, last.get_feature_names_out()))
    prefix = type(last).__name__.lower()
    is_own = names != [f"{prefix}{i}" for i in range(n_latents)]
    return names if is_own and len(names) == n_latents else None
