"""Settings that must precede the first import of numpy, and shared fixtures."""

import os
import signal

# scikit-learn's array API dispatch needs scipy's.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

# There are as many workers of pytest-xdist as cores: a thread for each, and for its
# processes. Tests of several threads set their number themselves.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"

# A process in the background ignores Ctrl-C, and with it the tests that send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

matplotlib.use("Agg")


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device on this machine")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


def _seeds():
    """Read SKLEARN_TESTS_GLOBAL_RANDOM_SEED as scikit-learn's own suite does."""
    wanted = os.environ.get("SKLEARN_TESTS_GLOBAL_RANDOM_SEED", "42")
    if wanted == "all":
        return list(range(100))
    first, _, last = wanted.partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture(params=_seeds())
def global_random_seed(request):
    return request.param


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def global_dtype(request):
    return request.param


@pytest.fixture(scope="session")
def digits():
    return load_digits(return_X_y=True)
