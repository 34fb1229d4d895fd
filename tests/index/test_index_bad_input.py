"""What is refused: at once, by name, and with nothing left half-fitted."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import FunctionTransformer

from latentsk import LatentIndex, PCAEmbedder

ROWS = np.random.default_rng(0).normal(size=(20, 3))
METHODS = ("kneighbors", "kneighbors_graph", "radius_neighbors", "search")


def _with(value):
    rows = ROWS.copy()
    rows[4, 1] = value
    return rows


# Data that neither fit nor a query takes, with or without an embedder.
BAD_DATA = {
    "nan": (_with(np.nan), ValueError, "NaN"),
    "infinity": (_with(np.inf), ValueError, "infinity"),
    "minus infinity": (_with(-np.inf), ValueError, "infinity"),
    "float32 nan": (_with(np.nan).astype(np.float32), ValueError, "NaN"),
    "none": (np.where(ROWS > 1, None, ROWS), ValueError, "NaN"),
    "missing extension value": (
        pd.DataFrame(ROWS).astype("Float64").mask(ROWS > 1),
        ValueError,
        "NaN",
    ),
    "no rows": (ROWS[:0], ValueError, r"0 sample\(s\)"),
    "no columns": (ROWS[:, :0], ValueError, r"0 feature\(s\)"),
    "one dimension": (ROWS[0], ValueError, "2D array"),
    "three dimensions": (ROWS.reshape(10, 2, 3), ValueError, "got 3D array"),
    "scalar": (1.0, (ValueError, TypeError), "scalar|[Ee]xpected"),
    "strings": (np.array([["a", "b", "c"]] * 20), ValueError, "string|dtype"),
    "objects": (np.array([[{}, 1, 2]] * 20, dtype=object), TypeError, "dict"),
    "ragged": ([[1.0, 2.0, 3.0], [1.0]], ValueError, "inhomogeneous"),
    "complex": (ROWS * 1j, ValueError, "[Cc]omplex"),
}


@pytest.fixture(params=[None, PCAEmbedder(2)], ids=["vectors", "embedder"])
def index(request):
    return LatentIndex(request.param)


def _assert_unfitted(index):
    assert vars(index).keys() == index.get_params(deep=False).keys()
    with pytest.raises(NotFittedError):
        index.kneighbors(ROWS)


@pytest.mark.parametrize("name", list(BAD_DATA))
def test_fit_refuses(index, name):
    data, error, message = BAD_DATA[name]
    with pytest.raises(error, match=message):
        index.fit(data)
    _assert_unfitted(index)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", list(BAD_DATA))
def test_queries_refuse(index, name, method):
    data, error, message = BAD_DATA[name]
    index.fit(ROWS)
    before, answers = dict(vars(index)), index.search(ROWS)
    with pytest.raises(error, match=message):
        getattr(index, method)(data)
    assert vars(index) == before
    assert_frame_equal(index.search(ROWS), answers)


@pytest.mark.parametrize("method", ["fit", *METHODS])
def test_sparse_vectors_are_refused(method):
    index = LatentIndex()
    if method != "fit":
        index.fit(ROWS)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        getattr(index, method)(csr_matrix(ROWS))


def test_sparse_rows_are_up_to_the_embedder():
    index = LatentIndex(TruncatedSVD(2)).fit(ROWS)
    sparse = clone(index).fit(csr_matrix(ROWS))
    found, expected = sparse.search(csr_matrix(ROWS)), index.search(ROWS)
    assert_frame_equal(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [1, 2, 4])
def test_queries_of_another_width_are_refused(index, method, width):
    index.fit(ROWS)
    message = f"X has {width} features.*expecting 3 features"
    with pytest.raises(ValueError, match=message):
        getattr(index, method)(np.ones((2, width)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("names", "message"),
    [(list("abd"), "unseen at fit time:\n- d"), (list("cba"), "same order")],
)
def test_queries_with_other_names_are_refused(index, method, names, message):
    index.fit(pd.DataFrame(ROWS, columns=list("abc")))
    with pytest.raises(ValueError, match=message):
        getattr(index, method)(pd.DataFrame(ROWS, columns=names))


# Magnitudes


def _huge(column, row=4):
    rows = ROWS.copy()
    rows[row, column] = -1.1e100
    return rows


@pytest.mark.parametrize("column", [0, 2])
def test_huge_values_are_refused_by_column(column):
    message = f"magnitudes above 1e\\+100: -1.1e\\+100 in column 'x{column}', row 4"
    with pytest.raises(ValueError, match=message):
        LatentIndex().fit(_huge(column))
    index = LatentIndex().fit(ROWS)
    before = index.search(ROWS)
    for method in METHODS:
        with pytest.raises(ValueError, match=message):
            getattr(index, method)(_huge(column))
    with pytest.raises(ValueError, match=message):
        index.measure_recall(_huge(column))
    with pytest.raises(ValueError, match=message):
        index.add(_huge(column))
    with pytest.raises(ValueError, match=message):
        index.update(_huge(column), range(20))
    assert_frame_equal(index.search(ROWS), before)


def test_a_huge_column_of_a_table_is_named():
    names = ["age", "income", "score"]
    with pytest.raises(ValueError, match="column 'income', row 4"):
        LatentIndex().fit(pd.DataFrame(_huge(1), columns=names))
    index = LatentIndex().fit(pd.DataFrame(ROWS, columns=names))
    with pytest.raises(ValueError, match="column 'income', row 4"):
        index.search(pd.DataFrame(_huge(1), columns=names))


def test_huge_vectors_of_an_embedder_are_refused():
    index = LatentIndex(FunctionTransformer(lambda X: X * 1e90))
    with pytest.raises(ValueError, match="The embedder's output has magnitudes"):
        index.fit(_huge(1) * 1e-80)
    index.fit(ROWS)
    with pytest.raises(ValueError, match=r"The embedder's output.*column 'x1', row 4"):
        index.kneighbors(_huge(1) * 1e-80)


def test_the_largest_and_the_smallest_values_are_taken():
    rows = np.concatenate([1e100 * ROWS / np.abs(ROWS).max(), 1e-300 * ROWS])
    distances, positions = LatentIndex().fit(rows).kneighbors(rows, 1)
    assert positions.ravel().tolist() == list(range(40))
    assert not distances.any()


# Parameters

BAD_PARAMETERS = {
    "n_neighbors": [0, -1, 2.0, "5", None],
    "metric": ["manhattan", "l2", None, 2],
    "radius": [-1.0, -1e-300, np.nan, "1", None],
    "exactness": ["exact", True, None],
    "backend": ["numpy", "hnswlib", None],
    "embedder": ["pca", 3],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_PARAMETERS.items() for value in values],
)
def test_fit_refuses_parameters_by_name(name, value):
    index = LatentIndex().set_params(**{name: value})
    with pytest.raises((ValueError, TypeError), match=f"'{name}' parameter"):
        index.fit(ROWS)
    _assert_unfitted(index)


@pytest.mark.parametrize("method", ["kneighbors", "kneighbors_graph", "search"])
@pytest.mark.parametrize("queries", [ROWS[:2], None])
@pytest.mark.parametrize(
    ("k", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (21, ValueError),
        (np.int64(10**12), ValueError),
        (2.0, TypeError),
        (np.float64(2), TypeError),
        (True, TypeError),
        ("2", TypeError),
        ([2], TypeError),
    ],
)
def test_numbers_of_neighbours_are_refused_by_name(method, queries, k, error):
    index = LatentIndex().fit(ROWS)
    with pytest.raises(error, match="n_neighbors"):
        getattr(index, method)(queries, k)


def test_no_row_is_its_own_neighbour_when_all_are_asked_for():
    index = LatentIndex().fit(ROWS)
    assert index.kneighbors(ROWS, 20)[0].shape == (20, 20)
    assert index.kneighbors(None, 19)[0].shape == (20, 19)
    with pytest.raises(ValueError, match=r"n_neighbors < n_samples_fit.*= 20.*= 20"):
        index.kneighbors(None, 20)


def test_a_default_number_of_neighbours_may_be_too_many():
    index = LatentIndex(n_neighbors=30).fit(ROWS)
    with pytest.raises(ValueError, match=r"n_neighbors <= n_samples_fit.*= 30.*= 20"):
        index.kneighbors(ROWS)
    assert index.kneighbors(ROWS, 3)[0].shape == (20, 3)


@pytest.mark.parametrize("method", ["radius_neighbors", "radius_neighbors_graph"])
@pytest.mark.parametrize("radius", [-1.0, -1e-300, np.nan, -np.inf])
def test_radii_are_refused_by_name(method, radius):
    index = LatentIndex().fit(ROWS)
    with pytest.raises(ValueError, match="radius must not be negative"):
        getattr(index, method)(ROWS, radius)


# Ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (range(19), "19 ids for 20 rows"),
        (range(21), "21 ids for 20 rows"),
        ([], "0 ids for 20 rows"),
        ([*range(19), 0], "more than once: 0"),
        (["a", "b"] * 10, "more than once: 'a', 'b'"),
        ([None, *range(19)], "missing"),
        ([np.nan, *range(19)], "missing"),
        ([*"abcdefghijklmnopqrs", None], "missing"),
        (np.arange(40).reshape(20, 2), "one id a row"),
    ],
)
def test_bad_ids_are_refused(index, ids, message):
    with pytest.raises(ValueError, match=message):
        index.fit(ROWS, ids=ids)
    _assert_unfitted(index)


def test_a_frame_with_repeated_labels_is_refused_with_a_way_out(index):
    table = pd.DataFrame(ROWS, index=[0, 1] * 10, columns=list("abc"))
    with pytest.raises(ValueError, match=r"0, 1\. Pass ids=range\(len\(X\)\)"):
        index.fit(table)
    _assert_unfitted(index)
    assert index.fit(table, ids=range(len(table))).ids_.tolist() == list(range(20))


@pytest.mark.parametrize("method", [*METHODS, "radius_neighbors_graph"])
def test_an_unfitted_index_says_so(index, method):
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(index, method)(ROWS)


@pytest.mark.parametrize("queries", [None, ROWS])
@pytest.mark.parametrize("k", [0, 21, 2.5])
def test_wrong_numbers_of_neighbours_raise_as_in_scikit_learn(queries, k):
    peer = NearestNeighbors(algorithm="brute").fit(ROWS)
    with pytest.raises((ValueError, TypeError)) as theirs:
        peer.kneighbors(queries, k)
    with pytest.raises(theirs.type) as ours:
        LatentIndex().fit(ROWS).kneighbors(queries, k)
    assert str(theirs.value).startswith(str(ours.value))
