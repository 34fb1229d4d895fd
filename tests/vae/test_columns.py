import numpy as np
import pandas as pd
import pytest

from latentsk.vae._columns import condition_positions, learned_columns, position_of

TABLE = pd.DataFrame(
    {
        "season": ["winter", "summer", "winter", "winter"],
        "machine": pd.Categorical([3, 1, 1, 3], categories=[1, 2, 3]),
        "flag": [True, False, True, True],
        "count": [0, 2, 5, 1],
        "mass": [1.0, 2.0, np.nan, 3.0],
    }
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (["season"], [0]),
        ("season", [0]),
        (["mass", "season"], [0, 4]),
        ([4, 0], [0, 4]),
        (-1, [4]),
        (np.array([1]), [1]),
        (["mass", 0], [0, 4]),
    ],
)
def test_conditions_are_names_or_positions(condition, expected):
    assert condition_positions(condition, TABLE) == expected


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (["saison"], ValueError, "names column 'saison', which X does not have"),
        ([5], ValueError, "position 5, but X has 5 columns"),
        ([True], TypeError, "names or positions of columns, got True"),
        ([1.0], TypeError, "names or positions of columns, got 1.0"),
        (["season", 0], ValueError, "names a column twice"),
        (list(TABLE), ValueError, "no column is left to be modelled"),
    ],
)
def test_wrong_conditions_are_refused(condition, error, message):
    with pytest.raises(error, match=message):
        condition_positions(condition, TABLE)


def test_names_need_a_table():
    with pytest.raises(ValueError, match="X has no column names"):
        position_of("season", np.zeros((2, 2)), "condition")
    with pytest.raises(ValueError, match="X has no column names"):
        position_of("0", pd.DataFrame(np.zeros((2, 2))), "condition")


def test_columns_that_a_mapping_leaves_out_are_told_by_their_cells():
    columns = learned_columns(TABLE, [], {3: "poisson"})
    found = {column.label: column.likelihood for column in columns}
    assert found == {
        "season": "categorical",
        "machine": "categorical",
        "flag": "bernoulli",
        "count": "poisson",
        "mass": "gaussian",
    }


def test_levels_are_those_of_the_rows_and_keep_their_values():
    season, machine, *_ = learned_columns(TABLE, [0, 1], None)
    assert (season.levels, season.values) == (["summer", "winter"],) * 2
    assert season.shares == [0.25, 0.75]
    assert (machine.levels, machine.values) == (["1", "3"], [1, 3])


def test_declared_levels_count_for_the_first_chunk_of_many():
    _, machine, *_ = learned_columns(TABLE, [0, 1], None, declared=True)
    assert (machine.levels, machine.shares) == (["1", "2", "3"], [0.5, 0.0, 0.5])


def test_numbers_and_flags_are_no_levels():
    *_, flag, count, mass = learned_columns(TABLE, [2, 3, 4], None)
    assert flag.levels is count.levels is mass.levels is None


def test_strings_need_a_table():
    with pytest.raises(ValueError, match="'x1' holds strings, and X is no table"):
        learned_columns(np.array([[1.0, "a"]], object), [1], None)


def test_a_column_without_any_category_is_refused():
    empty = TABLE.assign(season=None)
    with pytest.raises(ValueError, match="All cells of column 'season' are missing"):
        learned_columns(empty, [], {0: "categorical"})
    with pytest.raises(TypeError, match="'season' holds objects of type list"):
        learned_columns(TABLE.assign(season=[[1]] * 4), [], {0: "categorical"})
