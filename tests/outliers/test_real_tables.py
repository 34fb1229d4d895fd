"""Extremes, tight relations, regular data and rows that come again.

Each with the case that was reported, and others of its kind.
"""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentsk import LatentOutlierDetector, PCAEmbedder


def _fitted(X, **options):
    return LatentOutlierDetector(random_state=0, **options).fit(X)


def _auroc(is_outlier, X, **options):
    return roc_auc_score(is_outlier, -_fitted(X, **options).score_samples(X))


# Extremes do not hide one another


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "cells",
    [
        {(0, 0): 50.0, (1, 0): 9999.0},
        {(0, 0): 50.0, (1, 0): -9999.0},
        {(0, 0): 50.0, (1, 0): 1e12},
        {(0, 0): 50.0, (1, 1): 9999.0, (2, 2): 1e6},
        {(0, 1): 20.0, (1, 1): 300.0, (2, 1): 4_000.0, (3, 1): 50_000.0},
    ],
)
@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
def test_an_extreme_hides_no_lesser_one(seed, cells, method):
    X = np.random.default_rng(seed).normal(size=(300, 3))
    for (row, column), value in cells.items():
        X[row, column] = value
    detector = _fitted(X, method=method)
    scores = detector.score_samples(X)
    n = len(cells)
    assert (detector.predict(X)[:n] == -1).all()
    # The larger, the lower.
    assert (np.diff(scores[:n]) < 0.0).all()
    assert scores[n:].min() > scores[:n].max()
    assert np.mean(detector.predict(X[n:]) == -1) < 0.05


def test_an_extreme_leaves_the_other_scores_as_they_are():
    X = np.random.default_rng(0).normal(size=(300, 3))
    X[0, 0] = 50.0
    with_one = _fitted(X).score_samples(X)
    X[1, 0] = 9999.0
    with_two = _fitted(X).score_samples(X)
    assert with_two[0] == pytest.approx(with_one[0], rel=0.05)
    np.testing.assert_allclose(with_two[2:], with_one[2:], atol=0.2)


@pytest.mark.parametrize("value", [30.0, 1e4, 1e9])
def test_extremes_in_a_share_of_the_rows_are_flagged(value):
    X = np.random.default_rng(0).normal(size=(300, 3))
    X[:15, 0] = value * np.linspace(1.0, 2.0, 15)
    detector = _fitted(X)
    assert (detector.predict(X[:15]) == -1).all()
    assert np.mean(detector.predict(X[15:]) == -1) < 0.05


# Relations are kept


def _sum_of_eight(noise, shift, *, seed=0):
    """Nine columns, the last the sum of the others; 12 rows break it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(600, 8)) * 10.0
    X = np.column_stack([X, X.sum(axis=1) + noise * rng.normal(size=600)])
    X[:12, 8] -= shift * np.sign(X[:12, 8])  # towards the middle: in normal ranges
    return X, np.arange(600) < 12


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("noise", "shift"), [(0.5, 20.0), (0.05, 2.0), (0.0, 1.0), (1e-6, 1.0)]
)
@pytest.mark.parametrize("method", ["auto", "distance"])
def test_rows_that_break_a_sum_are_the_lowest(noise, shift, seed, method):
    X, is_broken = _sum_of_eight(noise, shift, seed=seed)
    assert np.abs(X[:12]).max() < np.abs(X[12:]).max()
    assert _auroc(is_broken, X, method=method) == 1.0
    detector = _fitted(X, method=method)
    assert (detector.predict(X[:12]) == -1).all()
    assert np.mean(detector.predict(X[12:]) == -1) < 0.05


@pytest.mark.parametrize("method", ["auto", "distance"])
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_do_not_matter_to_a_relation(method, unit):
    X, is_broken = _sum_of_eight(0.5, 20.0)
    factors = np.where(np.arange(9) % 2, unit, 1.0)
    assert _auroc(is_broken, X * factors + 7.0 * factors, method=method) == 1.0


@pytest.mark.parametrize("method", ["auto", "distance"])
def test_each_of_two_relations_counts(method):
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 500)) * 10.0
    noise = 0.1 * rng.normal(size=(2, 500))
    X = np.column_stack([a, b, c, a + b + noise[0], b - 2 * c + noise[1]])
    X[:6, 3] += 4.0
    X[6:12, 4] -= 4.0
    assert _auroc(np.arange(500) < 12, X, method=method) == 1.0


@pytest.mark.parametrize("embedder", [PCAEmbedder(9), make_pipeline(PCAEmbedder(8))])
def test_a_relation_within_or_outside_of_the_latent_space(embedder):
    X, is_broken = _sum_of_eight(0.05, 5.0)
    assert _auroc(is_broken, X, embedder=embedder) == 1.0


def test_a_ratio_that_changes_is_seen():
    """Price and quantity make the amount; in logarithms they are a sum."""
    rng = np.random.default_rng(0)
    price, quantity = np.exp(rng.normal(size=(2, 400)))
    X = np.log(np.column_stack([price, quantity, price * quantity]))
    X[:5, 2] += 0.5
    assert _auroc(np.arange(400) < 5, X) == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_rare_categories_are_no_outliers(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, 1_000, p=[0.9, 0.08, 0.02])
    X = np.column_stack([rng.normal(size=(1_000, 3)), np.eye(3)[kinds]])
    for assume_clean in (False, True):
        flagged = _fitted(X, assume_clean=assume_clean).predict(X) == -1
        assert np.mean(flagged) < 0.05
        assert np.mean(flagged[kinds == 1]) < 0.1
        assert np.mean(flagged[kinds == 2]) < 0.2  # of twenty
    # Among the rare ones, too, others are.
    odd = X[kinds == 2][:3]
    odd[:, 1] += 15.0
    assert (_fitted(X).predict(odd) == -1).all()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_mostly_zero_makes_no_outliers(seed):
    """total = base + bonus, and nine tenths of the rows have no bonus."""
    rng = np.random.default_rng(seed)
    base = rng.normal(100.0, 10.0, size=1_000)
    bonus = np.where(rng.random(1_000) < 0.1, rng.exponential(20.0, 1_000), 0.0)
    X = np.column_stack([base, bonus, base + bonus])
    detector = _fitted(X)
    flagged = detector.predict(X) == -1
    assert np.mean(flagged) < 0.03
    assert np.mean(flagged[bonus > 0.0]) < 0.2
    # Rows that break the relation are lower than all that keep it.
    X[:5, 2] += 8.0
    assert _auroc(np.arange(1_000) < 5, X, method="distance") == 1.0
    assert _auroc(np.arange(1_000) < 5, X) > 0.98


# Regular and low-dimensional data


def _grid(*axes):
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


_ANGLES = np.linspace(0.0, 2 * np.pi, 201)[:-1]
REGULAR = {
    "arange 200": np.arange(200.0)[:, None],
    "arange 30": np.arange(30.0)[:, None],
    "linspace": np.linspace(-1.0, 1.0, 1_000)[:, None],
    "ten equal at the end": np.r_[np.arange(30.0), np.full(10, 30.0)][:, None],
    "ten equal at the start": np.r_[np.full(10, -1.0), np.arange(30.0)][:, None],
    "20 x 20": _grid(np.arange(20.0), np.arange(20.0)),
    "100 x 5": _grid(np.arange(100.0), np.arange(5.0)),
    "8 x 8 x 8": _grid(*[np.arange(8.0)] * 3),
    "two units": _grid(np.arange(20.0), 1e6 * np.arange(20.0)),
    "one column three times": np.repeat(np.arange(200.0)[:, None], 3, axis=1),
    "circle": np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)]),
    "helix": np.column_stack([np.cos(3 * _ANGLES), np.sin(3 * _ANGLES), _ANGLES]),
    "dates": 1.7e9 + 86_400.0 * np.arange(365.0)[:, None],
    "two values": np.repeat([0.0, 1.0], [50, 50])[:, None],
}


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("kind", REGULAR)
def test_no_point_of_regular_data_is_an_outlier(kind, assume_clean):
    X = REGULAR[kind]
    detector = _fitted(X, assume_clean=assume_clean)
    assert (detector.predict(X) == 1).all()


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("kind", REGULAR)
def test_what_is_far_from_regular_data_is_an_outlier(kind, assume_clean):
    X = REGULAR[kind]
    span = X.max(axis=0) - X.min(axis=0)
    detector = _fitted(X, assume_clean=assume_clean)
    assert detector.predict([X.max(axis=0) + 5.0 * span]) == -1


LAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "log-normal": lambda rng, shape: np.exp(rng.normal(size=shape)),
}


def _flagged_share(law, n_rows, n_columns, n_draws):
    """Share of 1,000 fresh rows that are flagged: a mean over draws."""
    shares = []
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        detector = _fitted(LAWS[law](rng, (n_rows, n_columns)))
        fresh = LAWS[law](rng, (1_000, n_columns))
        shares.append(np.mean(detector.predict(fresh) == -1))
    return np.mean(shares)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    ("n_rows", "n_columns"), [(500, 1), (500, 3), (2_000, 1), (500, 10), (500, 50)]
)
def test_few_fresh_clean_rows_are_flagged(law, n_rows, n_columns):
    share = _flagged_share(law, n_rows, n_columns, n_draws=20 if n_columns == 1 else 6)
    assert share <= 0.03
    if law in ("normal", "exponential"):
        assert share >= 0.003


# Rows that come again


def _sources():
    rng = np.random.default_rng(0)
    return {
        "normal": rng.normal(size=(500, 5)),
        "heavy tails": rng.standard_t(2, size=(500, 3)),
        "clusters": rng.normal(size=(500, 3)) * 0.1 + rng.choice(4, (500, 1)),
        "counts": rng.poisson(2.0, size=(500, 2)).astype(float),
        "copies": np.r_[rng.normal(size=(100, 3)), np.tile([3.0, 3.0, 3.0], (20, 1))],
        "wide": rng.normal(size=(100, 40)),
        "grid": REGULAR["20 x 20"],
        "off centre": rng.normal(size=(300, 3)) + 1e5,
    }


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
@pytest.mark.parametrize("kind", _sources())
def test_a_training_row_that_is_moved_a_little_is_judged_the_same(
    kind, method, assume_clean
):
    X = _sources()[kind]
    detector = _fitted(X, method=method, assume_clean=assume_clean)
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(np.sort(scores), detector.training_scores_)
    again = LatentOutlierDetector(
        method=method, assume_clean=assume_clean, random_state=0
    )
    np.testing.assert_array_equal(again.fit_predict(X), detector.predict(X))
    signs = np.random.default_rng(1).choice([-1.0, 1.0], X.shape)
    moved = [X + 1e-9 * signs, X - 1e-9 * signs]
    if kind != "off centre":  # where float32 holds two digits of the deviations
        moved.append(X.astype(np.float32))
    for rows in moved:
        np.testing.assert_allclose(
            detector.score_samples(rows), scores, rtol=1e-4, atol=1e-4
        )
        is_close = np.abs(scores - detector.offset_) < 1e-3
        same = detector.predict(rows) == detector.predict(X)
        assert same[~is_close].all()


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize(
    "embedder",
    [
        make_pipeline(StandardScaler(), PCAEmbedder(2)),
        PCA(2),
        make_pipeline(StandardScaler(), PCA(3, whiten=True)),
    ],
)
def test_with_any_embedder_too(embedder, assume_clean):
    X = np.random.default_rng(0).normal(size=(300, 5)) @ np.diag([5, 4, 1, 1, 1.0])
    detector = _fitted(X, embedder=embedder, assume_clean=assume_clean)
    scores = detector.score_samples(X)
    for rows in (X + 1e-9, X.astype(np.float32)):
        np.testing.assert_allclose(detector.score_samples(rows), scores, atol=1e-3)


@pytest.mark.parametrize("assume_clean", [False, True])
@pytest.mark.parametrize("method", ["auto", "distance", "neighbors"])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "copies", "wide", "grid"])
def test_a_row_that_leaves_a_training_row_changes_by_small_steps(
    kind, method, assume_clean
):
    X = _sources()[kind]
    detector = _fitted(X, method=method, assume_clean=assume_clean)
    rng = np.random.default_rng(2)
    shares = np.linspace(0.0, 1.0, 4_001)[:, None]
    for i in rng.choice(len(X), 4, replace=False):
        direction = rng.normal(size=X.shape[1])
        direction *= 0.2 * np.sqrt(X.shape[1]) / np.linalg.norm(direction)
        scores = detector.score_samples(X[i] + shares * X.std(axis=0) * direction)
        reach = np.ptp(scores)
        assert np.abs(np.diff(scores)).max() < 0.02 * max(reach, 0.1)
