"""The loop: what it reports, when it fails, and that a seed repeats it."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from latentsk.exceptions import DivergenceError
from latentsk.modules.autoencoder import Autoencoder
from latentsk.modules.mlp import initialize, mlp
from latentsk.training.batches import ResidentRows
from latentsk.training.loop import LoopSettings, run_epochs
from latentsk.training.objectives import squared_error
from latentsk.training.schedules import cosine_decay, warm_up
from latentsk.training.step import (
    StepSettings,
    TrainingState,
    autograd,
    flatten,
    make_step,
)
from latentsk.training.stopping import BestWeights


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n_rows=200):
    latents = torch.randn(n_rows, 2, generator=generator(1))
    mixing = torch.randn(2, 5, generator=generator(2))
    noise = torch.randn(n_rows, 5, generator=generator(3))
    return latents @ mixing * 2 + 0.1 * noise


def linear_autoencoder(X, settings, seed=0, **options):
    module = initialize(Autoencoder(mlp([5, 2]), mlp([2, 5])), generator(seed))
    flat, layout = flatten(module)

    def objective(parameters, batch, noise, kl_weight):
        output, _ = torch.func.functional_call(module, parameters, (batch,))
        return squared_error(output, batch)

    step = make_step(autograd(objective, layout), StepSettings())
    state = TrainingState.start(flat)
    one = torch.ones(())
    return (
        run_epochs(
            step,
            state,
            ResidentRows(X),
            settings,
            generator(seed),
            monitor=lambda flat: objective(layout.views(flat), X, {}, one),
            **options,
        ),
        state,
        layout,
    )


def test_a_linear_autoencoder_spans_the_principal_subspace():
    X = rows()
    X = X - X.mean(dim=0)
    run, state, layout = linear_autoencoder(X, LoopSettings(1_500, 200, 2e-2, "cosine"))
    records = list(run)
    decoder = layout.views(state.parameters)["decoder.0.weight"].numpy()
    pca = PCA(2).fit(X.numpy())
    basis, _ = np.linalg.qr(decoder)
    cosines = np.linalg.svd(pca.components_ @ basis, compute_uv=False)
    assert cosines.min() > 0.9999
    residual = X.numpy() - pca.inverse_transform(pca.transform(X.numpy()))
    least = (residual**2).sum() / len(X)
    assert least <= 1.0001 * records[-1].monitored_loss <= 1.05 * least


def test_the_training_loss_is_the_mean_over_rows_not_batches():
    X = rows(130)  # three batches of 60, the last one of 10 rows
    run, *_ = linear_autoencoder(X, LoopSettings(1, 60, 0.0))
    record = next(run)
    # With a learning rate of zero, every loss is that of the initial weights.
    assert record.train_loss == pytest.approx(record.monitored_loss, rel=1e-5)


@pytest.mark.parametrize("n_rows", [1, 2, 59, 61])
@pytest.mark.parametrize("batch_size", [1, 60, 1_000])
def test_every_size_trains(n_rows, batch_size):
    run, *_ = linear_autoencoder(rows(n_rows), LoopSettings(3, batch_size, 1e-2))
    losses = [record.train_loss for record in run]
    assert losses[-1] < losses[0]


def test_the_seed_repeats_the_run_bit_by_bit():
    def final(seed):
        run, state, _ = linear_autoencoder(rows(), LoopSettings(3, 32, 1e-2), seed)
        list(run)
        return state.parameters

    torch.manual_seed(0)
    first = final(0)
    torch.manual_seed(1)
    assert torch.equal(final(0), first)
    assert not torch.equal(final(1), first)


def test_divergence_names_the_epoch():
    run, *_ = linear_autoencoder(rows(), LoopSettings(50, 200, 1e30))
    with pytest.raises(DivergenceError, match=r"in epoch \d+. Lower the learning rate"):
        list(run)


def test_best_weights_are_kept_and_patience_ends():
    best = BestWeights(patience=3, tolerance=0.1)
    weights = torch.zeros(1)
    losses = [10.0, 8.0, 7.9, 7.8, 7.7, 1.0]
    stops = [
        best.update(epoch, loss, weights + loss)
        for epoch, loss in enumerate(losses[:5], start=1)
    ]
    # 7.9, 7.8 and 7.7 are no improvement of a tenth, but they are better.
    assert stops == [False, False, False, False, True]
    assert (best.loss, best.epoch) == (7.7, 5)
    assert torch.equal(best.parameters, torch.tensor([7.7]))


def test_divergence_in_the_very_last_step_is_noticed():
    run, *_ = linear_autoencoder(rows(10), LoopSettings(1, 10, 1e38))
    with pytest.raises(DivergenceError, match="in epoch 1"):
        list(run)


def test_a_batch_larger_than_memory_is_as_large_as_the_data():
    run, *_ = linear_autoencoder(rows(10), LoopSettings(1, 10**12, 1e-2))
    assert next(run).epoch == 1


def test_schedules():
    assert cosine_decay(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    for schedule in ("linear", "cosine"):
        weights = [warm_up(step, 25, schedule) for step in range(50)]
        assert weights[0] == 0.0
        assert weights[25:] == [1.0] * 25
        assert np.all(np.diff(weights) >= 0)
        np.testing.assert_allclose(weights[:26], 1 - np.array(weights[25::-1]))
    cycles = [warm_up(step, 40, "cyclical") for step in range(50)]
    assert cycles[:30] == pytest.approx(cycles[10:40])
    assert cycles[:10] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1])
    assert cycles[40:] == [1.0] * 10


def test_patience_waits_for_the_end_of_the_warm_up():
    best = BestWeights(2, 0.0, first_epoch=4)
    stops = [best.update(epoch, epoch, torch.zeros(1)) for epoch in range(1, 7)]
    assert stops == [False] * 5 + [True]
    assert best.epoch == 1


def test_a_deadline_stops_within_an_epoch_after_one_step_at_least():
    run, state, _ = linear_autoencoder(rows(), LoopSettings(9, 10, 1e-2), deadline=0.0)
    (record,) = run
    assert record.epoch == 1
    assert state.n_steps == 1
    assert math.isfinite(record.train_loss)


def test_another_first_epoch_goes_on_with_the_schedule():
    settings = LoopSettings(4, 200, 1e-2, "cosine")
    run, *_ = linear_autoencoder(rows(), settings, first_epoch=3)
    rates = [(record.epoch, record.learning_rate) for record in run]
    assert rates == [
        (3, pytest.approx(5e-3)),
        (4, pytest.approx(1e-2 * cosine_decay(0.75))),
    ]


def test_the_weight_of_the_divergence_rises_over_the_steps():
    seen = []

    def step(state, batch, noise, weights, kl_weight, rate):
        seen.append(float(kl_weight))
        return torch.zeros(len(batch))

    state = TrainingState.start(torch.zeros(1))
    settings = LoopSettings(4, 10, 1e-2, kl_warm_up=0.25)
    list(run_epochs(step, state, ResidentRows(rows(45)), settings, generator()))
    # 20 steps: 5 of them rise.
    np.testing.assert_allclose(seen[:6], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    assert seen[6:] == [1.0] * 14
