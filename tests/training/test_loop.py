"""The loop: what it reports, when it fails, and that a seed repeats it."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from latentsk.exceptions import DivergenceError
from latentsk.networks._autoencoder import Autoencoder
from latentsk.networks._mlp import initialize, mlp
from latentsk.training._data import ResidentRows, StartsFromRows
from latentsk.training._history import EarlyStopping
from latentsk.training._loop import (
    TrainingSettings,
    cosine_decay,
    train,
    train_epoch,
)
from latentsk.training._objective import Losses
from latentsk.training._reconstruction import Reconstruction
from latentsk.training._start import Start
from latentsk.training._weights import detached


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n_rows=200):
    latents = torch.randn(n_rows, 2, generator=generator(1))
    mixing = torch.randn(2, 5, generator=generator(2))
    noise = torch.randn(n_rows, 5, generator=generator(3))
    return latents @ mixing * 2 + 0.1 * noise


def network(seed=0):
    return initialize(Autoencoder(mlp([5, 2]), mlp([2, 5])), generator(seed))


class Spy(Reconstruction):
    """Keeps the progress that it is told; settles late, if told so."""

    def __init__(self, made, settled_at=0.0):
        super().__init__(made, 5)
        self.settled_at = settled_at
        self.told = []

    def gradient(self, network):
        return None

    def loss(self, network, batch, noise, progress):
        self.told.append(float(progress))
        losses, terms = super().loss(network, batch, noise, progress)
        return Losses(losses, {**terms, "rising": progress})


def run(X, *settings, made=None, seed=0, objective=None, **options):
    made = network(seed) if made is None else made
    objective = objective or Reconstruction(made, 5)
    parameters = TrainingSettings(*settings)
    return train(
        made, objective, ResidentRows(X), X, parameters, generator(seed), **options
    )


def test_a_linear_autoencoder_spans_the_principal_subspace():
    X = rows()
    X = X - X.mean(dim=0)
    made = network()
    result = run(X, 1_500, 200, 2e-2, "cosine", made=made)
    decoder = made.decoder[0].weight.detach().numpy()
    pca = PCA(2).fit(X.numpy())
    basis, _ = np.linalg.qr(decoder)
    cosines = np.linalg.svd(pca.components_ @ basis, compute_uv=False)
    assert cosines.min() > 0.9999
    residual = X.numpy() - pca.inverse_transform(pca.transform(X.numpy()))
    least = (residual**2).sum() / len(X)
    assert least <= 1.0001 * result.history[-1].monitored_loss <= 1.05 * least


def test_the_training_loss_is_the_mean_over_rows_not_batches():
    # Three batches of 60, the last one of 10 rows. With a learning rate of zero, every
    # loss is that of the initial weights.
    (record,) = run(rows(130), 1, 60, 0.0).history
    assert record.train_loss == pytest.approx(record.monitored_loss, rel=1e-5)
    assert record.train_terms["reconstruction"] == record.train_loss
    assert record.monitored_terms["reconstruction"] == record.monitored_loss


@pytest.mark.parametrize("n_rows", [1, 2, 59, 61])
@pytest.mark.parametrize("batch_size", [1, 60, 1_000])
def test_every_size_trains(n_rows, batch_size):
    losses = [r.train_loss for r in run(rows(n_rows), 3, batch_size, 1e-2).history]
    assert losses[-1] < losses[0]


def test_the_seed_repeats_the_run_bit_by_bit():
    def final(seed):
        made = network(seed)
        run(rows(), 3, 32, 1e-2, made=made, seed=seed)
        return torch.cat([p.detach().ravel() for p in made.parameters()])

    torch.manual_seed(0)
    first = final(0)
    torch.manual_seed(1)
    assert torch.equal(final(0), first)
    assert not torch.equal(final(1), first)


def test_the_weights_are_those_of_the_best_epoch():
    made, seen = network(), []

    def on_epoch(record):
        seen.append(detached(made))
        return False

    result = run(rows(), 12, 20, 0.3, made=made, on_epoch=on_epoch)
    losses = [record.monitored_loss for record in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses)) < 12
    best = seen[result.best_epoch - 1].state_dict()
    assert all(torch.equal(v, best[k]) for k, v in made.state_dict().items())
    assert not torch.equal(seen[-1].decoder[0].weight, made.decoder[0].weight)


def test_divergence_names_the_epoch():
    with pytest.raises(DivergenceError, match=r"in epoch \d+. Lower the learning rate"):
        run(rows(), 50, 200, 1e30)


def test_divergence_in_the_very_last_step_is_noticed():
    with pytest.raises(DivergenceError, match="in epoch 1"):
        run(rows(10), 1, 10, 1e38)


def test_a_batch_larger_than_memory_is_as_large_as_the_data():
    assert run(rows(10), 1, 10**12, 1e-2).history[0].epoch == 1


def test_the_learning_rate_decays():
    assert cosine_decay(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    rates = [r.learning_rate for r in run(rows(), 4, 200, 1e-2, "cosine").history]
    assert rates == [pytest.approx(1e-2 * cosine_decay(i / 4)) for i in range(4)]


def test_the_best_epoch_and_patience():
    stopping = EarlyStopping(patience=3, tolerance=0.1)
    losses = [10.0, 8.0, 7.9, 7.8, 7.7, 1.0]
    found = [
        (stopping.update(epoch, loss), stopping.is_due(epoch))
        for epoch, loss in enumerate(losses[:5], start=1)
    ]
    # 7.9, 7.8 and 7.7 are no improvement of a tenth, but they are better.
    assert found == [(True, False)] * 4 + [(True, True)]
    assert (stopping.loss, stopping.epoch) == (7.7, 5)


def test_patience_waits_until_the_objective_has_settled():
    made = network()
    options = {"patience": 2, "tolerance": 1.0}
    settings = TrainingSettings(10, 200, 1e-2)._replace(**options)
    result = run(rows(), *settings, made=made, objective=Spy(made, settled_at=0.5))
    assert len(result.history) == 7


def test_the_objective_is_told_the_progress_and_its_terms_are_averaged():
    made = network()
    spy = Spy(made)
    result = run(rows(45), 4, 10, 1e-2, made=made, objective=spy)
    np.testing.assert_allclose(spy.told, np.arange(20) / 20, rtol=1e-6)
    first = result.history[0].train_terms["rising"]
    assert first == pytest.approx(np.mean(np.arange(5) / 20))


def test_a_single_pass_has_no_end_to_come():
    made = network()
    spy = Spy(made)
    settings = TrainingSettings(4, 10, 1e-2, "cosine")
    record, state = train_epoch(
        made, spy, ResidentRows(rows(45)), settings, generator()
    )
    assert spy.told == [1.0] * 5
    assert (record.learning_rate, record.monitored_loss) == (1e-2, record.train_loss)
    assert state["n_steps.0"] == 5


def test_a_deadline_stops_within_an_epoch_after_one_step_at_least():
    made = network()
    spy = Spy(made)
    settings = TrainingSettings(9, 10, 1e-2)._replace(max_time=-1.0)
    result = run(rows(), *settings, made=made, objective=spy)
    assert [record.epoch for record in result.history] == [1]
    assert len(spy.told) == 1
    assert not result.complete


def test_the_caller_may_stop():
    result = run(rows(), 9, 200, 1e-2, on_epoch=lambda record: record.epoch == 3)
    assert len(result.history) == 3
    assert result.complete


class StartingNetwork(Autoencoder, StartsFromRows):
    """Counts what starts, and remembers the weights before."""

    def __init__(self, network, starts_at):
        super().__init__(network.encoder, network.decoder)
        self.share = starts_at
        self.starts = []

    @property
    def starts_at(self):
        return self.share

    def start_from(self, rows, generator):
        self.starts.append(detached(self.encoder))


@pytest.mark.parametrize(
    ("share", "epoch"), [(0.0, 1), (0.25, 3), (0.3, 4), (0.99, 10)]
)
def test_parts_start_before_the_epoch_that_their_share_says(share, epoch):
    seen, made = [], StartingNetwork(network(), share)
    start = Start(made, ResidentRows(rows()), generator(), max_epochs=10)
    assert start.epoch == epoch

    def on_epoch(record):
        seen.append(len(made.starts))
        return False

    run(rows(), 10, 32, 1e-2, made=made, start=start, on_epoch=on_epoch)
    assert seen == [0] * (epoch - 1) + [1] * (11 - epoch)


def test_the_best_weights_are_those_after_the_start():
    """Before it the loss is that of another model, were it lower."""

    class Growing(Spy):
        def monitor(self, network, rows):
            losses, terms = super().monitor(network, rows)
            return Losses(losses + 1e3 * len(network.starts), terms)

    made = StartingNetwork(network(), 0.5)
    start = Start(made, ResidentRows(rows()), generator(), max_epochs=10)
    result = run(rows(), 10, 32, 1e-2, made=made, objective=Growing(made), start=start)
    assert result.best_epoch > 5


def test_parts_of_a_training_that_ends_before_start_at_its_end():
    made = StartingNetwork(network(), 0.5)
    start = Start(made, ResidentRows(rows()), generator(), max_epochs=10)
    stopped = run(rows(), 10, 32, 1e-2, made=made, start=start, on_epoch=lambda _: True)
    assert len(stopped.history) == len(made.starts) == 1
    plain = Start(network(), ResidentRows(rows()), generator(), max_epochs=10)
    assert plain.epoch is None
    assert not plain.is_to_come(0)
