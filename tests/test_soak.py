"""A short soak; ``make soak`` takes an hour."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read as Linux tells it"
)
@pytest.mark.parametrize(
    "seconds", [pytest.param(10, id="ten"), pytest.param(60, marks=pytest.mark.slow)]
)
def test_memory_threads_and_files_stay_flat(seconds):
    pytest.importorskip("faiss")
    ended = subprocess.run(
        [sys.executable, str(SOAK), "--minutes", str(seconds / 60)],
        capture_output=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
