"""Checks of a schema of skops before skops reads it.

skops checks types, and takes numbers and nesting on trust.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from latentsk.exceptions import FormatError

# Estimators whose state is arrays and Python's values, and leads numpy, which checks.
# Compiled code (of trees, neighbours, clusters) trusts the numbers of its state.
CLASSES = {
    "compose": "ColumnTransformer make_column_selector",
    "decomposition": "FactorAnalysis FastICA IncrementalPCA KernelPCA PCA TruncatedSVD",
    "feature_selection": "VarianceThreshold",
    "impute": "KNNImputer MissingIndicator SimpleImputer",
    "kernel_approximation": "AdditiveChi2Sampler Nystroem RBFSampler",
    "mixture": "BayesianGaussianMixture GaussianMixture",
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


def require_part(condition: bool, fault: str) -> None:
    """Refuse a part of scikit-learn's that breaks a condition.

    Raises
    ------
    FormatError
    """
    if not condition:
        raise FormatError(f"A scikit-learn part of the file {fault}.")


def check_schema(content: bytes, files: Collection[str]) -> None:
    """Refuse a schema of nodes that skops must not see, or that lack a file.

    Raises
    ------
    FormatError, or what others raise of what is no JSON object.
    """
    schema = json.loads(content.decode())
    protocol = schema.get("protocol")
    current = type(protocol) is int and protocol >= OLDEST_PROTOCOL
    require_part(current, "is of an old kind")
    _count(schema, files, {}, 0)


def _count(value: Any, files: Collection[str], seen: dict[Any, Any], depth: int) -> int:
    """Return the number of values in JSON; refuse nodes that skops must not see.

    skops builds a node once for each `__id__` and takes it for all others of that id,
    and goes through it as often. So those have to be equally large: then what it goes
    through is no larger than what is written.
    """
    require_part(depth <= MAX_DEPTH, "is nested too deeply")
    if not isinstance(value, dict | list):
        return 1
    inner = value.values() if isinstance(value, dict) else value
    size = 1 + sum(_count(item, files, seen, depth + 1) for item in inner)
    if isinstance(value, dict) and "__loader__" in value:
        file, number = _check_node(value, files), value["__id__"]
        same = seen.setdefault(number, size) == size
        require_part(same, "has two nodes of one number")
        # A file that many nodes read would be in memory as many times.
        once = file is None or seen.setdefault(file, number) == number
        require_part(once, "has two nodes of one array")
    return size


def _check_node(node: dict[str, Any], files: Collection[str]) -> str | None:
    """Refuse what skops must not see, and return the name of an array's file."""
    loader, name, module = (node.get(f"__{k}__") for k in ("loader", "class", "module"))
    known = type(loader) is str and loader in LOADERS
    fault = f"needs {str(loader)[:50]!r}, which is not restored from files"
    require_part(known, fault)
    typed = type(name) is type(module) is str and type(node.get("__id__")) is int
    require_part(typed, "has a node without a type or a number")
    package, _, inner = str(module).partition(".")
    allowed = package == "sklearn" and (inner.partition(".")[0], name) in ALLOWED
    fault = f"is of the class {str(name)[:50]}, which no file may hold"
    require_part(allowed or loader != "ObjectNode", fault)
    file = node.get("file")
    known = "file" not in node or (type(file) is str and file in files)
    require_part(known, "lacks an array")
    return file
