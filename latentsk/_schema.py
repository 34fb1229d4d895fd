"""What a file may claim of an estimator's state: types, shapes and ranges.

A file may be hostile. Its values reach an estimator only if each of them follows the
rule that is written down for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple

import numpy as np

from latentsk.exceptions import FormatError

# Lengths by name: bound where a name occurs first, the same everywhere else.
Sizes = dict[str, int]


class Rule(NamedTuple):
    """What a value must be.

    Attributes
    ----------
    fits : function of a value and the sizes known so far, which it may add to
    meaning : str
        For the error: "<name> is no <meaning>".
    """

    fits: Callable[[Any, Sizes], bool]
    meaning: str


def check_state(
    owner: str,
    state: Mapping[str, Any],
    required: Mapping[str, Rule],
    optional: Mapping[str, Rule],
    sizes: Sizes,
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
    latentsk.exceptions.FormatError: The file is altered: mean_ of Model is no float \
array of shape (n,).
    """
    rules = {**required, **optional}
    unknown = sorted(state.keys() - rules.keys())
    if unknown:
        raise FormatError(f"The file is altered: {owner} has no {unknown[0]!r}.")
    for name, rule in rules.items():
        if name not in state:
            if name in required:
                raise FormatError(f"The file is altered: {owner} lacks {name}.")
        elif not rule.fits(state[name], sizes):
            raise FormatError(
                f"The file is altered: {name} of {owner} is no {rule.meaning}."
            )


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

    def fits(value: Any, sizes: Sizes) -> bool:
        if not (_is_array(value, shape, sizes) and value.dtype.name in dtypes):
            return False
        if finite and not np.isfinite(value).all():
            return False
        return least == -math.inf or not (value < least).any()

    return Rule(fits, f"float array of shape {_written(shape)}")


def integers(
    *shape: int | str,
    below: int | str | None = None,
    dtypes: Set[str] = frozenset({"int32", "int64"}),
) -> Rule:
    """Return the rule of an array of integers, at least 0 and below some length.

    Examples
    --------
    >>> integers("k", below="n").fits(np.array([0, 7]), {"n": 7})
    False
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        if not (_is_array(value, shape, sizes) and value.dtype.name in dtypes):
            return False
        limit = sizes[below] if isinstance(below, str) else below
        return limit is None or bool(((value >= 0) & (value < limit)).all())

    return Rule(fits, f"integer array of shape {_written(shape)}")


def booleans(*shape: int | str) -> Rule:
    """Return the rule of an array of booleans."""
    return Rule(
        lambda value, sizes: _is_array(value, shape, sizes) and value.dtype == bool,
        f"boolean array of shape {_written(shape)}",
    )


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
            return False  # it may be no float
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
    """Return the rule of a text, which is one of the options if there are any."""
    return Rule(
        lambda value, sizes: type(value) is str and (not options or value in options),
        f"one of {options}" if options else "text",
    )


def flag() -> Rule:
    """Return the rule of a boolean."""
    return Rule(lambda value, sizes: type(value) is bool, "boolean")


def maybe(rule: Rule) -> Rule:
    """Return the rule of what may be None."""
    return Rule(
        lambda value, sizes: value is None or rule.fits(value, sizes),
        f"{rule.meaning} (or None)",
    )


def either(*rules: Rule) -> Rule:
    """Return the rule of what follows one of some rules."""
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


def fields(rules: Mapping[str, Rule]) -> Rule:
    """Return the rule of a dict with certain keys, and no others.

    Examples
    --------
    >>> fields({"epoch": count(1)}).fits({"epoch": 0}, {})
    False
    """

    def fits(value: Any, sizes: Sizes) -> bool:
        if type(value) is not dict or value.keys() != rules.keys():
            return False
        return all(rules[key].fits(item, sizes) for key, item in value.items())

    return Rule(fits, f"record of {', '.join(rules)}")


def names(length: int | str) -> Rule:
    """Return the rule of an object array of different texts."""

    def fits(value: Any, sizes: Sizes) -> bool:
        return (
            _is_array(value, (length,), sizes)
            and value.dtype == object
            and all(type(name) is str for name in value)
            and len(set(value)) == len(value)
        )

    return Rule(fits, f"array of {length} different texts")


def _is_array(value: Any, shape: tuple[int | str, ...], sizes: Sizes) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.ndim == len(shape)
        and all(
            _has_length(found, wanted, sizes)
            for found, wanted in zip(value.shape, shape, strict=True)
        )
    )


def _has_length(found: int, wanted: int | str, sizes: Sizes) -> bool:
    if isinstance(wanted, str):
        return sizes.setdefault(wanted, found) == found
    return found == wanted


def _written(shape: tuple[int | str, ...]) -> str:
    inner = ", ".join(str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
