"""Tables as a network takes them: modelled columns, then the code of the conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from latentsk._chunks import row_blocks
from latentsk._columns import columns_of, is_table
from latentsk._device import on_host
from latentsk._remedies import listed
from latentsk._typing import Float64, Positions
from latentsk._validation import checked, reject_huge
from latentsk._warnings import warn
from latentsk.persistence._registry import storable
from latentsk.persistence._schema import flag, instance, list_of, maybe
from latentsk.preprocessing._category_encoder import labels_of
from latentsk.training._standardize import Moments
from latentsk.vae._columns import (
    Column,
    condition_positions,
    learned_columns,
    position_of,
)
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._trend import Trend, learned_trend

# What numbers are read as, without a copy in another dtype.
FLOATS = [np.float64, np.float32, np.float16]
INTEGERS = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64]
# Likelihoods that ask for columns to be told apart, even where one is for all.
OF_COLUMNS = ("poisson", "categorical")
# Training rows whose conditions are kept, to draw new rows for.
MAX_KEPT = 10_000


@storable()
class TableLayout(NamedTuple):
    """Where the columns of a table are in the rows that a network takes.

    These rows, called coded, hold the modelled columns in their order, and then the
    conditions in theirs: a number as it is, a category as one number for each level.

    Attributes
    ----------
    columns : list of Column
    is_table : bool
        Whether the training rows were a table, with a name for every column.
    is_mixed : bool
        Whether modelled columns have likelihoods of their own, and may lack cells.
    trend : Trend or None
        What conditions say of modelled numbers by themselves, which is taken off.
    """

    columns: Annotated[list[Column], list_of(instance(Column))]
    is_table: Annotated[bool, flag()]
    is_mixed: Annotated[bool, flag()]
    trend: Annotated[Trend | None, maybe(instance(Trend))] = None

    @property
    def modelled(self) -> list[int]:
        """Positions of the modelled columns."""
        return [i for i, column in enumerate(self.columns) if not column.is_condition]

    @property
    def conditions(self) -> list[int]:
        """Positions of the conditions."""
        return [i for i, column in enumerate(self.columns) if column.is_condition]

    @property
    def numbers(self) -> list[int]:
        """Positions of the columns that are numbers."""
        return [i for i, column in enumerate(self.columns) if column.levels is None]

    @property
    def n_modelled(self) -> int:
        """Numbers that the network sees of the modelled columns."""
        return sum(self.columns[i].width for i in self.modelled)

    @property
    def n_conditions(self) -> int:
        """Numbers that the network sees of the conditions."""
        return sum(self.columns[i].width for i in self.conditions)

    @property
    def blocks(self) -> list[tuple[str, int]]:
        """Likelihoods of the modelled columns, and the numbers that each of them is."""
        columns = [self.columns[i] for i in self.modelled]
        return [(str(column.likelihood), column.width) for column in columns]

    def of_likelihoods(self, names: Collection[str]) -> NDArray[np.bool_]:
        """Tell which coded modelled columns have one of some likelihoods."""
        return np.repeat(
            [k in names for k, _ in self.blocks], [w for _, w in self.blocks]
        )

    @property
    def firsts(self) -> Positions:
        """Place of the first coded column of each modelled one."""
        widths = [self.columns[i].width for i in self.modelled]
        return np.cumsum([0, *widths[:-1]])

    @property
    def sources(self) -> Positions:
        """Position in the table of each column of the coded rows."""
        order = [*self.modelled, *self.conditions]
        return np.repeat(order, [self.columns[i].width for i in order])

    @property
    def has_strings(self) -> bool:
        """Whether some column is no number in the table."""
        columns = [c for c in self.columns if c.levels is not None]
        return self.is_table and any(
            isinstance(value, str) for c in columns for value in c.values or ()
        )

    @property
    def shares(self) -> Float64:
        """Of each coded modelled column, if the columns of the table share equally."""
        widths = [self.columns[i].width for i in self.modelled]
        return np.repeat(1.0 / (len(widths) * np.array(widths)), widths)

    def places(self, position: int) -> NDArray[np.intp]:
        """Return the places of a column in the coded rows."""
        return np.flatnonzero(self.sources == position)

    # To the network

    def coded(self, X: Any) -> NDArray[Any]:
        """Return coded rows.

        Parameters
        ----------
        X : array or table of shape (n_rows, n_columns)
            In the order of the fit.

        Returns
        -------
        rows : ndarray of shape (n_rows, n_modelled + n_conditions)
            NaN where a modelled cell is missing.

        Raises
        ------
        TypeError, ValueError
            If a number is none, infinite or too large, or a condition is missing.

        Warns
        -----
        UserWarning
            If a condition has a category that the training rows did not have.
        """
        numbers = self._numbers(X)
        is_whole = numbers.dtype.kind != "f" and self._needs_floats
        dtype = np.dtype(np.float64) if is_whole else numbers.dtype
        rows = np.empty((_num_samples(X), len(self.sources)), dtype)
        at = [self.places(i)[0] for i in self.numbers]
        rows[:, at] = numbers
        for position in self._levelled:
            rows[:, self.places(position)] = self._levels(X, position)
        if self.trend is not None:
            rows[:, : self.n_modelled] -= self.trend.at(rows[:, self.n_modelled :])
        return rows

    @property
    def _needs_floats(self) -> bool:
        return self.is_mixed or self.trend is not None or bool(self._levelled)

    @property
    def _levelled(self) -> list[int]:
        return [i for i, c in enumerate(self.columns) if c.levels is not None]

    def _numbers(self, X: Any) -> NDArray[Any]:
        """Return the columns of numbers, checked."""
        if not self.numbers:
            return np.empty((_num_samples(X), 0))
        some = X if not self._levelled else _safe_indexing(X, self.numbers, axis=1)
        if isinstance(X, np.ndarray) and self._levelled:
            # Of numbers all, or a message would count columns from the first of these.
            checked(X, dtype=[*FLOATS, *INTEGERS], ensure_all_finite="allow-nan")
        finite = "allow-nan" if self.is_mixed else True
        numbers = checked(
            some, dtype=[*FLOATS, *INTEGERS], ensure_all_finite=finite, input_name="X"
        )
        labels = [self.columns[i].label for i in self.numbers]
        reject_huge(numbers, labels)
        if self.is_mixed:
            given = [self.columns[i].is_condition for i in self.numbers]
            _require_given(numbers[:, given], np.array(labels)[given])
        return numbers

    def _levels(self, X: Any, position: int) -> Float64:
        """Return a column of categories as ones and zeros."""
        return self._one_hot(_cells(X, position), position)

    def _one_hot(self, cells: NDArray[Any], position: int) -> Float64:
        column = self.columns[position]
        labels = _labels(cells, column)
        assert column.levels is not None, "a column of categories"
        code = pd.Index(column.levels).get_indexer(pd.Index(labels))
        ones = np.eye(column.width + 1, column.width)[code]  # -1: zeros
        is_missing = labels != labels
        if not column.is_condition:
            ones[is_missing] = np.nan
            return ones
        _require_given(np.where(is_missing, np.nan, 0.0)[:, None], [column.label])
        unknown = np.flatnonzero(code < 0)
        if len(unknown):
            ones[unknown] = column.shares
            names = list(dict.fromkeys(labels[unknown]))
            warn(
                f"Condition {column.label!r} has categories that the training rows "
                f"did not have: {listed(names)}. Their rows are scored as if the "
                "category was not known."
            )
        return ones

    def moments(self, rows: NDArray[Any], standardize: bool) -> Moments:
        """Return the moments of each column of the table, by which it is standardized.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_modelled + n_conditions)
            Coded.

        standardize : bool
            Whether modelled numbers are standardized, as far as their likelihood is one
            of all real numbers. Conditions always are, levels never.

        Returns
        -------
        moments : Moments
            Of the observed cells; 0 and 1 of a column that stays as it is.
        """
        mean, deviation = np.zeros(len(self.columns)), np.ones(len(self.columns))
        for position in self.numbers:
            column = self.columns[position]
            if column.is_condition or (standardize and _is_real(column.likelihood)):
                cells = rows[:, self.places(position)]
                known = cells[np.isfinite(cells[:, 0])]
                if len(known):
                    found = Moments.of(known)
                    mean[position], deviation[position] = (
                        found.mean[0],
                        found.deviation[0],
                    )
        return Moments(len(rows), mean, deviation)

    def kept_conditions(
        self, rows: NDArray[Any], before: Float64 | None = None
    ) -> Float64:
        """Return the conditions of coded rows, levels by number, of some if many.

        Those kept before come first, and go first.
        """
        some = rows[:: -(-len(rows) // MAX_KEPT)]
        kept = np.empty((len(some), len(self.conditions)))
        for j, position in enumerate(self.conditions):
            code = some[:, self.places(position)]
            is_level = self.columns[position].levels is not None
            kept[:, j] = code.argmax(axis=1) if is_level else code[:, 0]
        return kept if before is None else np.vstack([before, kept])[-MAX_KEPT:]

    # And back

    def given(self, condition: Any, n_rows: int) -> list[NDArray[Any]]:
        """Return the cells of conditions that a caller names.

        Parameters
        ----------
        condition : array-like
            The conditions, in the order of their columns, or whole rows; of a table,
            columns by name. A single row is for all.

        n_rows : int

        Returns
        -------
        cells : list of ndarray of shape (n_rows,)
            Of each condition.

        Raises
        ------
        ValueError
        """
        table = as_columns(condition)
        n_given = table.shape[0]
        if is_table(table) and self.is_table:
            labels = [self.columns[i].label for i in self.conditions]
            lacking = [name for name in labels if name not in list(table.columns)]
            if lacking:
                raise ValueError(f"condition lacks column {listed(lacking)}.")
            positions = [list(table.columns).index(name) for name in labels]
        elif table.shape[1] == len(self.columns):
            positions = self.conditions
        elif table.shape[1] == len(self.conditions):
            positions = list(range(len(self.conditions)))
        else:
            raise ValueError(
                f"condition must have {len(self.conditions)} columns, the conditions, "
                f"or {len(self.columns)}, whole rows, got {table.shape[1]}."
            )
        if n_given not in (1, n_rows):
            raise ValueError(
                f"condition must have one row, or {n_rows} rows, got {n_given}."
            )
        cells = [_cells(table, position) for position in positions]
        return [np.repeat(c, n_rows) if n_given < n_rows else c for c in cells]

    def conditions_of(self, X: Any) -> list[NDArray[Any]]:
        """Return the cells of the conditions of rows."""
        return [_cells(X, position) for position in self.conditions]

    def condition_codes(self, cells: list[NDArray[Any]]) -> Float64:
        """Return the code of conditions, of shape (n_rows, n_conditions)."""
        coded = []
        for position, column in zip(self.conditions, cells, strict=True):
            if self.columns[position].levels is not None:
                coded.append(self._one_hot(column, position))
                continue
            numbers = checked(column[:, None], dtype=np.float64, input_name="condition")
            coded.append(numbers)
        return np.concatenate(coded, axis=1)

    def cells_of(self, kept: Float64) -> list[NDArray[Any]]:
        """Return conditions as a table holds them, from those that were kept."""
        found = []
        for position, numbers in zip(self.conditions, kept.T, strict=True):
            values = self.columns[position].values
            if values is not None:
                numbers = np.array(values, dtype=object)[numbers.astype(np.intp)]
            found.append(numbers)
        return found

    def cells_between(self, first: Any, last: Any, n_rows: int) -> list[NDArray[Any]]:
        """Return conditions on the way from those of one row to those of another.

        Numbers change steadily, categories half of the way.
        """
        found = []
        pairs = zip(self.conditions_of(first), self.conditions_of(last), strict=True)
        for position, (start, end) in zip(self.conditions, pairs, strict=True):
            if self.columns[position].levels is None:
                cells = np.linspace(float(start[0]), float(end[0]), n_rows)
            else:
                cells = np.repeat(start, n_rows)
                cells[(n_rows + 1) // 2 :] = end[0]
            found.append(cells)
        return found

    def usual_conditions(self, mean: Float64, n_rows: int) -> list[NDArray[Any]]:
        """Return the mean of each condition, or its most frequent level."""
        found = []
        for position in self.conditions:
            column = self.columns[position]
            value = mean[position]
            if column.values is not None and column.shares is not None:
                value = column.values[int(np.argmax(column.shares))]
            found.append(_repeated(value, n_rows))
        return found

    def rows(
        self, modelled: NDArray[Any], conditions: list[NDArray[Any]]
    ) -> NDArray[Any] | pd.DataFrame:
        """Return a table, or an array, of modelled columns and conditions.

        Parameters
        ----------
        modelled : ndarray of shape (n_rows, n_modelled)
            In original units, without the trend; of categories, the one of the largest
            number is taken.

        conditions : list of ndarray of shape (n_rows,)

        Returns
        -------
        rows : ndarray or DataFrame of shape (n_rows, n_columns)
            A DataFrame where some column holds strings.
        """
        cells: dict[int, Any] = dict(zip(self.conditions, conditions, strict=True))
        if self.trend is not None:
            trend = self.trend.at(self.condition_codes(conditions))
            modelled = (modelled + trend).astype(modelled.dtype)
        for position in self.modelled:
            column, at = self.columns[position], self.places(position)
            part = modelled[:, at]
            cells[position] = part[:, 0]
            if column.values is not None:
                values = np.array(column.values, dtype=object)
                cells[position] = values[part.argmax(axis=1)]
        ordered = [cells[i] for i in range(len(self.columns))]
        if self.has_strings:
            labels = [column.label for column in self.columns]
            return pd.DataFrame(
                {k: _in_own_type(v) for k, v in zip(labels, ordered, strict=True)}
            )
        return np.column_stack([np.asarray(c, modelled.dtype) for c in ordered])

    def by_column(self, modelled: NDArray[Any]) -> NDArray[Any]:
        """Add up what coded modelled columns contribute; conditions contribute 0."""
        summed = np.zeros((len(modelled), len(self.columns)), modelled.dtype)
        np.add.at(summed.T, self.sources[: self.n_modelled], modelled.T)
        return summed


def tells_columns_apart(condition: Any, likelihood: Any) -> bool:
    """Tell whether parameters treat columns of a table by themselves.

    Examples
    --------
    >>> tells_columns_apart(["season"], "auto"), tells_columns_apart([], "auto")
    (True, False)
    """
    return _names_some(condition) or _is_mixed(likelihood)


def _names_some(condition: Any) -> bool:
    return condition is not None and np.size(condition) > 0


def _is_mixed(likelihood: Any) -> bool:
    return isinstance(likelihood, Mapping) or likelihood in OF_COLUMNS


def learned_layout(
    X: Any, condition: Any, likelihood: Any, *, declared: bool = False
) -> TableLayout | None:
    """Tell how a network takes a table; None where it takes rows as they are.

    Parameters
    ----------
    X : array or table of shape (n_rows, n_columns)

    condition : str, int, sequence of them or None
        Columns that are given.

    likelihood : str or mapping
        A mapping from columns to names of likelihoods, or a name for all.

    declared : bool, default=False
        Whether categories that a table of pandas declares count as levels even where
        the rows have none of them.

    Raises
    ------
    TypeError, ValueError
        If they name columns that X does not have, or none is left to be modelled.

    Examples
    --------
    >>> X = pd.DataFrame({"season": ["b", "a", "b"], "n": [1.0, 2.0, 3.0]})
    >>> layout = learned_layout(X, ["season"], "auto")
    >>> layout.coded(X)
    array([[1., 0., 1.],
           [2., 1., 0.],
           [3., 0., 1.]])
    """
    if not tells_columns_apart(condition, likelihood):
        return None
    is_mixed = _is_mixed(likelihood)
    has_condition = _names_some(condition)
    given = condition_positions(condition, X) if has_condition else []
    likelihoods = None
    if isinstance(likelihood, Mapping):
        unknown = {str(name) for name in likelihood.values()} - LIKELIHOODS.keys()
        if unknown:
            raise ValueError(
                f"likelihood must hold names out of {listed(list(LIKELIHOODS))}, got "
                f"{listed(sorted(unknown))}."
            )
        likelihoods = {
            position_of(k, X, "likelihood"): v for k, v in likelihood.items()
        }
        both = [k for k in likelihood if position_of(k, X, "likelihood") in given]
        if both:
            raise ValueError(
                f"likelihood names {listed(both)}, which condition names too: a "
                "condition is given, and has no likelihood."
            )
    elif is_mixed:
        likelihoods = {i: likelihood for i in range(X.shape[1]) if i not in given}
    columns = learned_columns(X, given, likelihoods, declared=declared)
    layout = TableLayout(columns, is_table(X), is_mixed)
    return layout._replace(trend=_trend_of(layout, X, likelihood)) if given else layout


def _trend_of(layout: TableLayout, X: Any, likelihood: Any) -> Trend | None:
    """Return the trend of the modelled columns that may have one."""
    rows, width = layout.coded(X), layout.n_modelled
    modelled, conditions = rows[:, :width], rows[:, width:]
    if layout.is_mixed:
        real = {name for name, found in LIKELIHOODS.items() if found.support == "real"}
        return learned_trend(conditions, modelled, layout.of_likelihoods(real))
    if likelihood == "auto":
        likelihood = "bernoulli" if is_binary(modelled) else "gaussian"
    if LIKELIHOODS[likelihood].support != "real":
        return None
    return learned_trend(conditions, modelled, np.ones(width, bool))


def is_binary(X: NDArray[Any]) -> bool:
    """Tell whether rows have zeros and ones only, apart from missing cells."""
    blocks = (block[~np.isnan(block)] for block in row_blocks(X))
    return all(bool(((block == 0) | (block == 1)).all()) for block in blocks)


def as_columns(X: Any) -> Any:
    """Return rows as a table or an array of two axes."""
    if is_table(X):
        return X if isinstance(X, pd.DataFrame) else pd.DataFrame(dict(columns_of(X)))
    if isinstance(X, pd.Series):
        return pd.DataFrame([X.to_numpy()], columns=X.index)
    X = np.asarray(on_host(X))
    return X[None] if X.ndim == 1 else X


def _cells(X: Any, position: int) -> NDArray[Any]:
    is_array = isinstance(X, np.ndarray)
    some = X[:, [position]] if is_array else _safe_indexing(X, [position], axis=1)
    return next(cells for _, cells in columns_of(some))


def _labels(cells: NDArray[Any], column: Column) -> NDArray[Any]:
    try:
        return labels_of(cells)
    except TypeError as error:
        raise TypeError(
            f"A category must be a string or a number, but column {column.label!r} "
            f"holds {error}."
        ) from error


def _is_real(likelihood: str | None) -> bool:
    """Tell whether a column may hold all real numbers."""
    return likelihood is None or LIKELIHOODS[likelihood].support == "real"


def _require_given(conditions: NDArray[Any], labels: Any) -> None:
    """Refuse conditions that are missing."""
    for row, column in np.argwhere(np.isnan(conditions))[:1]:
        raise ValueError(
            f"Condition {str(labels[column])!r} is missing in row {row}. A condition "
            "must be known: fill it in, or leave the row out."
        )


def _repeated(value: Any, n_rows: int) -> NDArray[Any]:
    cells = np.empty(n_rows, object if isinstance(value, str) else type(value))
    cells[:] = value
    return cells


def _in_own_type(cells: Any) -> pd.Series[Any]:
    return pd.Series(cells).infer_objects()
