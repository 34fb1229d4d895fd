"""Numbers and other values as short text."""

from __future__ import annotations

from numbers import Real
from typing import Any

LONGEST = 20
MINUS = "\N{MINUS SIGN}"


def short(value: Any) -> str:
    """Return a number with about three significant digits, anything else clipped.

    Parameters
    ----------
    value : object
        A value of a feature, a score.

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
    digits = ".0f" if 100.0 <= abs(number) < 1e6 else ".3g"
    # The minus sign of matplotlib's axes.
    return format(number, digits).replace("-", MINUS)


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
