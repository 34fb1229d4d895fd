"""Any fitted estimator as one file that runs no code when it is read.

A file holds a tree of nodes: classes by name, their parameters and fitted state as JSON
and arrays, their parts as nodes again. A class registers itself, with the rules of its
state, beside its definition (`_registry`, `_schema`). What is scikit-learn's own goes
through skops. `_format` writes and reads the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from latentsk._device import resolve_device
from latentsk._threads import fork_safe
from latentsk.persistence._reader import NotGivenError
from latentsk.persistence._tree import read_tree, write_tree

__all__ = ["load", "save"]

_READER = "latentsk.load"


@fork_safe
def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file that any machine can read, without pickle.

    The file takes its name in one step: a crash at any moment leaves an older file as
    it was. It holds JSON and arrays with a checksum, and no code.

    Parameters
    ----------
    estimator : estimator
        An estimator of this package, or a Pipeline, ColumnTransformer, FeatureUnion or
        FrozenEstimator of those and of scikit-learn's transformers. Estimators within
        it, such as the embedder of an index, are stored along.

    path : str or path-like
        Where to write; an existing file is replaced.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.

    TypeError
        If it holds what a file cannot: an estimator of another package, a function or a
        class of your own, ids or metadata of other types than strings, numbers and
        dates. A part is named as in `get_params`.

    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or the path is a folder.

    See Also
    --------
    load : Read it.

    Notes
    -----
    Some parameters belong to a machine or a session, and are None or their default in
    the estimator that is loaded: `checkpoint`, the `memory` of a Pipeline, a generator
    given as `random_state`, `n_jobs` of scikit-learn's parts. Where a function chose
    the columns of a fitted ColumnTransformer, the columns are stored instead. Custom
    torch modules (`encoder`, `decoder`) are code: their weights are stored, and the
    modules are given again to :func:`load`.

    Examples
    --------
    >>> import os, tempfile
    >>> import latentsk
    >>> X = [[0, 0], [2, 1], [4, 2], [6, 3.5], [3, 9]]
    >>> path = os.path.join(tempfile.mkdtemp(), "model.latentsk")
    >>> latentsk.save(latentsk.PCAEmbedder(1).fit(X), path)
    >>> latentsk.load(path).transform([[3, 3]]).round(1)
    array([[-0.1]])
    """
    check_is_fitted(estimator)
    write_tree(estimator, path, _READER)


@fork_safe
def load(
    path: str | os.PathLike[str],
    *,
    modules: Mapping[str, nn.Module] | None = None,
    device: str | torch.device | None = None,
    mmap: bool = False,
) -> Any:
    """Read a fitted estimator from a file, which runs no code of the file.

    Classes are looked up by name among those that are registered, every value is
    checked against what the class can have, and every size against what the file holds
    before memory is asked for. So files of strangers can be read: they are refused, or
    hold an estimator; whether that one is any good, no check can say.

    Parameters
    ----------
    path : str or path-like
        What :func:`save` wrote.

    modules : mapping of str to torch.nn.Module, or None, default=None
        The custom torch modules that the estimator was fitted with, by parameter
        as in `get_params`: ``{"encoder": ..., "decoder": ...}`` for an embedder,
        ``{"embedder__encoder": ...}`` for one inside an index. Their weights are
        replaced, in a copy.

    device : str, torch.device or None, default=None
        The `device` of every estimator that has one. None: the one that it had, or the
        CPU where this machine has no such device.

    mmap : bool, default=False
        Whether to leave large arrays in the file, which must then not be changed, and
        read them when they are needed.

    Returns
    -------
    estimator : estimator
        It answers as the one that was saved did.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or the path is a folder.

    FormatError
        If the file is foreign, truncated, altered, or of a newer format version.

    TypeError
        If one of `modules` is not a torch module.

    ValueError
        If modules are missing, too many, or not the ones whose weights the file holds;
        or there is no such device.

    ImportError
        If the file holds an approximate index, and FAISS is not installed.

    See Also
    --------
    save : Write it.

    Examples
    --------
    >>> import os, tempfile
    >>> import latentsk
    >>> index = latentsk.LatentIndex(latentsk.PCAEmbedder(1))
    >>> index = index.fit([[0, 0], [2, 1], [4, 2.5]], ids=["a", "b", "c"])
    >>> path = os.path.join(tempfile.mkdtemp(), "index.latentsk")
    >>> latentsk.save(index, path)
    >>> latentsk.load(path).search([[3, 2]], n_neighbors=1)["id"].item()
    'c'
    """
    if device is not None:
        device = str(resolve_device(device))
    modules = _checked_modules(modules)
    try:
        estimator, used = read_tree(path, _READER, modules, device=device, mmap=mmap)
    except NotGivenError as error:
        raise ValueError(
            "The file holds the weights of a custom network, but not its code: give "
            f"the module ({error.kind}) as modules={{{error.name!r}: ...}}."
        ) from error
    unused = sorted(modules.keys() - used)
    if unused:
        raise ValueError(f"The estimator in the file takes no module {unused[0]!r}.")
    return estimator


def _checked_modules(modules: Mapping[str, Any] | None) -> Mapping[str, nn.Module]:
    if not isinstance(modules, Mapping | None):
        raise TypeError(f"modules must be a dict of torch modules, got {modules!r}.")
    for name, module in (modules or {}).items():
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"modules[{name!r}] must be an instance of torch.nn.Module, got "
                f"{module!r}."
            )
    return modules or {}
