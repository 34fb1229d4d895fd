"""Values of features as a table of numbers on coloured cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk._typing import Float64
from latentsk.display._numbers import clipped

# Spreads of a feature from which on a colour no longer changes.
REACH = 3.0
LABEL_LENGTH = 36
# Inches of a cell.
CELL_HEIGHT, CHARACTER_WIDTH = 0.27, 0.075


def as_table(rows: Any, columns: Any = None) -> pd.DataFrame:
    """Return rows as a DataFrame with text labels, in which every cell is as it was.

    Parameters
    ----------
    rows : array-like of shape (n_rows, n_features)

    columns : sequence or None, default=None
        Names; None: those that rows have, else "x0", "x1", ...

    Examples
    --------
    >>> as_table([[1.0, 2.0]]).columns.tolist()
    ['x0', 'x1']
    """
    if hasattr(rows, "to_pandas"):
        rows = rows.to_pandas()
    if not isinstance(rows, pd.DataFrame):
        rows = pd.DataFrame(np.asarray(rows))
        names = [f"x{i}" for i in range(rows.shape[1])] if columns is None else columns
        rows.columns = list(names)
    return rows.set_axis([str(name) for name in rows.columns], axis=1)


def spreads(table: pd.DataFrame) -> Float64:
    """Return the standard deviation of each column; 1 for constants and strings.

    Examples
    --------
    >>> spreads(pd.DataFrame({"a": [1.0, 3.0], "b": ["u", "v"], "c": [2.0, 2.0]}))
    array([1., 1., 1.])
    """
    found = [
        float(np.nanstd(column.to_numpy(np.float64))) if is_numeric(column) else 1.0
        for _, column in table.items()
    ]
    return np.array([spread if spread > 0.0 else 1.0 for spread in found])


def is_numeric(column: pd.Series) -> bool:
    """Tell whether a column holds numbers, flags among them."""
    return bool(pd.api.types.is_numeric_dtype(column))


def differences(left: pd.DataFrame, right: pd.DataFrame) -> Float64:
    """Return by how much cells of one table exceed those of another.

    Of strings 1 where they differ, and 0 where they do not.

    Examples
    --------
    >>> differences(pd.DataFrame({"a": [3.0]}), pd.DataFrame({"a": [1.0]}))
    array([[2.]])
    """
    found = np.empty(left.shape)
    for i, name in enumerate(left.columns):
        if is_numeric(left[name]) and is_numeric(right[name]):
            here, there = (t[name].to_numpy(np.float64) for t in (left, right))
            found[:, i] = here - there
        else:
            found[:, i] = left[name].to_numpy() != right[name].to_numpy()
    return np.nan_to_num(found)


def most_different(shades: Float64, n_most: int) -> NDArray[np.intp]:
    """Return the features that differ most in any row, in this order.

    Examples
    --------
    >>> most_different(np.array([[0.1, -3.0, 0.0], [2.0, 0.0, 0.0]]), 2)
    array([1, 0])
    """
    order = np.argsort(-np.abs(shades).max(axis=0), kind="stable")
    return order[:n_most]


def table_size(
    texts: Sequence[Sequence[str]], labels: Sequence[str]
) -> tuple[float, float]:
    """Return the inches of a figure that holds a table, its labels and a legend."""
    widest = max(len(text) for line in texts for text in line) + 2
    label = min(LABEL_LENGTH, max(map(len, labels), default=0))
    width = CHARACTER_WIDTH * (widest * len(texts[0]) + label)
    return max(3.5, width + 1.4), CELL_HEIGHT * len(texts) + 1.1


def draw_table(
    ax: Any,
    texts: Sequence[Sequence[str]],
    shades: NDArray[Any],
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    meaning: str,
) -> Any:
    """Draw texts in cells whose colours tell of differences.

    Parameters
    ----------
    ax : matplotlib Axes

    texts : sequence of n_rows sequences of n_columns str

    shades : ndarray of shape (n_rows, n_columns)
        Signed, in spreads of their feature: 0 is white.

    row_labels, column_labels : sequence of str

    meaning : str
        What a colour is, for the colour bar.

    Returns
    -------
    image : matplotlib AxesImage
    """
    image = ax.imshow(shades, cmap="RdBu_r", vmin=-REACH, vmax=REACH, aspect="auto")
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            is_dark = abs(shades[row, column]) > 0.6 * REACH
            ax.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize="small",
                color="white" if is_dark else "black",
                parse_math=False,
            )
    rows = [clipped(label, LABEL_LENGTH) for label in row_labels]
    ax.set_yticks(range(len(rows)), rows, parse_math=False)
    columns = [
        "\n".join(clipped(line, LABEL_LENGTH) for line in label.splitlines())
        for label in column_labels
    ]
    ax.set_xticks(range(len(columns)), columns, parse_math=False)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, extend="both", shrink=0.9)
    bar.set_label(meaning)
    return image
