"""What is wrong with rows that are refused: the column, the value, and what to do."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from numbers import Complex, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse

from latentsk._columns import as_floats, column_names, columns_of
from latentsk._images import as_images, flattening
from latentsk._remedies import (
    MIXED,
    Cell,
    as_nan,
    listed,
    remedy,
    with_missing_for_infinite,
    without_missing,
)

# What rows are called that an embedder has made.
OUTPUT = "the embedder's output"
# Characters of a value that a message shows, at most.
MOST_SHOWN = 60
# What cells may be that are no numbers.
TIMES = (datetime.date, np.datetime64, pd.Period)
DURATIONS = (datetime.timedelta, np.timedelta64)
KINDS: dict[str, Any] = {
    "strings": (str, bytes),
    "dates": TIMES,
    "durations": DURATIONS,
    "sequences": (list, tuple, np.ndarray),
}


@contextmanager
def diagnosed(X: Any, input_name: str = "X") -> Iterator[None]:
    """Let an error about what rows hold say where, and what to do.

    Parameters
    ----------
    X : array-like
        The rows that are validated or embedded within, as they were given.

    input_name : str, default="X"
        What the message calls them.

    Raises
    ------
    ValueError, TypeError
        The error raised within, if it is about other things than `X` holds; else one of
        its kind that names the column.

    Examples
    --------
    >>> with diagnosed([["a", 1.0]]):
    ...     np.asarray([["a", 1.0]], dtype=np.float64)
    Traceback (most recent call last):
    ...
    ValueError: X must hold numbers, but column 'x0' holds strings: could not ...
    """
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        reason = None
        with suppress(Exception):  # of a table that does not show its columns
            reason = diagnosis(X, str(error), input_name)
        if reason is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(reason) from error


def diagnosis(X: Any, message: str, input_name: str = "X") -> str | None:
    """Return what is wrong with rows of which an error tells.

    Parameters
    ----------
    X : array-like

    message : str
        That of the error.

    input_name : str, default="X"
        What is to be said instead of X.

    Returns
    -------
    reason : str or None
        None if the message is about something else, names a column already, or `X` has
        nothing of the kind.

    Examples
    --------
    >>> diagnosis([[1.0, np.inf]], "Input X contains infinity or ...")
    "Input X contains infinity: inf in column 'x1', row 0. ..."
    >>> diagnosis([[1.0, 2.0]], "Input X contains infinity or ...")
    """
    for pattern, reason_of in _REASONS:
        if re.search(pattern, message):
            has_place = _names_column(X, message)
            return None if has_place else reason_of(X, message, input_name)
    return None


def _names_column(X: Any, message: str) -> bool:
    """Tell whether a message names a column of a table, as a step within has done."""
    if not message.startswith(("Input X contains", "X must hold")):
        return False
    names = column_names(X) or []
    return any(
        f"column {name!r} holds" in message
        or f"columns {name!r}, " in message
        or f"in column {name!r}, row" in message
        for name in names
    )


def reject_dates(X: Any, input_name: str = "X") -> None:
    """Refuse dates and durations, which numpy turns into numbers of no known unit.

    Raises
    ------
    TypeError
    """
    # A Series has one dtype, under both names.
    dtypes = [X.dtype] if hasattr(X, "dtype") else getattr(X, "dtypes", ())
    if any(map(_is_of_time, dtypes)):
        kinds = ("dates", "durations")
        cells = [cell for cell in _first_cells(X, "") if cell.kind in kinds]
        if cells:  # not where there are no rows or columns, of which others tell
            raise TypeError(_about(cells, X, "", input_name))


def _is_of_time(dtype: Any) -> bool:
    is_temporal = getattr(dtype, "is_temporal", None)  # of polars
    if is_temporal is not None:
        return bool(is_temporal())
    is_period = isinstance(dtype, pd.PeriodDtype)
    return is_period or getattr(dtype, "kind", "") in ("m", "M")


# Sparse, complex, missing and infinite values


def _sparse(X: Any, message: str, input_name: str) -> str | None:
    begin = f"Sparse data was passed for {input_name}, but dense data is required."
    if input_name == OUTPUT:
        return f"{begin} Put {_reduction(X)} behind it in a Pipeline."
    if isinstance(X, pd.DataFrame) and hasattr(X, "sparse"):
        return f"{begin} Use X.sparse.to_dense()."
    if issparse(X):
        return (
            f"{begin} Use X.toarray(), or put {_reduction(X)} before, as a step of a "
            "Pipeline."
        )
    if OUTPUT in message:
        return None
    return (
        "Sparse data was passed on by a step before, but dense data is required. Set "
        "sparse_output=False in it, or put TruncatedSVD behind it."
    )


def _reduction(X: Any) -> str:
    return _directions(X.shape[1])


def _directions(n_features: int) -> str:
    # With fewer, texts that differ in one rare word become equal.
    return f"TruncatedSVD({min(300, max(n_features - 1, 1))})"


def n_words(texts: Any) -> int:
    """Return how many words the first texts have, at least.

    Examples
    --------
    >>> n_words(["the card", "the bank"])
    3
    """
    some = (str(text).lower() for text in islice(texts, 1_000))
    return len({word for text in some for word in re.findall(r"\b\w\w+\b", text)})


def _complex(X: Any, message: str, input_name: str) -> str | None:
    for label, cells in columns_of(X):
        for row, cell in enumerate(cells):
            if _is_complex(cell):
                return (
                    f"Complex data not supported: {_shown(cell)} in column {label!r}, "
                    f"row {row}. Give real and imaginary parts as columns: Z = "
                    "np.asarray(X, complex); X = np.hstack([Z.real, Z.imag])."
                )
    return None


def _is_complex(value: Any) -> bool:
    return isinstance(value, Complex) and not isinstance(value, Real)


def _missing(X: Any, message: str, input_name: str) -> str | None:
    holes = {
        label: rows[0]
        for label, cells in columns_of(X)
        if len(rows := np.flatnonzero(pd.isna(cells)))
    }
    if not holes:
        return None
    label, row = next(iter(holes.items()))
    others = f" (also in {listed(list(holes)[1:])})" if len(holes) > 1 else ""
    what = "a missing value" if input_name == "X" else "nan"
    return _contains(
        "NaN",
        f"{what} in column {label!r}, row {row}{others}",
        f"{as_nan(X)}Fill missing values in, with SimpleImputer() as the first step of "
        f"a Pipeline, or leave the rows out: {without_missing(X)}.",
        input_name,
    )


def _infinite(X: Any, message: str, input_name: str) -> str | None:
    for label, cells in columns_of(X):
        values = as_floats(cells)
        for row in np.flatnonzero(np.isinf(values))[:1]:
            return _contains(
                "infinity",
                f"{values[row]:g} in column {label!r}, row {row}",
                "Correct it, or make it a missing value, "
                f"{with_missing_for_infinite(X)}, and fill that in, with "
                "SimpleImputer() as the first step of a Pipeline. Where a step before "
                "makes it of 0, as np.log does, use np.log1p or np.arcsinh there.",
                input_name,
            )
    return None


def _contains(what: str, place: str, advice: str, input_name: str) -> str:
    begin = "Input X" if input_name == "X" else _begin(input_name)
    if input_name == OUTPUT:
        return f"{begin} contains {what}: {place}."
    if input_name != "X":
        advice = (
            "A step before has made it of X: clip or scale what is large in X, or what "
            "that step has no value for."
        )
    return f"{begin} contains {what}: {place}. {advice}"


def _begin(name: str) -> str:
    return name[:1].upper() + name[1:]


# What is no table


def _of_many_axes(X: Any, message: str, input_name: str) -> str | None:
    images = as_images(X)
    if images is None or input_name != "X":
        return None
    return (
        f"Expected 2D array, got {images.ndim}D array instead: X has shape "
        f"{images.shape}. Flatten every row: {flattening(X, images.shape)}. Only "
        "embedders with a network (AutoencoderEmbedder, VAEEmbedder, "
        "HierarchicalVAEEmbedder, VQVAEEmbedder) take images as arrays, alone or as "
        "the embedder of others."
    )


# What is no number


def _not_numbers(X: Any, message: str, input_name: str) -> str | None:
    begin = _begin(input_name)
    if _are_texts(X):
        return (
            f"{begin} must have rows and columns of numbers, but holds strings: could "
            f"not convert string to float: {_shown(_first(X))} in row 0. Put "
            f"make_pipeline(TfidfVectorizer(), {_directions(n_words(X))}) before, as "
            "the first steps of a Pipeline."
        )
    if getattr(getattr(X, "dtype", None), "names", None):
        return f"{begin} must hold numbers, not records. Use pd.DataFrame(X)."
    if (lengths := _lengths(X)) is not None:
        row = np.flatnonzero(lengths != lengths[0])[0]
        return (
            f"{begin} has an inhomogeneous shape: row 0 has {lengths[0]} values, row "
            f"{row} has {lengths[row]}. Make missing values of those that lack, "
            "np.array(list(itertools.zip_longest(*X, fillvalue=np.nan)), object).T, "
            "and fill them in, with SimpleImputer() as the first step of a Pipeline."
        )
    cells = list(_first_cells(X, message))
    if not cells:
        return None
    value = cells[0].value
    if value is pd.NA:
        return _missing(X, message, input_name)
    if _is_complex(value):
        return _complex(X, message, input_name)
    return _about(cells, X, message, input_name)


def _about(cells: list[Cell], X: Any, message: str, input_name: str) -> str:
    """Return what columns hold that are like the first one."""
    first = cells[0]
    alike = [cell for cell in cells if cell.kind == first.kind]
    which = f"column {first.label!r} holds {first.kind}"
    if len(alike) > 1:
        which = f"columns {listed([c.label for c in alike])} hold {first.kind}"
    advice = f" {remedy(X, alike)}" if input_name == "X" else ""
    return (
        f"{_begin(input_name)} must hold numbers, but {which}: "
        f"{_said(first, message)} in row {first.row}.{advice}"
    )


def _said(cell: Cell, message: str) -> str:
    """Return the value, in the words of the error that users look for."""
    if isinstance(cell.value, str | bytes):
        return f"could not convert string to float: {_shown(cell.value)}"
    told = re.search(r"float\(\) argument must be .*?, not '[^']*'", message)
    return f"{told[0]}: {_shown(cell.value)}" if told else _shown(cell.value)


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, TIMES + DURATIONS) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def _are_texts(X: Any) -> bool:
    """Tell whether rows are not rows of cells, but strings."""
    if isinstance(X, str | bytes) or len(getattr(X, "shape", [0])) != 1:
        return False
    return len(X) > 0 and isinstance(_first(X), str | bytes)


def _first(X: Any) -> Any:
    return next(iter(X))


def _lengths(X: Any) -> Any:
    """Return the lengths of lists as rows, if they are not the same."""
    if not isinstance(X, list | tuple) or not len(X):
        return None
    if not all(isinstance(row, list | tuple | np.ndarray) for row in X):
        return None
    lengths = np.array([len(row) for row in X])
    return lengths if (lengths != lengths[0]).any() else None


def _first_cells(X: Any, message: str) -> Iterator[Cell]:
    """Yield the first cell of each column that is no number.

    The very first is one that the message tells of, if it does: about a string that `X`
    does not hold, but what was made of it, nothing can be said.
    """
    told = re.search(_TOLD, message)
    wanted = told["value"] if told else None
    for j, (label, column) in enumerate(columns_of(X)):
        for row, value, kind in _no_numbers(column):
            if wanted is None or repr(value) == wanted:
                is_mixed = kind == "strings" and _has_numbers(column)
                kind = MIXED if is_mixed else kind
                yield Cell(label, j, row, value, kind)
                wanted = None
                break


def _no_numbers(column: NDArray[Any]) -> Iterator[tuple[int, Any, str]]:
    """Yield the row, the value and the kind of what is no number in a column."""
    if column.dtype.kind in "fiub":
        return
    of_time = column.dtype.kind in "mM"
    for row, cell in enumerate(column):
        if cell is pd.NA:  # which numpy takes for no number, unlike None
            yield row, cell, "missing values"
        elif of_time or not pd.api.types.is_scalar(cell) or not pd.isna(cell):
            kind = _kind(cell)
            if kind is not None:
                yield row, _plain(cell), kind


def _has_numbers(column: NDArray[Any]) -> bool:
    return any(_kind(cell) is None for cell in column if not pd.isna(cell))


def _kind(cell: Any) -> str | None:
    """Return what a cell is, None for a number."""
    is_of = (kind for kind, classes in KINDS.items() if isinstance(cell, classes))
    kind = next(is_of, f"objects of type {type(cell).__name__}")
    if kind in ("dates", "durations", "sequences"):
        return kind
    try:
        float(cell)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        return kind
    return None


def _plain(cell: Any) -> Any:
    """Return a string without numpy's type around it, which an error does not show."""
    plain = next((kind for kind in (str, bytes) if isinstance(cell, kind)), None)
    return cell if plain is None else plain(cell)


# The string that an error of numpy's tells of, or one from here.
_TOLD = (
    r"could not convert string to float: (np\.\w+\()?"
    r"(?P<value>b?'[^']*'|b?\"[^\"]*\")"
)
_REASONS: list[tuple[str, Callable[[Any, str, str], str | None]]] = [
    (r"Found array with dim \d", _of_many_axes),
    (r"Sparse data was passed|fill value must be 0", _sparse),
    (r"Complex data not supported", _complex),
    (r"contains NaN", _missing),
    (r"contains infinity", _infinite),
    (
        r"must hold numbers|could not convert|cannot convert|cannot be converted|"
        r"could not be promoted|too large to convert|Cannot cast|[Ii]nvalid literal|"
        r"argument must be|setting an array element|inhomogeneous|not compatible with "
        r"arrays of bytes",
        _not_numbers,
    ),
]
