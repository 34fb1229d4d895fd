"""Paths through a latent space against their formulas."""

import numpy as np
import pytest

from latentsk.vae._paths import linear_path, spherical_path


def test_the_worked_line():
    path = linear_path([1.2, -0.5], [-0.8, 1.1], 5)
    expected = [[1.2, -0.5], [0.7, -0.1], [0.2, 0.3], [-0.3, 0.7], [-0.8, 1.1]]
    np.testing.assert_allclose(path, expected)


def test_an_arc_keeps_its_length_and_its_speed():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 5))
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    path = spherical_path(start, end, 9)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1.0)
    steps = np.einsum("ij,ij->i", path[1:], path[:-1])
    np.testing.assert_allclose(np.arccos(steps), np.arccos(start @ end) / 8)
    np.testing.assert_allclose(path[[0, -1]], [start, end])


@pytest.mark.parametrize("factor", [1.0, 3.0, -2.0, 0.0])
def test_points_in_one_line_are_joined_by_it(factor):
    start = np.array([1.0, 2.0])
    path = spherical_path(start, factor * start, 4)
    np.testing.assert_allclose(path, linear_path(start, factor * start, 4))
    assert np.isfinite(path).all()
