"""How many bytes an index holds, and in what form its rows fit a budget."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np

from latentsk.index._codebook import MAX_CODES
from latentsk.index._graph_spec import SYMPHONY, GraphSpec
from latentsk.index._quantized import CODE_TYPES, QuantizedVectors

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_PATTERN = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*((?:[KMGT]I?)?B)\s*", re.IGNORECASE | re.ASCII
)
_MOST_DIGITS = 40

# For each row: whether it is active, its norm, an id, and its position.
BYTES_PER_ROW = 1 + 4 + 8 + 8
# The length of a row, where the metric is cosine.
BYTES_PER_LENGTH = 8
# FAISS's lists hold a position for each row; they grow by doubling.
BYTES_PER_ENTRY, LIST_GROWTH = 8, 1.6
# Of a graph: a link, and what is kept of each edge besides its code.
BYTES_PER_LINK, BYTES_PER_EDGE = 4, 12


def parse_bytes(budget: str | int) -> int:
    """Return a number of bytes, from a string such as "2GB" or "512 MiB".

    Raises
    ------
    ValueError
        If it is not a number of bytes, or not positive.

    Examples
    --------
    >>> parse_bytes("1.5GB"), parse_bytes("2 KiB"), parse_bytes(4096)
    (1500000000, 2048, 4096)
    """
    if isinstance(budget, str):
        match = _PATTERN.fullmatch(budget)
        if match is None:
            raise ValueError(
                f"memory_budget must be like '2GB' or '500 MiB', got {budget!r}."
            )
        if len(match[1]) > _MOST_DIGITS:
            raise ValueError(f"memory_budget is too large: {budget[:40]!r}.")
        # Exactly: 2.03KB are 2030 bytes, and not 2029.
        budget = int(Fraction(match[1]) * _UNITS[match[2].upper()])
    if isinstance(budget, bool):
        raise ValueError(f"memory_budget must be a number of bytes, got {budget}.")
    if budget <= 0:
        raise ValueError("memory_budget must be positive.")
    return budget


def format_bytes(number: float) -> str:
    """Return a number of bytes in words, of three digits, rounded up.

    So a budget that is taken from an error is enough.

    Examples
    --------
    >>> format_bytes(1_500_000_000), format_bytes(900), format_bytes(1_234_567)
    ('1.5GB', '900B', '1.24MB')
    """
    whole = math.ceil(number)
    units = ("B", "KB", "MB", "GB", "TB")
    unit = next((u for u in units if whole <= 999 * _UNITS[u]), "TB")
    step = max(1, 10 ** (len(str(whole)) - 3), _UNITS[unit] // 100)
    return f"{-(-whole // step) * step / _UNITS[unit]:.15g}{unit}"


def exact_bytes(
    n_rows: int, width: int, itemsize: int, *, copied: bool, cosine: bool = False
) -> int:
    """Return the bytes of an index that compares every row.

    Parameters
    ----------
    n_rows, width : int
        Shape of the vectors.

    itemsize : int
        Bytes of a coordinate.

    copied : bool
        Whether a float32 copy is kept besides.

    cosine : bool, default=False
        Whether the lengths of the rows are kept.

    Examples
    --------
    >>> exact_bytes(1_000_000, 32, 4, copied=False)
    149000000
    """
    of_vector = width * (itemsize + 4 * copied) + BYTES_PER_LENGTH * cosine
    return n_rows * (of_vector + BYTES_PER_ROW)


def lists_bytes(n_rows: int, n_codes: int) -> int:
    """Return the bytes of the lists of an approximate index.

    Examples
    --------
    >>> lists_bytes(1_000_000, 32)
    38400000
    """
    return int(n_rows * LIST_GROWTH * (BYTES_PER_ENTRY + (n_codes + 1) // 2))


def whole_lists_bytes(n_rows: int, width: int) -> int:
    """Return the bytes of lists that hold whole rows.

    Examples
    --------
    >>> whole_lists_bytes(1_000_000, 32)
    217600000
    """
    return int(n_rows * LIST_GROWTH * (BYTES_PER_ENTRY + 4 * width))


def graph_bytes(n_rows: int, width: int, spec: GraphSpec) -> int:
    """Return the bytes of a graph with its own copy of the rows, and codes of edges.

    Examples
    --------
    >>> graph_bytes(1_000_000, 64, GraphSpec.parse("HNSW32,ef=16"))
    520000000
    """
    links = 2 * BYTES_PER_LINK * spec.degree
    if spec.kind == SYMPHONY:
        links = spec.degree * (BYTES_PER_LINK + BYTES_PER_EDGE + (width + 7) // 8)
    return n_rows * (4 * width + links + BYTES_PER_ENTRY)


def dtype_within(
    memory_budget: str | int,
    shape: tuple[int, ...],
    itemsize: int,
    *,
    copied: bool,
    approximate: bool,
    cosine: bool = False,
) -> str | None:
    """Return the most precise dtype of the rows that fits a budget.

    Parameters
    ----------
    memory_budget : str or int
        For the whole index.

    shape : tuple
        Of the vectors.

    itemsize : int
        Bytes of a coordinate, as given.

    copied : bool
        Whether an index over the rows as given keeps a float32 copy besides.

    approximate : bool
        Whether the index has lists, and may round its rows.

    cosine : bool, default=False
        Whether it keeps the lengths of the rows.

    Returns
    -------
    dtype : {"float32", "float16", "int8"} or None
        None for the rows as they were given.

    Raises
    ------
    ValueError
        If nothing fits, with what would.

    Examples
    --------
    >>> shape = (1_000_000, 32)
    >>> dtype_within("1GB", shape, 4, copied=False, approximate=True)
    >>> dtype_within("130MB", shape, 4, copied=False, approximate=True)
    'float16'
    """
    n_rows, width = shape
    budget = parse_bytes(memory_budget)
    lists = lists_bytes(n_rows, min(width, MAX_CODES)) if approximate else 0
    as_given = lists + exact_bytes(
        n_rows, width, itemsize, copied=copied, cosine=cosine
    )
    if as_given <= budget:
        return None
    sizes = _bytes_by_dtype(n_rows, width, cosine)
    fitting = [dtype for dtype, size in sizes.items() if size <= budget]
    if approximate and fitting:
        return fitting[0]
    possible = (
        f"in 8 bits a coordinate they need {format_bytes(sizes['int8'])}."
        if approximate
        else f"an exact index of them needs {format_bytes(as_given)}; with a "
        "target_recall, less may be enough."
    )
    raise ValueError(
        f"memory_budget={memory_budget!r} is too little for {n_rows:,} x {width} "
        f"vectors: {possible}"
    )


def more_precise_dtypes(rows: QuantizedVectors, *, cosine: bool = False) -> str:
    """Return in words what an index of rows in more precise dtypes would take."""
    sizes = _bytes_by_dtype(*rows.shape, cosine)
    better = list(sizes)[: list(sizes).index(rows.quantization.dtype)]
    options = [f"{format_bytes(sizes[dtype])} as {dtype}" for dtype in better]
    if not options:
        return "The rows are in full precision already: lower the target."
    return f"The index would take {', or '.join(options)}."


def _bytes_by_dtype(n_rows: int, width: int, cosine: bool) -> dict[str, int]:
    """Return the bytes of an approximate index, by dtype of its rows."""
    lists = lists_bytes(n_rows, min(width, MAX_CODES))
    itemsizes = {name: np.dtype(dtype).itemsize for name, dtype in CODE_TYPES.items()}
    return {
        name: lists + exact_bytes(n_rows, width, size, copied=False, cosine=cosine)
        for name, size in itemsizes.items()
    }
