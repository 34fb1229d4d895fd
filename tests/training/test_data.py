"""Every row once an epoch, in batches of one shape, resident or streamed."""

import threading

import numpy as np
import pytest
import torch

from latentsk.training import _data as module
from latentsk.training._data import ResidentRows, StreamedRows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def resident(n_rows):
    return ResidentRows(torch.arange(float(n_rows))[:, None])


def streamed(n_rows, left_out=None):
    array = np.arange(n_rows, dtype=np.float32)[:, None]
    return StreamedRows(array, torch.from_numpy, torch.device("cpu"), left_out)


def numbers(batches):
    rows = torch.cat([batch.rows[batch.weights > 0] for batch in batches])
    return rows[:, 0].int().tolist()


@pytest.fixture
def small_buffers(monkeypatch):
    monkeypatch.setattr(module, "RUN_BYTES", 12)  # three rows of one float
    monkeypatch.setattr(module, "BUFFER_BYTES", 40)


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("source", [resident, streamed])
@pytest.mark.parametrize("n_rows", [1, 2, 7, 64, 65])
@pytest.mark.parametrize("batch_size", [1, 2, 64, 1_000])
def test_every_row_once_and_one_shape(source, n_rows, batch_size):
    batches = list(source(n_rows).epoch(batch_size, generator()))
    assert sorted(numbers(batches)) == list(range(n_rows))
    assert {len(batch.rows) for batch in batches} == {min(batch_size, n_rows)}
    assert len(batches) == -(-n_rows // batch_size)
    for batch in batches:
        (used,) = batch.weights[batch.weights > 0].unique()
        assert float(used * (batch.weights > 0).sum()) == pytest.approx(1.0)
    # Rows that only fill up come at the end of the last batch.
    weights = torch.cat([batch.weights for batch in batches])
    assert weights[:n_rows].gt(0).all()
    assert weights[n_rows:].eq(0).all()


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("source", [resident, streamed])
def test_the_generator_decides_the_order(source):
    def order(seed):
        return numbers(source(50).epoch(6, generator(seed)))

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != sorted(order(0))


def test_chosen_rows_are_those_trained_on():
    rows = ResidentRows(torch.arange(10.0)[:, None], torch.tensor([1, 5, 9]))
    assert len(rows) == 3
    assert sorted(numbers(rows.epoch(2, generator()))) == [1, 5, 9]


@pytest.mark.usefixtures("small_buffers")
def test_rows_left_out_are_not_streamed():
    rows = streamed(20, np.array([0, 7, 19]))
    assert len(rows) == 17
    expected = sorted({*range(20)} - {0, 7, 19})
    assert sorted(numbers(rows.epoch(4, generator()))) == expected


@pytest.mark.usefixtures("small_buffers")
def test_a_buffer_mixes_rows_of_the_whole_array():
    order = numbers(streamed(3_000).epoch(10, generator()))
    # Neighbours in the order lie far apart, as in a random permutation (n/3).
    assert np.abs(np.diff(order)).mean() > 600


def test_leaving_an_epoch_early_ends_the_reading():
    before = threading.active_count()
    epoch = streamed(1_000).epoch(10, generator())
    next(epoch)
    assert threading.active_count() == before + 1
    epoch.close()
    assert threading.active_count() == before
