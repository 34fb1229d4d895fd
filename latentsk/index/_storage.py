"""An index in a file: `save` and `load`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted

from latentsk.exceptions import FormatError
from latentsk.index._embedding import is_fitted_embedder
from latentsk.index._files import from_file, require_search, to_file
from latentsk.persistence._format import read_file, write_file


class StorageMixin:
    """`save` and `load` of an index."""

    def save(self: Any, path: str | os.PathLike[str]) -> None:
        """Write the index to a file, without its embedder.

        The file takes its name in one step: a crash at any moment leaves an older file
        as it was. It holds arrays and JSON with a checksum, and no code.

        Parameters
        ----------
        path : str or path-like
            Where to write; an existing file is replaced.

        Raises
        ------
        NotFittedError
            If the index is not fitted.

        TypeError
            If ids or metadata are of a type that a file cannot hold.

        Examples
        --------
        >>> import os, tempfile
        >>> from latentsk import LatentIndex
        >>> path = os.path.join(tempfile.mkdtemp(), "rows.latentsk")
        >>> LatentIndex().fit([[0, 0], [3, 4]], ids=["a", "b"]).save(path)
        >>> LatentIndex.load(path).search([[3, 3]], n_neighbors=1)["id"].item()
        'b'
        """
        check_is_fitted(self)
        with self._reading():
            write_file(path, *to_file(self))

    @classmethod
    def load(
        cls: Any,
        path: str | os.PathLike[str],
        *,
        embedder: Any = None,
        mmap: bool = False,
    ) -> Any:
        """Read an index from a file, which runs no code of the file.

        Parameters
        ----------
        path : str or path-like
            What `save` wrote.

        embedder : transformer or None, default=None
            The fitted embedder, if the index has one: the one that it was fitted with,
            or vectors do not fit together.

        mmap : bool, default=False
            Whether to leave the vectors in the file, which must then not be changed,
            and read them when they are needed. Processes that read the same file share
            its memory. Searches want float32: of other vectors a copy is made.

        Returns
        -------
        index : LatentIndex
            The fitted index; it gives the answers of the one that was saved.

        Raises
        ------
        FileNotFoundError
            If there is no such file.

        FormatError
            If the file is foreign, truncated, altered, or of a newer format version.

        ValueError
            If the index has an embedder and none is given, or the other way round.

        NotFittedError
            If the embedder is not fitted.

        ImportError
            If the index needs FAISS, and that is not installed.
        """
        document, arrays = read_file(path, mmap=mmap)
        if document.get("reader") == "latentsk.load":
            raise FormatError(
                f"{path} was written by latentsk.save: read it with latentsk.load."
            )
        try:
            _require_embedder(embedder, document.get("embedder"))
            return cls._restore(document, arrays, {"embedder": embedder}, embedder)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error

    @classmethod
    def _restore(
        cls: Any,
        document: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        others: Mapping[str, Any],
        embedder: Any,
    ) -> Any:
        """Return the index that a document and arrays hold.

        `others` are parameters besides those of the document, or instead of them;
        `embedder` is the fitted one.
        """
        parameters, state = from_file(document, arrays)
        try:
            index = cls(**{**parameters, **others})
            index._validate_params()
        except (TypeError, InvalidParameterError) as error:
            raise FormatError(f"The file is altered: {error}") from error
        if embedder is not None:
            index.embedder_ = embedder
        index.__dict__.update(state)
        require_search(index)
        return index


def _require_embedder(embedder: Any, name: Any) -> None:
    if name is None and embedder is not None:
        raise ValueError("The index in the file was fitted without an embedder.")
    if name is not None and embedder is None:
        raise ValueError(
            f"The index in the file was fitted with an embedder ({str(name)[:100]}), "
            "which the file does not hold: give it as embedder=."
        )
    if embedder is not None and not is_fitted_embedder(embedder):
        raise NotFittedError(f"The embedder given ({embedder}) is not fitted.")
