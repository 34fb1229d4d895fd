"""Where displays draw."""

from __future__ import annotations

from typing import Any


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
