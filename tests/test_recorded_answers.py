"""Today's answers are those that were recorded: structure may change, results not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "recorded"
# Of the largest value: rounding in float64, and in a few epochs of float32.
TOLERANCES = {"pca": 1e-9, "index": 1e-9, "detector": 1e-9}
NETWORK_TOLERANCE = 1e-4
OF_NETWORKS = {"detector/network"}


def _recorder():
    spec = importlib.util.spec_from_file_location("answers", FOLDER / "answers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recorder = _recorder()
RECORDED = np.load(recorder.FILE)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(recorder.CASES))
def test_answers_are_those_recorded(name):
    tolerance = TOLERANCES.get(name.partition("/")[0], NETWORK_TOLERANCE)
    if name in OF_NETWORKS:
        tolerance = NETWORK_TOLERANCE
    prefix = f"{name}/"
    answers = recorder.answers_of(name)
    recorded = {key for key in RECORDED.files if key.startswith(prefix)}
    assert recorded == {prefix + key for key in answers}
    for key, found in answers.items():
        expected = RECORDED[prefix + key]
        if expected.dtype.kind == "f":
            allowed = tolerance * max(1e-30, np.nanmax(np.abs(expected)))
            np.testing.assert_allclose(found, expected, 0.0, allowed, err_msg=key)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=key)
