"""Steps of a neural fit, as functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._chunks import sample_rows
from latentsk.networks._architecture import Architecture
from latentsk.training._standardize import Moments
from latentsk.vae._table import TableLayout

# Rows set aside from which the automatic threshold is placed on them.
MIN_ROWS_TO_JUDGE = 32

# Parameters that a description of the network has under another name.
PARAMETERS = {"code_prior": "prior"}


def require_same(wanted: Architecture, present: Architecture, who: str) -> None:
    """Refuse parameters that mean another network than the one that is trained on.

    Parameters
    ----------
    wanted, present : dict
        What the parameters mean, and what there is.

    who : str
        What continues, for the message.

    Raises
    ------
    ValueError
    """
    for name, value in present.items():
        # None stands for what custom modules decide, and for what another kind of
        # network lacks.
        if wanted.get(name) not in (value, None):
            parameter = PARAMETERS.get(name, name)
            raise ValueError(
                f"{who} continues with the same network, but {parameter} is now "
                f"{wanted[name]!r} instead of {value!r}. Set the parameters back, or "
                "fit with warm_start=False."
            )


def moments_of(
    X: NDArray[Any], architecture: Architecture, table: TableLayout | None
) -> Moments:
    """Return the moments that rows are standardized by.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)

    architecture : dict
        The pixels of a channel share their moments in "conv".

    table : TableLayout or None
        That of the rows, if it tells columns apart.
    """
    if table is not None:
        return table.moments(X, architecture["standardize"])
    convolutional = architecture["network"] in ("conv", "conv-grid")
    return Moments.of(X, architecture["input_shape"][0] if convolutional else None)


def rows_to_judge(
    X: NDArray[Any], held_out: NDArray[np.int64], contamination: float | str
) -> NDArray[Any]:
    """Return the rows that the threshold is placed on.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)

    held_out : ndarray of shape (n_held_out,)
        Numbers of the rows that were not trained on.

    contamination : float or "auto"

    Examples
    --------
    >>> X = np.arange(50.0)[:, None]
    >>> len(rows_to_judge(X, np.arange(40), "auto")), len(rows_to_judge(X, [], 0.1))
    (40, 50)
    """
    if contamination != "auto":
        return X
    if len(held_out) < MIN_ROWS_TO_JUDGE:
        return sample_rows(X)
    # Rows that the network has not been trained on are reconstructed like new ones.
    return sample_rows(X[sample_rows(held_out[:, None])[:, 0]])
