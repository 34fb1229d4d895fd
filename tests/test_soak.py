"""A round of the soak, and its verdict; ``make soak`` takes an hour."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it"
)


@pytest.fixture
def soak(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("soak")


@pytest.mark.filterwarnings("ignore")  # two epochs make no good models
def test_a_round_leaves_no_threads_and_no_files(soak, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    operations, start = soak.Operations(tmp_path), time.monotonic()
    readings = []
    for _ in range(2):
        operations.round(0)
        readings.append(soak.reading(start, tmp_path))
    assert operations.n_done > 500
    assert readings[0][2:] == readings[1][2:]
    assert readings[1].files_left == 0


@pytest.mark.parametrize(
    ("at_the_end", "fault"),
    [
        ({"megabytes": 319}, ""),
        ({"megabytes": 330}, "memory grew by 30 MB"),
        ({"threads": 9}, "threads: 4, then 9"),
        ({"files_open": 7}, "files open: 6, then 7"),
        ({"files_left": 1}, "files left: 0, then 1"),
    ],
)
def test_the_verdict_names_what_grows(soak, at_the_end, fault):
    """In ten minutes after the warm-up, whatever it took before."""
    first = soak.Reading(0.0, 300, threads=4, files_open=6, files_left=0)
    last = first._replace(seconds=600.0, **at_the_end)
    between = [soak.Reading(*np.linspace(first, last, 11)[i]) for i in range(11)]
    warm_up = [soak.Reading(0.0, 1_000, 1, 1, 0)] * soak.WARM_UP_ROUNDS
    readings = [*warm_up, first, *between[1:-1], last]
    assert "; ".join(soak.judged(readings, 0.0).faults) == fault


def test_a_minute_is_summed_up_by_its_last_reading(soak):
    seconds = [1.0, 59.0, 61.0, 125.0]
    readings = [soak.Reading(t, 300.0 + t, 2, 6, 0) for t in seconds]
    assert soak.summary(readings) == {
        "minutes": [0, 1, 2],
        "megabytes": [359.0, 361.0, 425.0],
        "threads": (2, 2, 2),
        "files_open": (6, 6, 6),
    }


@pytest.mark.slow
def test_memory_threads_and_files_stay_flat():
    pytest.importorskip("faiss")
    ended = subprocess.run(
        [sys.executable, str(BENCHMARKS / "soak.py"), "--minutes", "1"],
        capture_output=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
