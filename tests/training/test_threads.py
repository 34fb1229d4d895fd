"""The number of threads is put back, whatever fits run at the same time."""

import pytest
import torch

from latentsk.training.threads import MIN_OPERATIONS_TO_SHARE, threads_for


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_steps_have_one_thread_and_large_ones_all():
    with threads_for(MIN_OPERATIONS_TO_SHARE):
        assert torch.get_num_threads() == 2
    with threads_for(MIN_OPERATIONS_TO_SHARE - 1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_the_last_of_overlapping_fits_puts_it_back():
    first, second = threads_for(0), threads_for(0)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 2


def test_an_error_puts_it_back():
    with pytest.raises(RuntimeError, match="broken"), threads_for(0):
        raise RuntimeError("broken")
    assert torch.get_num_threads() == 2
