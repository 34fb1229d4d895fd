"""Which rows pass a query string, in three-valued logic."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsk.index._query_grammar import (
    Comparison,
    Condition,
    Joined,
    Listed,
    Literal,
    Name,
    Not,
    parse,
    refuse,
)
from latentsk.index._query_values import (
    Values,
    column_values,
    compare_columns,
    compare_with_literal,
    is_among,
)

ID = "id"
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_MOST_LISTED = 10


class Truth(NamedTuple):
    """Of which rows a condition is true, and of which it is false.

    Of the others it is unknown, because a value is missing.
    """

    true: NDArray[np.bool_]
    false: NDArray[np.bool_]


def rows_passing(
    query: str, metadata: pd.DataFrame | None, ids: NDArray[Any]
) -> NDArray[np.bool_]:
    """Tell which rows pass a query.

    A query compares columns (a name that is no identifier is written in backticks), the
    id (named ``id``, unless a column is) and literals by ``== != < <= > >= in`` and
    ``not in``, joined by ``and or not`` or ``& | ~``. ``&`` and ``|`` bind as ``and``
    and ``or`` do, as in pandas' own queries. A boolean column is a condition. Dates
    compare with ISO strings. A comparison with a missing value is unknown, as in SQL:
    such a row passes neither the comparison nor its opposite, but ``owner == None``.

    Parameters
    ----------
    query : str

    metadata : DataFrame of shape (n_rows, n_columns) or None
        What is known of each row; its index is not looked at.

    ids : ndarray of shape (n_rows,)
        Id of each row.

    Returns
    -------
    mask : ndarray of shape (n_rows,), dtype bool

    Raises
    ------
    ValueError
        If the query is not in the grammar, names an unknown column, or compares what
        is of different kinds. The message names the piece.

    Examples
    --------
    >>> metadata = pd.DataFrame({"owner": ["u", "v", None], "year": [2020, 2024, 2025]})
    >>> ids = np.array(["a", "b", "c"])
    >>> rows_passing("owner != 'u' and year > 2020", metadata, ids)
    array([False,  True, False])
    >>> rows_passing("owner == None or id in ['a']", metadata, ids)
    array([ True, False,  True])
    >>> rows_passing("yaer > 2020", metadata, ids)
    Traceback (most recent call last):
    ...
    ValueError: The query 'yaer > 2020' is not valid: there is no column 'yaer'
    (character 1). Did you mean 'year'? Columns: 'owner', 'year';
    the id is named id; strings need quotes.
    """
    try:
        return _Evaluation(query, metadata, ids).truth(parse(query)).true
    except ValueError as error:
        if ids.dtype.kind not in "OU" or not np.any(ids == query):
            raise
        raise ValueError(
            f"{error} A string is a query; one id is given in a list: [{query!r}]."
        ) from error


class _Evaluation:
    """Evaluates the conditions of one query; each column is read once."""

    def __init__(
        self, query: str, metadata: pd.DataFrame | None, ids: NDArray[Any]
    ) -> None:
        self.query = query
        self.ids = ids
        columns = [] if metadata is None else list(metadata.columns)
        self.columns: dict[str, Any] = {str(label): label for label in columns}
        # Where 1 and "1" are columns, the name is that of the string.
        self.columns |= {label: label for label in columns if isinstance(label, str)}
        self.metadata = metadata
        self.read: dict[str, Values] = {}

    def truth(self, condition: Condition) -> Truth:
        match condition:
            case Joined(operator, conditions):
                return _joined(operator, [self.truth(part) for part in conditions])
            case Not(opposite):
                return Truth(*self.truth(opposite)[::-1])
            case Comparison(left, operator, right):
                return self.compared(left, operator, right)
            case Literal(value):
                return Truth(
                    *(np.full(len(self.ids), value is b) for b in (True, False))
                )
            case Name():
                return self.of_column(condition)

    def of_column(self, name: Name) -> Truth:
        """Return where a boolean column is true."""
        values = self.values(name)
        if not values.is_boolean():
            refuse(
                self.query,
                f"{name.name!r} ({values.dtype}) is no condition",
                name.place,
                f"Compare it, as in {name.name} == "
                + ("'u'" if values.kind == "strings" else "1"),
            )
        is_true = compare_with_literal(values, "==", True)
        return Truth(is_true, ~is_true & ~values.missing_rows)

    def compared(
        self, left: Name | Literal, operator: str, right: Name | Literal | Listed
    ) -> Truth:
        if isinstance(left, Literal):
            assert isinstance(right, Name)  # as the grammar has it
            left, operator, right = right, _TURNED[operator], left
        values = self.values(left)
        others = self.values(right) if isinstance(right, Name) else None
        missing = values.missing_rows
        try:
            match right:
                case Name():
                    assert others is not None
                    missing = missing | others.missing_rows
                    is_true = compare_columns(values, operator, others)
                case Listed(literals):
                    is_true = is_among(values, literals)
                case Literal(literal):
                    is_true = compare_with_literal(values, operator, literal)
        except ValueError as error:
            refuse(self.query, str(error), left.place)
        return Truth(is_true, ~is_true & ~missing)

    def values(self, name: Name) -> Values:
        """Return the values of a column, or of the id."""
        if name.name not in self.read:
            column = self.column(name)
            self.read[name.name] = column_values(name.name, column)
        return self.read[name.name]

    def column(self, name: Name) -> pd.Series:
        if self.metadata is not None and name.name in self.columns:
            return self.metadata[self.columns[name.name]]
        if name.name == ID:
            return pd.Series(self.ids)
        self.refuse_unknown(name)

    def refuse_unknown(self, name: Name) -> NoReturn:
        listed = ", ".join(map(repr, [*self.columns][:_MOST_LISTED])) or "none"
        listed += ", ..." if len(self.columns) > _MOST_LISTED else ""
        near = get_close_matches(name.name, [*self.columns, "True", "False"], 1)
        remedy = f"Did you mean {near[0]!r}? " if near else ""
        refuse(
            self.query,
            f"there is no column {name.name!r:.60}",
            name.place,
            f"{remedy}Columns: {listed}; the id is named id; strings need quotes",
        )


def _joined(operator: str, parts: list[Truth]) -> Truth:
    true, false = parts[0]
    for part in parts[1:]:
        if operator == "and":
            true, false = true & part.true, false | part.false
        else:
            true, false = true | part.true, false & part.false
    return Truth(true, false)
