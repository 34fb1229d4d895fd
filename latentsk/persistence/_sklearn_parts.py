"""scikit-learn's own estimators as a schema and arrays, through skops, and back.

Their private state is scikit-learn's matter, so it is left to a library that follows
it. skops runs no code of a file as long as it trusts the types by itself; what it
reads is checked before, as it takes sizes and nesting on trust. Its archive is taken
apart, and made again of checked parts.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.preprocessing import OneHotEncoder

from latentsk.exceptions import FormatError
from latentsk.persistence._skops_schema import check_schema, require_part

# Which type an array is of; skops itself leaves that to the caller.
TRUSTED = ["numpy.dtype"]


def dump_part(estimator: BaseEstimator, what: str = "") -> dict[str, Any]:
    """Return the schema and the arrays of an estimator of scikit-learn.

    Parameters
    ----------
    estimator : estimator

    what : str, default=its class
        What it is, for the error.

    Returns
    -------
    part : dict
        "schema": bytes of JSON, as an array; "arrays": the arrays by name.

    Raises
    ------
    TypeError
        If it holds something that only code could restore: a function or a class of
        one's own, a tree.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> load_part(dump_part(StandardScaler().fit([[0.0], [2.0]]))).mean_
    array([1.])
    """
    import skops.io

    try:
        content = skops.io.dumps(estimator)
        untrusted = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)
        if untrusted:
            raise ValueError(
                f"it holds {', '.join(sorted(untrusted))}, which skops does not trust. "
                "Keep such a step outside, or use joblib."
            )
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        schema = parts.pop("schema.json")
        check_schema(schema, parts)
        arrays = {name: np.load(io.BytesIO(part)) for name, part in parts.items()}
    except Exception as error:
        what = what or type(estimator).__name__
        raise TypeError(f"{what} cannot be stored: {error}") from error
    return {"schema": np.frombuffer(schema, np.uint8), "arrays": arrays}


def load_part(part: Any) -> Any:
    """Return the estimator that :func:`dump_part` was given.

    Parameters
    ----------
    part : dict

    Returns
    -------
    estimator : estimator

    Raises
    ------
    FormatError
        If it is something else, or needs more than skops trusts by itself.
    """
    import skops.io

    try:
        schema, arrays = part["schema"].tobytes(), part["arrays"]
        check_schema(schema, arrays)
        archive = _archive(schema, arrays)
        estimator = skops.io.loads(archive, trusted=TRUSTED)
        require_part(isinstance(estimator, BaseEstimator), "is not an estimator")
        _sanitize(estimator)
    except (FormatError, MemoryError):
        raise
    except Exception as error:  # whatever a hostile file makes skops stumble over
        raise FormatError(
            "A scikit-learn part of the file cannot be restored "
            f"({type(error).__name__}: {str(error)[:200]})."
        ) from error
    return estimator


def _archive(schema: bytes, arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(name, "w", force_zip64=True) as file:
                np.save(file, array, allow_pickle=False)
        archive.writestr("schema.json", schema)
    return buffer.getvalue()


def _sanitize(part: Any) -> None:
    """Take from estimators what belongs to a machine, and check what leads C code."""
    pending, known = [part], set()
    while pending:
        value = pending.pop()
        if id(value) in known:
            continue
        known.add(id(value))
        if isinstance(value, list | tuple):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())
        if not isinstance(value, BaseEstimator):
            continue
        for name in ("memory", "n_jobs"):
            if hasattr(value, name):
                setattr(value, name, None)
        if isinstance(value, OneHotEncoder) and hasattr(value, "categories_"):
            _derive_columns(value)
        pending.extend(vars(value).values())


def _derive_columns(encoder: OneHotEncoder) -> None:
    """Derive which columns an encoder writes to; it writes wherever they say."""
    sizes = [len(categories) for categories in encoder.categories_]
    dropped = encoder._drop_idx_after_grouping
    mappings = getattr(encoder, "_default_to_infrequent_mappings", None)
    for i, size in enumerate(sizes):
        if dropped is not None and dropped[i] is not None:
            _require_below(np.asarray(dropped[i]), size)
        mapping = mappings[i] if mappings else None
        if mapping is not None:
            kept = size - len(encoder._infrequent_indices[i]) + 1
            _require_below(np.asarray(mapping), kept)
            require_part(mapping.shape == (size,), "has a mapping of another length")
    encoder._n_features_outs = encoder._compute_n_features_outs()
    require_part(min(encoder._n_features_outs, default=0) >= 0, "lacks columns")


def _require_below(numbers: NDArray[Any], size: int) -> None:
    known = numbers.dtype.kind in "iu" and ((numbers >= 0) & (numbers < size)).all()
    require_part(bool(known), "has a number out of range")
