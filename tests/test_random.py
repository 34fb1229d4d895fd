"""random_state is the only source of randomness."""

import numpy as np
import pytest

from latentsk._random import numpy_generator, sklearn_seed, some_positions


@pytest.mark.parametrize("make", [lambda: 3, lambda: np.random.RandomState(3)])
def test_the_same_seed_gives_the_same_numbers(make):
    first, second = (numpy_generator(make()).random(4) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_generator_is_advanced():
    generator = np.random.default_rng(3)
    first, second = (numpy_generator(generator).random(4) for _ in range(2))
    assert not np.array_equal(first, second)


def test_no_global_generator_is_read():
    before = np.random.get_state()  # noqa: NPY002
    numpy_generator(None).random()
    sklearn_seed(None)
    after = np.random.get_state()  # noqa: NPY002
    assert before[2] == after[2]
    assert np.array_equal(before[1], after[1])


def test_something_else_is_refused():
    with pytest.raises(TypeError, match="random_state must be"):
        numpy_generator("seed")


def test_some_positions_are_distinct_and_in_order():
    found = some_positions(100, 30, np.random.default_rng(0))
    assert len(found) == 30
    assert (np.diff(found) > 0).all()
    assert set(found) <= set(range(100))
    assert some_positions(7, 7, np.random.default_rng(0)).tolist() == list(range(7))
