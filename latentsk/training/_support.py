"""Which values rows can have: numbers, shares, counts, categories; and what if not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsk._chunks import row_blocks

# How far from its support a value can lie by rounding alone.
TOLERANCE = 1e-6
# What a value beyond its support costs, and again for every unit of its distance. Far
# more than any value within does, and far from the end of float32.
PENALTY = 1e6


def penalty(excess: Tensor) -> Tensor:
    """Return what values cost that lie outside their support, in nats.

    Nothing up to 1e-6, which rounding may cause. From twice that on ``1e6 * (1 +
    excess)``, so that rows are ranked by how far out they are; a ramp in between.

    Parameters
    ----------
    excess : Tensor
        Distances from the support.

    Examples
    --------
    >>> penalty(torch.tensor([0.0, 1e-7, 0.5, 999.0]))
    tensor([0.0000e+00, 0.0000e+00, 1.5000e+06, 1.0000e+09])
    """
    share = (excess / TOLERANCE - 1.0).clamp(0.0, 1.0)
    return PENALTY * share * (1.0 + excess)


class Support(NamedTuple):
    """The values that a distribution can have.

    Attributes
    ----------
    values : str
        Which they are, for a message.
    remedy : str
        What to do about others, for a message.
    nearest : callable
        From values to the nearest ones of the support.
    excess : callable
        From values to their distances from the support.
    penalties : callable
        From values to what those outside of the support cost, in nats.
    inputs : callable
        From values of the support to what an encoder sees.
    """

    values: str
    remedy: str
    nearest: Callable[[Tensor], Tensor]
    excess: Callable[[Tensor], Tensor]
    penalties: Callable[[Tensor], Tensor]
    inputs: Callable[[Tensor], Tensor]


def _same(rows: Tensor) -> Tensor:
    return rows


def _share(rows: Tensor) -> Tensor:
    return rows.clamp(0.0, 1.0)


def _count(rows: Tensor) -> Tensor:
    return torch.round(rows.clamp(min=0.0))


def _beyond_share(rows: Tensor) -> Tensor:
    return torch.abs(rows - _share(rows))


def _beyond_count(rows: Tensor) -> Tensor:
    return torch.abs(rows - _count(rows))


def _beyond_level(rows: Tensor) -> Tensor:
    """Return how far the columns of a level are from a single one: 1 for all zeros."""
    return torch.abs(1.0 - rows.sum(dim=-1, keepdim=True)).expand_as(rows)


SUPPORTS: dict[str, Support] = {
    "real": Support(
        "numbers", "", _same, torch.zeros_like, torch.zeros_like, inputs=_same
    ),
    "unit interval": Support(
        "data in [0, 1]",
        "Divide pixels by 255, put a MinMaxScaler() before the embedder (later rows "
        "outside its range then get very low scores), or choose another one.",
        _share,
        _beyond_share,
        lambda rows: penalty(_beyond_share(rows)),
        inputs=_share,
    ),
    "counts": Support(
        "counts (0, 1, 2, ...)",
        "Leave such rows out, or choose another one.",
        _count,
        _beyond_count,
        lambda rows: penalty(_beyond_count(rows)),
        inputs=lambda rows: torch.log1p(_count(rows)),
    ),
    "one-hot": Support(
        "one-hot columns",
        "Encode categories by OneHotEncoder().",
        _same,
        _beyond_level,
        # Once for all columns together.
        lambda rows: penalty(_beyond_level(rows)) / rows.shape[-1],
        inputs=_same,
    ),
}


def require_support(
    X: NDArray[Any],
    support: str,
    setting: str,
    names: Sequence[Any] | None = None,
) -> None:
    """Refuse rows with values outside a support, but for rounding errors.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Missing values, NaN, are no fault.

    support : str
        A name in `SUPPORTS`.

    setting : str
        What needs it, for the message.

    names : sequence or None, default=None
        Names of the columns; None: "x0", "x1", ...

    Raises
    ------
    ValueError
        If there are others; it names the column of the farthest.

    Examples
    --------
    >>> require_support(np.array([[0.0, 1.0]]), "unit interval", "likelihood='x'")
    >>> require_support(np.array([[0.0, 2.0]]), "unit interval", "likelihood='x'")
    Traceback (most recent call last):
    ...
    ValueError: likelihood='x' needs data in [0, 1], but X ranges from 0 to 2: 2 in
    column 'x1', row 0. ...
    """
    found, start = SUPPORTS[support], 0
    least, most, largest, fault = np.inf, -np.inf, TOLERANCE, (0.0, 0, 0)
    for block in row_blocks(X):
        values = np.array(block, dtype=np.float64)
        excess = found.excess(torch.from_numpy(values)).nan_to_num(nan=0.0).numpy()
        least = min(least, float(np.fmin.reduce(values, axis=None)))
        most = max(most, float(np.fmax.reduce(values, axis=None)))
        if excess.max() > largest:
            row, column = divmod(int(excess.argmax()), X.shape[1])
            largest = float(excess.max())
            fault = float(values[row, column]), start + row, column
        start += len(block)
    if largest > TOLERANCE:
        value, row, column = fault
        name = f"x{column}" if names is None else str(names[column])
        raise ValueError(
            f"{setting} needs {found.values}, but X ranges from {least:.7g} to "
            f"{most:.7g}: {value:.7g} in column {name!r}, row {row}. {found.remedy}"
        )
