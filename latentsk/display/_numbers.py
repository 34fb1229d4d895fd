"""Numbers and other values as short text."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

LONGEST = 20
MINUS = "\N{MINUS SIGN}"
# Between steps below and above zero, what is below this share of the smallest is zero.
NEGLIGIBLE = 0.1


def short(value: Any, n_digits: int = 3) -> str:
    """Return a number with a few significant digits, anything else clipped.

    Parameters
    ----------
    value : object
        A value of a feature, a score.

    n_digits : int, default=3
        Number of significant digits, about.

    Returns
    -------
    text : str
        Years and areas stay whole: below a million, no digit before the point is
        rounded.

    Examples
    --------
    >>> short(2501.2), short(0.0045578), short(15), short("red")
    ('2501', '0.00456', '15', 'red')
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return clipped(value, LONGEST)
    number = float(value) + 0.0  # no minus before 0
    is_whole = 10.0 ** (n_digits - 1) <= abs(number) < 1e6
    digits = ".0f" if is_whole else f".{n_digits}g"
    # The minus sign of matplotlib's axes.
    return format(number, digits).replace("-", MINUS)


def short_steps(values: Sequence[float]) -> list[str]:
    """Return steps along an axis with two significant digits.

    With more where two would make different steps look the same.

    Examples
    --------
    >>> short_steps([1.0, 1.874, 3.731]), short_steps([1.01, 1.02])
    (['1', '1.9', '3.7'], ['1.01', '1.02'])
    """
    different = np.unique(values)
    least = 0.0
    if different[0] < 0.0 < different[-1]:
        least = NEGLIGIBLE * np.diff(different).min()
    shown = [0.0 if abs(value) < least else value for value in values]
    texts: list[str] = []
    for n_digits in (2, 3, 4, 6):
        texts = [short(value, n_digits) for value in shown]
        if len(set(texts)) == len(different):
            break
    return texts


def clipped(value: Any, width: int) -> str:
    """Return the text of an object in one line of at most `width` characters.

    Parameters
    ----------
    value : object
        What to write.

    width : int
        Longer text ends in an ellipsis.

    Returns
    -------
    text : str
        Without line breaks and repeated blanks.

    Examples
    --------
    >>> clipped("a long  name", 7)
    'a long…'
    """
    text = " ".join(str(value).split())
    return text if len(text) <= width else f"{text[: width - 1]}…"
