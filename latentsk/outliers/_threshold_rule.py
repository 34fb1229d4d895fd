"""The rule that placed a threshold, which outlives the rows it was applied to."""

from __future__ import annotations

from typing import NamedTuple

from latentsk.persistence._registry import storable
from latentsk.persistence._schema import Sizes, State, either, number, require, text


def check_rule(_: type, state: State, sizes: Sizes) -> None:
    """Refuse a level that is none, as "auto" is for anything but contamination.

    Raises
    ------
    FormatError
    """
    is_auto = isinstance(state["value"], str)
    require(not is_auto or state["name"] == "contamination", "a level is no number")


@storable(
    {
        "name": text("contamination", "fpr", "p_value"),
        "value": either(text("auto"), number(0.0, 1.0)),
        "offset": number(finite=False),
        "parameter": either(text("auto"), number(0.0, 0.5)),
    },
    check=check_rule,
)
class ThresholdRule(NamedTuple):
    """How a detector's threshold was placed.

    Attributes
    ----------
    name : {"contamination", "fpr", "p_value"}
        What was asked for.
    value : "auto" or float
        Of that.
    offset : float
        Where the rule placed the threshold.
    parameter : "auto" or float
        The detector's own `contamination` at that time.
    """

    name: str
    value: str | float
    offset: float
    parameter: str | float

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

    def placed(self, offset: object) -> bool:
        """Tell whether an offset is the one that the rule has placed.

        Any other was assigned.

        Examples
        --------
        >>> ThresholdRule("fpr", 0.05, -3.0, "auto").placed(-4.0)
        False
        """
        return bool(offset == self.offset)
