"""scikit-learn's own estimators as bytes, through skops, and back.

Their private state is scikit-learn's matter, so it is left to a library that follows
it. skops runs no code of a file as long as it trusts the types by itself; what it
reads is checked before, as it takes sizes and nesting on trust.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from latentsk.exceptions import FormatError
from latentsk.persistence._format import parse_json
from latentsk.persistence._registry import storable

# Transformers whose state is arrays and Python's values, and leads numpy, which checks.
# Compiled code (of trees, neighbours, clusters) trusts the numbers of its state.
CLASSES = {
    "compose": "ColumnTransformer make_column_selector",
    "decomposition": "FactorAnalysis FastICA IncrementalPCA KernelPCA PCA TruncatedSVD",
    "feature_selection": "VarianceThreshold",
    "impute": "KNNImputer MissingIndicator SimpleImputer",
    "kernel_approximation": "AdditiveChi2Sampler Nystroem RBFSampler",
    "pipeline": "FeatureUnion Pipeline",
    "preprocessing": "Binarizer FunctionTransformer KBinsDiscretizer KernelCenterer "
    "MaxAbsScaler MinMaxScaler Normalizer OneHotEncoder OrdinalEncoder "
    "PowerTransformer QuantileTransformer RobustScaler StandardScaler TargetEncoder",
    "random_projection": "GaussianRandomProjection",
    "utils": "Bunch",
}
ALLOWED = frozenset((m, n) for m, names in CLASSES.items() for n in names.split())
# Of skops's building blocks those that transformers are made of.
LOADERS = frozenset(
    {
        "DTypeNode",
        "DefaultDictNode",
        "DictNode",
        "FunctionNode",
        "JsonNode",
        "ListNode",
        "NdArrayNode",
        "ObjectNode",
        "SetNode",
        "SliceNode",
        "TupleNode",
        "TypeNode",
    }
)
# Which type an array is of; skops itself leaves that to the caller.
TRUSTED = ["numpy.dtype"]
# Files of before claim less strict rules.
OLDEST_PROTOCOL = 2
MAX_DEPTH = 100


def dump_part(estimator: BaseEstimator) -> NDArray[np.uint8]:
    """Return an estimator of scikit-learn as bytes.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    content : ndarray of shape (n_bytes,), dtype uint8

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

    name = type(estimator).__name__
    try:
        content = skops.io.dumps(estimator)
        found = skops.io.get_untrusted_types(data=content)
    except Exception as error:
        raise TypeError(f"{name} cannot be stored: {error}") from error
    untrusted = sorted(set(found) - set(TRUSTED))
    if untrusted:
        raise TypeError(
            f"{name} cannot be stored, as it holds {', '.join(untrusted)}, which "
            "skops does not trust. Keep such a step outside, or use joblib."
        )
    try:
        _check_archive(content)
    except FormatError as error:
        raise TypeError(f"{name} cannot be stored: {error}") from error
    return np.frombuffer(content, np.uint8)


def load_part(content: NDArray[np.uint8]) -> Any:
    """Return the estimator that :func:`dump_part` was given.

    Parameters
    ----------
    content : ndarray of shape (n_bytes,), dtype uint8

    Returns
    -------
    estimator : estimator

    Raises
    ------
    FormatError
        If it is something else, or needs more than skops trusts by itself.
    """
    import skops.io

    _require(content.dtype == np.uint8 and content.ndim == 1, "is not bytes")
    data = content.tobytes()
    _check_archive(data)
    try:
        estimator = skops.io.loads(data, trusted=TRUSTED)
    except MemoryError:
        raise
    except Exception as error:  # whatever a hostile file makes skops stumble over
        raise _fault(
            f"cannot be restored ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    _require(isinstance(estimator, BaseEstimator), "is not an estimator")
    _sanitize(estimator)
    return estimator


def _fault(fault: str) -> FormatError:
    return FormatError(f"A scikit-learn part of the file {fault}.")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise _fault(fault)


# Before skops reads it


def _check_archive(data: bytes) -> None:
    """Refuse all but a plain archive of nodes and arrays of the sizes they claim."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
            unique = len(names) == len(members)
            _require(unique and "schema.json" in names, "has no single schema")
            extent = sum(member.file_size for member in members)
            _require(extent <= len(data), "is compressed")
            for member in members:
                _check_member(archive, member)
            _check_schema(archive.read("schema.json"), names)
    except FormatError:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError) as error:
        raise _fault(f"is damaged ({error})") from error
    except (NotImplementedError, RuntimeError) as error:  # other kinds of archives
        raise _fault(f"is foreign ({error})") from error


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
    _require(plain, "is compressed or encrypted")
    if member.filename == "schema.json":
        return
    is_array = member.filename.removesuffix(".npy").isdecimal()
    _require(is_array, "holds something else than arrays")
    readers = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    with archive.open(member) as file:
        version = npy.read_magic(file)
        _require(version in readers, "has arrays of an unknown kind")
        shape, _, dtype = readers[version](file)
        n_items = math.prod(int(size) for size in shape)
        sized = dtype.itemsize > 0 and not dtype.hasobject
        available = member.file_size - file.tell()
        fits = sized and n_items * dtype.itemsize == available
        _require(fits, "claims another size")


def _check_schema(content: bytes, names: set[str]) -> None:
    try:
        schema = parse_json(content, "schema")
    except FormatError as error:
        raise FormatError(f"A scikit-learn part of the file {error}") from error
    protocol = schema.get("protocol")
    current = type(protocol) is int and protocol >= OLDEST_PROTOCOL
    _require(current, "is of an old kind")
    _count(schema, names, {}, 0)


def _count(value: Any, names: set[str], seen: dict[Any, Any], depth: int) -> int:
    """Return the number of values in JSON; refuse nodes that skops must not see.

    skops builds a node once for each `__id__` and takes it for all others of that id,
    and goes through it as often. So those have to be equally large: then what it goes
    through is no larger than what is written.
    """
    _require(depth <= MAX_DEPTH, "is nested too deeply")
    if not isinstance(value, dict | list):
        return 1
    inner = value.values() if isinstance(value, dict) else value
    size = 1 + sum(_count(item, names, seen, depth + 1) for item in inner)
    if isinstance(value, dict) and "__loader__" in value:
        file, number = _check_node(value, names), value["__id__"]
        same = seen.setdefault(number, size) == size
        _require(same, "has two nodes of one number")
        # A file that many nodes read would be in memory as many times.
        once = file is None or seen.setdefault(file, number) == number
        _require(once, "has two nodes of one array")
    return size


def _check_node(node: dict[str, Any], names: set[str]) -> str | None:
    """Refuse what skops must not see, and return the name of an array's file."""
    loader, name, module = (node.get(f"__{k}__") for k in ("loader", "class", "module"))
    if type(loader) is not str or loader not in LOADERS:
        raise _fault(f"needs {str(loader)[:50]!r}, which is not restored from files")
    if type(name) is not str or type(module) is not str:
        raise _fault("has a node without a type")
    _require(type(node.get("__id__")) is int, "has a node without a number")
    package, _, inner = module.partition(".")
    allowed = package == "sklearn" and (inner.partition(".")[0], name) in ALLOWED
    if loader == "ObjectNode" and not allowed:
        raise _fault(f"is of the class {name[:50]}, which no file may hold")
    file = node.get("file")
    known = "file" not in node or (type(file) is str and file in names)
    _require(known, "lacks an array")
    return file


# After skops has read it


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
    try:
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
                if mapping.shape != (size,):
                    raise ValueError("a mapping is of another length")
        encoder._n_features_outs = encoder._compute_n_features_outs()
        if min(encoder._n_features_outs, default=0) < 0:
            raise ValueError("columns are missing")
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise _fault(f"contradicts itself (OneHotEncoder: {error})") from error


def _require_below(numbers: NDArray[Any], size: int) -> None:
    if numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers < size)).all():
        raise ValueError("a number is out of range")


# The parts of these may be ours, which skops does not store: they are nodes of a tree.


def _check_pipeline(pipeline: Pipeline) -> None:
    if not pipeline.steps:
        raise ValueError("a Pipeline has no steps.")
    pipeline._validate_steps()


def _check_frozen(frozen: FrozenEstimator) -> None:
    if not isinstance(frozen.estimator, BaseEstimator):
        raise TypeError("a FrozenEstimator holds no estimator.")


storable(check_parameters=_check_pipeline)(Pipeline)
storable(check_parameters=_check_frozen)(FrozenEstimator)
