"""Paths through a latent space: from row to row, and along one dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from latentsk._device import on_host
from latentsk._threads import fork_safe
from latentsk._typing import Float64
from latentsk._validation import checked, reject_masked, require_count

# Sine of the angle below which directions are taken for parallel.
_PARALLEL = 1e-6


def linear_path(start: ArrayLike, end: ArrayLike, n_steps: int) -> Float64:
    """Return points on the straight line between two points, both included.

    Parameters
    ----------
    start, end : array-like of shape (n_latents,)

    n_steps : int
        Points, at least 2.

    Returns
    -------
    path : ndarray of shape (n_steps, n_latents)

    Examples
    --------
    >>> linear_path([1.2, -0.5], [-0.8, 1.1], 5)
    array([[ 1.2, -0.5],
           [ 0.7, -0.1],
           [ 0.2,  0.3],
           [-0.3,  0.7],
           [-0.8,  1.1]])
    """
    share = np.linspace(0.0, 1.0, n_steps)[:, None]
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    return (1.0 - share) * start + share * end


def spherical_path(start: ArrayLike, end: ArrayLike, n_steps: int) -> Float64:
    """Return points on the arc between two points, both included.

    ``sin((1 - t) a) / sin(a) * start + sin(t a) / sin(a) * end`` for the angle ``a``
    between the two (Shoemake, 1985). In a space with a normal prior it stays where the
    prior has its mass. Points in one direction, or opposite ones, are joined by a line.

    Parameters
    ----------
    start, end : array-like of shape (n_latents,)

    n_steps : int
        Points, at least 2.

    Returns
    -------
    path : ndarray of shape (n_steps, n_latents)

    Examples
    --------
    >>> spherical_path([1.0, 0.0], [0.0, 1.0], 3).round(3)
    array([[1.   , 0.   ],
           [0.707, 0.707],
           [0.   , 1.   ]])
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    lengths = np.linalg.norm(start) * np.linalg.norm(end)
    cosine = np.clip(start @ end / lengths, -1.0, 1.0) if lengths else 1.0
    angle = np.arccos(cosine)
    if np.sin(angle) < _PARALLEL:
        return linear_path(start, end, n_steps)
    share = np.linspace(0.0, 1.0, n_steps)[:, None]
    before, after = np.sin((1.0 - share) * angle), np.sin(share * angle)
    return (before * start + after * end) / np.sin(angle)


PATHS = {"linear": linear_path, "slerp": spherical_path}


class LatentPathsMixin:
    """Rows along paths through a latent space."""

    # Provided by the embedder: rows for latent coordinates, and for what else they need
    # from the row that the path begins with to the one that it ends with.
    _decode_path: Callable[[NDArray[Any], Any, Any], Any]

    @fork_safe
    def interpolate(
        self, a: ArrayLike, b: ArrayLike, n_steps: int = 10, method: str = "linear"
    ) -> Any:
        """Return rows on the way from one row to another, through the latent space.

        Parameters
        ----------
        a, b : array-like of shape (n_features,) or (n_pairs, n_features)
            Two rows or two images, or as many of each; one goes with each of many.

        n_steps : int, default=10
            Rows to return, the reconstructions of both ends included; at least 2.

        method : {"linear", "slerp"}, default="linear"
            A straight line, or an arc around the origin (Shoemake, 1985), which stays
            where the prior has its mass.

        Returns
        -------
        rows : ndarray of shape (n_steps, n_features) or (n_pairs, n_steps, \
n_features), or DataFrame
            In original units; images, in the layout of the fit, where it was fitted on
            images. Conditions go from those of `a` to those of `b`: numbers steadily,
            categories half of the way. A DataFrame where columns hold strings, whose
            index says "pair" and "step" where there are several pairs.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If a row or a parameter is not valid.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> vae = VAEEmbedder(1, max_epochs=20, random_state=0).fit(X)
        >>> vae.interpolate(X[0], X[1], 5).shape
        (5, 3)
        >>> vae.interpolate(X[:4], X[4:8], 5).shape
        (4, 5, 3)
        """
        check_is_fitted(self)
        require_count("n_steps", n_steps, least=2)
        if not isinstance(method, str) or method not in PATHS:
            raise ValueError(f"method must be one of {sorted(PATHS)}, got {method!r}.")
        firsts, lasts = _each_row(self, a, "a"), _each_row(self, b, "b")
        n_pairs = max(len(firsts), len(lasts))
        if not {len(firsts), len(lasts)} <= {1, n_pairs}:
            raise ValueError(
                f"a and b must hold as many rows, or one of them a single row, got "
                f"{len(firsts)} and {len(lasts)}."
            )
        paths = []
        for pair in range(n_pairs):
            first, last = firsts[pair % len(firsts)], lasts[pair % len(lasts)]
            start, end = _latents_of(self, first), _latents_of(self, last)
            path = PATHS[method](start, end, int(n_steps))
            dtype = np.result_type(start, end)
            paths.append(self._decode_path(path.astype(dtype), first, last))
        return _stacked(paths, "pair") if n_pairs > 1 else paths[0]

    @fork_safe
    def traverse(
        self, x: ArrayLike, dimension: int | Sequence[int], values: ArrayLike
    ) -> Any:
        """Return a row as it changes along a latent dimension, or along each of some.

        Parameters
        ----------
        x : array-like of shape (n_features,) or (1, n_features)
            The row, or an image.

        dimension : int or sequence of int
            Which latent dimension, or several, one at a time.

        values : array-like of shape (n_values,)
            What it is set to; the others stay. The prior's standard deviation is 1.

        Returns
        -------
        rows : ndarray of shape (n_values, n_features) or (n_dimensions, n_values, \
n_features), or DataFrame
            In original units; images, in the layout of the fit, where it was fitted on
            images. Conditions are those of the row. A DataFrame where columns hold
            strings, whose index says "dimension" and "step" where there are several.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.

        ValueError
            If the row or the values are not valid, or there is no such dimension.

        Examples
        --------
        >>> import numpy as np
        >>> from latentsk import VAEEmbedder
        >>> X = np.random.default_rng(0).normal(size=(200, 1)) * [1.0, 2.0, 3.0]
        >>> vae = VAEEmbedder(1, max_epochs=20, random_state=0).fit(X)
        >>> vae.traverse(X[0], 0, [-2, -1, 0, 1, 2]).shape
        (5, 3)
        >>> vae.traverse(X[0], [0], [-2, -1, 0, 1, 2]).shape
        (1, 5, 3)
        """
        check_is_fitted(self)
        row = _as_rows(self, x, "x")
        latents = _latents_of(self, row)
        dimensions = _dimensions(dimension, len(latents))
        given: Float64 = checked(
            on_host(values), ensure_2d=False, dtype=np.float64, input_name="values"
        )
        if given.ndim != 1:
            raise ValueError(f"values must have one dimension, got {given.ndim}.")
        lines = []
        for chosen in dimensions:
            path = np.tile(latents, (len(given), 1))
            path[:, chosen] = given
            lines.append(self._decode_path(path, row, row))
        is_one = isinstance(dimension, Integral)
        return lines[0] if is_one else _stacked(lines, "dimension", dimensions)


def _dimensions(dimension: Any, n_latents: int) -> list[int]:
    """Return the latent dimensions that a caller names.

    Raises
    ------
    ValueError
    """
    named = [dimension] if np.ndim(dimension) == 0 else list(dimension)
    for chosen in named:
        if not isinstance(chosen, Integral) or not 0 <= int(chosen) < n_latents:
            raise ValueError(
                f"dimension must be an integer from 0 to {n_latents - 1}, or several, "
                f"got {dimension!r}."
            )
    if not named:
        raise ValueError("dimension must name at least one latent dimension, got none.")
    return list(map(int, named))


def _stacked(parts: list[Any], name: str, keys: Sequence[int] | None = None) -> Any:
    """Return paths in one array, or in one table that says where each begins."""
    if isinstance(parts[0], pd.DataFrame):
        numbered = [part.reset_index(drop=True) for part in parts]
        named = range(len(parts)) if keys is None else keys
        return pd.concat(numbered, keys=named, names=[name, "step"])
    return np.stack(parts)


def _each_row(embedder: Any, rows: Any, name: str) -> list[Any]:
    """Return each of some rows as a table, or an array of images, of its own."""
    each: list[Any]
    if isinstance(rows, pd.DataFrame):
        each = [rows.iloc[[i]] for i in range(len(rows))]
    elif isinstance(rows, pd.Series):
        each = [rows]
    else:
        found = np.asarray(reject_masked(on_host(rows)))
        is_one = found.ndim < 2 or found.size == embedder.n_features_in_
        each = [found] if is_one else [found[i : i + 1] for i in range(len(found))]
    return [_as_rows(embedder, row, name) for row in each]


def _latents_of(embedder: Any, row: Any) -> NDArray[Any]:
    """Return the latent coordinates of a single row."""
    return np.asarray(embedder.transform(row))[0]


def _as_rows(embedder: Any, row: Any, name: str) -> Any:
    """Return one row as a table with the names of the fit, or as an array of images."""
    if isinstance(row, pd.Series):
        row = pd.DataFrame([row.to_numpy()], columns=row.index)
    if not isinstance(row, pd.DataFrame):
        row = np.asarray(reject_masked(on_host(row)))
        row = row[None] if row.ndim == 1 else row
    n_features = embedder.n_features_in_
    is_image = hasattr(embedder, "input_shape_") and row.size == n_features
    if is_image and row.shape != (1, n_features):
        return row if row.ndim > 2 and len(row) == 1 else row[None]
    if row.shape != (1, n_features):
        raise ValueError(
            f"{name} must be a row of shape ({n_features},) or (1, {n_features}), got "
            f"{row.shape}."
        )
    names = getattr(embedder, "feature_names_in_", None)
    if names is not None and not isinstance(row, pd.DataFrame):
        row = pd.DataFrame(row, columns=names)
    return row
