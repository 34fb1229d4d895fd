"""scikit-learn's own estimators as bytes, through skops, and back.

Their private state is scikit-learn's matter, so it is left to a library that follows
it. skops runs no code of a file as long as it trusts the types by itself; what it
reads is looked through before, as it takes sizes and nesting on trust.
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
from sklearn.preprocessing import OneHotEncoder

from latentsk._format import parse_json
from latentsk.exceptions import FormatError

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
        _look_through(content)
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
        If it is none, or more than skops trusts by itself.
    """
    import skops.io

    if content.dtype != np.uint8 or content.ndim != 1:
        raise FormatError("A part of scikit-learn's is no bytes.")
    data = content.tobytes()
    _look_through(data)
    try:
        estimator = skops.io.loads(data, trusted=TRUSTED)
    except MemoryError:
        raise
    except Exception as error:  # whatever a hostile file makes skops stumble over
        raise FormatError(
            f"A part of scikit-learn's cannot be restored ({type(error).__name__}: "
            f"{str(error)[:200]})."
        ) from error
    if not isinstance(estimator, BaseEstimator):
        raise FormatError("A part of scikit-learn's is no estimator.")
    _settle(estimator)
    return estimator


def _look_through(data: bytes) -> None:
    """Refuse what is no plain archive of nodes and arrays of the sizes they claim."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or "schema.json" not in names:
                raise FormatError("A part of scikit-learn's has no single schema.")
            if sum(member.file_size for member in members) > len(data):
                raise FormatError("A part of scikit-learn's is compressed.")
            for member in members:
                _check_member(archive, member)
            _check_schema(archive.read("schema.json"), set(names))
    except FormatError:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError) as error:
        raise FormatError(f"A part of scikit-learn's is damaged ({error}).") from error
    except (NotImplementedError, RuntimeError) as error:  # other kinds of archives
        raise FormatError(f"A part of scikit-learn's is foreign ({error}).") from error


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise FormatError("A part of scikit-learn's is compressed or encrypted.")
    if member.filename == "schema.json":
        return
    if not member.filename.removesuffix(".npy").isdecimal():
        raise FormatError("A part of scikit-learn's holds something else than arrays.")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = npy.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = npy.read_array_header_2_0(file)
        else:
            raise FormatError("A part of scikit-learn's has arrays of no known kind.")
        n_items = math.prod(int(size) for size in shape)
        sized = dtype.itemsize > 0 and not dtype.hasobject
        if not sized or n_items * dtype.itemsize != member.file_size - file.tell():
            raise FormatError("A part of scikit-learn's claims another size.")


def _check_schema(content: bytes, names: set[str]) -> None:
    try:
        schema = parse_json(content.decode(), "schema")
    except FormatError as error:
        raise FormatError(f"A part of scikit-learn's {error}") from error
    protocol = schema.get("protocol")
    if type(protocol) is not int or protocol < OLDEST_PROTOCOL:
        raise FormatError("A part of scikit-learn's is of an old kind.")
    _count(schema, names, {}, 0)


def _count(value: Any, names: set[str], seen: dict[Any, Any], depth: int) -> int:
    """Return the number of values in JSON; refuse nodes that skops must not see.

    skops builds a node once for each `__id__` and takes it for all others of that id,
    and goes through it as often. So those have to be equally large: then what it goes
    through is no larger than what is written.
    """
    if depth > MAX_DEPTH:
        raise FormatError("A part of scikit-learn's is nested too deeply.")
    if not isinstance(value, dict | list):
        return 1
    inner = value.values() if isinstance(value, dict) else value
    size = 1 + sum(_count(item, names, seen, depth + 1) for item in inner)
    if isinstance(value, dict) and "__loader__" in value:
        file = _check_node(value, names)
        number = value["__id__"]
        if seen.setdefault(number, size) != size:
            raise FormatError("A part of scikit-learn's has two nodes of one number.")
        # A file that many nodes read would be in memory as many times.
        if file is not None and seen.setdefault(file, number) != number:
            raise FormatError("A part of scikit-learn's has two nodes of one array.")
    return size


def _check_node(node: dict[str, Any], names: set[str]) -> str | None:
    """Refuse what skops must not see, and return the name of an array's file."""
    loader, name, module = (node.get(f"__{k}__") for k in ("loader", "class", "module"))
    if type(loader) is not str or loader not in LOADERS:
        raise FormatError(
            f"A part of scikit-learn's needs {str(loader)[:50]!r}, which is not "
            "restored from files."
        )
    if type(name) is not str or type(module) is not str:
        raise FormatError("A part of scikit-learn's has a node without a type.")
    if type(node.get("__id__")) is not int:
        raise FormatError("A part of scikit-learn's has a node without a number.")
    package, _, inner = module.partition(".")
    allowed = package == "sklearn" and (inner.partition(".")[0], name) in ALLOWED
    if loader == "ObjectNode" and not allowed:
        raise FormatError(
            f"A part of scikit-learn's is of the class {name[:50]}, which no file may "
            "hold."
        )
    file = node.get("file")
    if "file" in node and (type(file) is not str or file not in names):
        raise FormatError("A part of scikit-learn's lacks an array.")
    return file


def _settle(part: Any) -> None:
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
            _settle_columns(value)
        pending.extend(vars(value).values())


def _settle_columns(encoder: OneHotEncoder) -> None:
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
        raise FormatError(
            f"A part of scikit-learn's contradicts itself (OneHotEncoder: {error})."
        ) from error


def _require_below(numbers: NDArray[Any], size: int) -> None:
    if numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers < size)).all():
        raise ValueError("a number is out of range")
