"""A fitted estimator, and all that lies within it, as one file."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.utils.validation import check_is_fitted

from latentsk._version import __version__
from latentsk.exceptions import FormatError
from latentsk.persistence import _column_transformer, _composites  # noqa: F401
from latentsk.persistence._format import read_file, write_file
from latentsk.persistence._reader import Reader
from latentsk.persistence._schema import format_errors, require
from latentsk.persistence._values import ArrayStore
from latentsk.persistence._writer import Writer


def write_tree(
    root: Any,
    path: str | os.PathLike[str],
    reader: str,
    apart: Collection[str] = (),
) -> None:
    """Write a fitted estimator to a file.

    Parameters
    ----------
    root : estimator
        Of a registered class, or of scikit-learn's.

    path : str or path-like
        Where to write; an existing file is replaced.

    reader : str
        The function that reads the file.

    apart : collection of str, default=()
        Parameters of `root` that are left out, and the fitted parts made of them.

    Raises
    ------
    TypeError, ValueError, OSError
        As :func:`latentsk.save`.
    """
    with ExitStack() as held:
        writer = Writer(held, apart)
        node = writer.node(root)
        document = {"reader": reader, "libraries": _libraries(), "root": node}
        write_file(path, document, writer.store.arrays)


def read_tree(
    path: str | os.PathLike[str],
    reader: str,
    given: Mapping[str, Any],
    *,
    device: str | None = None,
    mmap: bool = False,
) -> tuple[Any, set[str]]:
    """Return the estimator in a file, and the names of what was needed besides.

    Parameters
    ----------
    path : str or path-like
        What :func:`write_tree` wrote.

    reader : str
        The function that asks.

    given : mapping of str to object
        What the file does not hold, by the name of the parameter that it is.

    device, mmap
        As :func:`latentsk.load`.

    Raises
    ------
    FormatError
        If the file is foreign, truncated, altered, or for another reader.

    NotGivenError
        If something is missing in `given`.

    ValueError
        If what is given does not fit the file.
    """
    document, arrays = read_file(path, mmap=mmap)
    try:
        wanted = document.get("reader")
        if wanted is None:
            raise FormatError("The file holds no estimator.")
        if wanted != reader:
            raise FormatError(f"Read the file with {str(wanted)[:50]}.")
        tree = Reader(ArrayStore(arrays), given, device)
        root = tree.node(document.get("root"))
        with format_errors():
            check_is_fitted(root)
        require(not tree.store.arrays, "it has too many arrays")
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as e:
        # What no rule foresaw.
        raise FormatError(f"{path} is altered: {type(e).__name__}: {e}") from e
    return root, tree.used


def _libraries() -> dict[str, str]:
    return {
        "latentsk": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "torch": str(torch.__version__),
    }
