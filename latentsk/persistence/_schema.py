"""Rules of a fitted state: types, shapes and ranges of its values.

A file may be hostile. Its values reach an estimator only if each of them follows the
rule that is declared for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from latentsk.exceptions import FormatError

State: TypeAlias = Mapping[str, Any]
# Lengths by name: bound where a name occurs first, the same everywhere else.
Sizes: TypeAlias = dict[str, int]

_BLOCK = 2**20


class Rule(NamedTuple):
    """What a value must be.

    Attributes
    ----------
    fits : function of a value and the sizes known so far, which it may add to
    meaning : str
        For the error: "<name> must be a <meaning>".
    """

    fits: Callable[[Any, Sizes], bool]
    meaning: str


Rules: TypeAlias = Mapping[str, Rule]


def check_state(
    owner: str, state: State, required: Rules, optional: Rules, sizes: Sizes
) -> None:
    """Refuse a state that lacks values, has others, or has some that break a rule.

    Parameters
    ----------
    owner : str
        Whose state it is, for the error.

    state : mapping of str to object

    required, optional : mapping of str to Rule
        They are applied in this order.

    sizes : dict of str to int
        Lengths by name; those met are added.

    Raises
    ------
    FormatError

    Examples
    --------
    >>> rules = {"n_": count(named="n"), "mean_": floats("n")}
    >>> check_state("Model", {"n_": 2, "mean_": np.zeros(2)}, rules, {}, {})
    >>> check_state("Model", {"n_": 2, "mean_": np.zeros(3)}, rules, {}, {})
    Traceback (most recent call last):
    ...
    latentsk.exceptions.FormatError: The file is altered: mean_ of Model must be a \
float array of shape (n,).
    """
    rules = {**required, **optional}
    for name in sorted(state):
        require(name in rules, f"{owner} has no attribute {name[:50]!r}")
    for name, rule in rules.items():
        require(name in state or name in optional, f"{owner} lacks {name}")
        fits = name not in state or rule.fits(state[name], sizes)
        require(fits, f"{name} of {owner} must be a {rule.meaning}")


def require(condition: bool | None, fault: str) -> None:
    """Refuse what breaks a condition that is no rule of a single value.

    Raises
    ------
    FormatError

    Examples
    --------
    >>> require(2 < 3, "two is too much")
    """
    if not condition:
        raise FormatError(f"The file is altered: {fault}.")


@contextmanager
def format_errors() -> Iterator[None]:
    """Turn what others say of impossible contents into one error."""
    try:
        yield
    except (FormatError, ImportError, MemoryError):
        raise
    except Exception as error:  # whatever no rule foresaw
        raise FormatError(f"The file is altered: {error}") from error


# Arrays


def floats(
    *shape: int | str,
    least: float = -math.inf,
    finite: bool = True,
    dtypes: Set[str] = frozenset({"float32", "float64"}),
) -> Rule:
    """Return the rule of an array of floats.

    Examples
    --------
    >>> sizes = {}
    >>> floats("k", "n").fits(np.zeros((2, 3)), sizes), sizes
    (True, {'k': 2, 'n': 3})
    """

    def holds(array: Any, sizes: Sizes) -> bool:
        if finite and not _everywhere(array, np.isfinite):
            return False
        return least == -math.inf or _everywhere(array, lambda part: ~(part < least))

    return array("float", shape, dtypes, holds)


def integers(
    *shape: int | str,
    below: int | str | None = None,
    dtypes: Set[str] = frozenset({"int32", "int64"}),
) -> Rule:
    """Return the rule of an array of integers, from 0 to some length if one is given.

    Examples
    --------
    >>> integers("k", below="n").fits(np.array([0, 7]), {"n": 7})
    False
    """

    def holds(array: Any, sizes: Sizes) -> bool:
        limit = sizes[below] if isinstance(below, str) else below
        return limit is None or _everywhere(
            array, lambda part: (part >= 0) & (part < limit)
        )

    return array("integer", shape, dtypes, holds)


def booleans(*shape: int | str) -> Rule:
    """Return the rule of an array of booleans.

    Examples
    --------
    >>> booleans("n").fits(np.array([True]), {}), booleans("n").fits(np.ones(1), {})
    (True, False)
    """
    return array("boolean", shape, {"bool"})


def names(length: int | str) -> Rule:
    """Return the rule of an object array of different strings.

    Examples
    --------
    >>> names("n").fits(np.array(["a", "a"], object), {})
    False
    """

    def holds(array: Any, sizes: Sizes) -> bool:
        strings = all(type(name) is str for name in array)
        return strings and len(set(array)) == len(array)

    return array("distinct string", (length,), {"object"}, holds)


def strings() -> Rule:
    """Return the rule of an object array of strings, of any length.

    Examples
    --------
    >>> strings().fits(np.array(["a", "a"], object), {})
    True
    >>> strings().fits(np.array(["a", 1], object), {})
    False
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        listed = isinstance(value, np.ndarray) and value.ndim == 1
        return listed and all(type(item) is str for item in value)

    return Rule(fits, "array of strings")


def array(
    kind: str,
    shape: tuple[int | str, ...],
    dtypes: Set[str],
    holds: Callable[[Any, Sizes], bool] = lambda array, sizes: True,
) -> Rule:
    """Return the rule of an array of certain dtypes, for which `holds` is true.

    Examples
    --------
    >>> array("byte", ("n",), {"uint8"}).fits(np.zeros(3), {})
    False
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        return (
            isinstance(value, np.ndarray)
            and value.ndim == len(shape)
            and value.dtype.name in dtypes
            and all(map(_has_length, value.shape, shape, [sizes] * value.ndim))
            and holds(value, sizes)
        )

    inner = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
    return Rule(fits, f"{kind} array of shape ({inner})")


def _everywhere(array: Any, test: Callable[[Any], Any]) -> bool:
    """Test all items, a block at a time: the array may be most of the memory."""
    items = array.ravel("K")
    blocks = range(0, items.size, _BLOCK)
    return all(bool(test(items[i : i + _BLOCK]).all()) for i in blocks)


def _has_length(found: int, wanted: int | str, sizes: Sizes) -> bool:
    if isinstance(wanted, str):
        return sizes.setdefault(wanted, found) == found
    return found == wanted


# Single values


def number(
    least: float = -math.inf, most: float = math.inf, *, finite: bool = True
) -> Rule:
    """Return the rule of a number; without `finite`, of NaN and infinity too.

    Examples
    --------
    >>> number(0).fits(0.5, {}), number(0).fits(-1, {}), number().fits(True, {})
    (True, False, False)
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        if type(value) not in (int, float):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return not finite
        if isinstance(value, int) and abs(value) >= 2**63:
            return False  # it may be too large for a float
        return least <= value <= most

    return Rule(fits, f"number from {least} to {most}")


def count(least: int = 0, *, named: str | None = None) -> Rule:
    """Return the rule of an integer; `named` if it is the length of something.

    Examples
    --------
    >>> count(1).fits(0, {}), count(named="n").fits(3, {"n": 4})
    (False, False)
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        if type(value) is not int or not least <= value < 2**63:
            return False
        return named is None or sizes.setdefault(named, value) == value

    return Rule(fits, f"integer of at least {least}" + f" ({named})" * bool(named))


def text(*options: str) -> Rule:
    """Return the rule of a string, which is one of the options if there are any.

    Examples
    --------
    >>> text("a", "b").fits("c", {}), text().fits("c", {})
    (False, True)
    """
    return Rule(
        lambda value, _: type(value) is str and (not options or value in options),
        f"string, one of {options}" if options else "string",
    )


def flag() -> Rule:
    """Return the rule of a boolean.

    Examples
    --------
    >>> flag().fits(True, {}), flag().fits(1, {})
    (True, False)
    """
    return Rule(lambda value, _: type(value) is bool, "boolean")


def device(*types: str) -> Rule:
    """Return the rule of the name of a device of these types.

    Examples
    --------
    >>> device("cuda").fits("cuda:1", {}), device("cuda").fits("meta", {})
    (True, False)
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        try:
            return type(value) is str and torch.device(value).type in types
        except RuntimeError:
            return False

    return Rule(fits, "device")


def instance(cls: type, method: str = "__class__") -> Rule:
    """Return the rule of an instance of a class (`object`: of any) with a method.

    Examples
    --------
    >>> instance(dict).fits({}, {}), instance(object, "transform").fits({}, {})
    (True, False)
    """
    return Rule(
        lambda value, _: isinstance(value, cls) and hasattr(value, method),
        cls.__name__ if method == "__class__" else f"{cls.__name__} with {method}",
    )


# Combinations


def maybe(rule: Rule) -> Rule:
    """Return the rule of what may be None.

    Examples
    --------
    >>> maybe(flag()).fits(None, {})
    True
    """
    return Rule(
        lambda value, sizes: value is None or rule.fits(value, sizes),
        f"{rule.meaning} (or None)",
    )


def either(*rules: Rule) -> Rule:
    """Return the rule of what follows one of some rules.

    Examples
    --------
    >>> either(flag(), count()).fits(3, {})
    True
    """
    return Rule(
        lambda value, sizes: any(rule.fits(value, sizes) for rule in rules),
        " or ".join(rule.meaning for rule in rules),
    )


def list_of(rule: Rule, length: int | str | None = None) -> Rule:
    """Return the rule of a list of equal things.

    Examples
    --------
    >>> list_of(count(1)).fits([3, 4], {}), list_of(count(1), 3).fits([3, 4], {})
    (True, False)
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        if type(value) is not list:
            return False
        if length is not None and not _has_length(len(value), length, sizes):
            return False
        return all(rule.fits(item, sizes) for item in value)

    return Rule(fits, f"list, each a {rule.meaning}")


def fields(rules: Rules, others: Rule | None = None) -> Rule:
    """Return the rule of a dict with certain keys; `others` is that of further ones.

    Examples
    --------
    >>> fields({"epoch": count(1)}).fits({"epoch": 0}, {})
    False
    >>> fields({}, flag()).fits({"a": True}, {}), fields({}).fits({"a": True}, {})
    (True, False)
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        if type(value) is not dict or not rules.keys() <= value.keys():
            return False
        found = [(rules.get(key, others), item) for key, item in value.items()]
        return all(rule is not None and rule.fits(item, sizes) for rule, item in found)

    return Rule(fits, f"record of {', '.join(rules)}")
