"""Distances to neighbours: by brute force, and by what subsamples have for a mean."""

import itertools
from math import comb

import numpy as np
import pytest

from latentsk.outliers import _neighborhood
from latentsk.outliers._latent_rows import LatentRows
from latentsk.outliers._neighborhood import (
    N_SUBSAMPLES,
    SUBSAMPLE_ROWS,
    draw_subsamples,
    nearest_of_subsamples,
    neighborhood_of,
    relative_distances,
    without_excluded,
)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(60, 4))


def _latent(rows, exclude):
    """Rows that are their exclude latents."""
    return LatentRows(rows, rows, None, np.ones(rows.shape[1]), exclude)


def _fitted(rows, k=5):
    generator, every = np.random.default_rng(0), np.arange(len(rows))
    looked_at = _latent(rows, np.full(len(rows), -1))
    return neighborhood_of(rows, looked_at, every, every, k, generator)


def _others_by_distance(query, rows, exclude):
    """Positions of all rows but the excluded one, the nearest first."""
    lengths = np.sqrt(((rows - query) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[order != exclude]
    return lengths[order], order


def _brute_local(query, rows, exclude, k):
    lengths, order = _others_by_distance(query, rows, exclude)
    here = lengths[:k].mean()
    there = np.mean(
        [_others_by_distance(rows[i], rows, i)[0][:k].mean() for i in order[:k]]
    )
    return here * np.sqrt(here / there)


@pytest.mark.parametrize("k", [1, 5, 59])
def test_local_distances_are_the_ratio_formula_over_brute_force_means(rows, k):
    found = _fitted(rows, k).local_distances(_latent(rows, np.arange(60)))
    expected = [_brute_local(rows[i], rows, i, k) for i in range(60)]
    # The floor in the ratio is a millionth of the median.
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    new = np.random.default_rng(1).normal(size=(5, 4)) * 3
    found = _fitted(rows, k).local_distances(_latent(new, np.full(5, -1)))
    expected = [_brute_local(query, rows, -1, k) for query in new]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_more_neighbors_than_rows_are_all_other_rows(rows):
    neighbours = _fitted(rows[:4], 100)
    found = neighbours.local_distances(_latent(rows[:4], np.arange(4)))
    expected = [_brute_local(rows[i], rows[:4], i, 3) for i in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for exclude, left in ((0, {1, 2, 3}), (2, {0, 1, 3})):
        _, positions = neighbours.local(_latent(rows[[exclude]], np.array([exclude])))
        assert set(positions[0].tolist()) == left


@pytest.mark.parametrize("n_neighbors", [None, 1, 3])
def test_nearest_leaves_the_row_itself_out(rows, n_neighbors):
    neighbours = _fitted(rows, 5)
    exclude = np.array([3, -1, 50])
    queries = rows[[3, 4, 50]]
    distances, positions = neighbours.local(_latent(queries, exclude), n_neighbors)
    for i in range(3):
        lengths, order = _others_by_distance(queries[i], rows, exclude[i])
        np.testing.assert_array_equal(positions[i], order[: n_neighbors or 5])
        np.testing.assert_allclose(
            distances[i], lengths[: n_neighbors or 5], atol=1e-12
        )


def test_copies_of_a_row_are_neighbours_of_it_but_it_is_not():
    rows = np.repeat([[0.0, 0.0], [3.0, 4.0]], [4, 2], axis=0)
    neighbours = _fitted(rows, 4)
    distances, positions = neighbours.local(_latent(rows[[0, 4]], np.array([0, 4])))
    np.testing.assert_allclose(distances, [[0, 0, 0, 5], [0, 5, 5, 5]])
    assert positions[0].tolist()[:3] == [1, 2, 3]
    assert 0 not in positions[0]
    assert 4 not in positions[1]
    assert np.isfinite(neighbours.local_distances(_latent(rows, np.full(6, -1)))).all()


def test_the_excluded_row_is_left_out_wherever_it_stands():
    distances = np.array([[0.0, 0.0, 1.0], [0.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    positions = np.array([[4, 9, 2], [5, 6, 7], [5, 6, 7]])
    kept, places = without_excluded(distances, positions, np.array([9, 1, -1]))
    np.testing.assert_array_equal(kept, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(places, [[4, 2], [5, 6], [5, 6]])


def test_relative_distances_are_their_formula():
    rng = np.random.default_rng(0)
    exclude, others = rng.gamma(1.0, size=(2, 20))
    expected = np.sqrt(exclude * (exclude * exclude / others))
    np.testing.assert_allclose(relative_distances(exclude, others, 0.0), expected)
    # A row of the same density as its neighbours is as far as it is.
    np.testing.assert_allclose(relative_distances(exclude, exclude, 0.3), exclude)
    assert relative_distances([1.0], [0.0], 1e-6)[0] == pytest.approx(1e3, rel=1e-5)


@pytest.mark.parametrize(
    ("n_rows", "size"), [(2, 2), (3, 2), (5, 2), (6, 3), (15, 7), (16, 8), (999, 8)]
)
def test_subsamples_are_of_different_rows(n_rows, size):
    drawn = draw_subsamples(n_rows, np.random.default_rng(0))
    assert drawn.shape == (N_SUBSAMPLES, size) == (100, size)
    assert drawn.min() >= 0
    assert drawn.max() < n_rows
    assert all(len(set(subsample)) == size for subsample in drawn.tolist())


@pytest.mark.parametrize("n_rows", [16, 50, 999])
def test_subsamples_are_parts_of_orders_of_all_rows(n_rows):
    drawn = draw_subsamples(n_rows, np.random.default_rng(0))
    per_order = n_rows // 8
    for first in range(0, 100, per_order):
        part = drawn[first : first + per_order].ravel()
        assert len(set(part.tolist())) == len(part)
    counts = np.bincount(drawn.ravel(), minlength=n_rows)
    n_orders = -(-100 // per_order)
    assert counts.max() <= n_orders
    if n_rows == 16:  # no row is left over
        assert counts.tolist() == [50] * 16


def test_every_row_is_drawn_as_often_as_every_other():
    generator = np.random.default_rng(0)
    drawn = np.concatenate([draw_subsamples(20, generator) for _ in range(50)])
    assert SUBSAMPLE_ROWS == 8
    counts = np.bincount(drawn.ravel(), minlength=20)
    # 5000 subsamples hold each row with probability 8 / 20.
    error = np.sqrt(5_000 * 0.4 * 0.6)
    assert np.abs(counts - 2_000).max() < 4.5 * error


def test_the_nearest_of_each_subsample_is_that_of_brute_force(rows):
    subsamples = draw_subsamples(60, np.random.default_rng(1))
    exclude = np.where(np.arange(60) % 2, np.arange(60), -1)
    distances, positions = nearest_of_subsamples(rows, rows, subsamples, exclude)
    lengths = np.sqrt(((rows[:, None] - rows) ** 2).sum(axis=2))
    for i in range(60):
        for s, subsample in enumerate(subsamples):
            others = [j for j in subsample if j != exclude[i]]
            best = min(others, key=lambda j: lengths[i, j])
            assert positions[i, s] == best
            # Of a length that is a difference of squares.
            assert distances[i, s] == pytest.approx(lengths[i, best], abs=1e-7)
    assert (positions[exclude >= 0] != exclude[exclude >= 0][:, None]).all()


def test_far_from_the_origin_the_nearest_are_the_same(rows):
    subsamples = draw_subsamples(60, np.random.default_rng(1))
    exclude = np.arange(60)
    near, places = nearest_of_subsamples(rows, rows, subsamples, exclude)
    far, there = nearest_of_subsamples(rows + 1e6, rows + 1e6, subsamples, exclude)
    np.testing.assert_allclose(far, near, rtol=1e-6)
    np.testing.assert_array_equal(there, places)


def _expected_nearest(lengths, size):
    """Mean distance to the nearest of `size` rows, over all draws of so many."""
    lengths, n = np.sort(lengths), len(lengths)
    # The r-th nearest is the nearest where the others are among the n - r after it.
    weights = [comb(n - r, size - 1) / comb(n, size) for r in range(1, n + 1)]
    return float(np.dot(weights, lengths))


def test_the_closed_form_is_the_mean_over_all_subsamples():
    lengths = np.array([3.0, 1.0, 4.0, 1.5, 9.0])
    every = [min(chosen) for chosen in itertools.combinations(lengths, 3)]
    assert _expected_nearest(lengths, 3) == pytest.approx(np.mean(every))


def test_the_mean_over_subsamples_comes_to_its_expectation(rows):
    generator = np.random.default_rng(2)
    subsamples = np.concatenate([draw_subsamples(60, generator) for _ in range(20)])
    queries = np.random.default_rng(3).normal(size=(8, 4)) * 2
    found, _ = nearest_of_subsamples(queries, rows, subsamples, np.full(8, -1))
    lengths = np.sqrt(((queries[:, None] - rows) ** 2).sum(axis=2))
    expected = [_expected_nearest(of, SUBSAMPLE_ROWS) for of in lengths]
    errors = found.std(axis=1) / np.sqrt(len(subsamples))
    assert (np.abs(found.mean(axis=1) - expected) < 4 * errors).all()


def test_global_distances_are_means_over_subsamples(rows):
    neighbours = _fitted(rows)
    exclude = np.arange(60)
    found = neighbours.global_distances(_latent(rows, exclude))
    distances, _ = nearest_of_subsamples(rows, rows, neighbours.subsamples, exclude)
    np.testing.assert_allclose(found, distances.mean(axis=1))


def test_blocks_change_nothing(rows, monkeypatch):
    neighbours = _fitted(rows)
    exclude = np.arange(60)
    whole = neighbours.global_distances(_latent(rows, exclude))
    monkeypatch.setattr(_neighborhood, "BLOCK_ELEMENTS", 7 * 800)
    in_blocks = neighbours.global_distances(_latent(rows, exclude))
    np.testing.assert_allclose(in_blocks, whole, rtol=1e-12)


def test_two_rows_are_each_other_s_neighbour():
    rows = np.array([[0.0], [3.0]])
    neighbours, both = _fitted(rows), _latent(rows, np.array([0, 1]))
    np.testing.assert_allclose(neighbours.local_distances(both), 3.0)
    np.testing.assert_allclose(neighbours.global_distances(both), 3.0)


def test_one_row_at_an_enormous_distance_costs_the_others_no_digits(rows):
    """The squares of 1e9 have no digits left for distances of 1."""
    with_it = np.concatenate([rows, np.full((1, 4), 1e9)])
    subsamples = draw_subsamples(61, np.random.default_rng(1))
    found, _ = nearest_of_subsamples(rows, with_it, subsamples, np.arange(60))
    lengths = np.sqrt(((rows[:, None] - with_it) ** 2).sum(axis=2))
    np.fill_diagonal(lengths, np.inf)
    expected = lengths[:, subsamples].min(axis=2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_row_that_comes_again_excludes_itself(rows):
    neighbours = _fitted(rows)
    asked = np.vstack([rows[[7, 0]], rows[:1] + 1.0])
    found = neighbours.recognized(asked, _latent(asked, np.full(3, -1)))
    assert found.exclude.tolist() == [7, 0, -1]
    assert neighbours.in_support(found).tolist() == [True, True, False]
    np.testing.assert_array_equal(
        neighbours.nearest_features(found, 0), np.empty((0, 3, 4))
    )
    _, order = _others_by_distance(rows[7], rows, 7)
    nearest = neighbours.nearest_features(found, 2)
    np.testing.assert_array_equal(nearest[:, 0], rows[order[:2]])
