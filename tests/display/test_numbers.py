"""Numbers as short text."""

import pytest

from latentsk.display._numbers import MINUS, short_steps


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([-1.13, -0.556, 0.0182, 0.592, 1.17], ["-1.1", "-0.56", "0", "0.59", "1.2"]),
        ([-2.0, -1.0, 0.0, 1.0, 2.0], ["-2", "-1", "0", "1", "2"]),
        ([0.25, 0.5, 10.0], ["0.25", "0.5", "10"]),
        ([-1.0, 0.0, 0.005, 1.0], ["-1", "0", "0.005", "1"]),  # no two are one
        ([1.01, 1.02, 1.03], ["1.01", "1.02", "1.03"]),
        ([123.4, 2501.2], ["123", "2501"]),
        ([0.0, 0.0], ["0", "0"]),
        ([0.25], ["0.25"]),
    ],
)
def test_steps_have_two_digits_or_as_many_as_tell_them_apart(steps, expected):
    assert short_steps(steps) == [text.replace("-", MINUS) for text in expected]
