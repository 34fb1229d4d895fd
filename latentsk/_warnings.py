"""Warnings that name the line of the user's own code."""

from __future__ import annotations

import sys
import warnings

# Code between the user and whoever warns.
_INNER = {"latentsk", "sklearn"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line outside of this package and of scikit-learn.

    Parameters
    ----------
    message : str

    category : type, default=UserWarning

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("Few rows.")
    >>> caught[0].message
    UserWarning('Few rows.')
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _package(frame.f_globals) in _INNER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)


def _package(names: dict[str, object]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]
