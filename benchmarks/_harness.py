"""What the benchmarks share: paired timing, thread limits, data, tables and results."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
Contenders = dict[str, Callable[[], object]]
Seconds = dict[str, list[float]]


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7, help="runs of each contender")
    parser.add_argument(
        "--write", action="store_true", help="update results/ and the README's table"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(__file__).parents[2] / "shared" / "data",
        help="folder with mnist/*.gz; random images of the same shape where missing",
    )
    return parser


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Give every library the same number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    with threadpool_limits(number):
        yield
    torch.set_num_threads(before)


def paired(contenders: Contenders, rounds: int) -> Seconds:
    """Time contenders in turn, so that noise of the machine meets all of them."""
    seconds: Seconds = {name: [] for name in contenders}
    for round_number in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if round_number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: Seconds) -> dict[str, float]:
    return {name: median(values) for name, values in seconds.items()}


def ratio(seconds: Seconds, peer: str, ours: str) -> float:
    """Return how many times faster we are: the median over rounds."""
    pairs = zip(seconds[peer], seconds[ours], strict=True)
    return median(theirs / our for theirs, our in pairs)


def images(folder: Path, part: str) -> tuple[np.ndarray, str]:
    """Return MNIST's training or test images in [0, 1], or random low-rank ones."""
    name = {"train": "train-images", "test": "t10k-images"}[part]
    path = folder / "mnist" / f"{name}-idx3-ubyte.gz"
    if path.exists():
        pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
        return pixels.reshape(-1, 784).astype(np.float32) / 255, "MNIST"
    rng = np.random.default_rng(0)
    codes = np.random.default_rng(len(part)).normal(
        size=(60_000 if part == "train" else 10_000, 40)
    )
    rows = codes @ rng.normal(size=(40, 784)) + rng.normal(size=784)
    return rows.astype(np.float32), "random images"


def machine() -> dict[str, object]:
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def publish(name: str, printed: str, document: dict[str, object], write: bool) -> None:
    """Print a table; with `write`, keep it and its numbers in the repository."""
    print(printed)
    if not write:
        return
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), **document, "table": printed}
    (RESULTS / f"{name}.json").write_text(compact_json(content))
    block = f"<!-- {name} -->\n{printed}\n<!-- /{name} -->"
    text = re.sub(
        f"<!-- {name} -->.*<!-- /{name} -->",
        lambda _: block,
        README.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    README.write_text(text, encoding="utf-8")


def compact_json(content: object) -> str:
    """Return indented JSON, with lists of numbers on a line."""
    text = json.dumps(content, indent=1)
    numbers = re.compile(r"\[\s+([-+.\deE,\s]+?)\s+\]")
    return numbers.sub(lambda n: f"[{' '.join(n[1].split())}]", text) + "\n"


def table(header: list[str], rows: list[list[object]]) -> str:
    """Format a Markdown table."""
    cells = [header, ["---"] * len(header), *[[_text(c) for c in row] for row in rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def _text(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
