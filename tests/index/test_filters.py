"""Filters: what they may be, and that few rows or rows far away are found as well."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentsk import LatentIndex
from latentsk.index import _filters, _ivf_search
from latentsk.index._recall import recall_bounds

N_ROWS, WIDTH, N_QUERIES, K = 6_000, 12, 150, 10
SPECS = {
    "narrow": "IVF64,PQ12x4fs,nprobe=6,rerank=8",
    "whole": "IVF16,PQ12x4fs,nprobe=16,rerank=20",
    "residual": "IVF64,PQ12x4fsr,nprobe=6,rerank=8",
    "components": "PCA8,IVF32,PQ8x4fs,nprobe=8,rerank=12",
}
NAMES = [f"row {i}" for i in range(40)]
SHARES = [0.001, 0.01, 0.1, 0.5]


@pytest.fixture
def index():
    rows = np.random.default_rng(0).integers(-3, 4, (40, 2)).astype(float)
    table = pd.DataFrame({"year": np.arange(2000, 2040), "kind": ["a", "b"] * 20})
    return LatentIndex(n_neighbors=3).fit(rows, ids=NAMES, metadata=table)


# What a filter may be


def _as_extension(mask):
    return pd.Series(mask).astype("boolean")


MASKS = {
    "numpy": lambda mask: mask,
    "list": lambda mask: mask.tolist(),
    "tuple": lambda mask: tuple(mask.tolist()),
    "list of numpy": list,
    "series": pd.Series,
    "series by id": lambda mask: pd.Series(mask, index=NAMES),
    "series of another order": lambda mask: pd.Series(mask, index=NAMES).iloc[::-1],
    "objects": lambda mask: np.where(mask, True, None),
    "list with NaN": lambda mask: [True if each else np.nan for each in mask],
    "iterator": lambda mask: iter(mask.tolist()),
    "series of objects": lambda mask: pd.Series(np.where(mask, True, None), NAMES),
    "query": lambda mask: f"id in {np.array(NAMES)[mask].tolist()}",
    "query of a column": lambda mask: (
        f"year in {(2000 + np.flatnonzero(mask)).tolist()}"
    ),
    "function": lambda mask: lambda table: mask,
    "function of labels": lambda mask: (
        lambda table: pd.Series(mask, index=table.index).iloc[::-1]
    ),
    "set of ids": lambda mask: set(np.array(NAMES)[mask].tolist()),
    "nullable": _as_extension,
    "nullable array": lambda mask: pd.array(mask, dtype="boolean"),
    "arrow": lambda mask: pd.Series(mask).astype("bool[pyarrow]"),
    "polars": lambda mask: pl.Series(mask),
    "tensor": torch.tensor,
    "index": pd.Index,
    "masked": lambda mask: np.ma.masked_array(np.ones(40, bool), ~mask),
    "categories": lambda mask: pd.Series(np.where(mask, True, None)).astype("category"),
    "by id in a dict": lambda mask: dict(zip(NAMES[::-1], mask[::-1], strict=True)),
    "strided": lambda mask: np.repeat(mask, 3)[::3],
}


def _answer(index, mask, queries, metric="euclidean"):
    rows = index.vectors_
    distances = np.linalg.norm(rows[None] - queries[:, None], axis=2)
    distances[:, ~mask] = np.inf
    return np.argsort(distances, axis=1, kind="stable")


@pytest.mark.parametrize("kind", list(MASKS))
def test_masks(index, kind):
    mask = np.random.default_rng(1).random(40) < 0.4
    queries = index.vectors_[:7] + 0.25
    found = index.kneighbors(queries, filter=MASKS[kind](mask))[1]
    np.testing.assert_array_equal(found, _answer(index, mask, queries)[:, :3])


@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]"])
def test_what_is_missing_does_not_pass(index, dtype):
    wanted = pd.Series([True, None, False, True] * 10, dtype=dtype)
    mask = np.array([True, False, False, True] * 10)
    queries = index.vectors_[:7]
    found = index.kneighbors(queries, filter=wanted)[1]
    np.testing.assert_array_equal(found, _answer(index, mask, queries)[:, :3])


def _as_keys(names):
    return dict.fromkeys(names).keys()


@pytest.mark.parametrize(
    "kind", [list, np.array, pd.Index, pd.Series, tuple, iter, _as_keys]
)
def test_ids(index, kind):
    wanted = [f"row {i}" for i in (30, 3, 17, 5)]
    mask = np.isin(np.arange(40), [3, 5, 17, 30])
    queries = index.vectors_[:7]
    found = index.kneighbors(queries, filter=kind(wanted))[1]
    np.testing.assert_array_equal(found, _answer(index, mask, queries)[:, :3])


def test_ids_may_be_named_twice(index):
    once = index.search(index.vectors_[:5], 2, filter=["row 3", "row 9"])
    twice = index.search(
        index.vectors_[:5], 2, filter=["row 9", "row 3", "row 9", "row 3"]
    )
    pd.testing.assert_frame_equal(once, twice)


def test_whole_numbers_are_ids_and_not_a_mask():
    index = LatentIndex().fit(np.arange(4.0)[:, None])
    found = index.kneighbors([[0.0]], 2, filter=[0, 1])[1]
    assert found.tolist() == [[0, 1]]
    found = index.kneighbors([[0.0]], 2, filter=[False, False, True, True])[1]
    assert found.tolist() == [[2, 3]]
    with pytest.raises(ValueError, match="one boolean for each of the 4"):
        index.kneighbors([[0.0]], 1, filter=[True, False])


def test_flags_are_no_ids_where_these_are_numbers():
    """Not even if they are too few, and all of them are ids."""
    index = LatentIndex().fit(np.arange(5.0)[:, None])
    for flags in ([1, 0, 0, 1, 0], [1, 0, 0, 1], [1.0, 0.0, 1.0]):
        with pytest.raises(ValueError, match=r"filter.astype\(bool\)"):
            index.kneighbors([[0.0]], 1, filter=flags)
    assert index.kneighbors([[0.0]], 2, filter=[1, 0])[1].tolist() == [[0, 1]]


def test_masks_of_the_metadata_are_not_compared_label_by_label(index, monkeypatch):
    """The labels of `metadata_` are known: comparing them takes as long as a search."""
    late = index.metadata_["year"] >= 2030
    expected = index.kneighbors([[0.0, 0.0]], filter=late.to_numpy())[1]
    monkeypatch.setattr(_filters, "order_by_labels", None)
    for wanted in (late, lambda table: table["year"] >= 2030):
        found = index.kneighbors([[0.0, 0.0]], filter=wanted)[1]
        np.testing.assert_array_equal(found, expected)


def test_a_function_may_relabel_what_it_is_given(index):
    """Its answer is by the labels that it then has."""

    def turned(table):
        table.index = table.index[::-1]
        return table["year"] >= 2039

    found = index.kneighbors([[0.0, 0.0]], 1, filter=turned)[1]
    assert found.item() == 0
    assert index.metadata_.index.tolist() == NAMES


def test_metadata_makes_masks(index):
    late = index.metadata_["year"] >= 2030
    assert set(index.search(n_neighbors=3, filter=late)["id"]) <= {
        f"row {i}" for i in range(30, 40)
    }
    index.remove(["row 35"]).add(
        [[0.0, 0.0]], ["new"], pd.DataFrame({"year": [2050], "kind": ["a"]})
    )
    late = index.metadata_["year"] >= 2030
    found = index.search([[0.0, 0.0]], 10, filter=late)["id"]
    assert set(found) == {f"row {i}" for i in range(30, 40) if i != 35} | {"new"}


def test_every_method_takes_a_filter(index):
    mask = np.arange(40) % 5 == 0
    queries = index.vectors_[:6] + 0.3
    near = _answer(index, mask, queries)[:, :3]
    graph = index.kneighbors_graph(queries, filter=mask)
    np.testing.assert_array_equal(graph.indices.reshape(6, 3), near)
    within = index.radius_neighbors(queries, 100.0, filter=mask)[1]
    assert all(found.tolist() == list(range(0, 40, 5)) for found in within)
    graph = index.radius_neighbors_graph(queries, 100.0, filter=mask)
    assert graph.shape == (6, 40)
    assert graph.indices.tolist() == list(range(0, 40, 5)) * 6
    found = index.search(queries, filter=mask)["id"].to_numpy().reshape(6, 3)
    np.testing.assert_array_equal(found, index.ids_[near])


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("exactness", ["certified", "float32"])
def test_exact_search_eligible_some(metric, share, exactness, brute_force, backend):
    rng = np.random.default_rng(2)
    rows, queries = rng.normal(size=(700, 5)), rng.normal(size=(60, 5))
    mask = rng.random(700) < share
    index = LatentIndex(metric=metric, exactness=exactness, backend=backend).fit(rows)
    found = index.search(queries, 4, filter=mask)["id"].to_numpy().reshape(60, 4)
    truth = brute_force(rows, queries, metric)
    truth[:, ~mask] = np.inf
    np.testing.assert_array_equal(found, np.argsort(truth, axis=1)[:, :4])
    # As many as there are.
    index.search(queries, int(mask.sum()), filter=mask)


# Errors


def _kind(value):
    return "function" if callable(value) else str(value)


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (
            np.ones(39, dtype=bool),
            ValueError,
            r"40 positions .*got shape \(39,\)",
        ),
        (np.ones((40, 1), dtype=bool), ValueError, "got shape"),
        (pd.Series(np.ones(41, dtype=bool)), ValueError, "got shape"),
        (pd.Series(True, index=range(40, 0, -1)), ValueError, "filter has 40 labels"),
        (pd.Series(True, index=NAMES[1:]), ValueError, "filter has 39 labels"),
        (["row 1", "nothing"], KeyError, "Unknown ids: 'nothing'"),
        ([1, 2], KeyError, "Unknown ids: 1, 2"),
        (["row 1", None], ValueError, "missing"),
        (np.arange(40) % 2, ValueError, r"filter.astype\(bool\)"),
        (pd.Series(np.arange(40) % 2.0), ValueError, r"filter.astype\(bool\)"),
        (pd.Series([1, 0] * 20, NAMES), ValueError, r"filter.astype\(bool\)"),
        ([0] * 40, ValueError, r"filter.astype\(bool\)"),
        # Of a moment before, when there were fewer rows.
        (np.arange(39) % 2, ValueError, r"filter.astype\(bool\)"),
        (pd.Categorical([1, 0] * 20), ValueError, r"filter.astype\(bool\)"),
        (pd.DataFrame({"a": [True] * 40}), ValueError, r"one column.*\['a'\]"),
        (pl.col("year") > 2020, ValueError, "filter must be a query"),
        (dict.fromkeys(NAMES[1:], True), ValueError, "filter has 39 labels"),
        ("row 1", ValueError, "is not valid"),
        ("owner == 1", ValueError, "owner"),
        (
            "kind == u",
            ValueError,
            r"^The query [^:]*: there is no column 'u' \([^(]*$",
        ),
        ({"owner": "u"}, ValueError, r"filter=\"owner == 'u'\"\.$"),
        ({"unit price": [1, 2]}, ValueError, r"filter='`unit price` in \[1, 2\]'\.$"),
        (5.5, ValueError, r"filter=\[5\.5\]\.$"),
        ([[1]], ValueError, r"list of ids, got \[\[1\]\]\.$"),
        (lambda table: [True], ValueError, "for each of the 40 rows"),
        (lambda table: table["year"], ValueError, "for each of the 40 rows"),
        (lambda table: None, ValueError, "for each of the 40 rows"),
        (3, ValueError, "filter must be a query"),
        (True, ValueError, "filter must be a query"),
    ],
    ids=_kind,
)
@pytest.mark.parametrize("method", ["kneighbors", "search", "radius_neighbors"])
def test_bad_filters(index, wanted, error, message, method):
    with pytest.raises(error, match=message):
        getattr(index, method)([[0.0, 0.0]], 1, filter=wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        np.zeros(40, dtype=bool),
        [None] * 40,
        [],
        "year > 3000",
        lambda t: t["year"] > 3000,
    ],
)
def test_what_lets_no_row_through(index, wanted):
    for method in (index.kneighbors, index.search):
        with pytest.raises(ValueError, match=r"filter leaves no row.*fewer='allow'"):
            method([[0.0, 0.0]], 1, filter=wanted)
    table = index.search([[0.0, 0.0]], 1, filter=wanted, fewer="allow")
    assert table.columns.tolist() == ["query", "rank", "id", "distance"]
    assert len(table) == 0
    found = index.kneighbors(np.zeros((3, 2)), filter=wanted, fewer="allow")
    assert [part.shape for part in found] == [(3, 0), (3, 0)]
    assert index.radius_neighbors([[0.0, 0.0]], 9.0, filter=wanted)[1][0].size == 0


def test_a_function_filters_an_index_without_rows():
    table = pd.DataFrame({"kind": ["a", "b"]})
    index = LatentIndex().fit([[0.0], [1.0]], metadata=table).remove([0, 1])
    for filter in (lambda t: t["kind"] == "a", lambda t: [k == "a" for k in t["kind"]]):
        assert len(index.search([[0.0]], filter=filter, fewer="allow")) == 0
        with pytest.raises(ValueError, match="no row"):
            index.kneighbors([[0.0]], 1, filter=filter)


def test_fewer_rows_than_neighbours(index):
    table = index.search([[0.0, 0.0]], 9, filter=["row 1", "row 5"], fewer="allow")
    assert sorted(table["id"]) == ["row 1", "row 5"]
    assert table["rank"].tolist() == [1, 2]
    # A row is not among its own neighbours; one that may not be returned lacks none.
    like = {"filter": ["row 1", "row 5"], "n_neighbors": 9, "fewer": "allow"}
    assert index.search(ids=["row 1"], **like)["id"].tolist() == ["row 5"]
    assert len(index.search(ids=["row 2"], **like)) == 2
    both = index.search(ids=["row 1", "row 2", "row 5"], **like, return_metadata=True)
    assert both["query"].tolist() == ["row 1", "row 2", "row 2", "row 5"]
    assert both["rank"].tolist() == [1, 1, 2, 1]
    assert both["id"].tolist() == [
        "row 5",
        *index.search(ids=["row 2"], **like)["id"],
        "row 1",
    ]
    assert both["year"].tolist() == [2000 + int(id[4:]) for id in both["id"]]
    own = index.search(**like)  # of all rows
    assert own["query"].value_counts()[["row 0", "row 1"]].tolist() == [2, 1]
    only = {**like, "filter": ["row 1"]}
    assert index.search(ids=["row 1", "row 2"], **only)["query"].tolist() == ["row 2"]
    assert index.kneighbors(n_neighbors=99, fewer="allow")[0].shape == (40, 39)
    graph = index.kneighbors_graph(np.zeros((2, 2)), **like)
    assert graph.toarray().nonzero()[1].tolist() == [1, 5, 1, 5]
    with pytest.raises(ValueError, match="fewer must be 'error' or 'allow'"):
        index.search([[0.0, 0.0]], fewer="yes")


def test_a_function_may_spoil_its_own_copy(index):
    def spoiling(table):
        table["year"] = 0
        del table["kind"]
        return np.ones(40, dtype=bool)

    before = index.metadata_
    index.search([[0.0, 0.0]], 3, filter=spoiling)
    pd.testing.assert_frame_equal(index.metadata_, before)


CHANGES = {
    "add": lambda index: index.add(np.zeros((1, 2)), ["new"]),
    "remove": lambda index: index.remove(["row 1"]),
    "fit": lambda index: index.fit(np.eye(2)),
    "compact": lambda index: index.compact(),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_function_that_changes_the_index_is_refused(index, change):
    def changing(table):
        CHANGES[change](index)
        return np.ones(len(table), dtype=bool)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="from within one of its searches"):
            index.search([[0.0, 0.0]], 3, filter=changing)
    assert len(index) == 40
    # What only reads is welcome.
    near = index.search([[0.0, 0.0]], 3)
    again = index.search(
        [[0.0, 0.0]], 3, filter=lambda t: t.index.isin(index.search([[0, 0]])["id"])
    )
    pd.testing.assert_frame_equal(near, again)


def test_a_function_needs_metadata():
    index = LatentIndex().fit(np.eye(2))
    with pytest.raises(ValueError, match="the index has none"):
        index.search([[0.0, 0.0]], 1, filter=lambda table: [True, True])
    assert index.search([[0.0, 0.0]], 1, filter="id == 1")["id"].tolist() == [1]


def test_labels_of_masks_rule():
    """The case of a service: metadata sorted otherwise than the rows."""
    table = pd.DataFrame({"owner": ["v", "u"]}, index=["b", "a"])
    index = LatentIndex().fit([[0.0], [1.0]], ids=["a", "b"], metadata=table)
    assert index.search([[1.0]], 1, filter=table["owner"] == "u")["id"].item() == "a"
    assert index.search([[0.0]], 1, filter="owner == 'v'")["id"].item() == "b"
    # By id where the labels are the ids, although these are whole numbers.
    index = LatentIndex().fit([[0.0], [1.0], [2.0]], ids=[2, 0, 1])
    mask = pd.Series([True, False, False], index=[0, 1, 2])
    assert isinstance(mask.index, pd.Index)
    assert index.search([[0.0]], 1, filter=mask)["id"].item() == 0
    assert (
        index.search([[0.0]], 1, filter=mask.reset_index(drop=True))["id"].item() == 2
    )


def test_masks_after_a_removal(index):
    index.remove(["row 3"])
    by_id = index.metadata_["year"] >= 2003
    by_position = np.arange(40) >= 3
    queries = index.vectors_[:5]
    found = index.search(queries, 5, filter=by_id)
    pd.testing.assert_frame_equal(found, index.search(queries, 5, filter=by_position))
    assert "row 3" not in set(found["id"])
    with pytest.raises(ValueError, match="filter has 40 labels"):
        index.search(queries, 5, filter=pd.Series(True, index=NAMES))
    with pytest.raises(ValueError, match=r"39 rows of the metadata|got shape"):
        index.search(queries, 5, filter=lambda table: by_position)


def test_more_neighbours_than_pass(index):
    with pytest.raises(ValueError, match=r"n_neighbors = 3.*eligible rows = 2"):
        index.kneighbors([[0.0, 0.0]], 3, filter=["row 1", "row 2"])
    # Each row is left out of its own.
    with pytest.raises(ValueError, match=r"n_neighbors < .*eligible rows = 2"):
        index.kneighbors(None, 2, filter=["row 1", "row 2"])
    index.kneighbors(None, 1, filter=["row 1", "row 2"])


def test_removed_rows_pass_no_filter(index):
    index.remove(["row 3", "row 4"])
    with pytest.raises(KeyError, match="'row 3'"):
        index.kneighbors([[0.0, 0.0]], 1, filter=["row 3", "row 5"])
    with pytest.raises(ValueError, match="leaves no row"):
        index.kneighbors([[0.0, 0.0]], 1, filter=np.isin(np.arange(40), [3, 4]))
    assert np.flatnonzero(index.active_).tolist() == [
        i for i in range(40) if i not in (3, 4)
    ]


def test_an_empty_index_says_so():
    index = LatentIndex().fit(np.eye(2)).remove([0, 1])
    for wanted in (None, [True, True]):
        with pytest.raises(ValueError, match=r"no rows|no row"):
            index.kneighbors(np.eye(2), 1, filter=wanted)


# Approximate search eligible some


@pytest.fixture(scope="module")
def clustered():
    """Rows in clusters, which cluster each is of, and queries from a few of them."""
    rng = np.random.default_rng(3)
    centers = 5.0 * rng.normal(size=(30, WIDTH))
    cluster = rng.integers(0, 30, N_ROWS)
    rows = (centers[cluster] + rng.normal(size=(N_ROWS, WIDTH))).astype(np.float32)
    queries = centers[rng.integers(0, 10, N_QUERIES)]
    queries = (queries + rng.normal(size=(N_QUERIES, WIDTH))).astype(np.float32)
    return rows, cluster, queries


@pytest.fixture(scope="module")
def fitted(clustered):
    pytest.importorskip("faiss")
    made = {}

    def get(name):
        if name not in made:
            made[name] = LatentIndex(index_spec=SPECS[name]).fit(clustered[0])
        return made[name]

    return get


def _recalls(index, queries, k, mask):
    """Return each query's recall among the rows of a mask, by float64 brute force."""
    rows = index.vectors_.astype(float)
    truth = np.array([np.linalg.norm(rows - query, axis=1) for query in queries])
    truth[:, ~mask] = np.inf
    distances, positions = index.kneighbors(queries, k, filter=mask)
    claimed = np.take_along_axis(truth, positions, axis=1)
    np.testing.assert_allclose(distances, claimed, rtol=1e-12)  # and eligible
    assert all(len(set(row)) == k for row in positions.tolist())
    last = np.sort(truth, axis=1)[:, k - 1 : k]
    return np.mean(claimed <= last * (1 + 1e-12), axis=1)


def _unfiltered_bound(index, queries):
    """Return the lower confidence bound of the recall without a filter."""
    everything = np.ones(index.n_samples_fit_, dtype=bool)
    return recall_bounds(_recalls(index, queries, K, everything))[1]


@pytest.fixture(params=[0.0, _ivf_search.EXACT_PATIENCE], ids=["lists", "as it is"])
def patience(request, monkeypatch):
    """The exact search that takes the place of a dear one: never, and as it is."""
    monkeypatch.setattr(_ivf_search, "EXACT_PATIENCE", request.param)
    return request.param


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", list(SPECS))
def test_few_rows_are_found_as_well(fitted, clustered, patience, name, share):
    _, _, queries = clustered
    index = fitted(name)
    mask = np.random.default_rng(4).random(N_ROWS) < share
    k = min(K, int(mask.sum()))
    recall = _recalls(index, queries, k, mask).mean()
    assert recall >= _unfiltered_bound(index, queries) - 0.02


# Not where components are left out: what they say is a larger share of what tells rows
# far away from each other.
@pytest.mark.parametrize("which", ["other clusters", "farthest", "one cluster"])
@pytest.mark.parametrize("name", [name for name in SPECS if name != "components"])
def test_rows_far_away_are_found_as_well(fitted, clustered, patience, name, which):
    """Filters that say something of where the rows are: none is near a query."""
    rows, cluster, queries = clustered
    index = fitted(name)
    if which == "farthest":
        nearest = np.array([np.linalg.norm(queries - r, axis=1).min() for r in rows])
        mask = nearest > np.quantile(nearest, 0.95)
    else:
        mask = cluster >= 10 if which == "other clusters" else cluster == 25
    recall = _recalls(index, queries, K, mask).mean()
    assert recall >= _unfiltered_bound(index, queries) - 0.02


def test_filters_after_changes(fitted, clustered, patience):
    rows, _, queries = clustered
    index = LatentIndex(index_spec=SPECS["narrow"]).fit(rows[:4000])
    index.remove(range(0, 1000)).add(rows[4000:])
    index.update(rows[:500][::-1], range(1000, 1500))
    rng = np.random.default_rng(5)
    active = np.arange(N_ROWS) >= 1000
    for share in (0.01, 0.3):
        mask = rng.random(N_ROWS) < share
        found = index.kneighbors(queries, 3, filter=mask)[1]
        assert (mask & active)[found].all()
    bound = _unfiltered_bound(fitted("narrow"), queries)
    assert _recalls(index, queries, K, active).mean() >= bound - 0.02


def test_candidates_eligible_are_eligible(fitted, clustered):
    """The search in FAISS itself, not what is measured afterwards."""
    _, _, queries = clustered
    search = fitted("narrow")._engine.search
    mask = np.random.default_rng(6).random(N_ROWS) < 0.05
    eligible = np.flatnonzero(mask)
    found = search.candidates(queries, 60, eligible)
    assert found.shape == (N_QUERIES, 60)
    assert mask[found[found >= 0]].all()
    for row in found.tolist():
        named = [i for i in row if i >= 0]
        assert len(set(named)) == len(named)
        # What is missing comes last.
        assert row[: len(named)] == named
    # Six lists of 64 hold a tenth of the rows, so a tenth of 5 % is looked through at
    # least, wherever they are.
    n_found = (found >= 0).sum(axis=1)
    assert (n_found >= min(60, 6 * len(eligible) // 64)).all()


def test_lists_are_scanned_until_they_hold_enough(fitted, clustered):
    """As many eligible rows as lists of ordinary size hold of all, or all there are."""
    _, _, queries = clustered
    lists = fitted("narrow")._engine.search.lists
    eligible = np.random.default_rng(7).permutation(N_ROWS)[:300]
    enough = 6 * N_ROWS / 64
    assert enough > 300
    found = lists.candidates(queries, 300, 6, np.sort(eligible))
    assert (np.sort(found, axis=1) == np.sort(eligible)).all()


def test_one_row_that_passes_is_found(fitted, clustered, patience):
    _, _, queries = clustered
    index = fitted("narrow")
    for position in (0, 1234, N_ROWS - 1):
        found = index.kneighbors(queries, 1, filter=np.arange(N_ROWS) == position)[1]
        assert (found == position).all()
        assert (index.kneighbors(queries, 1, filter=[position])[1] == position).all()


def test_all_that_pass_are_found(fitted, clustered, patience):
    """With as many neighbours as rows, nothing is left out, whatever the lists."""
    _, cluster, queries = clustered
    index = fitted("narrow")
    mask = (cluster == 20) & (np.arange(N_ROWS) % 3 == 0)
    assert (_recalls(index, queries, int(mask.sum()), mask) == 1.0).all()


def test_a_filter_that_lets_all_pass_changes_nothing(fitted, clustered):
    _, _, queries = clustered
    index = fitted("narrow")
    plain = index.kneighbors(queries)
    filtered = index.kneighbors(queries, filter=np.ones(N_ROWS, dtype=bool))
    for mine, other in zip(plain, filtered, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_own_rows_and_a_filter(fitted, clustered, patience):
    index = fitted("narrow")
    mask = np.arange(N_ROWS) % 2 == 0
    distances, positions = index.kneighbors(None, 3, filter=mask)
    assert mask[positions].all()
    assert (positions != np.arange(N_ROWS)[:, None]).all()
    assert (distances > 0).all()


def test_lists_that_hold_too_few_leave_it_to_an_exact_search(clustered):
    """Each row is left out of its own neighbours there too."""
    pytest.importorskip("faiss")
    rows = clustered[0][:2_000]
    index = LatentIndex(index_spec="IVF64,PQ12x4fs,nprobe=1,rerank=1").fit(rows)
    distances, positions = index.kneighbors(None, 150)
    # One list of 64 holds fewer, except for some clusters.
    assert np.median(index._engine.search.lists.n_live) < 150
    assert (positions != np.arange(2_000)[:, None]).all()
    exactly = LatentIndex().fit(rows).kneighbors(None, 150)
    assert np.mean((positions == exactly[1]).all(axis=1)) > 0.5
    assert (distances >= exactly[0] - 1e-12).all()
