"""New rows of classes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._typing import Float64
from latentsk.classify._labels import Labels, positions_of


def drawn_classes(
    y: Any,
    n_rows: int,
    classes: Labels,
    priors: Float64,
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    """Return the position of the class of each new row.

    Parameters
    ----------
    y : label, array-like of shape (n_rows,) or None
        None: drawn by the priors.

    n_rows : int

    classes, priors : ndarray of shape (n_classes,)

    generator : numpy.random.Generator

    Raises
    ------
    ValueError
        If there is not one label, or one for each row, or it is none of the classes.

    Examples
    --------
    >>> classes, priors = np.array(["a", "b"]), np.array([0.5, 0.5])
    >>> drawn_classes("b", 3, classes, priors, np.random.default_rng(0))
    array([1, 1, 1])
    """
    if y is None:
        return generator.choice(len(classes), n_rows, p=priors)
    labels = np.asarray(y)
    if labels.ndim > 1 or labels.shape not in ((), (n_rows,)):
        raise ValueError(
            f"y must be one label, or one for each of n_samples={n_rows} rows, got an "
            f"array of shape {labels.shape}."
        )
    return positions_of(np.broadcast_to(labels, (n_rows,)), classes)


def drawn_rows(
    densities: Sequence[Any], codes: NDArray[np.intp], generator: np.random.Generator
) -> Any:
    """Return a new row of the class at each position.

    Parameters
    ----------
    densities : sequence of fitted estimators with `sample`

    codes : ndarray of shape (n_rows,)

    generator : numpy.random.Generator

    Returns
    -------
    rows : ndarray or DataFrame of n_rows rows
    """
    present = np.unique(codes)
    parts = [_sample(densities[k], int((codes == k).sum()), generator) for k in present]
    order = np.argsort(np.argsort(codes, kind="stable"), kind="stable")
    if isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True)
    return np.concatenate(parts)[order]


def _sample(density: Any, n_rows: int, generator: np.random.Generator) -> Any:
    """Draw rows, whether `sample` takes a random state or the estimator has one."""
    seed = int(generator.integers(2**31))
    if "random_state" in inspect.signature(density.sample).parameters:
        drawn = density.sample(n_rows, random_state=seed)
    else:
        density = copy.copy(density)
        if "random_state" in density.get_params():
            density.set_params(random_state=seed)
        drawn = density.sample(n_rows)
    # A mixture returns components beside the rows.
    return drawn[0] if isinstance(drawn, tuple) else drawn
