"""The parts of the comparison of codes that can be wrong without anyone noticing."""

import importlib
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scalar_codes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("_scalar_codes")


def normal(*scales, n_rows=20_000):
    return np.random.default_rng(0).normal(size=(n_rows, len(scales))) * scales


@pytest.mark.parametrize(
    ("n_bits", "distortion"), [(0, 1.0), (1, 0.3634), (2, 0.1188), (3, 0.03744)]
)
def test_quantizers_of_normal_values_are_those_of_max(scalar_codes, n_bits, distortion):
    """Uniform quantizers of Max (1960), which the means of the cells only improve."""
    found = scalar_codes.squared_errors(normal(3.0))[0, n_bits] / 9.0
    assert 0.9 * distortion < found < 1.05 * distortion


def test_codes_are_whole_numbers_of_so_many_bits(scalar_codes):
    values = normal(1.0, 5.0)
    quantizers = scalar_codes.quantizers_of(values, np.array([3, 0]))
    codes = scalar_codes.encoded(quantizers, 10 * values)
    assert codes.min(axis=0).tolist() == [0, 0]
    assert codes.max(axis=0).tolist() == [7, 0]
    rows = scalar_codes.decoded(quantizers, codes)
    np.testing.assert_allclose(rows[:, 1], values[:, 1].mean())
    assert len(np.unique(rows[:, 0])) == 8


def test_bits_are_shared_out_by_reverse_water_filling(scalar_codes):
    """Halving the scale saves a bit, and a column below the water has none."""
    errors = scalar_codes.squared_errors(normal(8.0, 4.0, 2.0, 0.1))
    assert scalar_codes.shared_out(errors, 9).tolist() == [4, 3, 2, 0]
    # There may be more than can be used.
    assert scalar_codes.shared_out(errors, 1_000).tolist() == [8, 8, 8, 8]


def test_errors_of_decoded_rows_are_those_of_the_columns(scalar_codes):
    latents = normal(3.0, 1.0, n_rows=500)
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 2)))[0].T
    rows = latents @ basis
    found = scalar_codes.decoded_errors(latents, rows, lambda codes: codes @ basis)
    np.testing.assert_allclose(found, scalar_codes.squared_errors(latents), rtol=1e-6)


def test_bits_of_equally_frequent_codes_are_their_logarithm(scalar_codes):
    codes = np.arange(8_000)[:, None] % 8
    found = scalar_codes.independent_bits(codes, codes[:100], [8])
    assert found == pytest.approx(3.0, abs=1e-3)
