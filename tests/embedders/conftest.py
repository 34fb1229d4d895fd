"""Rows that several test files fit small models to."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 5))
    return rows + 0.5 * rng.normal(size=rows.shape) + 7.0
