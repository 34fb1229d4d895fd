"""`add`, `update` and `remove`: what they do, and what they refuse."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.exceptions import NotFittedError

from latentsk import LatentIndex, PCAEmbedder
from latentsk.index import (
    _codebook,
    _engine,
    _exact,
    _fast_rows,
    _inverted_lists,
    _ivf_search,
)
from latentsk.index._engine import IndexEngine

SPEC = "IVF16,PQ8x4fs,nprobe=16,rerank=20"
WAYS = {
    "exact": {},
    "cosine": {"metric": "cosine"},
    "embedder": {"embedder": PCAEmbedder(4)},
    "approximate": {"index_spec": SPEC},
    "approximate cosine": {"index_spec": SPEC, "metric": "cosine"},
}
APPROXIMATE = ["approximate", "approximate cosine"]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return 3.0 * rng.integers(-1, 2, (1_200, 8)) + rng.normal(size=(1_200, 8))


@pytest.fixture(scope="module")
def new():
    rng = np.random.default_rng(1)
    return 3.0 * rng.integers(-1, 2, (40, 8)) + rng.normal(size=(40, 8))


def _tags(n, start=0):
    numbers = np.arange(start, start + n)
    return pd.DataFrame({"number": numbers, "name": [f"tag {i}" for i in numbers]})


@pytest.fixture(params=list(WAYS))
def way(request):
    if "approximate" in request.param:
        pytest.importorskip("faiss")
    return request.param


@pytest.fixture
def index(way, rows):
    return _fit(way, rows)


def _fit(way, rows):
    names = [f"row {i}" for i in range(len(rows))]
    index = LatentIndex(n_neighbors=4, **WAYS[way])
    return index.fit(rows.copy(), ids=names, metadata=_tags(len(rows)))


def _state(index):
    """Return all that a change could touch."""
    return {
        "vectors": index.vectors_.copy(),
        "ids": index.ids_.copy(),
        "active": index._engine.rows.active.copy(),
        "metadata": index.metadata_.copy() if hasattr(index, "metadata_") else None,
        "spec": index.index_spec_,
        "n": index.n_samples_fit_,
        "names": sorted(name for name in vars(index) if name.endswith("_")),
    }


def _assert_same_state(index, before):
    for name, value in _state(index).items():
        if isinstance(value, pd.DataFrame):
            assert_frame_equal(value, before[name])
        else:
            np.testing.assert_array_equal(value, before[name], err_msg=name)


def _truth(index, queries):
    """Return all distances to the rows that are there, in float64."""
    if hasattr(index, "embedder_"):
        queries = index.embedder_.transform(queries)
    stored, queries = index.vectors_.astype(float), np.asarray(queries, dtype=float)
    if index.metric == "cosine":
        stored = stored / np.linalg.norm(stored, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    found = np.array([np.linalg.norm(stored - query, axis=1) for query in queries])
    found = 0.5 * found**2 if index.metric == "cosine" else found
    found[:, ~index._engine.rows.active] = np.inf
    return found


def _assert_finds(index, queries, k=4, recall=1.0):
    truth = _truth(index, queries)
    distances, positions = index.kneighbors(queries, k)
    claimed = np.take_along_axis(truth, positions, axis=1)
    np.testing.assert_allclose(distances, claimed, rtol=1e-10, atol=1e-12)
    last = np.sort(truth, axis=1)[:, k - 1 : k]
    assert np.mean(claimed <= last * (1 + 1e-9) + 1e-12) >= recall


def _recall_of(way):
    return 0.95 if way in APPROXIMATE else 1.0


# What they do


def test_add(index, rows, new, way):
    result = index.add(new, [f"new {i}" for i in range(40)], _tags(40, 2_000))
    assert result is index
    assert index.n_samples_fit_ == 1_240
    assert index.ids_[1_200:].tolist() == [f"new {i}" for i in range(40)]
    assert index.metadata_["number"].tolist() == [*range(1_200), *range(2_000, 2_040)]
    _assert_finds(index, np.concatenate([new, rows[:60]]), recall=_recall_of(way))
    assert index.kneighbors(new, 1)[1].ravel().tolist() == list(range(1_200, 1_240))


def test_update(index, rows, new, way):
    positions = np.arange(0, 400, 10)
    before = index.ids_.copy()
    names = before[positions]
    assert index.update(new, names, _tags(40, 2_000)) is index
    np.testing.assert_array_equal(index.ids_, before)
    numbers = np.arange(1_200)
    numbers[positions] = np.arange(2_000, 2_040)
    assert index.metadata_["number"].tolist() == numbers.tolist()
    assert index.kneighbors(new, 1)[1].ravel().tolist() == positions.tolist()
    _assert_finds(index, np.concatenate([new, rows[:60]]), recall=_recall_of(way))


def test_remove(index, rows, way):
    assert index.remove([f"row {i}" for i in range(0, 100)]) is index
    assert index.n_samples_fit_ == len(index.ids_) == 1_200
    assert index.kneighbors(rows, 1)[1].min() >= 100
    _assert_finds(index, rows[:200], recall=_recall_of(way))


def test_one_at_a_time_is_all_at_once(index, rows, new, way):
    """In any number of calls, and by any number of copies of the buffers."""
    other = pickle.loads(pickle.dumps(index))
    names = [f"new {i}" for i in range(40)]
    index.add(new, names, _tags(40)).update(rows[:40][::-1], names)
    for i in range(40):
        other.add(new[i : i + 1], names[i : i + 1], _tags(1, i))
    for i in range(40):
        other.update(rows[39 - i : 40 - i], names[i : i + 1])
    # An embedder rounds one row otherwise than many.
    np.testing.assert_allclose(other.vectors_, index.vectors_, rtol=1e-10)
    assert_frame_equal(other.metadata_, index.metadata_)
    found, expected = other.kneighbors(rows), index.kneighbors(rows)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-10, atol=1e-10)
    if way in ("exact", "cosine"):
        # With an embedder equal rows are equal no more, and of rows with the same code
        # lists return those that come first in them.
        np.testing.assert_array_equal(found[1], expected[1])


def test_a_position_belongs_to_one_id(rows):
    """So that `ids_` names no id twice."""
    index = LatentIndex().fit(rows[:4], ids=list("abcd"))
    index.remove(["b", "d"]).add(rows[4:6], ["e", "d"])
    assert index.ids_.tolist() == ["a", "b", "c", "d", "e"]
    assert index.active_.tolist() == [True, False, True, True, True]
    assert index.kneighbors(rows[4:6], 1)[1].ravel().tolist() == [4, 3]
    assert index.search(rows[5:6], 1)["id"].item() == "d"
    index.update(rows[6:7], ["d"])
    assert index.kneighbors(rows[6:7], 1)[1].item() == 3
    np.testing.assert_array_equal(index.vectors_[4], rows[4])
    with pytest.raises(KeyError, match="'b'"):
        index.update(rows[:1], ["b"])


def test_what_is_there(index, new):
    assert len(index) == 1_200
    assert "row 7" in index
    assert "x" not in index
    index.remove(["row 7"]).add(new[:1], ["x"], _tags(1))
    assert "row 7" not in index
    assert "x" in index
    assert 7 not in index
    assert len(index) == 1_200
    assert index.active_.sum() == 1_200
    assert len(index.metadata_) == 1_200
    assert index.metadata_.index.tolist() == index.ids_[index.active_].tolist()
    index.active_[:] = False  # a copy
    assert len(index) == 1_200
    assert bool(index.remove(index.ids_[index.active_]))
    assert len(index) == 0
    assert len(index.metadata_) == 0


def test_an_index_that_is_not_fitted_is_true_and_has_no_length():
    assert LatentIndex()
    for ask in (len, lambda index: "a" in index, lambda index: index.active_):
        with pytest.raises(NotFittedError):
            ask(LatentIndex())


def test_compact(index, rows, new, way):
    gone = [f"row {i}" for i in range(0, 1_200, 2)]
    index.remove(gone).add(new, [f"new {i}" for i in range(40)], _tags(40))
    answers, kept = index.search(new), index.active_
    vectors, ids, table = index.vectors_[kept], index.ids_[kept], index.metadata_
    assert index.compact() is index
    np.testing.assert_array_equal(index.vectors_, vectors)
    np.testing.assert_array_equal(index.ids_, ids)
    assert_frame_equal(index.metadata_, table)
    assert index.active_.all()
    assert index.n_samples_fit_ == len(index) == 640
    again = index.search(new)
    if way in APPROXIMATE:
        assert np.mean(again["id"] == answers["id"]) > 0.95
    else:
        assert_frame_equal(again, answers)
    index.add(new[:1], ["row 0"], _tags(1)).update(rows[:1], ["row 1"])
    assert index.ids_[-1] == "row 0"
    _assert_finds(index, new, recall=_recall_of(way))


def test_few_rows_in_many_lists_are_saved(rows, tmp_path):
    """Fewer rows than lists: a pinned index stays as it is."""
    pytest.importorskip("faiss")
    index = LatentIndex(index_spec=SPEC).fit(rows).remove(range(5, 1_200)).compact()
    index.save(tmp_path / "index")
    loaded = LatentIndex.load(tmp_path / "index")
    assert loaded.index_spec_ == SPEC
    for one in (index, loaded, copy.deepcopy(index)):
        found = one.add(rows[5:7]).kneighbors(rows[:7], 1)[1]
        assert found.ravel().tolist() == list(range(7))


def test_ids_after_an_addition_that_was_refused(rows):
    index = LatentIndex(memory_budget="180KB").fit(
        rows, ids=[f"{i}" for i in range(1_200)]
    )
    assert "x" not in index
    with pytest.raises(ValueError, match="memory_budget"):
        index.add(rows, [f"new {i}" for i in range(1_200)])
    index.add(rows[:2], ["a", "b"])
    assert ("a" in index, "new 0" in index, "new 1" in index) == (True, False, False)
    with pytest.raises(KeyError, match="'new 1'"):
        index.search(ids=["new 1"])


@pytest.mark.parametrize(
    "strange",
    [None, np.nan, pd.NA, pd.NaT, ("a", None), (), b"row 1", 1, 1.5, object()],
)
def test_what_is_no_id_is_not_there(index, strange):
    assert strange not in index


@pytest.mark.parametrize("unhashable", [["row 1"], {}, ("row 1", []), np.arange(2)])
def test_what_has_no_hash_is_an_error_as_for_a_set(index, unhashable):
    with pytest.raises(TypeError, match="unhashable"):
        unhashable in index  # noqa: B015


def test_compact_of_an_index_without_rows_changes_nothing(index):
    before = _state(index.remove(index.ids_))
    _assert_same_state(index.compact(), before)
    assert len(index) == 0


def test_a_sliding_window_stays_small(rows):
    index = LatentIndex().fit(rows[:100])
    for cycle in range(1, 12):
        start = 100 * cycle
        index.add(rows[start : start + 100]).remove(range(start - 100, start))
        index.compact()
        assert index.vectors_.shape == (100, 8)
        assert index.ids_.tolist() == list(range(start, start + 100))
    np.testing.assert_array_equal(index.vectors_, rows[1_100:1_200])


def test_upsert(index, rows, new, way):
    index.remove(["row 5"])
    names = ["row 3", "new 0", "row 5", "new 1"]
    assert index.upsert(new[:4], names, _tags(4, 9_000)) is index
    where = [3, 1_200, 5, 1_201]
    np.testing.assert_array_equal(index.ids_[where], names)
    assert index.metadata_.loc[names, "number"].tolist() == [9_000, 9_001, 9_002, 9_003]
    assert index.kneighbors(new[:4], 1)[1].ravel().tolist() == where
    # Rows that are all there need no metadata, and keep theirs.
    index.upsert(rows[:2], ["row 3", "new 1"])
    assert index.metadata_.loc["row 3", "number"] == 9_000
    before = _state(index)
    for ids, table, message in (
        (["row 3", "newer"], None, "give that of the new rows"),
        (["row 3", "row 3"], _tags(2), "unique"),
        (None, _tags(2), "needs the ids"),
    ):
        with pytest.raises(ValueError, match=message):
            index.upsert(new[:2], ids, table)
    _assert_same_state(index, before)


def test_update_metadata(index):
    index.remove(["row 2"])
    vectors = index.vectors_
    names = ["row 4", "row 0"]
    index.update_metadata(pd.DataFrame({"number": [-4, 0]}, index=names))
    assert index.metadata_.loc["row 4"].tolist() == [-4, "tag 4"]
    index.update_metadata(pd.DataFrame({"number": [-1, -3]}), ids=["row 1", "row 3"])
    assert index.metadata_["number"].tolist()[:4] == [0, -1, -3, -4]
    colours = pd.Series("red", index=index.metadata_.index[::-1], name="colour")
    colours["row 1"] = "blue"
    index.update_metadata(colours.to_frame())
    assert index.metadata_.columns.tolist() == ["number", "name", "colour"]
    blue = {"n_neighbors": 1, "filter": "colour == 'blue'"}
    assert index.search(ids=["row 0"], **blue)["id"].item() == "row 1"
    np.testing.assert_array_equal(index.vectors_, vectors)
    before = _state(index)
    for table, ids, error, message in (
        (
            pd.DataFrame({"number": [1]}, index=["x"]),
            None,
            KeyError,
            "Unknown ids: 'x'",
        ),
        (pd.DataFrame({"number": [1]}), None, KeyError, "Unknown ids: 0"),
        (pd.DataFrame({"size": [1]}), ["row 1"], ValueError, r"\['size'\].*leaves"),
        (pd.DataFrame({"number": [1]}), ["row 1", "row 3"], ValueError, "of 1 rows"),
        ({"number": [1]}, ["row 1"], TypeError, "DataFrame, got dict"),
    ):
        with pytest.raises(error, match=message):
            index.update_metadata(table, ids)
    _assert_same_state(index, before)


def test_metadata_without_labels_are_those_of_all_rows_by_position(rows):
    """As in `fit`: an unnamed default RangeIndex names no id."""
    index = LatentIndex().fit(rows[:4], ids=[3, 2, 1, 0]).remove([2])
    index.update_metadata(pd.DataFrame({"n": [30, 10, 0]}))
    assert index.metadata_["n"].to_dict() == {3: 30, 1: 10, 0: 0}
    named = pd.RangeIndex(2, name="id")
    index.update_metadata(pd.DataFrame({"n": [-1, -2]}, index=named))
    assert index.metadata_["n"].to_dict() == {3: 30, 1: -2, 0: -1}
    index.update_metadata(index.metadata_[:0]).update_metadata(index.metadata_[::-1])
    assert index.metadata_["n"].to_dict() == {3: 30, 1: -2, 0: -1}


def test_columns_beside_a_search_have_different_names(rows):
    table = pd.DataFrame({"id": [1], "id_metadata": [2], "x": [3], 5: [4]})
    index = LatentIndex().fit(rows[:1], ids=["a"], metadata=table)
    found = index.search(rows[:1], 1, return_metadata=True)
    beside = ["id_metadata_metadata", "id_metadata", "x", 5]
    assert found.columns.tolist() == ["query", "rank", "id", "distance", *beside]
    assert found[beside].to_numpy().tolist() == [[1, 2, 3, 4]]


def test_the_first_metadata_may_come_later(rows):
    index = LatentIndex().fit(rows[:3], ids=list("abc")).remove(["b"])
    index.update_metadata(pd.DataFrame({"size": [3, 1]}, index=["c", "a"]))
    assert index.metadata_["size"].to_dict() == {"a": 1, "c": 3}
    assert index.metadata_["size"].dtype.kind == "i"


def test_search_with_ids_and_metadata(index, rows):
    found = index.search(ids=["row 9", "row 4"], n_neighbors=3, return_metadata=True)
    assert found["query"].tolist() == ["row 9"] * 3 + ["row 4"] * 3
    assert not (found["query"] == found["id"]).any()
    assert found["name"].tolist() == [f"tag {n}" for n in found["number"]]
    assert [f"row {n}" for n in found["number"]] == found["id"].tolist()
    own = index.search(n_neighbors=3)
    expected = own[own["query"].isin(["row 4", "row 9"])]
    assert set(zip(found["query"], found["id"], strict=True)) == set(
        zip(expected["query"], expected["id"], strict=True)
    )
    with pytest.raises(ValueError, match="X or ids, not both"):
        index.search(rows[:1], ids=["row 1"])
    with pytest.raises(KeyError, match="Unknown ids: 'x'"):
        index.search(ids=["x"])
    with pytest.raises(ValueError, match="without metadata"):
        LatentIndex().fit(rows).search(rows[:1], return_metadata=True)
    named = pd.DataFrame({"id": [1, 2], "rank": [3, 4]})
    index = LatentIndex().fit(rows[:2], metadata=named)
    table = index.search(rows[:1], 1, return_metadata=True)
    assert table["id_metadata"].item() == 1
    assert table["rank_metadata"].item() == 3


def test_all_pairs_after_removals(index, rows, way):
    """One row of the answer for each row that is there, in order of position."""
    gone = np.arange(0, 1_200, 3)
    index.remove(index.ids_[gone])
    there = np.setdiff1d(np.arange(1_200), gone)
    distances, positions = index.kneighbors(None, 3)
    assert distances.shape == positions.shape == (800, 3)
    assert not np.isin(positions, gone).any()
    assert (positions != there[:, None]).all()
    for mode in ("connectivity", "distance"):
        graph = index.kneighbors_graph(None, 3, mode)
        assert graph.shape == (800, 1_200)
        np.testing.assert_array_equal(graph.indices, positions.ravel())
    radius = float(np.median(distances[:, -1]))
    found_distances, found = index.radius_neighbors(None, radius)
    graph = index.radius_neighbors_graph(None, radius, "distance")
    assert len(found) == 800
    assert graph.shape == (800, 1_200)
    np.testing.assert_array_equal(graph.data, np.concatenate(found_distances))
    truth = _truth_among(index, there)
    for own, near, true in zip(there, found, truth, strict=True):
        expected = np.flatnonzero(true <= radius)
        assert near.tolist() == expected[expected != own].tolist()
    table = index.search(None, 3)
    assert table["query"].tolist() == index.ids_[np.repeat(there, 3)].tolist()
    assert table["id"].tolist() == index.ids_[positions.ravel()].tolist()


def _truth_among(index, there):
    stored = index.vectors_
    if index.metric == "cosine":
        stored = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    found = np.array([np.linalg.norm(stored - row, axis=1) for row in stored[there]])
    found = 0.5 * found**2 if index.metric == "cosine" else found
    found[:, ~index._engine.rows.active] = np.inf
    return found


def test_removing_all_rows_and_starting_again(index, new):
    index.remove(index.ids_)
    for search in (index.kneighbors, index.search):
        for queries in (new, None):
            with pytest.raises(ValueError, match="has no rows"):
                search(queries)
    assert [near.size for near in index.radius_neighbors(new)[1]] == [0] * 40
    assert index.n_samples_fit_ == 1_200
    index.add(new, [f"row {i}" for i in range(40)], _tags(40))
    assert index.kneighbors(new, 1)[1].ravel().tolist() == list(range(40))
    _assert_finds(index, new, 10)


def test_nothing_to_remove_is_no_change(index):
    before = _state(index)
    index.remove([])
    _assert_same_state(index, before)


def test_changes_need_a_fit(new):
    for change in (
        lambda index: index.add(new),
        lambda index: index.update(new, range(40)),
        lambda index: index.remove([1]),
    ):
        with pytest.raises(ValueError, match="not fitted"):
            change(LatentIndex())


# Ids


def test_ids_of_added_rows_default_to_positions(rows):
    index = LatentIndex().fit(rows[:3]).add(rows[3:5])
    assert index.ids_.tolist() == [0, 1, 2, 3, 4]
    assert index.ids_.dtype == np.intp
    index.remove([4]).add(rows[4:5])
    assert index.ids_.tolist() == [0, 1, 2, 3, 4, 5]


def test_default_ids_are_behind_all_others(rows):
    index = LatentIndex().fit(rows[:3], ids=[3, 4, 5]).add(rows[3:4])
    assert index.ids_.tolist() == [3, 4, 5, 6]
    assert LatentIndex().fit(rows[:3]).add(rows[3:4]).ids_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("ids", [list("abc"), [0.5, 1.5, 2.5], [1, "b", None]])
def test_ids_of_their_own_kind_have_no_default(rows, ids):
    index = LatentIndex().fit(rows[:2], ids=ids[:2])
    with pytest.raises(ValueError, match="ids are needed"):
        index.add(rows[3:4])


def test_ids_of_a_dataframe(rows):
    columns = list("abcdefgh")
    table = pd.DataFrame(rows[:6], columns=columns, index=list("uvwxyz"))
    index = LatentIndex().fit(table[:4])
    index.add(table[4:])
    assert index.ids_.tolist() == list("uvwxyz")
    swapped = table.iloc[[5, 0]].set_axis(["u", "z"])
    index.update(swapped)
    np.testing.assert_array_equal(index.vectors_[[0, 5]], rows[[5, 0]])
    # Ids that are given win.
    index.add(table[:1], ids=["t"])
    assert index.ids_[-1] == "t"
    with pytest.raises(ValueError, match="already: 'u'"):
        index.add(table[:1])


def test_an_update_needs_ids(rows):
    index = LatentIndex().fit(rows[:3])
    with pytest.raises(ValueError, match="needs the ids"):
        index.update(rows[:1])


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Index, pd.Series, iter])
def test_ids_of_any_kind_of_sequence(rows, kind):
    index = LatentIndex().fit(rows[:4], ids=kind(["a", "b", "c", "d"]))
    index.add(rows[4:6], ids=kind(["e", "f"]))
    index.update(rows[6:8], ids=kind(["f", "a"]))
    index.remove(kind(["b", "e"]))
    assert index.ids_.tolist() == list("abcdef")
    assert index._engine.rows.active.tolist() == [True, False, True, True, False, True]
    np.testing.assert_array_equal(index.vectors_[[5, 0]], rows[6:8])


def test_whole_numbers_of_other_sizes_stay_whole(rows):
    index = LatentIndex().fit(rows[:2]).add(rows[2:3], np.array([7], dtype=np.int32))
    assert index.ids_.dtype == np.int64
    assert index.remove([1]).add(rows[:1]).ids_.tolist() == [0, 1, 7, 8]


@pytest.mark.parametrize("unit", ["D", "s", "ms", "ns"])
def test_dates_stay_dates(rows, unit):
    days = pd.date_range("2026-01-01", periods=2).astype("datetime64[ns]")
    later = np.array(["2027-05-01"], dtype=f"datetime64[{unit}]")
    index = LatentIndex().fit(rows[:2], ids=days).add(rows[2:3], later)
    assert index.ids_.dtype.kind == "M"
    expected = [*days, pd.Timestamp("2027-05-01")]
    assert pd.DatetimeIndex(index.ids_).tolist() == expected
    index.remove(later).remove(days[:1])
    assert index._engine.rows.active.tolist() == [False, True, False]


def test_dates_and_other_ids_together(rows):
    days = pd.date_range("2026-01-01", periods=2).astype("datetime64[ns]")
    index = LatentIndex().fit(rows[:2], ids=days).add(rows[2:4], ["a", 7])
    assert list(index.ids_) == [*days, "a", 7]
    index.remove([days[1]]).remove([7])
    assert index._engine.rows.active.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("known", "added", "said"),
    [
        (["a", "b"], [7], r"are strings, got 7\. Give \[str\(id\) for id in ids\]"),
        (["a", "b"], [np.int32(7)], "are strings, got 7"),
        (None, ["7"], r"are numbers, got '7'\. Give \[int\(id\) for id in ids\]"),
        ([1.5, 2.5], ["7"], "are numbers"),
    ],
)
def test_strings_among_numbers_are_refused(rows, known, added, said):
    index = LatentIndex().fit(rows[:2], ids=known)
    before = index.ids_.tolist()
    for change in index.add, index.upsert:
        with pytest.raises(ValueError, match=f"ids of the index {said}"):
            change(rows[2:3], ids=added)
    assert index.ids_.tolist() == before
    call = str if known == ["a", "b"] else int
    index.add(rows[2:3], ids=[call(id) for id in added])
    assert len(index) == 3


def test_an_index_of_both_kinds_takes_both(rows):
    index = LatentIndex().fit(rows[:2], ids=["a", 7]).add(rows[2:4], ids=[8, "b"])
    assert index.ids_.tolist() == ["a", 7, 8, "b"]


def test_levels_of_the_same_name(rows):
    labels = pd.MultiIndex.from_product([["a"], [1, 2]], names=["n", "n"])
    index = LatentIndex().fit(rows[:2], ids=labels).remove([("a", 1)])
    assert index.ids_.tolist() == [("a", 1), ("a", 2)]
    missing = pd.MultiIndex.from_tuples([("a", None)])
    with pytest.raises(ValueError, match="missing"):
        index.add(rows[:1], missing)


# Metadata


def test_columns_come_in_any_order(rows):
    index = LatentIndex().fit(rows[:3], metadata=_tags(3))
    index.add(rows[3:4], metadata=_tags(1, 3)[["name", "number"]])
    index.update(rows[:1], [1], _tags(1, 7)[["name", "number"]])
    assert list(index.metadata_.columns) == ["number", "name"]
    assert index.metadata_["number"].tolist() == [0, 7, 2, 3]
    assert index.metadata_["name"].tolist() == ["tag 0", "tag 7", "tag 2", "tag 3"]


def test_kinds_of_columns_stay(rows):
    table = pd.DataFrame(
        {
            "whole": np.array([1, 2, 3], dtype=np.int16),
            "flag": [True, False, True],
            "kind": pd.Categorical(["x", "y", "x"], categories=["x", "y"]),
            "day": pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin"),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "text": ["a", "b", None],
        }
    )
    index = LatentIndex().fit(rows[:3], metadata=table)
    index.add(rows[3:5], metadata=table[1:].reset_index(drop=True))
    index.update(rows[:1], [0], table[2:].set_axis([0]))
    expected = table.iloc[[2, 1, 2, 1, 2]].reset_index(drop=True)
    assert_frame_equal(index.metadata_.reset_index(drop=True), expected)


def test_kinds_of_columns_make_room(rows):
    table = pd.DataFrame({"whole": [1, 2], "text": ["a", "b"]})
    index = LatentIndex().fit(rows[:2], metadata=table)
    index.add(rows[2:3], metadata=pd.DataFrame({"whole": [2.5], "text": ["c"]}))
    assert index.metadata_["whole"].tolist() == [1.0, 2.0, 2.5]
    index.update(rows[:1], [0], pd.DataFrame({"whole": [np.nan], "text": [None]}))
    assert index.metadata_["whole"].isna().tolist() == [True, False, False]
    assert index.metadata_["text"].isna().tolist() == [True, False, False]


def test_metadata_is_a_copy(rows):
    table = _tags(3)
    index = LatentIndex().fit(rows[:3], metadata=table)
    index.update(rows[:1], [0], _tags(1, 9)).add(rows[3:4], metadata=_tags(1, 3))
    assert_frame_equal(table, _tags(3))
    table["number"] = -1
    assert index.metadata_["number"].tolist() == [9, 1, 2, 3]


def test_labels_of_metadata_rule(rows):
    """The same labels in another order are aligned, as pandas would do it."""
    table = _tags(3).set_axis(["c", "a", "b"])
    index = LatentIndex().fit(rows[:3], ids=["a", "b", "c"], metadata=table)
    assert index.metadata_["number"].tolist() == [1, 2, 0]
    assert index.metadata_.index.tolist() == ["a", "b", "c"]
    index.update(rows[:2], ["c", "a"], _tags(2, 5).set_axis(["a", "c"]))
    assert index.metadata_["number"].tolist() == [5, 2, 6]
    index.add(rows[3:5], ["e", "d"], _tags(2, 8).set_axis(["d", "e"]))
    assert index.metadata_["number"].to_dict() == {
        "a": 5,
        "b": 2,
        "c": 6,
        "e": 9,
        "d": 8,
    }
    index.upsert(rows[:2], ["f", "a"], _tags(2, 20).set_axis(["a", "f"]))
    assert index.metadata_.loc[["a", "f"], "number"].tolist() == [20, 21]


def test_a_default_range_of_metadata_is_taken_by_position(rows):
    index = LatentIndex().fit(rows[:3], ids=[2, 0, 1], metadata=_tags(3))
    assert index.metadata_["number"].to_dict() == {2: 0, 0: 1, 1: 2}
    # A name gives the numbers a meaning; and numbers in a plain index have one.
    named = _tags(3).rename_axis("user")
    listed = _tags(3).set_axis(pd.Index([0, 1, 2]))
    for table in (named, listed):
        index = LatentIndex().fit(rows[:3], ids=[2, 0, 1], metadata=table)
        assert index.metadata_["number"].to_dict() == {2: 2, 0: 0, 1: 1}


@pytest.mark.parametrize(
    "labels", [[7, 8, 9], ["a", "a", "b"], ["a", "b", "x"], range(1, 4)], ids=str
)
def test_other_labels_of_metadata_are_refused(rows, labels):
    table = _tags(3).set_axis(labels)
    index = LatentIndex()
    with pytest.raises(ValueError, match=r"set_axis\(ids\).*reset_index\(drop=True\)"):
        index.fit(rows[:3], ids=["a", "b", "c"], metadata=table)
    assert not hasattr(index, "ids_")
    # Both remedies work.
    for mended in (table.set_axis(["a", "b", "c"]), table.reset_index(drop=True)):
        index.fit(rows[:3], ids=["a", "b", "c"], metadata=mended)
        assert index.metadata_["number"].tolist() == [0, 1, 2]


def test_labelled_ids_are_aligned_with_the_rows(rows):
    X = pd.DataFrame(rows[:3]).set_axis(["r", "s", "t"])
    ids = pd.Series([10, 20, 30], index=["t", "r", "s"])
    assert LatentIndex().fit(X, ids=ids).ids_.tolist() == [20, 30, 10]
    other = ids.set_axis(["t", "r", "z"])
    with pytest.raises(ValueError, match=r"ids has 3 labels.*'z'"):
        LatentIndex().fit(X, ids=other)
    # Where the rows have no labels, those of the ids say nothing about them.
    for plain in (rows[:3], pd.DataFrame(rows[:3])):
        assert LatentIndex().fit(plain, ids=other).ids_.tolist() == [10, 20, 30]
    # Labels that name two rows say nothing, unless they are the same in both.
    twice = X.set_axis(["r", "r", "t"])
    same = ids.set_axis(twice.index)
    assert LatentIndex().fit(twice, ids=same).ids_.tolist() == [10, 20, 30]
    for labels in (["t", "r", "r"], ["r", "s", "t"]):
        with pytest.raises(ValueError, match="not the labels of the 3 rows"):
            LatentIndex().fit(twice, ids=ids.set_axis(labels))


# What they refuse


def _bad_vectors(new):
    nan, infinite = new[:2].copy(), new[:2].copy()
    nan[1, 3] = np.nan
    infinite[0, 0] = np.inf
    return {
        "nan": (nan, "NaN"),
        "infinite": (infinite, "infinity"),
        "narrow": (new[:2, :5], "features"),
        "wide": (np.hstack([new, new])[:2], "features"),
        "empty": (new[:0], "0 sample"),
        "one row": (new[0], "2D array"),
        "text": (np.full((2, 8), "a"), "numeric|convert"),
        "three rows": (new[:3], "2 ids for 3 rows|metadata of 2 rows"),
    }


@pytest.mark.parametrize("kind", list(_bad_vectors(np.zeros((3, 8)))))
def test_bad_rows_are_refused(index, new, kind):
    before, answers = _state(index), index.kneighbors(new)
    bad, message = _bad_vectors(new)[kind]
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            index.add(bad, ["x", "y"], _tags(2))
        with pytest.raises(ValueError, match=message):
            index.update(bad, ["row 1", "row 2"], _tags(2))
    _assert_unchanged(index, before, answers, new)


def _assert_unchanged(index, before, answers, new):
    _assert_same_state(index, before)
    for mine, true in zip(index.kneighbors(new), answers, strict=True):
        np.testing.assert_array_equal(mine, true)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (["x", "row 5"], ValueError, "already: 'row 5'"),
        (["x", "x"], ValueError, "unique.*'x'"),
        (["x", None], ValueError, "missing"),
        (["x"], ValueError, "1 ids for 2 rows"),
        (["x", "y", "z"], ValueError, "3 ids for 2 rows"),
        ([], ValueError, "0 ids for 2 rows"),
        ("xy", ValueError, "ids must be"),
        ([["x"], ["y"]], ValueError, "ids|missing"),
    ],
    ids=str,
)
def test_bad_ids_are_not_added(index, new, ids, error, message):
    before, answers = _state(index), index.kneighbors(new)
    with pytest.raises(error, match=message):
        index.add(new[:2], ids, _tags(2))
    _assert_unchanged(index, before, answers, new)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (["row 1", "x"], KeyError, "Unknown ids: 'x'"),
        (["row 1", "row 1"], ValueError, "unique.*'row 1'"),
        (["row 1", None], ValueError, "missing"),
        ([1, 2], KeyError, "Unknown ids: 1, 2"),
        ([True, False], KeyError, "Unknown ids"),
        (["row 3", "row 0"], KeyError, "'row 0'"),
        ("row 1", ValueError, "ids must be"),
        (5, ValueError, "ids must be"),
    ],
    ids=str,
)
def test_bad_ids_are_neither_updated_nor_removed(index, new, ids, error, message):
    index.remove(["row 0"])
    before, answers = _state(index), index.kneighbors(new)
    with pytest.raises(error, match=message):
        index.update(new[:2], ids)
    with pytest.raises(error, match=message):
        index.remove(ids)
    _assert_unchanged(index, before, answers, new)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (None, ValueError, "give that of the new rows"),
        (_tags(1), ValueError, "metadata of 1 rows for 2"),
        (_tags(2)[["number"]], ValueError, r"columns \['number', 'name'\], got"),
        (_tags(2).assign(more=1), ValueError, "must have the columns"),
        (_tags(2).rename(columns={"name": "n"}), ValueError, "must have the columns"),
        (
            _tags(2).set_axis(["number", "number"], axis=1),
            ValueError,
            "must have the columns|different names",
        ),
        ({"number": [1, 2], "name": ["a", "b"]}, TypeError, "DataFrame, got dict"),
    ],
    ids=["none", "short", "less", "more", "other", "twice", "dict"],
)
def test_bad_metadata_is_refused(index, new, table, error, message):
    before, answers = _state(index), index.kneighbors(new)
    with pytest.raises(error, match=message):
        index.add(new[:2], ["x", "y"], table)
    if table is not None:
        with pytest.raises(error, match=message):
            index.update(new[:2], ["row 1", "row 2"], table)
    _assert_unchanged(index, before, answers, new)


def test_metadata_that_no_other_row_has_is_refused(rows):
    index = LatentIndex().fit(rows[:3])
    for change in (index.add, index.update):
        with pytest.raises(ValueError, match="without metadata"):
            change(rows[:1], [2], _tags(1))
    assert not hasattr(index, "metadata_")


def test_metadata_of_a_fit_is_a_table(rows):
    index = LatentIndex()
    twice = _tags(3).set_axis(["a", "a"], axis=1)
    with pytest.raises(ValueError, match="different names"):
        index.fit(rows[:3], metadata=twice)
    with pytest.raises(TypeError, match="DataFrame, got dict"):
        index.fit(rows[:3], metadata={"a": [1, 2, 3]})


@pytest.mark.parametrize("way", ["exact"])
def test_values_beyond_float32_are_refused(way, rows):
    index = LatentIndex().fit(rows[:5].astype(np.float32))
    before = _state(index)
    for value in (1e39, -1e99):
        with pytest.raises(ValueError, match="beyond the range of float32"):
            index.add(np.full((1, 8), value))
        with pytest.raises(ValueError, match="beyond the range of float32"):
            index.update(np.full((1, 8), value), [0])
    _assert_same_state(index, before)
    index.add(np.full((1, 8), 1e38))
    assert index.vectors_.dtype == np.float32


def test_rows_keep_the_dtype_of_the_index(rows):
    index = LatentIndex().fit(rows[:5].astype(np.float32))
    index.add(rows[5:6]).update(rows[6:7], [0])
    np.testing.assert_array_equal(index.vectors_[[5, 0]], rows[5:7].astype(np.float32))
    index = LatentIndex().fit(rows[:5]).add(rows[5:6].astype(np.float32))
    assert index.vectors_.dtype == np.float64


def test_names_of_columns_are_checked(rows):
    table = pd.DataFrame(rows[:5], columns=list("abcdefgh"))
    index = LatentIndex().fit(table[:3])
    before = _state(index)
    for change in (index.add, index.update):
        with pytest.raises(ValueError, match="feature names"):
            change(table[["b", "a", *"cdefgh"]][3:4], ids=[2])
    _assert_same_state(index, before)


# What a failure in the middle leaves


class _Broken(Exception):
    pass


def _break(monkeypatch, owner, name, after=0):
    """Have a method fail, after so many calls."""
    whole, calls = getattr(owner, name), [0]

    def broken(*args, **kwargs):
        calls[0] += 1
        if calls[0] > after:
            raise _Broken(name)
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, broken)


CHANGES = {
    "add": lambda index, new: index.add(new[:2], ["x", "y"], _tags(2)),
    "update": lambda index, new: index.update(new[:2], ["row 7", "row 5"], _tags(2)),
    "remove": lambda index, _: index.remove(["row 7", "row 5"]),
}


def _all_before(index, new, before, answers, way):
    _assert_same_state(index, before)
    found = index.kneighbors(new)
    if way in APPROXIMATE:
        assert np.mean(found[1] == answers[1]) > 0.95
    else:
        np.testing.assert_array_equal(found[1], answers[1])


@pytest.mark.parametrize("owned", [False, True], ids=["first change", "later change"])
@pytest.mark.parametrize("change", ["add", "update"])
@pytest.mark.parametrize("where", ["add", "norms", "rebuild"])
def test_what_fails_in_the_middle_changes_nothing(
    index, new, way, monkeypatch, change, where, owned
):
    if owned:
        index.update(new[10:12], ["row 11", "row 10"]).add(new[5:6], ["a"], _tags(1))
    before, answers = _state(index), index.kneighbors(new)
    seen = index.vectors_
    kept = seen.copy()
    with monkeypatch.context() as patch:
        if where == "add":
            _break(patch, _exact.ExactSearch, "add")
        elif where == "norms":
            _break(patch, _fast_rows.FastRows, "_bound_norms")
        else:
            _break(patch, IndexEngine, "with_rows")
        with pytest.raises(_Broken):
            CHANGES[change](index, new)
    np.testing.assert_array_equal(seen, kept)
    _all_before(index, new, before, answers, way)
    # And it works as soon as nothing fails.
    CHANGES[change](index, new)
    _assert_finds(index, new, recall=_recall_of(way))


@pytest.mark.parametrize("way", APPROXIMATE, indirect=True)
@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("name", ["add", "remove"])
def test_lists_that_fail_are_rebuilt(index, new, way, monkeypatch, change, after, name):
    before, answers = _state(index), index.kneighbors(new)
    with monkeypatch.context() as patch:
        _break(patch, _inverted_lists.InvertedLists, name, after)
        try:
            CHANGES[change](index, new)
        except _Broken:
            failed = True
        else:
            failed = False  # it takes fewer calls
    if failed:
        _all_before(index, new, before, answers, way)
        CHANGES[change](index, new)
    _assert_finds(index, new, recall=_recall_of(way))


@pytest.mark.parametrize("way", ["exact", "approximate"], indirect=True)
def test_interruptions_are_failures_too(index, new, way, monkeypatch):
    before, answers = _state(index), index.kneighbors(new)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_exact.ExactSearch, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.update(new[:2], ["row 7", "row 5"])
    _all_before(index, new, before, answers, way)


# The user's own arrays


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_array_that_was_fitted_is_not_changed(rows, new, dtype):
    given = rows.astype(dtype)
    kept = given.copy()
    index = LatentIndex().fit(given)
    assert not np.shares_memory(index.vectors_, given)
    for i in range(3):
        index.update(new[:2], [i, i + 1]).add(new[i : i + 1])
    np.testing.assert_array_equal(given, kept)


def test_arrays_that_were_added_are_not_changed(rows, new):
    given, changed = new.copy(), new.copy()
    index = LatentIndex().fit(rows).add(given).update(changed, range(40))
    index.update(rows[:40], range(1_200, 1_240)).update(rows[40:80], range(40))
    np.testing.assert_array_equal(given, new)
    np.testing.assert_array_equal(changed, new)
    # Nor is the index by a change of them.
    given[:], changed[:] = 0.0, 0.0
    np.testing.assert_array_equal(index.vectors_[:40], rows[40:80])


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memory_maps_are_not_changed(rows, new, tmp_path, mode):
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode=mode)
    index = LatentIndex().fit(mapped)
    index.update(new, range(40)).add(new).update(new[::-1], range(40)).remove([3])
    np.testing.assert_array_equal(mapped, rows)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), rows)
    np.testing.assert_array_equal(index.vectors_[:40], new[::-1])


def test_a_file_that_was_loaded_is_not_changed(rows, new, tmp_path):
    LatentIndex().fit(rows).save(tmp_path / "index")
    before = (tmp_path / "index").read_bytes()
    index = LatentIndex.load(tmp_path / "index", mmap=True)
    index.update(new, range(40)).add(new).update(new[::-1], range(40)).remove([3])
    assert (tmp_path / "index").read_bytes() == before
    np.testing.assert_array_equal(index.vectors_[:40], new[::-1])


def test_rows_of_the_index_itself(rows):
    """What is handed in may be a view of what is replaced."""
    index = LatentIndex().fit(rows[:6].copy())
    for _ in range(2):
        expected = index.vectors_[::-1].copy()
        index.update(index.vectors_[::-1], range(6))
        np.testing.assert_array_equal(index.vectors_, expected)
    n = len(index.vectors_)
    index.add(index.vectors_, ids=range(n, 2 * n))
    np.testing.assert_array_equal(index.vectors_[n:], index.vectors_[:n])


def test_answers_that_were_given_stay(index, new):
    index.update(new[:2], ["row 1", "row 2"])
    distances, positions = index.kneighbors(new)
    ids, table = index.ids_, index.metadata_
    kept = distances.copy(), positions.copy(), ids.copy(), table.copy()
    index.update(new[::-1], index.ids_[:40], _tags(40, 900)).remove(["row 3"])
    np.testing.assert_array_equal(distances, kept[0])
    np.testing.assert_array_equal(positions, kept[1])
    np.testing.assert_array_equal(ids, kept[2])
    assert_frame_equal(table, kept[3])


@pytest.mark.parametrize("way", ["exact", "approximate"], indirect=True)
def test_a_state_that_was_taken_stays(index, new, way):
    """Pickles are written from it, and other threads go on meanwhile."""
    index.update(new[:2], ["row 1", "row 2"])
    copied, state = copy.copy(index), index.__getstate__()
    before, answers = _state(index), index.kneighbors(new)
    index.update(new[::-1], index.ids_[:40], _tags(40, 900)).remove(["row 3"])
    restored = LatentIndex()
    restored.__setstate__(state)
    for other in (copied, restored):
        _all_before(other, new, before, answers, way)


# Rows unlike those that were fitted


@pytest.mark.parametrize("scale", [1e-30, 1e10, 1e30, 1e98])
@pytest.mark.parametrize("spec", [None, SPEC])
def test_rows_of_other_magnitudes(rows, new, scale, spec):
    """Far beyond what the first rows, or float32, have made room for."""
    n = 50 if spec is None else 1_200
    far = scale * new[:5]
    index = LatentIndex(index_spec=spec).fit(rows[:n]).add(far)
    index.update(2.0 * scale * new[:1], [7])
    stored = rows[:n].copy()
    stored[7] = 2.0 * scale * new[0]
    np.testing.assert_array_equal(index.vectors_, np.concatenate([stored, far]))
    own = index.kneighbors(np.concatenate([far, stored[7:8]]), 1)
    if scale > 1.0 or spec is None:
        assert own[0].ravel().tolist() == [0.0] * 6
    if scale > 1.0:
        assert own[1].ravel().tolist() == [*range(n, n + 5), 7]
    near = index.kneighbors(rows[:5], 3)
    assert near[0][:, 0].tolist() == [0.0] * 5
    _assert_finds_scaled(index, rows[20:40], 3)
    index.remove([n, n + 1])
    _assert_finds_scaled(index, rows[20:40], 3)


def _assert_finds_scaled(index, queries, k):
    with np.errstate(over="ignore"):
        truth = _truth(index, queries)
    distances, positions = index.kneighbors(queries, k)
    claimed = np.take_along_axis(truth, positions, axis=1)
    np.testing.assert_allclose(distances, claimed, rtol=1e-10)
    last = np.sort(truth, axis=1)[:, k - 1 : k]
    assert np.mean(claimed <= last * (1 + 1e-9)) >= 0.95


@pytest.mark.parametrize("change", ["add", "update"])
def test_longer_rows_are_told_apart_all_the_same(rows, new, change):
    """By inner products of which float32, for rows of this length, says nothing."""
    rng = np.random.default_rng(3)
    longer = 1e6 * new[:1] * (1.0 + 1e-9 * rng.normal(size=(300, 8)))
    index = LatentIndex(metric="inner_product").fit(rows[:600])
    if change == "add":
        index.add(longer)
    else:
        index.update(longer, range(300))
    truth = np.sort(new @ index.vectors_.T, axis=1)[:, ::-1]
    found = index.search(new, 5)["similarity"].to_numpy().reshape(40, 5)
    np.testing.assert_allclose(found, truth[:, :5], rtol=1e-12)


def test_the_first_row_of_zeros_under_cosine(rows, new):
    index = LatentIndex(metric="cosine").fit(rows[:50])
    index.add(np.zeros((2, 8))).update(np.zeros((1, 8)), [7])
    distances, positions = index.kneighbors(new, 52)
    for found, near in zip(distances, positions, strict=True):
        of_zeros = found[np.isin(near, [50, 51, 7])]
        np.testing.assert_allclose(of_zeros, np.ones(3), rtol=1e-15)
    distances, _ = index.kneighbors(np.zeros((1, 8)), 52)
    np.testing.assert_array_equal(distances, np.ones((1, 52)))
    index.update(new[:3], [50, 51, 7])
    assert index.kneighbors(new[:3], 1)[1].ravel().tolist() == [50, 51, 7]


# Approximate indexes


@pytest.fixture
def tuned_in():
    return pytest.importorskip("faiss")


def test_twice_the_rows_rebuild_the_search(tuned_in, rows, monkeypatch):
    built = []
    build_search = _engine.build_search

    def counted(vectors, members, settings):
        built.append(len(members))
        return build_search(vectors, members, settings)

    monkeypatch.setattr(_engine, "build_search", counted)
    index = LatentIndex(index_spec=SPEC).fit(rows[:300])
    index.add(rows[300:599])
    assert built == [300]
    index.add(rows[599:600])
    assert built == [300, 600]
    index.add(rows[600:1_199])
    assert built == [300, 600]
    index.add(rows[1_199:])
    assert built == [300, 600, 1_200]
    index.remove(range(599))
    assert built == [300, 600, 1_200]
    index.remove([599])
    assert built == [300, 600, 1_200, 600]
    _assert_finds(index, rows[:50], recall=0.95)


def test_exact_indexes_are_never_rebuilt(rows, monkeypatch):
    index = LatentIndex().fit(rows[:10])
    _break(monkeypatch, _engine, "build_search")
    index.add(rows[10:]).remove(range(1_190)).add(rows[:1_190])
    _assert_finds(index, rows[:20])


def test_a_pinned_index_of_few_rows_serves_on(tuned_in, rows):
    """Fewer than it has lists: there is nothing to train it with."""
    index = LatentIndex(index_spec=SPEC).fit(rows)
    for left in (700, 100, 16, 15, 7, 1, 0):
        active = index._engine.rows.positions
        index.remove(index.ids_[active[left:]])
        assert index.index_spec_ == SPEC
        if left:
            _assert_finds(index, rows[:20], min(left, 5), recall=0.95)
    index.add(rows[:500])
    _assert_finds(index, rows[:20], recall=0.95)
    index.add(rows[500:])
    _assert_finds(index, rows[:20], recall=0.95)


def test_copies_find_as_much_as_the_index(tuned_in):
    """Rows elsewhere come: a copy must not look for them with other coordinates."""
    rng = np.random.default_rng(2)
    first, more = 100.0 + rng.normal(size=(2_000, 8)), 1e7 * rng.normal(size=(10, 8))
    index = LatentIndex(index_spec="IVF16,PQ8x4fs,nprobe=4,rerank=10")
    index.fit(first - 100.0).add(more)
    copied = pickle.loads(pickle.dumps(index))
    queries = first[:100] - 99.9
    same = index.kneighbors(queries)[1] == copied.kneighbors(queries)[1]
    assert same.mean() > 0.95


def test_copies_of_an_index_off_the_origin(tuned_in):
    rng = np.random.default_rng(2)
    first, more = 100 + rng.normal(size=(1_500, 8)), 300 + rng.normal(size=(1_400, 8))
    index = LatentIndex(index_spec="IVF16,PQ8x4fs,nprobe=4,rerank=10")
    index.fit(first).add(more)
    copied = pickle.loads(pickle.dumps(index))
    queries = first[:100] + 0.1
    same = index.kneighbors(queries)[1] == copied.kneighbors(queries)[1]
    assert same.mean() > 0.95


def test_the_lists_hold_the_rows_that_are_there(tuned_in, rows, new):
    """Each once, and none that was removed: it would be scanned for nothing."""
    index = LatentIndex(index_spec=SPEC).fit(rows)
    index.remove(range(100)).add(new).update(new, range(200, 240)).remove([250])
    lists = index._engine.search.lists
    queries = rows[:1].astype(np.float32)
    (found,) = lists.candidates(queries, 1_139, lists.n_lists)
    np.testing.assert_array_equal(np.sort(found), index._engine.rows.positions)
    assert lists.n_rows == lists.n_live.sum() == 1_139


def test_rows_that_have_no_list(tuned_in, rows, new, monkeypatch):
    """Infinite in float32: they are found all the same, and filters stay filters."""
    monkeypatch.setattr(_ivf_search, "EXACT_PATIENCE", 0.0)
    index = LatentIndex(index_spec=SPEC).fit(rows)
    index.add(np.full((3, 8), 1e99)).remove([1_200, 5]).update(new[:2], [1_201, 6])
    active = index._engine.rows.positions
    for excluded in (active[:1], active[:2], active[:3], active[:300]):
        mask = ~np.isin(np.arange(1_203), excluded)
        positions = index.kneighbors(rows[:300], 5, filter=mask)[1]
        assert np.isin(positions, np.setdiff1d(active, excluded)).all()
    assert index.kneighbors(np.full((1, 8), 1e99), 1)[1].item() == 1_202
    assert index.kneighbors(rows[:2], 1, filter=[1_202])[1].tolist() == [[1_202]] * 2


def _codes(faiss, index):
    """Return the code of each row, by position, whichever list and place it is in."""
    packer, codes = index.get_CodePacker(), {}
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
            n_blocks = -(-size // packer.nvec)
            blocks = faiss.rev_swig_ptr(
                index.invlists.get_codes(number), n_blocks * packer.block_size
            ).reshape(n_blocks, packer.block_size)
            for place, position in enumerate(ids.tolist()):
                codes[position] = packer.unpack_1(blocks, place).tolist()
    return {position: code for position, code in codes.items() if position >= 0}


def _trained(faiss, rows):
    """Return the lists of an index, as FAISS has them."""
    codebook = _codebook.train_codebook(rows, 4, residual=False, seed=0)
    return _inverted_lists.InvertedLists(codebook)


def test_faiss_codes_rows_on_top_of_those_that_it_removed(tuned_in, rows):
    """Why removed rows keep their codes, and a list is emptied as a whole."""
    rows = rows[:400].astype(np.float32)
    lists = _trained(tuned_in, rows)
    lists.add(np.arange(400), rows)
    true = _codes(tuned_in, lists._index)
    gone = np.arange(300, 400)
    lists._index.remove_ids(tuned_in.IDSelectorBatch(gone))
    lists._index.add_with_ids(rows[gone[::-1]], gone[::-1])
    assert sorted(_codes(tuned_in, lists._index)) == sorted(true)
    if _codes(tuned_in, lists._index) == true:
        pytest.skip("this FAISS removes codes without a trace")


def test_codes_do_not_depend_on_what_was_there_before(tuned_in, rows):
    rows = rows[:400].astype(np.float32)
    fresh, lists = _trained(tuned_in, rows), _trained(tuned_in, rows)
    fresh.add(np.arange(400), rows)
    expected = _codes(tuned_in, fresh._index)
    assert len(expected) == 400
    now = rows[::-1].copy()  # others at first
    lists.add(np.arange(400), now)
    for gone in np.random.default_rng(0).permutation(400).reshape(8, 50):
        others = lists.remove(gone)
        assert not np.isin(others, gone).any()
        lists.add(others, now[others])
        now[gone] = rows[gone]
        lists.add(gone, now[gone])
        assert lists.n_rows == 400
    assert _codes(tuned_in, lists._index) == expected
    assert len(lists.remove(np.arange(400))) == 0
    assert lists.n_rows == 0
    lists.add(np.arange(400), rows)
    assert _codes(tuned_in, lists._index) == expected
