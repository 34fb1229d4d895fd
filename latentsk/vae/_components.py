"""To which component of a mixture prior rows belong, by public attributes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from latentsk._device import to_numpy
from latentsk._threads import fork_safe
from latentsk._validation import available_if
from latentsk.vae._levels_density import LevelsDensity
from latentsk.vae._mixture import GaussianMixture
from latentsk.vae._mixture_prior import MixturePrior
from latentsk.vae._network import VAE, density_on_host

MAX_LATENT = 1e140


def component_probabilities(
    latents: ArrayLike, weights: ArrayLike, means: ArrayLike, scales: ArrayLike
) -> NDArray[np.float64]:
    """Return the probability of each component of a mixture, given latents.

    Parameters
    ----------
    latents : array-like of shape (n_rows, n_latents)

    weights : array-like of shape (n_components,)

    means, scales : array-like of shape (n_components, n_latents)
        Of independent normal coordinates.

    Returns
    -------
    probabilities : ndarray of shape (n_rows, n_components)

    Examples
    --------
    >>> means, ones = [[-1.0], [1.0]], [[1.0], [1.0]]
    >>> component_probabilities([[0.0], [1.0]], [0.5, 0.5], means, ones).round(2)
    array([[0.5 , 0.5 ],
           [0.12, 0.88]])
    """
    # Of what a row far out may have, squares are still numbers.
    latents = np.clip(np.asarray(latents, np.float64), -MAX_LATENT, MAX_LATENT)
    means, scales = np.asarray(means, np.float64), np.asarray(scales, np.float64)
    with np.errstate(divide="ignore"):
        joint = np.log(weights) - np.log(scales).sum(axis=1)
    distances = np.empty((len(latents), len(joint)))
    for column, mean, scale in zip(distances.T, means, scales, strict=True):
        np.square((latents - mean) / scale).sum(axis=1, out=column)
    return np.asarray(softmax(joint - 0.5 * distances, axis=1))


def draw_latents(
    vae: VAE,
    n_samples: int,
    component: int | ArrayLike | None,
    generator: np.random.Generator,
) -> NDArray[Any]:
    """Return random latents of a prior, or of components of a mixture prior.

    Parameters
    ----------
    vae : VAE

    n_samples : int

    component : int, array-like of shape (n_samples,) or None

    generator : numpy.random.Generator

    Returns
    -------
    latents : ndarray of shape (n_samples, n_latents)

    Raises
    ------
    ValueError
        If there is no such component, or not one for each row, or no mixture prior.

    Examples
    --------
    >>> from torch import nn
    >>> vae = VAE(nn.Identity(), nn.Identity(), MixturePrior(2, n_components=3))
    >>> draw_latents(vae, 5, 2, np.random.default_rng(0)).shape
    (5, 2)
    """
    if component is None:
        dtype = next(vae.parameters(), torch.empty(0)).dtype
        return density_on_host(vae, dtype).draw(n_samples, generator)
    if not isinstance(vae.prior, MixturePrior):
        raise ValueError(
            f"component={component!r} needs a VAE that was fitted with prior='mixture'."
        )
    with torch.no_grad():
        mixture = vae.prior.given(None)
    numbers = np.asarray(component)
    n_components = len(mixture.log_weights)
    is_whole = numbers.dtype.kind in "iu" and numbers.shape in ((), (n_samples,))
    if not is_whole or numbers.min() < 0 or numbers.max() >= n_components:
        raise ValueError(
            f"component must be an integer from 0 to {n_components - 1}, or an array "
            f"of n_samples={n_samples} of them, got {component!r}."
        )
    chosen = np.broadcast_to(numbers.astype(np.int64), n_samples)
    latents, joint = mixture.draw_from(chosen, generator), vae.levels.density(mixture)
    if isinstance(joint, LevelsDensity):
        lower = generator.standard_normal((n_samples, joint.n_lower))
        return np.hstack([lower, latents])
    return latents


def _has_mixture(embedder: Any) -> bool:
    return bool(embedder.prior == "mixture")


class MixtureComponentsMixin:
    """Components of the rows of a VAE with a mixture prior, by its public attributes.

    These are `prior`, `module_` and `transform`.
    """

    # Provided by the embedder: those of its latents that the prior is for.
    _prior_latents: Callable[[Any], NDArray[Any]]

    @property
    def prior_weights_(self) -> NDArray[np.float64]:
        """Weights of the components of the mixture prior, which sum to one."""
        weights = self._mixture("prior_weights_").log_weights.exp()
        return np.asarray(to_numpy(weights / weights.sum()))

    @property
    def prior_means_(self) -> NDArray[np.float64]:
        """Means of the components of the mixture prior."""
        return to_numpy(self._mixture("prior_means_").means).copy()

    @property
    def prior_scales_(self) -> NDArray[np.float64]:
        """Standard deviations of the components of the mixture prior."""
        scales = torch.exp(0.5 * self._mixture("prior_scales_").log_variances)
        return to_numpy(scales)

    def _mixture(self, wanted: str) -> GaussianMixture:
        """Return the mixture prior, in float64."""
        check_is_fitted(self)
        embedder: Any = self
        prior = embedder.module_.prior
        if not isinstance(prior, MixturePrior):
            raise AttributeError(
                f"This {type(self).__name__} has no {wanted}: it was fitted with "
                "another prior than 'mixture'."
            )
        with torch.no_grad():
            return prior.given(None)

    @available_if(_has_mixture)
    @fork_safe
    def predict_component_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each component of the mixture prior.

        At the posterior mean, which `transform` returns: what scikit-learn's
        ``GaussianMixture`` of the same weights, means and scales calls
        ``predict_proba``. For ``prior="mixture"`` only.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_components)
            Rows sum to one.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from latentsk import VAEEmbedder
        >>> X = load_iris().data
        >>> vae = VAEEmbedder(
        ...     2, prior="mixture", n_prior_components=3, max_epochs=20, random_state=0
        ... ).fit(X)
        >>> vae.predict_component_proba(X).shape
        (150, 3)
        """
        mixture = self.prior_weights_, self.prior_means_, self.prior_scales_
        return component_probabilities(self._prior_latents(X), *mixture)

    @available_if(_has_mixture)
    @fork_safe
    def predict_component(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the most probable component of the mixture prior: a cluster of rows.

        For ``prior="mixture"`` only. `predict` tells outliers, as always.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        components : ndarray of shape (n_samples,), dtype int64
            From 0 to one less than the number of components.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If `X` is not valid.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from latentsk import VAEEmbedder
        >>> X = load_iris().data
        >>> vae = VAEEmbedder(
        ...     2, prior="mixture", n_prior_components=3, max_epochs=20, random_state=0
        ... ).fit(X)
        >>> vae.predict_component(X).shape
        (150,)
        """
        return self.predict_component_proba(X).argmax(axis=1)
