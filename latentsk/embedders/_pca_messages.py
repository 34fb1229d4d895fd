"""What PCAEmbedder says where rows or a model are beyond its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from latentsk._validation import largest_value
from latentsk.linear._gaussian import LinearGaussian
from latentsk.linear._moments import TOO_LARGE

# Share of a component's squared weights from which it is one column.
ONE_COLUMN = 0.999
EVERY_COMPONENT_KEPT = (
    "every component is kept, so that nothing is left to reconstruct wrongly. Set "
    "n_components below the number of features, or choose another score_method."
)
FLAT_COMPONENT = (
    "a component that is kept has no variance. Set n_components below the rank of the "
    "data, or leave it at 'auto'."
)
NO_NOISE = (
    "the directions that are left out have no variance. Set n_components below the "
    "rank of the data, leave it at 'auto', or score by 'reconstruction'."
)
SINGULAR = (
    "The covariance is singular: there is a direction without variance. Set "
    "n_components below the rank of the data, or leave it at 'auto'."
)


def undefined_reason(
    score_method: str,
    variances: tuple[float, float, float],
    floor: float,
    *,
    complete: bool,
) -> str | None:
    """Return why scores would be infinite or rounding noise; None where they are not.

    Parameters
    ----------
    score_method : str

    variances : tuple of float
        Of the first and the last component that is kept, and of the noise.

    floor : float
        Variance that is rounding noise.

    complete : bool
        Whether every component is kept.

    Examples
    --------
    >>> undefined_reason("likelihood", (2.0, 1.0, 0.5), 1e-9, complete=False)
    >>> undefined_reason("likelihood", (2.0, 1.0, 0.0), 1e-9, complete=False)[:24]
    'the directions that are '
    """
    _, smallest, noise = variances
    if score_method == "reconstruction":
        return EVERY_COMPONENT_KEPT if complete else None
    if score_method == "mahalanobis" or complete:
        return None if smallest > floor else FLAT_COMPONENT
    return None if noise > floor else NO_NOISE


@contextmanager
def largest_named(X: Any, names: Sequence[str] | None) -> Iterator[None]:
    """Let the error about values that are too large name their column.

    Raises
    ------
    ValueError
        The error that is raised within, with the column of the largest value.
    """
    try:
        yield
    except ValueError as error:
        if str(error) != TOO_LARGE:
            raise
        value, column = largest_value(X)
        name = _name(column, names)
        raise ValueError(
            f"{TOO_LARGE} The largest is {value:g}, in column {name!r}."
        ) from error


def of_one_column(
    model: LinearGaussian, eps: float, names: Sequence[str] | None
) -> str:
    """Say if one column has so much variance that one of 1 is rounded away beside it.

    Examples
    --------
    >>> import numpy as np
    >>> model = LinearGaussian(np.zeros(2), np.eye(2)[:1], np.array([1e118]), 0.0)
    >>> of_one_column(model, 1e-16, ["width", "weight"])
    " Column 'width' has nearly all of the variance, 1e+118, beside which ..."
    """
    if len(model.variances) == 0 or model.variances[0] < 1.0 / eps:
        return ""
    shares = model.components[0] ** 2
    column = int(shares.argmax())
    if shares[column] < ONE_COLUMN:
        return ""
    return (
        f" Column {_name(column, names)!r} has nearly all of the variance, "
        f"{float(model.variances[0]):.2g}, beside which others are rounded away: clip "
        "huge values in it, or put a StandardScaler before."
    )


def _name(column: int, names: Sequence[str] | None) -> str:
    return f"x{column}" if names is None else str(names[column])
