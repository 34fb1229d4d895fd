"""What holds of every score: along rays and segments, in any unit, order and dtype."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentOutlierDetector, PCAEmbedder


def _laws(seed):
    """Rows of many kinds."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(4, 4))
    centres = 20.0 * rng.normal(size=(3, 2))
    copies = np.tile(rng.normal(size=(1, 3)), (30, 1))
    return {
        "normal": rng.normal(size=(150, 4)) @ mixing,
        "one column": rng.normal(size=(100, 1)),
        "heavy tails": rng.standard_t(1.5, size=(150, 3)),
        "log-normal": np.exp(1.5 * rng.normal(size=(150, 3))),
        "clusters": centres[rng.choice(3, 150)] + rng.normal(size=(150, 2)),
        "uneven clusters": np.r_[
            rng.normal(size=(140, 2)), 15.0 + 0.01 * rng.normal(size=(10, 2))
        ],
        "counts": rng.poisson(1.0, size=(150, 3)).astype(float),
        "copies": np.r_[rng.normal(size=(90, 3)), copies],
        "relation": np.column_stack(
            [rows := rng.normal(size=(150, 3)), rows.sum(axis=1)]
        ),
        "wide": rng.normal(size=(40, 60)),
        "many": rng.normal(size=(1_200, 20)),
        "constant": np.column_stack([rng.normal(size=(100, 2)), np.full(100, 3.0)]),
        "categories": np.column_stack(
            [
                rng.normal(size=(150, 2)),
                np.eye(3)[rng.choice(3, 150, p=[0.6, 0.3, 0.1])],
            ]
        ),
        "extremes": np.r_[rng.normal(size=(145, 3)), 10.0 ** rng.uniform(1, 6, (5, 3))],
    }


KINDS = tuple(_laws(0))
EMBEDDERS = {
    "default": lambda n: None,
    "pipeline": lambda n: make_pipeline(StandardScaler(), PCAEmbedder(max(1, n // 2))),
}


def _fitted(X, embedder="default", **options):
    return LatentOutlierDetector(
        EMBEDDERS[embedder](X.shape[1]), random_state=0, **options
    ).fit(X)


def _space_of(detector, X):
    """Where rays are straight lines from the centre: what enters the last step."""
    standardized = detector.embedder_[:-1]
    return standardized.transform(X), standardized.inverse_transform


def _assert_close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_rise_along_a_ray_beyond_the_farthest_row(
    kind, method, assume_clean, seed
):
    X = _laws(seed)[kind]
    detector = _fitted(X, method=method, assume_clean=assume_clean)
    rows, back = _space_of(detector, X)
    # A centre that keeps the relations between columns, as their medians may not.
    centre = detector.embedder_[-1].mean_
    farthest = np.linalg.norm(rows - centre, axis=1).max()
    rng = np.random.default_rng(seed)
    factors = np.r_[np.linspace(1.0, 3.0, 80), np.geomspace(3.1, 1e6, 30)]
    for _ in range(6):
        direction = rng.normal(size=rows.shape[1])
        direction *= farthest / np.linalg.norm(direction)
        path = back(centre + factors[:, None] * direction)
        # Very near to a training row, as is the farthest, a row counts as that one.
        latents = detector.embedder_.transform(path)
        is_that_row = detector._neighborhood.measure(latents).present > 0.0
        assert not is_that_row[20:].any()
        beyond = np.flatnonzero(is_that_row).max(initial=-1) + 1
        scores = detector.score_samples(path[beyond:])
        rises = np.diff(scores) / np.maximum(1.0, np.abs(scores[1:]))
        assert rises.max() < 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("embedder", EMBEDDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_continuous_along_segments(kind, embedder, assume_clean, seed):
    """Between training rows and through them: large steps are made of small ones."""
    X = _laws(seed)[kind]
    detector = _fitted(X, embedder, assume_clean=assume_clean)
    rng = np.random.default_rng(seed)
    for _ in range(2):
        start, end = X[rng.choice(len(X), 2, replace=False)]

        def steps(shares, start=start, end=end):
            path = start + shares[:, None] * (end - start)
            return np.abs(np.diff(detector.score_samples(path)))

        shares = np.linspace(-0.2, 1.2, 1_000)
        coarse = steps(shares)
        at = int(np.argmax(coarse))
        # The largest step in a hundred parts: a jump would be in one of them.
        fine = steps(np.linspace(shares[at], shares[at + 1], 101))
        assert fine.max() < max(0.3 * coarse[at], 1e-3)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("embedder", EMBEDDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_order_unit_and_dtype_do_not_matter(kind, embedder, assume_clean, seed):
    X = _laws(seed)[kind]
    rng = np.random.default_rng(seed)
    moved = X[:20] + rng.normal(size=(20, X.shape[1])) * X.std(axis=0)
    queries = np.concatenate([X[:20], moved])
    expected = _fitted(X, embedder, assume_clean=assume_clean).score_samples(queries)

    def scores(change):
        detector = _fitted(change(X), embedder, assume_clean=assume_clean)
        return detector.score_samples(change(queries))

    columns = rng.permutation(X.shape[1])
    _assert_close(scores(lambda rows: rows[:, columns]), expected, 1e-5)
    factors = 10.0 ** rng.uniform(-4, 4, X.shape[1])
    shifts = factors * rng.uniform(-5, 5, X.shape[1])
    _assert_close(scores(lambda rows: rows * factors + shifts), expected, 1e-5)
    _assert_close(scores(lambda rows: -rows), expected, 1e-5)
    order = rng.permutation(len(X))
    permuted = _fitted(X[order], embedder, assume_clean=assume_clean)
    _assert_close(permuted.score_samples(queries), expected, 1e-5)


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("embedder", EMBEDDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_judged_alike(kind, embedder, assume_clean):
    X = _laws(0)[kind]
    expected = _fitted(X, embedder, assume_clean=assume_clean).score_samples(X)
    narrow = X.astype(np.float32)
    found = _fitted(narrow, embedder, assume_clean=assume_clean).score_samples(narrow)
    # Rounding has a part in which rows stand for all, where there are more than 512.
    _assert_close(found, expected, 1e-3 if kind != "many" else 0.1)


@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
@pytest.mark.parametrize("embedder", EMBEDDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_huge_values_score_lowest(kind, embedder, method):
    X = _laws(0)[kind]
    detector = _fitted(X, embedder, method=method)
    lowest = detector.score_samples(X).min()
    huge = np.tile(X[0], (6, 1))
    huge[:, 0] = [1e30, -1e30, 1e90, 1e155, -1e200, 1e300]
    found = detector.score_samples(huge)
    assert np.isfinite(found).all()
    assert (found < lowest).all()
    assert (np.diff(found[[0, 2, 3, 5]]) <= 0.0).all()
