"""Thousands of damaged and forged files: each is refused, or holds an estimator.

    python benchmarks/fuzz_files.py [--files N] [--seed N] [--write]

Files of every estimator are truncated and have bytes flipped (so that the checksum is
wrong), and are forged as an attacker would: parameters, state, shapes, dtypes, sizes and
scikit-learn's parts are altered, and the checksum is made to fit. Each is loaded, and
asked for answers if that succeeds. An error must be latentsk's own; nothing but the file
may be opened, nothing imported, run, renamed or deleted; memory and time are bounded. A
worker process reads the files, so that a crash is noticed too.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _harness import publish, table
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

import latentsk
from latentsk import _format
from latentsk.exceptions import FormatError

# Above what reading the sound files takes.
MEMORY_BOUND = 400 * 2**20
SECONDS = 20
HOSTILE = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e308, -0.5, float("nan"), float("inf"),
    "", "../../etc/passwd", "/etc/passwd", "os.system", "builtins.eval", "posix",
    "__reduce__", "\x00", "a" * 100_000, [], {}, [[]], [0] * 1_000, {"array": "/"},
    {"same": 0}, {"module": "Linear"}, {"estimator": None}, {"steps": []}, "cuda:99",
    "meta", "float64", "object", 10**400, [1] * 3, {"tuple": [1, [2, {"dict": {}}]]},
]  # fmt: skip

Parts = tuple[str, dict[str, np.ndarray]]


def estimators() -> dict[str, Any]:
    """Return a fitted estimator of every kind, and what it is asked."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6)).astype(np.float32)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    table = pd.DataFrame({"when": pd.date_range("2026", periods=120), "n": range(120)})
    rows = rng.normal(size=(2_000, 6)).astype(np.float32)
    small = {"max_epochs": 1, "hidden_layer_sizes": (4,), "device": "cpu"}
    conv = {**small, "network": "conv", "input_shape": (1, 2, 3)}
    ids = [f"row {i}" for i in range(120)]
    steps = StandardScaler(), QuantileTransformer(n_quantiles=9), PCA(3)
    spec = "IVF8,PQ6x4fs,nprobe=4,rerank=3"
    latent = latentsk.AutoencoderEmbedder(2, **small)
    return {
        "pca": latentsk.PCAEmbedder(2).fit(frame),
        "pca, streamed": latentsk.PCAEmbedder(2).partial_fit(X[:50]).partial_fit(X[50:]),
        "autoencoder": latentsk.AutoencoderEmbedder(2, **small).fit(frame),
        "autoencoder, streamed": latentsk.AutoencoderEmbedder(2, **small).partial_fit(X),
        "autoencoder, conv": latentsk.AutoencoderEmbedder(2, **conv).fit(X),
        "vae": latentsk.VAEEmbedder(2, **small).fit(X),
        "pipeline": make_pipeline(*steps, latentsk.PCAEmbedder(2)).fit(X),
        "encoder": make_pipeline(
            OneHotEncoder(sparse_output=False, handle_unknown="ignore"),
            latentsk.PCAEmbedder(2),
        ).fit(np.round(X)),
        "index": latentsk.LatentIndex(latent).fit(X, ids=ids, metadata=table),
        "index, lists": latentsk.LatentIndex(index_spec=spec).fit(rows),
        "neighbors": latentsk.LatentNeighborsTransformer(PCA(2)).fit(X),
        "detector": latentsk.LatentOutlierDetector(random_state=0).fit(frame),
        "adapter": latentsk.PyODAdapter(random_state=0).fit(X),
    }  # fmt: skip


def answers(estimator: Any) -> list[Any]:
    """Ask an estimator everything that it can be asked."""
    X = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    if hasattr(estimator, "feature_names_in_"):
        X = pd.DataFrame(X, columns=list("abcdef"))
    found = []
    for name in ("transform", "score_samples", "kneighbors", "search"):
        if hasattr(estimator, name):
            result = getattr(estimator, name)(X)
            parts = result if isinstance(result, tuple) else (result,)
            found += [p.toarray() if hasattr(p, "toarray") else p for p in parts]
    return [np.asarray(part) for part in found]


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


# Forgery: everything is written anew, checksum included.


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
    opening, closing = rng.choice([("[", "]"), ('{"dict":', "}"), ('{"tuple":[', "]}")])
    return f'{{"kind": "estimator", "estimator": {opening * depth}1{closing * depth}}}'


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
        holder[key] = at(document, rng.choice(paths))
        document = json.loads(json.dumps(document))  # no cycles
    elif isinstance(holder, dict):
        holder[rng.choice(["x", "__class__", "state", "parts", key + "_"])] = holder[key]
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
    """Alter scikit-learn's part of a file, as an archive or in its schema."""
    names = [name for name in arrays if name.endswith("skops")]
    if not names:
        return forge_document(text, arrays, rng)
    name = rng.choice(names)
    try:
        with zipfile.ZipFile(io.BytesIO(arrays[name].tobytes())) as archive:
            members = {m: archive.read(m) for m in archive.namelist()}
        schema = json.loads(members["schema.json"])
    except (zipfile.BadZipFile, ValueError, RecursionError, KeyError):
        return text, arrays  # forged before
    how = rng.randrange(8)
    if how <= 3:
        forge_schema(schema, rng)
        members["schema.json"] = json.dumps(schema).encode()
    elif how == 4:
        members[rng.choice(["../x.npy", "/tmp/x.npy", "1.npy"])] = b"\x93NUMPY" * 9
    elif how == 5:
        member = rng.choice(sorted(members))
        members[member] = huge_npy() if rng.random() < 0.5 else members[member][:-9]
    elif how == 6:
        depth = rng.choice([200, 100_000])
        members["schema.json"] = ("[" * depth + "]" * depth).encode()
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if how == 7 else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    arrays[name] = np.frombuffer(buffer.getvalue(), np.uint8)
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


def huge_npy() -> bytes:
    """Return an array's file that claims a terabyte."""
    head = "{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472,), }"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.ljust(118).encode()


def assembled(text: str, arrays: Any, rng: random.Random) -> bytes:
    """Return a file with a fitting checksum; now and then with sizes that are lies."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    entries = _format._layout(arrays)
    truth = dict(entries)
    if entries and rng.random() < 0.2:
        name = rng.choice(sorted(entries))
        entries[name] = lie(entries[name], rng)

    def blocks(name: str) -> Any:
        return _format._blocks(arrays[name], truth[name].dtype)

    checksum = _format._checksum(text, entries, blocks)
    header = _format._header(text, entries, checksum)
    return header + b"".join(bytes(b) for n in truth for b in blocks(n))


def lie(entry: Any, rng: random.Random) -> Any:
    huge = rng.choice([2**40, 2**62, 2**63 - 1])
    shapes = [(huge,), (huge, huge), (huge, 0), (0,), (-1,), (), (1,) * 65, entry.shape * 2]
    how = rng.randrange(4)
    if how == 0:
        return entry._replace(shape=rng.choice(shapes))
    if how == 1:
        return entry._replace(end=entry.end + rng.choice([1, huge, -1]))
    if how == 2:
        return entry._replace(begin=entry.begin + rng.choice([1, huge, -1]))
    return entry._replace(shape=(huge,), end=entry.begin + 8 * huge)


# The worker, which is watched.


class Watch:
    """An audit hook: what happens while a file is read."""

    QUIET = {"object.__getattr__", "object.__setattr__", "sys._getframe", "code.__new__",
             "builtins.id", "sys._current_frames", "gc.get_objects"}  # fmt: skip
    # Headers of arrays are parsed ("compile"), but never run ("exec").
    FORBIDDEN = ("import", "exec", "os.", "subprocess", "pickle", "socket",
                 "shutil", "ctypes.dlopen", "tempfile", "marshal", "urllib")  # fmt: skip

    def __init__(self) -> None:
        self.path: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.path is None or event in self.QUIET:
            return
        if event == "open" and str(args[0]) != self.path:
            self.seen.append(f"open {args[0]!r}")
        elif event.startswith(self.FORBIDDEN):
            self.seen.append(f"{event} {str(args)[:100]}")


def expire(*_: Any) -> None:
    raise TimeoutError("took too long")


def work(seeds: list[int], folder: str, state: Any, results: Any) -> None:
    """Read a forged file for every seed; tell what became of it."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, expire)
    sound = {p.stem: p.read_bytes() for p in sorted(Path(folder).glob("*.latentsk"))}
    parts = {p.stem: parts_of(p) for p in sorted(Path(folder).glob("*.latentsk"))}
    expected = {}
    watch = Watch()
    for name in sound:  # twice: lazy imports and buffers count to the sound files
        for _ in range(2):
            expected[name] = answers(latentsk.load(f"{folder}/{name}.latentsk"))
    path = f"{folder}/forged"
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        state.value = seed
        rng = random.Random(seed)
        name = rng.choice(sorted(sound))
        genuine = seed % 2 == 0
        content = (
            damage(sound[name], rng) if genuine else forged(parts[name], rng)
        )  # checksum left wrong, or repaired
        Path(path).write_bytes(content)
        signal.alarm(SECONDS)
        try:
            outcome = verdict(path, watch, expected[name] if genuine else None)
        except BaseException:
            outcome = "fault: " + traceback.format_exc()
        finally:
            signal.alarm(0)
            watch.path = None
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline
        if grown * 1024 > MEMORY_BOUND:
            outcome = f"fault: {grown // 1024} MB more memory"
            baseline += grown
        results.put((seed, name, outcome))
    state.value = -1


def verdict(path: str, watch: Watch, expected: list[Any] | None) -> str:
    watch.path, watch.seen = path, []
    try:
        estimator = latentsk.load(path)
    except FormatError as error:
        outcome = f"refused: {error}"
    except ValueError as error:
        if "module" not in str(error):
            raise
        outcome = "refused: wants modules"
    else:
        outcome = "loaded"
    watch.path = None
    if watch.seen:
        return f"fault: {watch.seen[:3]}"
    if outcome != "loaded":
        return outcome
    try:
        found = answers(estimator)
    except (ValueError, TypeError):
        found = None
    except Exception as error:
        # scikit-learn does not expect that its private state was forged.
        innermost = traceback.extract_tb(error.__traceback__)[-1].filename
        if f"{os.sep}sklearn{os.sep}" not in innermost:
            raise
        found = None
    if expected is not None and not same(found, expected):
        return "fault: a damaged file was read as something else"
    return outcome


def same(found: list[Any] | None, expected: list[Any]) -> bool:
    return found is not None and all(
        np.array_equal(a, b) for a, b in zip(found, expected, strict=True)
    )


def run(n_files: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how often each outcome occurred, and the faults."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    context = multiprocessing.get_context("spawn")
    pending = list(range(seed, seed + n_files))
    with tempfile.TemporaryDirectory() as folder:
        for name, estimator in estimators().items():
            latentsk.save(estimator, f"{folder}/{name}.latentsk")
        while pending:
            state, results = context.Value("q", -2), context.SimpleQueue()
            worker = context.Process(target=work, args=(pending, folder, state, results))
            worker.start()
            done = collect(worker, results, counts, faults)
            pending = [s for s in pending if s not in done]
            if state.value >= 0 and pending:
                faults.append(f"{state.value}: crashed (exit {worker.exitcode})")
                pending.remove(state.value)
            elif state.value == -2:
                raise RuntimeError("The worker did not start.")
        files = sorted(os.listdir(folder))
    strange = [f for f in files if not f.endswith(".latentsk") and f != "forged"]
    faults += [f"left behind: {name}" for name in strange]
    return counts, faults


def collect(worker: Any, results: Any, counts: Counter[str], faults: list[str]) -> set:
    done: set[int] = set()
    while worker.is_alive() or not results.empty():
        if results.empty():
            worker.join(0.01)
            continue
        seed, name, outcome = results.get()
        done.add(seed)
        kind = "damaged" if seed % 2 == 0 else "forged"
        word = outcome.partition(":")[0]
        counts[f"{kind}, {word}"] += 1
        if word == "fault":
            faults.append(f"{seed} ({name}): {outcome}")
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    counts, faults = run(options.files, options.seed)
    lines = [
        [kind, *(f"{counts[f'{kind}, {what}']:,}" for what in ("refused", "loaded"))]
        + [f"{counts[f'{kind}, fault']:,}"]
        for kind in ("damaged", "forged")
    ]
    print("\n".join(faults[:20]))
    print(f"{time.perf_counter() - start:.0f} s")
    header = ["files", "refused", "loaded", "faults"]
    document = {"counts": dict(counts), "faults": faults}
    publish("fuzz_files", table(header, lines), document, options.write)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
