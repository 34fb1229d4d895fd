"""A share of what the commands in benchmarks/ do at length."""

import subprocess
import sys
from pathlib import Path

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
    printed = run("fuzz_files.py", "--files", 600)
    assert "| damaged | 300 | 0 | 0 |" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="kills a forked process")
def test_killed_saves():
    printed = run("kill_saves.py", "--kills", 24)
    assert printed.count("| 6 |") >= 4


@pytest.mark.slow
def test_many_more():
    run("fuzz_files.py", "--files", 5_000, "--seed", 10**6)
    run("kill_saves.py", "--kills", 100, "--seed", 1)
