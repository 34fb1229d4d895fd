"""PyOD's own tests of a detector, with PyODAdapter in its place.

    python benchmarks/pyod_contract.py TESTS [--write]

TESTS is ``pyod/test/test_ecod.py`` of PyOD's repository (neither its wheel nor its
source archive holds the tests), at the tag of the version that is installed. Where the
tests make an ECOD, they get an adapter of LatentOutlierDetector with the same
contamination. Counted are the tests that pass, those that fail for PyOD's private
`_predict_rank`, and those that fail otherwise; and the public names of PyOD's
BaseDetector that the adapter lacks.
"""

from __future__ import annotations

import argparse
import io
import sys
import unittest
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from _harness import publish, table

from latentsk import LatentOutlierDetector, PyODAdapter

PRIVATE = "has no attribute '_predict_rank'"


def adapter(contamination: float = 0.1, n_jobs: int = 1) -> PyODAdapter:
    """Return what the tests get in place of an ECOD; jobs are the detector's matter."""
    return PyODAdapter(
        LatentOutlierDetector(random_state=0), contamination=contamination
    )


def loaded(path: Path) -> Any:
    """Return the module of tests, in which ECOD is the adapter."""
    ecod = import_module("pyod.models.ecod")
    ecod.ECOD = adapter
    spec = spec_from_file_location("pyod_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(path: Path) -> tuple[int, list[str], list[str]]:
    """Return the number of tests, and which fail for a private name, and otherwise."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(loaded(path))
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    failed = {str(test): trace for test, trace in result.failures + result.errors}
    private = [name for name, trace in failed.items() if PRIVATE in trace]
    return result.testsRun, private, sorted(failed.keys() - set(private))


def missing() -> list[str]:
    """Return the public names of BaseDetector that the adapter lacks."""
    base = import_module("pyod.models.base").BaseDetector
    public = [name for name in dir(base) if not name.startswith("_")]
    return [name for name in public if not hasattr(PyODAdapter, name)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", type=Path, help="test_ecod.py of PyOD's repository")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    n_tests, private, others = run(options.tests)
    lacking = missing()
    header = ["PyOD", "tests", "pass", "need `_predict_rank`", "fail", "names missing"]
    passed = n_tests - len(private) - len(others)
    counts = passed, len(private), len(others), len(lacking)
    printed = table(
        header, [[import_module("pyod").__version__, *map(str, (n_tests, *counts))]]
    )
    print("\n".join([*private, *others, *lacking]))
    document = {"private": private, "failed": others, "missing": lacking}
    publish("pyod_contract", printed, document, options.write)
    sys.exit(bool(others or lacking))


if __name__ == "__main__":
    main()
