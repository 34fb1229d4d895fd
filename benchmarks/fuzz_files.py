"""Thousands of damaged and forged files: each is refused, or holds an estimator.

    python benchmarks/fuzz_files.py [--files N] [--seed N] [--write]

Files of every estimator are truncated and have bytes flipped (so that the checksum is
wrong), and are forged as an attacker would: parameters, state, shapes, dtypes, sizes
and scikit-learn's parts are altered, and the checksum is made to fit. Each is loaded,
and asked for answers if that succeeds. An error must be latentsk's own; nothing but the
file may be opened, nothing imported, run, renamed or deleted; memory and time are
bounded. A worker process reads the files, so that a crash is noticed too.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _forgery import damage, forged, parts_of
from _harness import publish, table
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

import latentsk
from latentsk.exceptions import FormatError

# Above what reading the sound files takes.
MEMORY_BOUND = 400 * 2**20
SECONDS = 20


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
        "pca, streamed": latentsk.PCAEmbedder(2).partial_fit(X),
        "autoencoder": latentsk.AutoencoderEmbedder(2, **small).fit(frame),
        "streamed": latentsk.AutoencoderEmbedder(2, **small).partial_fit(X),
        "autoencoder, conv": latentsk.AutoencoderEmbedder(2, **conv).fit(X),
        "vae": latentsk.VAEEmbedder(2, **small).fit(X),
        "pipeline": make_pipeline(*steps, latentsk.PCAEmbedder(2)).fit(X),
        "encoder": make_pipeline(
            OneHotEncoder(sparse_output=False, handle_unknown="ignore"),
            latentsk.PCAEmbedder(2),
        ).fit(np.round(X)),
        "columns": make_pipeline(
            ColumnTransformer(
                [
                    ("ours", latentsk.RobustStandardizer(), ["a", "c"]),
                    ("theirs", StandardScaler(), slice("d", "e")),
                    ("dropped", "drop", [1]),
                ],
                remainder="passthrough",
            ),
            make_union(latentsk.PCAEmbedder(2), StandardScaler()),
        ).fit(frame),
        "index": latentsk.LatentIndex(latent).fit(X, ids=ids, metadata=table),
        "index, lists": latentsk.LatentIndex(index_spec=spec).fit(rows),
        "neighbors": latentsk.LatentNeighborsTransformer(PCA(2)).fit(X),
        "detector": latentsk.LatentOutlierDetector(random_state=0).fit(frame),
        "calibrated": latentsk.LatentOutlierDetector(random_state=0)
        .fit(frame[:80])
        .calibrate(frame[80:]),
        "adapter": latentsk.PyODAdapter(random_state=0).fit(X),
    }  # fmt: skip


def answers(estimator: Any) -> list[Any]:
    """Ask an estimator everything that it can be asked."""
    X = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    if hasattr(estimator, "feature_names_in_"):
        X = pd.DataFrame(X, columns=list("abcdef"))
    found = []
    names = ["transform", "score_samples", "kneighbors", "search"]
    if hasattr(estimator, "calibration_scores_"):
        names.append("p_values")
    for name in names:
        if hasattr(estimator, name):
            result = getattr(estimator, name)(X)
            parts = result if isinstance(result, tuple) else (result,)
            found += [p.toarray() if hasattr(p, "toarray") else p for p in parts]
    return [np.asarray(part) for part in found]


# The worker, which is watched.


class Watch:
    """An audit hook: what happens while a file is read."""

    # Headers of arrays are parsed ("compile"), but never run ("exec").
    FORBIDDEN = (
        "import",
        "exec",
        "os.",
        "subprocess",
        "pickle",
        "marshal",
        "socket",
        "urllib",
        "shutil",
        "tempfile",
        "ctypes.dlopen",
    )

    def __init__(self) -> None:
        self.path: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        """Take down what should not happen."""
        if self.path is None:
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
            estimator = latentsk.load(f"{folder}/{name}.latentsk")
            expected[name], _ = answers(estimator), repr(estimator)
    # Messages of scikit-learn show what a parameter is, be it a table put there.
    repr(pd.DataFrame({"when": pd.date_range("2026", periods=120)}))
    path = f"{folder}/forged"
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        state.value = seed
        rng = random.Random(seed)
        name = rng.choice(sorted(sound))
        damaged = kind_of(seed) == "damaged"
        signal.alarm(SECONDS)
        try:
            content = damage(sound[name], rng) if damaged else forged(parts[name], rng)
            Path(path).write_bytes(content)
            outcome = verdict(path, watch, expected[name] if damaged else None)
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


def kind_of(seed: int) -> str:
    """Tell whether the checksum is left wrong, or made to fit."""
    return "damaged" if seed % 2 == 0 else "forged"


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
            given = pending, folder, state, results
            worker = context.Process(target=work, args=given)
            worker.start()
            done = collect(worker, results, counts, faults)
            pending = [s for s in pending if s not in done]
            if state.value >= 0 and pending:
                crash = f"fault: the worker crashed (exit {worker.exitcode})"
                record(state.value, "?", crash, counts, faults)
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
        record(seed, name, outcome, counts, faults)
    return done


def record(
    seed: int, name: str, outcome: str, counts: Counter[str], faults: list[str]
) -> None:
    """Count what became of a file; all that went wrong is a fault."""
    word = outcome.partition(":")[0]
    counts[f"{kind_of(seed)}, {word}"] += 1
    if word == "fault":
        faults.append(f"{seed} ({name}): {outcome}")


def report(counts: Counter[str]) -> str:
    """Return the table of outcomes."""
    outcomes = "refused", "loaded", "fault"
    lines = [
        [kind, *(f"{counts[f'{kind}, {outcome}']:,}" for outcome in outcomes)]
        for kind in ("damaged", "forged")
    ]
    return table(["files", "refused", "loaded", "faults"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    counts, faults = run(options.files, options.seed)
    print("\n".join(faults[:20]))
    print(f"{time.perf_counter() - start:.0f} s")
    document = {"counts": dict(counts), "faults": faults}
    publish("fuzz_files", report(counts), document, options.write)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
