import numpy as np
import pytest

from latentsk.exceptions import FormatError
from latentsk.persistence._schema import (
    booleans,
    check_state,
    count,
    fields,
    flag,
    floats,
    integers,
    list_of,
    maybe,
    names,
    number,
    text,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (
            floats("n"),
            [np.zeros(3), np.zeros(0, np.float32)],
            [np.zeros((3, 1)), np.zeros(3, int), [0.0], None, np.array([NAN])],
        ),
        (
            floats(2, "n", least=0),
            [np.zeros((2, 5))],
            [np.zeros((3, 5)), np.array([[1.0], [-1e-300]])],
        ),
        (floats("n", finite=False), [np.array([NAN, INF])], [np.array(["x"])]),
        (floats(dtypes={"float64"}), [np.zeros(())], [np.zeros((), np.float32)]),
        (floats("n", finite=False, least=0), [np.array([NAN])], [np.array([-1.0])]),
        (
            integers("k", below=3),
            [np.array([0, 2]), np.array([1], np.int32)],
            [np.array([3]), np.array([-1]), np.array([0.0]), np.array([True])],
        ),
        (booleans("n"), [np.array([True])], [np.array([1]), np.array(True)]),
        (number(), [-1, 1e300], [10**400, 2**63]),
        (number(0, 1), [0, 1, 0.5], [-1, 1.5, NAN, INF, True, "0", None]),
        (number(finite=False), [NAN, INF, -INF, 0], [True, "nan"]),
        (count(1), [1, 2**63 - 1], [0, 2**63, 1.0, True, None]),
        (text("a", "b"), ["a"], ["c", 1, None, ["a"]]),
        (text(), ["anything"], [b"bytes"]),
        (flag(), [True, False], [1, 0, None, "True"]),
        (maybe(text()), [None, "x"], [1]),
        (list_of(count()), [[], [1, 2]], [(1,), [1, "x"], None]),
        (list_of(count(), 2), [[1, 2]], [[1], [1, 2, 3]]),
        (
            fields({"a": count(), "b": text()}),
            [{"a": 1, "b": "x"}],
            [
                {},
                {"a": 1},
                {"a": 1, "b": "x", "c": 1},
                {"a": "x", "b": "x"},
                [("a", 1)],
            ],
        ),
        (
            names("n"),
            [np.array(["x", "y"], object)],
            [np.array(["x", "x"], object), np.array(["x"]), np.array([1], object)],
        ),
    ],
)
def test_rules(rule, good, bad):
    for value in good:
        assert rule.fits(value, {})
    for value in bad:
        assert not rule.fits(value, {})
    assert rule.meaning


def test_lengths_of_one_name_are_one():
    rules = {"n_": count(named="n"), "a_": floats("n", "k"), "b_": floats("k", "k")}
    sound = {"n_": 2, "a_": np.zeros((2, 3)), "b_": np.zeros((3, 3))}
    sizes = {}
    check_state("M", sound, rules, {}, sizes)
    assert sizes == {"n": 2, "k": 3}
    for name, other in [
        ("n_", 3),
        ("a_", np.zeros((2, 2))),
        ("b_", np.zeros((3, 2))),
        ("b_", np.zeros(3)),
    ]:
        with pytest.raises(FormatError, match=r"of M must be"):
            check_state("M", {**sound, name: other}, rules, {}, {})


def test_what_lacks_and_what_is_too_much():
    rules = {"a_": flag()}
    with pytest.raises(FormatError, match="M lacks a_"):
        check_state("M", {}, rules, {}, {})
    with pytest.raises(FormatError, match="M has no attribute '__class__'"):
        check_state("M", {"a_": True, "__class__": 1}, rules, {}, {})
    check_state("M", {"a_": True}, rules, {"b_": flag()}, {})
