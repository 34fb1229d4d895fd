"""Checks of an archive of skops before skops reads it.

skops checks types, and takes sizes and nesting on trust.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

from numpy.lib import format as npy

from latentsk.exceptions import FormatError
from latentsk.persistence._format import parse_json

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
    f"{kind}Node"
    for kind in (
        *("DType", "DefaultDict", "Dict", "Function", "Json", "List", "NdArray"),
        *("Object", "Set", "Slice", "Tuple", "Type"),
    )
)
# Files of before claim less strict rules.
OLDEST_PROTOCOL = 2
MAX_DEPTH = 100


def _fault(fault: str) -> FormatError:
    return FormatError(f"A scikit-learn part of the file {fault}.")


def require_part(condition: bool, fault: str) -> None:
    """Refuse a part of scikit-learn's that breaks a condition.

    Raises
    ------
    FormatError
    """
    if not condition:
        raise _fault(fault)


def check_archive(data: bytes) -> None:
    """Refuse all but a plain archive of nodes and arrays of the sizes they claim.

    Raises
    ------
    FormatError
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
            unique = len(names) == len(members)
            require_part(unique and "schema.json" in names, "has no single schema")
            extent = sum(member.file_size for member in members)
            require_part(extent <= len(data), "is compressed")
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
    require_part(plain, "is compressed or encrypted")
    if member.filename == "schema.json":
        return
    is_array = member.filename.removesuffix(".npy").isdecimal()
    require_part(is_array, "holds something else than arrays")
    readers = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    with archive.open(member) as file:
        version = npy.read_magic(file)
        require_part(version in readers, "has arrays of an unknown kind")
        shape, _, dtype = readers[version](file)
        n_items = math.prod(int(size) for size in shape)
        sized = dtype.itemsize > 0 and not dtype.hasobject
        available = member.file_size - file.tell()
        fits = sized and n_items * dtype.itemsize == available
        require_part(fits, "claims another size")


def _check_schema(content: bytes, names: set[str]) -> None:
    try:
        schema = parse_json(content, "schema")
    except FormatError as error:
        raise FormatError(f"A scikit-learn part of the file {error}") from error
    protocol = schema.get("protocol")
    current = type(protocol) is int and protocol >= OLDEST_PROTOCOL
    require_part(current, "is of an old kind")
    _count(schema, names, {}, 0)


def _count(value: Any, names: set[str], seen: dict[Any, Any], depth: int) -> int:
    """Return the number of values in JSON; refuse nodes that skops must not see.

    skops builds a node once for each `__id__` and takes it for all others of that id,
    and goes through it as often. So those have to be equally large: then what it goes
    through is no larger than what is written.
    """
    require_part(depth <= MAX_DEPTH, "is nested too deeply")
    if not isinstance(value, dict | list):
        return 1
    inner = value.values() if isinstance(value, dict) else value
    size = 1 + sum(_count(item, names, seen, depth + 1) for item in inner)
    if isinstance(value, dict) and "__loader__" in value:
        file, number = _check_node(value, names), value["__id__"]
        same = seen.setdefault(number, size) == size
        require_part(same, "has two nodes of one number")
        # A file that many nodes read would be in memory as many times.
        once = file is None or seen.setdefault(file, number) == number
        require_part(once, "has two nodes of one array")
    return size


def _check_node(node: dict[str, Any], names: set[str]) -> str | None:
    """Refuse what skops must not see, and return the name of an array's file."""
    loader, name, module = (node.get(f"__{k}__") for k in ("loader", "class", "module"))
    if type(loader) is not str or loader not in LOADERS:
        raise _fault(f"needs {str(loader)[:50]!r}, which is not restored from files")
    if type(name) is not str or type(module) is not str:
        raise _fault("has a node without a type")
    require_part(type(node.get("__id__")) is int, "has a node without a number")
    package, _, inner = module.partition(".")
    allowed = package == "sklearn" and (inner.partition(".")[0], name) in ALLOWED
    allowed = allowed or loader != "ObjectNode"
    require_part(allowed, f"is of the class {name[:50]}, which no file may hold")
    file = node.get("file")
    known = "file" not in node or (type(file) is str and file in names)
    require_part(known, "lacks an array")
    return file
