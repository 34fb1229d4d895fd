"""A share of what the commands in benchmarks/ do at length."""

import importlib
import io
import random
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script, *options):
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_damaged_and_forged_files():
    printed = run("fuzz_files.py", "--files", 300)
    assert "| damaged | 150 | 0 | 0 |" in printed


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_an_archive_that_cannot_be_read_is_not_forged_again(benchmark_module):
    forgery = benchmark_module("_forgery")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(range(256)) * 9)
    content = np.frombuffer(buffer.getvalue(), np.uint8).copy()
    content[60:200] ^= 255  # within the deflated bytes
    for seed in range(20):
        _, arrays = forgery.forge_skops("{}", {"skops": content}, random.Random(seed))
        assert arrays["skops"] is content


def test_a_crash_is_counted_among_the_faults(benchmark_module):
    fuzz = benchmark_module("fuzz_files")
    counts, faults = Counter(), []
    fuzz.record(6, "pca", "refused: it is altered", counts, faults)
    fuzz.record(7, "?", "fault: the worker crashed (exit -11)", counts, faults)
    assert "| damaged | 1 | 0 | 0 |" in fuzz.report(counts)
    assert "| forged | 0 | 0 | 1 |" in fuzz.report(counts)
    assert faults == ["7 (?): fault: the worker crashed (exit -11)"]


@pytest.mark.skipif(sys.platform == "win32", reason="kills a forked process")
def test_killed_saves():
    printed = run("kill_saves.py", "--kills", 12)
    assert printed.count("| 3 |") >= 4


@pytest.mark.slow
def test_many_more():
    run("fuzz_files.py", "--files", 5_000, "--seed", 10**6)
    run("kill_saves.py", "--kills", 100, "--seed", 1)
