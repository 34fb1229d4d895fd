"""The number of threads is put back, whatever fits run at the same time."""

import threading

import pytest
import torch

from latentsk.training._threads import MIN_OPERATIONS_TO_SHARE, threads_for


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


def test_every_thread_gets_its_number_back():
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def other():
        with threads_for(0):
            seen.append(torch.get_num_threads())
            inside.set()
            leave.wait(10)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with threads_for(0):
        thread.start()
        assert inside.wait(10)
    # This thread has left, the other is still inside; then the other way round.
    assert torch.get_num_threads() == 2
    leave.set()
    thread.join()
    assert seen == [1, 2]
    assert torch.get_num_threads() == 2


def _number_in_new_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_threads_that_begin_meanwhile_keep_theirs():
    """Those that serve requests while a model is fitted anew, say."""
    with threads_for(0):
        assert _number_in_new_thread() == 2
        assert torch.get_num_threads() == 1
    assert _number_in_new_thread() == 2


def test_the_own_number_comes_back_where_others_have_another():
    seen = []

    def few():
        torch.set_num_threads(2)
        with threads_for(0):
            pass
        seen.append(torch.get_num_threads())

    torch.set_num_threads(4)
    thread = threading.Thread(target=few)
    thread.start()
    thread.join()
    assert seen == [2]
    assert torch.get_num_threads() == 4


def test_an_error_puts_it_back():
    with pytest.raises(RuntimeError, match="broken"), threads_for(0):
        raise RuntimeError("broken")
    assert torch.get_num_threads() == 2
