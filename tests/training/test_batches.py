"""Every row once an epoch, in batches of one shape."""

import pytest
import torch

from latentsk.training.batches import epoch_batches, in_batches


@pytest.mark.parametrize("n_rows", [1, 2, 7, 64, 65])
@pytest.mark.parametrize("batch_size", [1, 2, 64, 1_000])
def test_every_row_once_and_one_shape(n_rows, batch_size):
    generator = torch.Generator().manual_seed(0)
    batches = list(epoch_batches(n_rows, batch_size, generator))
    rows = torch.cat([batch.rows[batch.weights == 1] for batch in batches])
    assert sorted(rows.tolist()) == list(range(n_rows))
    assert {len(batch.rows) for batch in batches} == {min(batch_size, n_rows)}
    assert sum(float(batch.weights.sum()) for batch in batches) == n_rows
    # Every batch holds at least one row that counts.
    assert min(float(batch.weights.sum()) for batch in batches) >= 1


def test_the_generator_decides_the_order():
    def order(seed):
        generator = torch.Generator().manual_seed(seed)
        return [b.rows.tolist() for b in epoch_batches(20, 6, generator)]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_in_batches_joins_in_order():
    rows = torch.arange(10.0)[:, None]
    torch.testing.assert_close(in_batches(torch.square, rows, 3), rows**2)
