"""The rule that placed a threshold, which outlives the rows it was applied to."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

from latentsk.persistence._registry import storable
from latentsk.persistence._schema import (
    Sizes,
    State,
    either,
    maybe,
    number,
    require,
    text,
)

# Of these, the level is a probability, and they need the rows of `calibrate`.
LEVELS = ("fpr", "p_value")


def check_rule(_: type, state: State, sizes: Sizes) -> None:
    """Refuse a value that is none of what was asked for.

    Raises
    ------
    FormatError
    """
    name, value, per = state["name"], state["value"], state.get("per")
    is_auto = isinstance(value, str)
    require(not is_auto or name == "contamination", "a level is no number")
    if name == "n_alerts":
        require(per is not None and value < per, "a rate of alerts is none")
    else:
        require(per is None and (is_auto or value <= 1.0), "a level is no share")


@storable(
    {
        "name": text("contamination", "fpr", "p_value", "n_alerts"),
        "value": either(text("auto"), number(0.0)),
        "offset": number(finite=False),
        "parameter": either(text("auto"), number(0.0, 0.5)),
    },
    # Files of the first releases lack it.
    optional={"per": maybe(number(1.0))},
    check=check_rule,
)
class ThresholdRule(NamedTuple):
    """How a detector's threshold was placed.

    Attributes
    ----------
    name : {"contamination", "fpr", "p_value", "n_alerts"}
        What was asked for.
    value : "auto" or float
        Of that.
    offset : float
        Where the rule placed the threshold.
    parameter : "auto" or float
        The detector's own `contamination` at that time.
    per : float or None, default=None
        Among how many rows `n_alerts` are asked for.
    """

    name: str
    value: str | float
    offset: float
    parameter: str | float
    per: float | None = None

    @property
    def follows_calibration(self) -> bool:
        """Whether `calibrate` applies the rule to its rows.

        A share of outliers is one of the training rows.

        Examples
        --------
        >>> ThresholdRule("fpr", 0.05, -3.0, "auto").follows_calibration
        True
        >>> ThresholdRule("contamination", 0.05, -3.0, 0.05).follows_calibration
        False
        """
        return self.name != "contamination" or self.value == "auto"

    @property
    def needs_every_row(self) -> bool:
        """Whether the rule is a share of rows, which more rows tell better.

        Examples
        --------
        >>> ThresholdRule("contamination", "auto", -3.0, "auto").needs_every_row
        False
        """
        return self.name not in LEVELS and self.value != "auto"

    def placed(self, offset: object) -> bool:
        """Tell whether an offset is the one that the rule has placed.

        Any other was assigned.

        Examples
        --------
        >>> ThresholdRule("fpr", 0.05, -3.0, "auto").placed(-4.0)
        False
        """
        return bool(offset == self.offset)

    def __str__(self) -> str:
        """Return the rule as it is written in a call.

        Examples
        --------
        >>> print(ThresholdRule("n_alerts", 200.0, -3.0, "auto", 20_000.0))
        n_alerts=200, per=20000
        """
        value = self.value if isinstance(self.value, str) else f"{self.value:.15g}"
        per = "" if self.per is None else f", per={self.per:.15g}"
        return f"{self.name}={value}{per}"


def asked_rule(parameter: str | float, per: Any = None, **asked: Any) -> ThresholdRule:
    """Return the rule that is asked for, with no offset yet.

    Parameters
    ----------
    parameter : "auto" or float
        The detector's own `contamination`.

    per : float, optional
        Goes with `n_alerts`.

    **asked : "auto", float or None
        By the name of the rule: one of them is not None.

    Raises
    ------
    ValueError
        If there is not exactly one, or it is out of range.

    Examples
    --------
    >>> asked_rule("auto", contamination=None, fpr=0.05)
    ThresholdRule(name='fpr', value=0.05, offset=nan, parameter='auto', per=None)
    """
    chosen = {name: value for name, value in asked.items() if value is not None}
    if per is not None and "n_alerts" not in chosen:
        raise ValueError(f"per goes with n_alerts, which is missing; got per={per!r}.")
    if len(chosen) != 1:
        raise ValueError(
            f"Give exactly one of {', '.join(list(asked)[:-1])} and {list(asked)[-1]}, "
            f"got {sorted(chosen) or 'none'}."
        )
    ((name, value),) = chosen.items()
    if name == "n_alerts":
        value, per = _rate(value, per)
    elif name == "contamination":
        value = _share(value)
    else:
        value = in_unit_interval(name, value)
    return ThresholdRule(name, value, math.nan, parameter, per)


def in_unit_interval(name: str, value: Any) -> float:
    """Return a probability as a float; refuse anything else.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> in_unit_interval("level", 0.1)
    0.1
    """
    if not isinstance(value, Real) or not 0.0 < float(value) < 1.0:
        raise ValueError(f"{name} must be in (0, 1), got {value!r}.")
    return float(value)


def _share(value: Any) -> str | float:
    if isinstance(value, str) and value == "auto":
        return value
    if not isinstance(value, Real) or not 0.0 < float(value) <= 0.5:
        raise ValueError(f"contamination must be 'auto' or in (0, 0.5], got {value!r}.")
    return float(value)


def _rate(n_alerts: Any, per: Any) -> tuple[float, float]:
    if per is None:
        raise ValueError(
            "n_alerts needs per, the number of rows that so many alerts are among: "
            f"set_threshold(n_alerts={n_alerts!r}, per=20_000), for instance."
        )
    if not isinstance(per, Real) or not 1.0 <= float(per) < math.inf:
        raise ValueError(f"per must be a number of rows of at least 1, got {per!r}.")
    if not isinstance(n_alerts, Real) or not 0.0 < float(n_alerts) < float(per):
        raise ValueError(
            f"n_alerts must be above 0 and below per={per!r}, got {n_alerts!r}."
        )
    return float(n_alerts), float(per)
