"""Work cut into chunks, so that temporary arrays stay small."""

from __future__ import annotations

from collections.abc import Iterator

# Elements of a chunk, of rows converted or copied: a few MB.
CHUNK_ELEMENTS = 2**19


def row_chunks(
    n_rows: int, elements_per_row: int, n_elements: int | None = None
) -> Iterator[slice]:
    """Cut rows into slices of a bounded number of elements, and of one row at least.

    Parameters
    ----------
    n_rows : int
        Number of rows.

    elements_per_row : int
        Elements that one row takes.

    n_elements : int or None, default=None
        Elements of a slice at most; None: some 500,000.

    Yields
    ------
    rows : slice
        Consecutive; together all rows.

    Examples
    --------
    >>> list(row_chunks(5, 10, 20))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    most = CHUNK_ELEMENTS if n_elements is None else n_elements
    step = max(1, most // max(1, elements_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
