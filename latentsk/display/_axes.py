"""Where displays draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def require_matplotlib(caller: str) -> None:
    """Raise an ImportError that names the extra, if there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib: pip install 'latentsk[plot]'."
        ) from error


def given_or_new(
    ax: Any, size: tuple[float, float] | None = None, *, is_picture: bool = False
) -> Any:
    """Return `ax`, or the axes of a new figure that makes room for every label.

    Pictures keep their shape, and the figure's layout has to know.
    """
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    layout = "compressed" if is_picture else "constrained"
    return plt.subplots(figsize=size, layout=layout)[1]


def given_or_new_panels(
    axes: Any,
    sizes: Sequence[tuple[float, float]],
    of: str,
    *,
    is_picture: bool = False,
) -> NDArray[Any]:
    """Return `axes`, or those of a new figure, side by side.

    Parameters
    ----------
    axes : array-like of matplotlib Axes or None

    sizes : sequence of (width, height)
        Of each, in inches.

    of : str
        What they are for, for the message.

    is_picture : bool, default=False
        Whether they hold pictures, which keep their shape.

    Raises
    ------
    ValueError
        If there are not as many.
    """
    if axes is None:
        import matplotlib.pyplot as plt

        widths = [width for width, _ in sizes]
        return plt.subplots(
            1,
            len(sizes),
            figsize=(sum(widths), max(height for _, height in sizes)),
            layout="compressed" if is_picture else "constrained",
            squeeze=False,
            width_ratios=widths,
        )[1][0]
    found = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if len(found) != len(sizes):
        raise ValueError(f"axes must be {len(sizes)}, {of}, got {len(found)}.")
    return found
