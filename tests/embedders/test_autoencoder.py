"""AutoencoderEmbedder: what it learns, and that a seed repeats it."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentsk import AutoencoderEmbedder, LatentIndex
from latentsk.exceptions import DivergenceError
from latentsk.training._standardize import Standardizer

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 5, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 6))
    return rows + 0.1 * rng.normal(size=rows.shape) + 100.0


@parametrize_with_checks(
    [
        AutoencoderEmbedder(max_epochs=30),
        AutoencoderEmbedder(**SMALL, dropout=0.2, noise="masking", normalize=True),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_a_curve_is_learned_where_pca_cannot():
    angle = np.random.default_rng(0).uniform(0, np.pi, 500)
    arc = np.column_stack([np.cos(angle), np.sin(angle)])
    network = AutoencoderEmbedder(1, random_state=0).fit(arc)
    pca = PCA(1).fit(arc)

    def error(model):
        rows = model.inverse_transform(model.transform(arc))
        return np.mean(np.sum((rows - arc) ** 2, axis=1))

    assert error(network) < 0.1 * error(pca)


def test_a_linear_network_spans_the_principal_subspace():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 5))
    rows += 0.05 * rng.normal(size=rows.shape)
    network = AutoencoderEmbedder(
        2,
        hidden_layer_sizes=(),
        standardize=False,
        learning_rate_init=2e-2,
        max_epochs=400,
        n_iter_no_change=400,
        random_state=0,
    ).fit(rows - rows.mean(axis=0))
    decoder = network.module_.decoder[0].weight.detach().numpy()
    basis, _ = np.linalg.qr(decoder)
    cosines = np.linalg.svd(PCA(2).fit(rows).components_ @ basis, compute_uv=False)
    assert cosines.min() > 0.999


def test_scores_find_planted_outliers(X):
    rng = np.random.default_rng(1)
    outliers = X[:40] + rng.normal(size=(40, 6)) * X.std(axis=0)
    scores = (
        AutoencoderEmbedder(2, random_state=0)
        .fit(X[40:])
        .score_samples(np.concatenate([X[:40], outliers]))
    )
    assert roc_auc_score(np.arange(80) < 40, scores) > 0.95


def test_score_is_the_squared_error_in_standardized_units(X):
    network = AutoencoderEmbedder(**SMALL).fit(X)
    residual = (X - network.reconstruct(X)) / X.std(axis=0)
    np.testing.assert_allclose(network.score_samples(X), -(residual**2).sum(axis=1))


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"noise": "gaussian"}])
def test_the_seed_decides_and_the_global_generators_do_not(X, settings):
    def embedded(seed, global_seed):
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        network = AutoencoderEmbedder(**{**SMALL, **settings, "random_state": seed})
        result = network.fit_transform(X)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
        return result

    np.testing.assert_array_equal(embedded(0, 1), embedded(0, 2))
    assert not np.array_equal(embedded(0, 1), embedded(1, 1))


def test_a_row_s_score_depends_on_it_alone(X):
    network = AutoencoderEmbedder(**SMALL, dropout=0.5).fit(X)
    scores = network.score_samples(X)
    np.testing.assert_array_equal(network.score_samples(X), scores)
    alone = np.concatenate([network.score_samples(row[None]) for row in X])
    np.testing.assert_allclose(alone, scores, rtol=1e-10)
    single = network.score_samples(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, scores, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("n_rows", [1, 2, 49, 129])
@pytest.mark.parametrize("batch_size", [1, 64, 1_000])
def test_every_size_trains(X, n_rows, batch_size):
    network = AutoencoderEmbedder(**SMALL, batch_size=batch_size).fit(X[:n_rows])
    assert np.isfinite(network.score_samples(X)).all()


def test_constant_columns_are_harmless(X):
    rows = np.hstack([X, np.full((150, 2), 7.0), np.full((150, 1), 1e6)])
    network = AutoencoderEmbedder(**SMALL).fit(rows)
    assert np.abs(network.score_samples(rows)).max() < 1e3
    changed = rows.copy()
    changed[:, 6] += 3.0
    assert (network.score_samples(changed) < network.score_samples(rows) - 4).all()


def test_standardizer_far_from_the_origin():
    rows = np.random.default_rng(0).normal(size=(2_000, 3)) * [1, 1e-3, 0] + 1e6
    mean, scale = Standardizer.of(rows)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scale[:2], rows[:, :2].std(axis=0), rtol=1e-6)
    assert scale[2] == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_are_constant_up_to_rounding(X, dtype):
    column = np.full(150, 0.3, dtype)
    column[::2] = np.nextafter(dtype(0.3), dtype(1.0))
    rows = np.column_stack([X.astype(dtype), column])
    scale = Standardizer.of(rows).scale
    assert scale[-1] == 1.0
    changed = rows.copy()
    changed[:, -1] += 0.001
    network = AutoencoderEmbedder(**SMALL).fit(rows)
    assert np.abs(network.score_samples(changed)).max() < 1e4


def test_a_constant_channel():
    images = np.random.default_rng(0).normal(size=(50, 2, 64))
    images[:, 1] = 0.1
    scale = Standardizer.of(images.reshape(50, 128), 2).scale
    np.testing.assert_array_equal(scale[64:], 1.0)
    np.testing.assert_allclose(scale[:64], images[:, 0].std())


@pytest.mark.parametrize("factor", [1e-200, 1e-160, 1e100])
def test_standardizer_of_any_magnitude(factor):
    rows = np.random.default_rng(0).normal(size=(300, 2)) + np.array([0.0, 3.0])
    mean, scale = Standardizer.of(rows * factor)
    np.testing.assert_allclose(mean, rows.mean(axis=0) * factor)
    np.testing.assert_allclose(scale, rows.std(axis=0) * factor)


def test_float32_rows_with_a_large_mean():
    rows = (np.random.default_rng(0).normal(size=(300, 8)) * 1e-2 + 1e4).astype("f4")
    network = AutoencoderEmbedder(**SMALL).fit(rows)
    np.testing.assert_allclose(
        network.score_samples(rows),
        network.score_samples(rows.astype(float)),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("value", [1e20, 1e36, -3e38])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_most_extreme_rows_are_outliers(X, value, dtype, normalize):
    rows = (X * 1e-3).astype(dtype)
    network = AutoencoderEmbedder(**SMALL, normalize=normalize).fit(rows)
    extreme = rows[:2].copy()
    extreme[0, 0] = value
    scores = network.score_samples(extreme)
    assert np.isfinite(scores).all()
    assert network.predict(extreme).tolist() == [-1, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_views_and_read_only_arrays(X, dtype):
    rows = X.astype(dtype)
    rows.flags.writeable = False
    for standardize in (True, False):
        network = AutoencoderEmbedder(**SMALL, standardize=standardize).fit(rows[::-1])
        Z = network.transform(rows)
        Z.flags.writeable = False
        np.testing.assert_allclose(
            network.inverse_transform(Z[::-1]), network.reconstruct(rows)[::-1]
        )


def test_tensors_of_any_dtype(X):
    rows = torch.from_numpy(X).bfloat16().requires_grad_()
    network = AutoencoderEmbedder(**SMALL).fit(rows)
    expected = network.transform(rows.detach().float().numpy())
    np.testing.assert_array_equal(network.transform(rows), expected)


@pytest.mark.parametrize("n_rows", [16, 40, 150])
@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_the_weights_kept_are_those_of_the_best_epoch(X, n_rows, fraction):
    rows = X[:n_rows]
    network = AutoencoderEmbedder(
        **{**SMALL, "max_epochs": 15},
        learning_rate_init=0.3,
        learning_rate="constant",
        validation_fraction=fraction,
    ).fit(rows)
    losses = [record["monitored_loss"] for record in network.history_]
    assert network.best_epoch_ == 1 + int(np.argmin(losses))
    if network.history_[0]["validation_loss"] is None:
        # Fewer rows than are sampled: all of them are monitored.
        assert min(losses) == pytest.approx(-network.score(rows), rel=1e-4)


def test_the_automatic_threshold_lies_on_rows_set_aside(digits):
    X = np.random.default_rng(0).permutation(digits[0])
    train, new = X[:900], X[900:]
    network = AutoencoderEmbedder(random_state=0, max_epochs=80).fit(train)
    on_training_rows = AutoencoderEmbedder(
        random_state=0, max_epochs=80, validation_fraction=0.0
    ).fit(train)
    share = np.mean(network.predict(new) == -1)
    assert share < 0.5 * np.mean(on_training_rows.predict(new) == -1)


def test_another_loss_after_the_fit_changes_nothing(X):
    network = AutoencoderEmbedder(**SMALL).fit(X)
    expected = network.reconstruct(X)
    network.set_params(loss="binary_cross_entropy")
    np.testing.assert_array_equal(network.reconstruct(X), expected)


def test_history_and_the_best_weights(X):
    network = AutoencoderEmbedder(
        3, learning_rate_init=0.05, max_epochs=60, n_iter_no_change=5, random_state=0
    ).fit(X)
    losses = [record["validation_loss"] for record in network.history_]
    assert network.best_epoch_ == 1 + int(np.argmin(losses))
    assert [r["epoch"] for r in network.history_] == list(range(1, len(losses) + 1))
    few = AutoencoderEmbedder(**SMALL).fit(X[:20])
    assert {record["validation_loss"] for record in few.history_} == {None}


def test_divergence_leaves_the_estimator_as_it_was(X):
    network = AutoencoderEmbedder(**SMALL).fit(X)
    before = network.score_samples(X)
    network.set_params(learning_rate_init=1e30)
    with pytest.raises(DivergenceError, match="in epoch"):
        network.fit(X[:, :3])
    np.testing.assert_array_equal(network.score_samples(X), before)


def test_pickle_and_copy(X):
    network = AutoencoderEmbedder(**SMALL).fit(X)
    for twin in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        np.testing.assert_array_equal(twin.score_samples(X), network.score_samples(X))
        assert twin.history_ == network.history_


def test_threads_score_as_one(X):
    network = AutoencoderEmbedder(**SMALL, dropout=0.2).fit(X)
    expected = network.score_samples(X)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(network.score_samples, [X] * 20):
            np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_similar_rows_in_its_latent_space(digits):
    X, y = digits
    network = AutoencoderEmbedder(16, max_epochs=60, random_state=0)
    index = LatentIndex(network).fit(X)
    positions = index.kneighbors(n_neighbors=5, return_distance=False)
    assert np.mean(y[positions] == y[:, None]) > 0.9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter"),
        ({"activation": "step"}, "'activation' parameter"),
        ({"loss": "mse"}, "'loss' parameter"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
    ],
)
def test_bad_parameters(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderEmbedder(**parameters).fit(X)


def test_the_output_is_linear(X):
    # Standardized rows lie on both sides of zero and beyond one.
    network = AutoencoderEmbedder(2, max_epochs=100, random_state=0).fit(X)
    rows = (network.reconstruct(X) - network.mean_) / network.scale_
    assert rows.min() < -1.5
    assert rows.max() > 1.5


def test_fitting_again_repeats_and_changes_no_parameter(X):
    network = AutoencoderEmbedder(**SMALL)
    before = network.get_params()
    first = network.fit_transform(X)
    assert network.get_params() == before
    np.testing.assert_array_equal(network.fit_transform(X), first)
    instance = AutoencoderEmbedder(
        **{**SMALL, "random_state": np.random.RandomState(0)}
    )
    assert not np.array_equal(instance.fit_transform(X), instance.fit_transform(X))
