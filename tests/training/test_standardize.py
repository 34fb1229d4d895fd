"""Moments of rows that come in chunks."""

import numpy as np
import pytest

from latentsk.training._standardize import Moments, Standardizer


def merged(chunks, n_groups=None):
    found = Moments.of(chunks[0], n_groups)
    for chunk in chunks[1:]:
        found = found.merged(Moments.of(chunk, n_groups))
    return found


@pytest.mark.parametrize("cuts", [[1], [1, 2, 3], [299], [100, 200], range(1, 300)])
@pytest.mark.parametrize("factor", [1e-200, 1e-160, 1.0, 1e100])
def test_merged_moments_are_those_of_all_rows(cuts, factor):
    rows = np.random.default_rng(0).normal([0.0, 5.0, -100.0], size=(300, 3))
    found = merged(np.split(rows * factor, list(cuts)))
    assert found.n_rows == 300
    np.testing.assert_allclose(found.mean / factor, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation / factor, rows.std(axis=0), rtol=1e-12)


def test_a_small_deviation_far_from_the_origin():
    rows = np.random.default_rng(0).normal(size=(400, 1)) * 1e-3 + 1e6
    found = merged(np.split(rows, [1, 50, 51]))
    np.testing.assert_allclose(found.deviation, rows.std(axis=0), rtol=1e-6)


def test_a_constant_column_stays_constant_in_every_chunk():
    rows = np.full((30, 2), 0.1)
    rows[:, 1] = 1e6 / 3
    mean, scale = merged(np.split(rows, [1, 7, 20])).standardizer()
    np.testing.assert_array_equal(mean, rows[0])
    np.testing.assert_array_equal(scale, 1.0)


def test_a_constant_in_chunks_of_other_dtypes():
    chunks = [np.full((5, 1), 0.1, dtype) for dtype in ("f8", "f4", "f8")]
    assert merged(chunks).standardizer().scale == 1.0


def test_a_column_that_is_constant_in_each_chunk_but_not_in_all():
    chunks = [np.full((4, 1), 3.0), np.full((4, 1), 5.0)]
    mean, scale = merged(chunks).standardizer()
    assert (mean, scale) == (4.0, 1.0)
    mean, scale = merged([*chunks, np.full((8, 1), 12.0)]).standardizer()
    np.testing.assert_allclose([mean[0], scale[0]], [8.0, np.sqrt(16.5)])


def test_groups_are_pooled_over_all_chunks():
    rows = np.random.default_rng(0).normal(size=(60, 8)) * np.arange(1, 9) + 3.0
    expected = Standardizer.of(rows, 2)
    found = merged(np.split(rows, [1, 30]), 2).standardizer()
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.scale, expected.scale)
    np.testing.assert_allclose(found.scale[:4], rows[:, :4].std())
