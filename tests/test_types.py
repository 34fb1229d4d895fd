"""What a user's type checker sees of the public classes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import latentsk

pytest.importorskip("mypy")

PROGRAM = """
from typing import Any, assert_type

import numpy as np
import pandas as pd
from latentsk import LatentIndex, LatentOutlierDetector, PCAEmbedder, VAEEmbedder

X = np.eye(3)
Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]
assert_type(PCAEmbedder().fit(X), PCAEmbedder)
assert_type(PCAEmbedder().partial_fit(X), PCAEmbedder)
assert_type(VAEEmbedder().fit(X).calibrate(X), VAEEmbedder)
assert_type(PCAEmbedder().fit_transform(X), Array)
assert_type(PCAEmbedder().fit(X).transform(X), Array)
assert_type(VAEEmbedder().fit(X).sample(3), Array | pd.DataFrame)
assert_type(LatentOutlierDetector().fit(X), LatentOutlierDetector)
assert_type(LatentOutlierDetector().fit_predict(X), Array)
assert_type(LatentIndex().fit(X).search(X), pd.DataFrame)
"""

# torch takes a minute, and the program does not name it.
CONFIGURATION = """
[mypy]
ignore_missing_imports = true
follow_imports = silent
[mypy-torch.*]
follow_imports = skip
"""


def test_a_fit_keeps_its_class_and_results_have_types(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(CONFIGURATION)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(latentsk.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert (checked.stdout, checked.returncode) == ("", 0)
