"""Files damaged, and forged as an attacker would: see `fuzz_files.py`."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from latentsk.persistence import _format

HOSTILE = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e308, -0.5, float("nan"), float("inf"),
    "", "../../etc/passwd", "/etc/passwd", "os.system", "builtins.eval", "posix",
    "__reduce__", "\x00", "a" * 100_000, [], {}, [[]], [0] * 1_000, {"array": "/"},
    {"same": 0}, {"given": ["encoder", "Linear"]}, {"object": None}, "cuda:99", "meta",
    "float64", "object", 10**400, [1] * 3, {"tuple": [1, [2, {"dict": {}}]]},
    {"object": {"same": 0}}, {"column": {}}, {"table": {"dict": {}}},
]  # fmt: skip

Parts = tuple[str, dict[str, np.ndarray]]


# Damage: the checksum does not fit any more.


def damage(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    how = rng.randrange(7)
    if how == 0:
        return bytes(data[: rng.randrange(len(data))])
    if how == 1:
        return bytes(data) + rng.randbytes(rng.randrange(1, 100))
    if how == 2:
        data[:8] = struct.pack("<Q", rng.choice([0, 1, 2**40, 2**63, 2**64 - 1]))
    elif how == 3:
        i, j = sorted(rng.randrange(len(data)) for _ in range(2))
        data[i:j] = bytes(j - i)
    elif how == 4:
        i, j = sorted(rng.randrange(len(data)) for _ in range(2))
        del data[i:j]
    elif how == 5:  # digits of the header: sizes, offsets, values
        end = 8 + struct.unpack("<Q", data[:8])[0]
        digits = [i for i in range(8, end) if chr(data[i]).isdigit()]
        for i in rng.sample(digits, min(3, len(digits))):
            data[i] = ord(rng.choice("0123456789"))
    else:
        for _ in range(rng.choice([1, 1, 8, 100])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


# Forgery: the checksum is made to fit. What cannot be forged once more stays as it is.


def parts_of(path: Path) -> Parts:
    document, arrays = _format.read_file(path)
    return json.dumps(document), arrays


def forged(parts: Parts, rng: random.Random) -> bytes:
    text, arrays = parts[0], dict(parts[1])
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        kinds: list[Callable[..., Any]] = [forge_document, forge_arrays, forge_skops]
        kind = rng.choices(kinds, [5, 4, 2])[0]
        text, arrays = kind(text, arrays, rng)
    if rng.random() < 0.03:
        text = nested(rng)
    return assembled(text, arrays, rng)


def nested(rng: random.Random) -> str:
    depth = rng.choice([100, 5_000, 200_000])
    opening, closing = rng.choice(
        [("[", "]"), ('{"dict":{"a":', "}}"), ('{"tuple":[', "]}")]
    )
    return f'{{"reader": "latentsk.load", "root": {opening * depth}1{closing * depth}}}'


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in JSON."""
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = list(enumerate(value))[:50]
    for key, item in items:
        found += places(item, (*path, key))
    return found


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def forge_json(document: Any, rng: random.Random) -> Any:
    """Replace, remove, rename or move a value."""
    paths = places(document)
    *parent, key = rng.choice(paths)
    holder = at(document, tuple(parent))
    how = rng.randrange(6)
    if how <= 2:
        value = rng.choice(HOSTILE)
        if type(holder[key]) in (int, float) and rng.random() < 0.5:
            value = holder[key] + rng.choice([-1, 1, 0.5, 1_000])
        holder[key] = value
    elif how == 3:
        del holder[key]
    elif how == 4:
        holder[key] = copy.deepcopy(at(document, rng.choice(paths)))
    elif isinstance(holder, dict):
        name = rng.choice(["x", "__class__", "state", "parts", key + "_"])
        holder[name] = holder[key]
    return document


def forge_document(text: str, arrays: Any, rng: random.Random) -> Parts:
    try:
        return json.dumps(forge_json(json.loads(text), rng)), arrays
    except (ValueError, RecursionError, KeyError, IndexError):
        return text, arrays


def forge_arrays(text: str, arrays: Any, rng: random.Random) -> Parts:
    if not arrays:
        return text, arrays
    name = rng.choice(sorted(arrays))
    array, how = arrays[name], rng.randrange(9)
    if how == 0:
        arrays.pop(name)
    elif how == 1:
        arrays[rng.choice(["x", "../x", "/x", name + "/y"])] = array
    elif how == 2:
        arrays[name] = arrays[rng.choice(sorted(arrays))]
    elif how == 3:
        kinds = ["float16", "float32", "float64", "uint8", "int64", "bool", "uint64"]
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(rng.choice(kinds))
    elif how == 4 and array.size:
        arrays[name] = array.ravel()[: rng.randrange(array.size + 1)]
    elif how == 5:
        arrays[name] = array.reshape(rng.choice([(-1,), (1, -1), (-1, 1)]))
    elif how == 6 and array.dtype.kind == "f" and array.size:
        array = array.copy()
        values = [np.nan, np.inf, -np.inf, 1e30, -1.0, 0.0]
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice(values)
        arrays[name] = array
    elif how == 7 and array.dtype.kind in "iu" and array.size:
        array = array.copy()
        limits = np.iinfo(array.dtype)
        values = [limits.min, limits.max, 0, 10**6]
        flat, i = array.reshape(-1), rng.randrange(array.size)
        flat[i] = max(limits.min, min(limits.max, rng.choice(values)))
        arrays[name] = array
    elif array.dtype != bool and array.size:
        content = bytearray(array.tobytes())
        for _ in range(rng.choice([1, 8, 64])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        arrays[name] = np.frombuffer(bytes(content), array.dtype).reshape(array.shape)
    return text, arrays


def forge_skops(text: str, arrays: Any, rng: random.Random) -> Parts:
    """Alter the schema of scikit-learn's part of a file."""
    names = [name for name in arrays if name.endswith("skops/schema")]
    if not names:
        return forge_document(text, arrays, rng)
    name = rng.choice(names)
    content = arrays[name].tobytes()
    try:
        schema = json.loads(content)
    except (ValueError, RecursionError):
        return text, arrays
    how = rng.randrange(8)
    if how <= 5:
        forge_schema(schema, rng)
        content = json.dumps(schema).encode()
    elif how == 6:
        content = content[: rng.randrange(len(content))]
    else:
        depth = rng.choice([200, 100_000])
        content = ("[" * depth + "]" * depth).encode()
    arrays[name] = np.frombuffer(content, np.uint8)
    return text, arrays


def forge_schema(schema: Any, rng: random.Random) -> None:
    if not isinstance(schema, dict):
        return
    nodes = [at(schema, p) for p in [(), *places(schema)]]
    nodes = [n for n in nodes if isinstance(n, dict) and "__loader__" in n]
    node = rng.choice(nodes)
    types = [
        ("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"),
        ("sklearn.tree._tree", "Tree"), ("numpy", "ndarray"), ("antigravity", "x"),
        ("sklearn.preprocessing._data", "StandardScaler"), ("latentsk", "PCAEmbedder"),
        ("numpy.random", "seed"), ("operator", "attrgetter"), ("builtins", "type"),
    ]  # fmt: skip
    loaders = [
        "MethodNode", "OperatorFuncNode", "PartialNode", "TreeNode", "ObjectNode",
        "FunctionNode", "TypeNode", "NdArrayNode", "ListNode", "JsonNode", "x",
        "ConstructorFromReduceNode", "RandomGeneratorNode", "CachedNode", "DictNode",
    ]  # fmt: skip
    how = rng.randrange(5)
    if how == 0:
        node["__module__"], node["__class__"] = rng.choice(types)
    elif how == 1:
        node["__loader__"] = rng.choice(loaders)
    elif how == 2:
        schema["protocol"] = rng.choice([0, 1, 99, None, "2"])
    elif how == 3 and "file" in node:
        node["file"] = rng.choice(["../x.npy", "/etc/passwd", "schema.json"])
    else:
        forge_json(schema, rng)


def assembled(text: str, arrays: Any, rng: random.Random) -> bytes:
    """Return a file with a fitting checksum; now and then with sizes that are lies."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    claims = dict(_format._layout(arrays))
    if claims and rng.random() < 0.2:
        name = rng.choice(sorted(claims))
        claims[name] = {**claims[name], **lie(claims[name], rng)}

    content = _format._header(text, claims)
    content += b"".join(arrays[name].tobytes() for name in claims)
    checksum = hashlib.sha256(content).hexdigest().encode()
    return content.replace(_format._NO_CHECKSUM, checksum, 1)


def lie(claim: Any, rng: random.Random) -> dict[str, Any]:
    huge = rng.choice([2**40, 2**62, 2**63 - 1])
    shapes = [(huge,), (huge, huge), (huge, 0), (0,), (-1,), (), (1,) * 65]
    (begin, end), how = claim["data_offsets"], rng.randrange(4)
    if how == 0:
        return {"shape": rng.choice(shapes)}
    if how == 1:
        return {"data_offsets": (begin, end + rng.choice([1, huge, -1]))}
    if how == 2:
        return {"data_offsets": (begin + rng.choice([1, huge, -1]), end)}
    return {"shape": (huge,), "data_offsets": (begin, begin + 8 * huge)}
