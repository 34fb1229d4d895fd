"""A component without variance has eigenvalue 0 on one processor, 1e-16 on another."""

import numpy as np
import pytest

from latentsk import PCAEmbedder

ROWS = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 0.0], [2.0, 0.0, 0.0, 1.0]])


def _planted(flat, solver="covariance_eigh", **parameters):
    """Return a fitted embedder of rank two, with three components."""
    rows = np.random.default_rng(0).normal(size=(50, 4)) * [2.0, 1.0, 0.0, 0.0]
    embedder = PCAEmbedder(3, svd_solver=solver, **parameters).fit(rows)
    embedder.mean_ = np.zeros(4)
    embedder.components_ = np.eye(4)[:3]
    embedder.explained_variance_ = np.array([4.0, 1.0, flat])
    embedder.noise_variance_ = flat / 2.0
    return embedder


def _outcome(embedder, method, *arguments):
    try:
        return getattr(embedder, method)(*arguments)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(
    "score_method", ["likelihood", "reconstruction", "mahalanobis"]
)
def test_scores_are_the_same_or_refused(score_method):
    zero, noise = (_planted(v, score_method=score_method) for v in (0.0, 1e-16))
    for name in ("score_samples", "score_contributions"):
        expected, found = _outcome(zero, name, ROWS), _outcome(noise, name, ROWS)
        if score_method == "reconstruction":
            np.testing.assert_array_equal(expected, found)
        else:
            assert "is undefined" in expected
            assert expected == found


def test_covariances_and_samples_are_the_same():
    zero, noise = _planted(0.0), _planted(1e-16)
    assert "singular" in _outcome(zero, "get_precision")
    assert _outcome(zero, "get_precision") == _outcome(noise, "get_precision")
    np.testing.assert_allclose(
        zero.get_covariance(), noise.get_covariance(), atol=1e-15
    )
    drawn = (embedder.sample(9, random_state=0) for embedder in (zero, noise))
    np.testing.assert_allclose(*drawn, atol=1e-7)


@pytest.mark.parametrize(
    ("solver", "flat"), [("covariance_eigh", 1e-16), ("full", 1e-32)]
)
def test_whitening_divides_by_no_rounding_error(solver, flat):
    zero, noise = (_planted(v, solver, whiten=True) for v in (0.0, flat))
    white = noise.transform(ROWS)
    np.testing.assert_array_equal(white[:, :2], ROWS[:, :2] / [2.0, 1.0])
    np.testing.assert_array_equal(zero.transform(ROWS), white)
    for embedder in (zero, noise):
        np.testing.assert_allclose(embedder.reconstruct(ROWS)[:, 3], 0.0)
        np.testing.assert_allclose(embedder.reconstruct(ROWS)[:, :3], ROWS[:, :3])


def test_whitening_keeps_small_components_that_are_known():
    """The singular values of the rows themselves are exact far below sqrt(eps)."""
    rows = np.random.default_rng(0).normal(size=(50, 2)) * [1.0, 1e-12]
    white = PCAEmbedder(2, svd_solver="full", whiten=True).fit_transform(rows)
    np.testing.assert_allclose(white.std(axis=0, ddof=1), 1.0)
    fitted = PCAEmbedder(2, svd_solver="full", whiten=True).fit(rows)
    np.testing.assert_allclose(fitted.transform(rows).std(axis=0, ddof=1), 1.0)


def test_training_rows_are_whitened_as_new_ones():
    rows = np.random.default_rng(0).normal(size=(50, 2)) @ np.ones((2, 3))
    embedder = PCAEmbedder(3, svd_solver="covariance_eigh", whiten=True)
    latents = embedder.fit_transform(rows)
    np.testing.assert_allclose(latents, embedder.transform(rows), atol=1e-6)
