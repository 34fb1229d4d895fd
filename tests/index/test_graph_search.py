"""Graphs over rows that do not change, against an exact search."""

import pickle
import sys

import numpy as np
import pytest

from latentsk import LatentIndex, PCAEmbedder
from latentsk.exceptions import FormatError
from latentsk.index import _rabitq, _tuning
from latentsk.index._cost import graph_build_cost, graph_cost
from latentsk.index._exact import ExactSearch
from latentsk.index._fast_rows import FastRows
from latentsk.index._graph import HNSWGraph, SymphonyGraph
from latentsk.index._graph_sample import GraphSample
from latentsk.index._graph_search import GraphSearch
from latentsk.index._graph_spec import GraphSpec
from latentsk.index._graph_tuning import EFFORTS, GraphFamily, GraphVariant
from latentsk.index._memory import graph_bytes
from latentsk.index._query import Query
from latentsk.index._recall import held_out_queries, recall_bounds
from latentsk.index._search import Training, TuningTask
from latentsk.index._work import WorkBudget

pytest.importorskip("faiss")

K = 10
METRICS = ["euclidean", "cosine", "inner_product"]


def _needs_rabitqlib():
    try:
        _rabitq.load_rabitqlib()
    except ImportError:
        return True
    return False


symphony = pytest.param(
    "SymphonyQG32,ef=200",
    marks=pytest.mark.skipif(_needs_rabitqlib(), reason="needs rabitqlib"),
)
SPECS = ["HNSW16,ef=200", symphony]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2_500, 12)) @ rng.normal(size=(12, 12))


@pytest.fixture(scope="module")
def queries():
    rng = np.random.default_rng(1)
    return rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12))


def _share(found, true):
    return np.mean([np.isin(f, t).mean() for f, t in zip(found, true, strict=True)])


def _index(rows, spec, metric="euclidean", **parameters):
    index = LatentIndex(
        index_spec=spec, static=True, metric=metric, n_neighbors=K, **parameters
    )
    return index.fit(rows)


def _ids(index, queries, **options):
    return index.search(queries, **options)["id"].to_numpy().reshape(len(queries), -1)


# What is found


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("exactness", ["certified", "float32"])
def test_a_graph_finds_most_neighbours(
    rows, queries, brute_force, metric, spec, exactness
):
    index = _index(rows, spec, metric, exactness=exactness)
    assert index.index_spec_ == spec
    found = index.search(queries)
    ids = found["id"].to_numpy().reshape(-1, K)
    truth = brute_force(rows, queries, metric)
    true = np.argsort(truth, axis=1)[:, :K]
    # Inner products with longest rows of their own are the hardest.
    assert _share(ids, true) > (0.75 if metric == "inner_product" else 0.95)
    values = found.iloc[:, 3].to_numpy().reshape(-1, K)
    sign = -1.0 if metric == "inner_product" else 1.0
    measured = sign * np.take_along_axis(truth, ids, axis=1)
    tolerance = 1e-9 if exactness == "certified" else 1e-4
    np.testing.assert_allclose(values, measured, rtol=tolerance, atol=tolerance)
    assert (np.diff(sign * values, axis=1) >= 0).all()


@pytest.mark.parametrize("spec", SPECS)
def test_rows_are_left_out_of_their_own_neighbours(rows, spec):
    index = _index(rows, spec)
    _, positions = index.kneighbors()
    assert not (positions == np.arange(len(rows))[:, None]).any()
    true = LatentIndex(n_neighbors=K).fit(rows).kneighbors()[1]
    assert _share(positions, true) > 0.95


@pytest.mark.parametrize("spec", SPECS)
def test_filters_are_answered_exactly(rows, queries, spec):
    index, exact = _index(rows, spec), LatentIndex(n_neighbors=K).fit(rows)
    for chosen in (np.arange(len(rows)) % 3 == 0, np.arange(12)):
        found = _ids(index, queries, filter=chosen)
        np.testing.assert_array_equal(found, _ids(exact, queries, filter=chosen))


@pytest.mark.parametrize("spec", SPECS)
def test_so_many_neighbours_are_found_by_comparing_all(rows, queries, spec):
    index, exact = (
        i.set_params(n_neighbors=400)
        for i in (_index(rows, spec), LatentIndex().fit(rows))
    )
    np.testing.assert_array_equal(_ids(index, queries), _ids(exact, queries))


@pytest.mark.parametrize("spec", SPECS)
def test_far_queries_and_zero_ones_are_answered_exactly(rows, spec):
    for metric, scale in (("euclidean", 1e6), ("cosine", 0.0)):
        index, exact = _index(rows, spec, metric), LatentIndex(metric=metric).fit(rows)
        exact.set_params(n_neighbors=K)
        far = scale * rows[:3]
        np.testing.assert_array_equal(_ids(index, far), _ids(exact, far))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_and_constant_rows_are_found_once(spec, dtype):
    rows = np.repeat(np.random.default_rng(0).normal(size=(60, 5)), 20, axis=0)
    index = _index(rows.astype(dtype), spec)
    found = _ids(index, rows[:9])
    assert (np.diff(np.sort(found, axis=1), axis=1) > 0).all()
    assert index.kneighbors(rows[:9])[0].max() < 1e-6
    same = _index(np.full((200, 3), 0.5, dtype=dtype), spec)
    assert (np.diff(np.sort(_ids(same, rows[:2, :3]), axis=1), axis=1) > 0).all()


def test_hnsw_is_the_same_every_time(rows, queries):
    first, second = (_index(rows, "HNSW16,ef=20", n_jobs=1) for _ in range(2))
    np.testing.assert_array_equal(_ids(first, queries), _ids(second, queries))


@pytest.mark.parametrize("spec", SPECS)
def test_a_graph_over_latent_vectors_measures_the_original_rows(rows, queries, spec):
    index = LatentIndex(
        PCAEmbedder(10), index_spec=spec, static=True, rerank="original", n_neighbors=K
    ).fit(rows)
    np.testing.assert_array_equal(index.vectors_, rows)
    true = LatentIndex(n_neighbors=K).fit(rows)
    assert _share(_ids(index, queries), _ids(true, queries)) > 0.5


# Changes and files


@pytest.mark.parametrize("fitted", [{"index_spec": "HNSW16,ef=40"}, {}])
def test_a_static_index_refuses_changes(rows, fitted):
    index = LatentIndex(static=True, **fitted).fit(rows)
    more = np.ones((1, 12))
    for name, call in {
        "add": lambda: index.add(more, ids=[9_999]),
        "update": lambda: index.update(more, ids=[1]),
        "upsert": lambda: index.upsert(more, ids=[1]),
        "remove": lambda: index.remove([1]),
    }.items():
        with pytest.raises(ValueError, match=f"{name} changes rows.*static=True"):
            call()
    np.testing.assert_array_equal(index.vectors_, rows)
    # The parameter cannot make a graph follow changes.
    index.set_params(static=False)
    if fitted:
        with pytest.raises(ValueError, match=r"add changes rows.*a graph"):
            index.add(more, ids=[9_999])
    else:
        assert len(index.add(more, ids=[9_999]).ids_) == len(rows) + 1


def test_what_is_known_of_rows_may_change(rows):
    pd = pytest.importorskip("pandas")
    owners = pd.DataFrame({"owner": ["u"] * len(rows)})
    index = LatentIndex(static=True).fit(rows, metadata=owners)
    owners = pd.DataFrame({"owner": ["v"]}, index=[3])
    assert index.update_metadata(owners).metadata_["owner"].iloc[3] == "v"


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("metric", METRICS)
def test_a_graph_is_built_again_from_a_file(rows, queries, spec, metric, tmp_path):
    index = _index(rows, spec, metric, n_jobs=1)
    index.save(tmp_path / "rows.latentsk")
    for again in (
        LatentIndex.load(tmp_path / "rows.latentsk"),
        pickle.loads(pickle.dumps(index)),
    ):
        assert again.index_spec_ == spec
        share = _share(_ids(again, queries), _ids(index, queries))
        assert share == 1.0 if spec.startswith("HNSW") else share > 0.5
        with pytest.raises(ValueError, match="add changes rows"):
            again.add(rows[:1], ids=[9_999])


def test_a_state_that_does_not_fit_is_refused(rows):
    search = GraphFamily("HNSW").build(
        ExactSearch(rows, "euclidean"), "HNSW32,ef=9", _training(rows)
    )
    state = search.to_state()
    state.check_fits(rows.shape, "euclidean", False)
    for shape, metric in (((32, 12), "euclidean"), (rows.shape, "inner_product")):
        with pytest.raises(FormatError):
            state.check_fits(shape, metric, False)


# What is refused


def _training(rows):
    return Training(np.arange(len(rows)), np.arange(0), 0, None)


@pytest.mark.parametrize("spec", ["HNSW16,ef=20", "SymphonyQG32,ef=20"])
def test_a_graph_needs_the_promise_that_nothing_changes(rows, spec):
    with pytest.raises(ValueError, match=r"is a graph, .* needs static=True"):
        LatentIndex(index_spec=spec).fit(rows)


@pytest.mark.parametrize("spec", SPECS)
def test_few_rows_have_no_graph(rows, spec):
    degree = GraphSpec.parse(spec).degree
    with pytest.raises(
        ValueError, match=f"{degree} neighbours, but there are {degree}"
    ):
        _index(rows[:degree], spec)
    assert _index(rows[: degree + 1], spec).index_spec_ == spec


@pytest.mark.parametrize("spec", SPECS)
def test_what_float32_cannot_square_has_no_graph(rows, spec):
    with pytest.raises(ValueError, match="leave the range of float32"):
        _index(1e30 * rows, spec, "inner_product")


@pytest.fixture
def without_rabitqlib(monkeypatch):
    _rabitq.load_rabitqlib.cache_clear()
    monkeypatch.setitem(sys.modules, "rabitqlib", None)
    yield
    _rabitq.load_rabitqlib.cache_clear()


@pytest.mark.usefixtures("without_rabitqlib")
def test_without_rabitqlib_the_extra_is_named(rows):
    wide = np.random.default_rng(0).normal(size=(300, 40))
    index = LatentIndex(static=True, index_spec="SymphonyQG32,ef=9")
    with pytest.raises(ImportError, match=r"pip install 'latentsk\[static\]'"):
        index.fit(wide)
    assert not hasattr(index, "vectors_")
    # Where a graph would only be tried, the fit goes on without it.
    index = LatentIndex(static=True, target_recall=0.9)
    with pytest.warns(UserWarning, match=r"pip install 'latentsk\[static\]'.*alone"):
        index.fit(wide)
    with pytest.raises(ValueError, match="static=True"):
        index.remove([0])
    # Where no graph of its own is tried, it is not needed.
    LatentIndex(static=True, target_recall=0.9).fit(rows)
    LatentIndex(static=True).fit(wide)
    LatentIndex(static=True, target_recall=0.9, memory_budget="1GB").fit(wide)


def test_an_old_processor_is_named(monkeypatch):
    _rabitq.load_rabitqlib.cache_clear()
    monkeypatch.setattr(_rabitq.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(
        _rabitq.torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT"
    )
    with pytest.raises(ImportError, match="AVX2"):
        _rabitq.load_rabitqlib()
    _rabitq.load_rabitqlib.cache_clear()


# Numbers


def test_efforts_grow_with_the_neighbours():
    spec = GraphSpec.parse("HNSW32,ef=16")
    assert [spec.effort_for(k) for k in (1, 10, 11, 100)] == [16, 16, 18, 160]
    assert GraphSpec.parse("HNSW32,ef=4").effort_for(10) == 10
    assert list(EFFORTS) == sorted(set(EFFORTS))


def test_costs_are_those_of_rows_on_the_way(monkeypatch):
    prices = {"HNSW": (100.0, 2.0, 5), "SymphonyQG": (10.0, 1.0, 0)}
    monkeypatch.setattr("latentsk.index._cost.HOPS", prices)
    monkeypatch.setattr("latentsk.index._cost.GRAPH_ROWS", {"HNSW": (7.0, 3.0)})
    spec = GraphSpec("HNSW", 32, 20)
    assert graph_cost(spec, 8, 10) == (20 + 5) * (100 + 16)
    assert graph_cost(GraphSpec("SymphonyQG", 32, 20), 8, 30) == 60 * 18
    assert graph_build_cost(spec, 50, 4) == 50 * 19


def test_bytes_are_at_least_those_of_rows_and_links():
    for spec in (GraphSpec("HNSW", 16, 9), GraphSpec("SymphonyQG", 32, 9)):
        links = 4 * spec.degree
        assert graph_bytes(1_000, 64, spec) >= 1_000 * (4 * 64 + links)
        assert graph_bytes(2_000, 64, spec) == 2 * graph_bytes(1_000, 64, spec)


# Tuning


def _task(rows, target, limit=np.inf):
    exact, members = ExactSearch(rows, "euclidean"), np.arange(len(rows))
    held_out = held_out_queries(exact, members, K, np.random.default_rng(0))
    training = Training(members, held_out.positions, 0, None)
    return TuningTask(exact, training, held_out, target, K, WorkBudget(limit))


@pytest.mark.parametrize("target", [0.8, 0.99])
def test_the_least_effort_that_meets_the_target_is_taken(rows, target):
    task = _task(rows, target)
    search = GraphFamily("HNSW").build(task.flat, "HNSW8,ef=8", task.training)
    sample = GraphSample(task.flat, search.spec, task.training, K, task.budget)
    spec = GraphVariant(search, task, sample).cheapest_spec(target, np.inf)

    def lower(effort):
        search.spec = GraphSpec("HNSW", 8, effort)
        recalls = task.held_out.recalls(search, task.training.members, K)
        return sample.bounds(recalls, search.spec, K)[1]

    place = EFFORTS.index(spec.effort)
    assert lower(spec.effort) >= target
    assert place == 0 or lower(EFFORTS[place - 1]) < target
    assert GraphVariant(search, task, sample).cheapest_spec(target, 0.0) is None


def test_no_graph_is_built_beyond_the_budget(rows, monkeypatch):
    family, task = GraphFamily("HNSW"), _task(rows, 0.9)
    monkeypatch.setattr(task.flat, "cost", lambda *_: 1e9)
    work = family.build_cost(*rows.shape) + family.sample(task).build_cost
    task.budget.limit = 0.99 * work
    assert list(family.variants(task, lambda: task.flat)) == []
    task.budget.limit = 1.01 * work
    (variant,) = family.variants(task, lambda: task.flat)
    assert task.budget.spent == family.build_cost(*rows.shape)
    # Nothing is left to measure with.
    assert variant.cheapest_spec(0.9, np.inf) is None
    assert task.budget.spent <= task.budget.limit


def test_a_static_index_gets_the_graph_where_it_costs_less(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(12_000, 10)).astype(np.float32)
    wanted = {"target_recall": 0.9, "static": True, "n_jobs": 1}
    monkeypatch.setattr("latentsk.index._cost.HOPS", {"HNSW": (1.0, 0.0, 5)})
    index = LatentIndex(**wanted).fit(rows)
    assert index.index_spec_.startswith("HNSW32,ef=")
    assert index.recall_.loc[5, "lower"] >= 0.9
    # It repeats, and without the promise there is none.
    assert LatentIndex(**wanted).fit(rows).index_spec_ == index.index_spec_
    del wanted["static"]
    assert LatentIndex(**wanted).fit(rows).index_spec_.startswith("IVF")


def test_a_static_fit_counts_at_most_half_a_graph_more(monkeypatch):
    seen, tune = [], _tuning.tune

    def watched(task, *others):
        found = tune(task, *others)
        seen.append(task.budget.spent)
        return found

    monkeypatch.setattr("latentsk.index._building.tune", watched)
    rows = np.random.default_rng(0).normal(size=(12_000, 10)).astype(np.float32)
    LatentIndex(target_recall=0.99, static=True).fit(rows)
    graph = GraphFamily("HNSW").build_cost(*rows.shape)
    assert len(seen) == 2
    assert seen[-1] <= _tuning.STATIC_FACTOR * graph


def test_graphs_pad_and_threads_change_nothing(rows):
    pytest.importorskip("rabitqlib")
    few = rows[:500].astype(np.float32)
    graph = SymphonyGraph(few, 32)
    scores, found = graph.nearest(few[:50], 5, 100)
    measured = np.square(few[:50, None] - few[found]).sum(axis=2)
    np.testing.assert_allclose(scores, measured, rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(found[:, 0], np.arange(50))
    _, other = HNSWGraph(few, 16).nearest(few[:50], 5, 100)
    assert _share(found, other) > 0.95


def test_a_search_refuses_changes_itself(rows):
    search = GraphFamily("HNSW").build(
        ExactSearch(rows, "euclidean"), "HNSW8,ef=9", _training(rows)
    )
    assert isinstance(search, GraphSearch)
    assert search.n_bytes(10) > 0
    for call in (search.add, lambda *_: search.remove(np.arange(1))):
        with pytest.raises(NotImplementedError):
            call(rows, np.arange(1))
    assert search.neighbors(Query(rows[:2], 1))[1].ravel().tolist() == [0, 1]


def test_the_rows_of_a_graph_are_no_fresh_queries(rows):
    """They find more than others: what is promised is what others find."""
    wanted = {"index_spec": "HNSW4,ef=10", "static": True, "n_jobs": 1}
    index = LatentIndex(**wanted, n_neighbors=K).fit(rows[:2_000])
    own = index.measure_recall().loc[K]
    fresh = index.measure_recall(rows[2_000:]).loc[K, "recall"]
    assert fresh < own["recall"]
    promising = LatentIndex(**wanted, target_recall=0.2, n_neighbors=K)
    promised = promising.fit(rows[:2_000]).recall_.loc[K]
    assert promised["lower"] <= promised["recall"] < own["recall"]
    assert promised["lower"] <= fresh + 0.03


@pytest.mark.parametrize("width", [6, 12, 40])
@pytest.mark.parametrize("effort", [10, 16, 28])
def test_a_smaller_graph_tells_what_fresh_queries_find(width, effort):
    rng = np.random.default_rng(width)
    rows = rng.normal(size=(5_000, 6)) @ rng.normal(size=(6, width))
    rows = (rows + 0.1 * rng.normal(size=rows.shape)).astype(np.float32)
    rows, fresh = rows[:4_000], rows[4_000:]
    wanted = {"index_spec": f"HNSW6,ef={effort}", "static": True, "n_jobs": 1}
    promised = LatentIndex(**wanted, target_recall=0.05, n_neighbors=K).fit(rows)
    lower, recall, upper = promised.recall_.loc[K, ["lower", "recall", "upper"]]
    found = promised.measure_recall(fresh).loc[K, "recall"]
    assert lower <= recall <= upper
    assert lower <= found
    # Where they miss more than a few, it is half of what is promised, at least.
    assert 1.0 - found > 0.5 * (1.0 - recall) - 0.003


def test_a_sample_of_few_rows_says_what_the_rows_say(rows):
    few, recalls = rows[:40], np.array([1.0, 0.9])
    spec, training = GraphSpec("HNSW", 32, 9), _training(few)
    sample = GraphSample(
        ExactSearch(few, "euclidean"), spec, training, 3, WorkBudget(np.inf)
    )
    assert not sample.exists
    assert sample.bounds(recalls, spec, 3) == recall_bounds(recalls)
    assert sample.measuring_cost(spec, 3) == 0.0


def test_the_least_thorough_search_of_the_sample_bounds_the_worst(rows):
    budget, spec = WorkBudget(np.inf), GraphSpec("HNSW", 8, 40)
    sample = GraphSample(
        ExactSearch(rows, "euclidean"), spec, _training(rows), K, budget
    )
    worst, best = (sample.bounds(np.full(9, r), spec, K) for r in (0.0, 1.0))
    assert worst[0] < best[0]
    # The best is the same effort there, scaled by the sizes to the power of a third.
    held_out = sample._fresh
    sample._search.spec = spec
    found = held_out.recalls(sample._search, sample.members, K).mean()
    np.testing.assert_allclose(best[0], 1.0 - 2.5 ** (1 / 3) * (1.0 - found))
    assert sample.build_cost < budget.spent


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("metric", METRICS)
def test_no_row_is_measured_twice_in_float32(rows, queries, spec, metric, monkeypatch):
    index, calls = _index(rows, spec, metric, exactness="float32"), []
    best_of = FastRows.best_of
    monkeypatch.setattr(FastRows, "best_of", lambda *a: calls.append(a) or best_of(*a))
    index.search(queries)
    index.search(ids=index.ids_[:20])
    # Inner products are distances in a further column: not what is asked for.
    assert bool(calls) == (metric == "inner_product")
    calls.clear()
    index.set_params(exactness="certified").search(queries)
    assert calls


@pytest.mark.parametrize("spec", SPECS)
def test_rows_of_zeros_are_measured_under_cosine(rows, queries, spec):
    with_zeros = np.vstack([rows[:600], np.zeros((1, 12)), rows[600:]])
    index = _index(with_zeros, spec, "cosine", exactness="float32")
    _, positions = index.kneighbors(queries)
    true = LatentIndex(metric="cosine", n_neighbors=K).fit(with_zeros)
    assert _share(positions, true.kneighbors(queries)[1]) > 0.9
    zero = index.kneighbors(np.zeros((1, 12)))[0]
    np.testing.assert_array_equal(zero, np.ones((1, K)))
